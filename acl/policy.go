package acl

import (
	"errors"
	"slices"
)

// Policy is what a File means to a broker of one version. It is immutable and
// safe for concurrent use; later edits of the File don't reach it. The zero
// Policy denies everything.
type Policy struct {
	version  Version
	plusHash bool // see matches
	// A file that the broker doesn't load grants nothing: the broker ends.
	refused *SyntaxError
	// Before 1.5.6, a file without rules was as good as none.
	open bool

	users     stanzas
	anonymous string // rules of clients without a user name, as in a stanza
	patterns  []pattern
}

// Client is who asks.
type Client struct {
	Username string // empty for a client without one
	ID       string // the client identifier
}

// Compile returns the meaning of f to a broker of version v. It costs several
// times as much as reading the file.
func (f *File) Compile(v Version) *Policy {
	p := &Policy{version: v, plusHash: v.plusHash()}
	f, err := f.as(v)
	if err != nil {
		errors.As(err, &p.refused)
		return p
	}
	c := compiler{file: f, policy: p}
	c.readLines()
	c.writeStanzas()
	return p
}

// compiler makes the Policy of a File.
type compiler struct {
	file    *File
	policy  *Policy
	numbers []uint32 // of the first line of each block
	list    []entry  // of the user at hand
}

// entry is a rule and the 1-based line that it comes from.
type entry struct {
	Rule
	line uint32
}

// readLines numbers the lines, and keeps the patterns.
func (c *compiler) readLines() {
	f, p := c.file, c.policy
	c.numbers = make([]uint32, len(f.blocks))
	number, rules := uint32(1), 0
	for i := range f.blocks {
		c.numbers[i] = number
		for s, l := range f.lines(uint32(i)) {
			switch l.kind {
			case kindPattern:
				c.list = append(c.list, entry{l.rule(), number})
				rules++
			case kindTopic:
				rules++
			}
			if s[len(s)-1] == '\n' {
				number++
			}
		}
	}
	p.open = rules == 0 && !p.version.emptyDenies()
	for _, e := range denyFirst(c.list) {
		if filterFault(e.Topic) == "" {
			p.patterns = append(p.patterns, newPattern(e.Rule, e.line, p.version))
		}
	}
}

// rulesFrom returns the rules that can match of block first and of those of
// the same user behind it, those that deny first.
func (c *compiler) rulesFrom(first uint32) []entry {
	c.list = c.list[:0]
	for i := range c.file.blocksFrom(first) {
		number := c.numbers[i]
		for s, l := range c.file.lines(i) {
			if l.kind == kindTopic && filterFault(l.text) == "" {
				c.list = append(c.list, entry{l.rule(), number})
			}
			if s[len(s)-1] == '\n' {
				number++
			}
		}
	}
	return denyFirst(c.list)
}

// denyFirst sorts as brokers do.
func denyFirst(list []entry) []entry {
	if slices.ContainsFunc(list, func(e entry) bool { return e.Access == Deny }) {
		slices.SortStableFunc(list, func(a, b entry) int { return min(int(a.Access), 1) - min(int(b.Access), 1) })
	}
	return list
}

// writeStanzas compiles what the file says of each user.
func (c *compiler) writeStanzas() {
	if i, ok := c.file.firstBlock(""); ok {
		c.policy.anonymous = string(appendRules(nil, c.rulesFrom(i)))
	}
	flat := make([]byte, 0, c.file.size)
	var ends []int
	for i, name := range c.file.firstBlocks() {
		if rules := c.rulesFrom(i); len(rules) > 0 && len(name) <= maxTopic {
			flat = appendStanza(flat, name, rules)
			ends = append(ends, len(flat))
		}
	}
	c.policy.users = newStanzas(stringOf(flat), ends)
}

// rulesOf returns the rules of user.
func (p *Policy) rulesOf(user string) rules {
	if user == "" {
		return rules(p.anonymous)
	}
	return p.users.find(user)
}
