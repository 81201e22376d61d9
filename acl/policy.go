package acl

import (
	"fmt"
	"slices"
	"strings"
)

// Policy is what a File means to a broker of one version. It is immutable and
// safe for concurrent use; later edits of the File don't reach it. The zero
// Policy denies everything.
type Policy struct {
	version  Version
	rules    []entry         // the rules of a user stand together, those that deny first
	users    map[string]span // in rules; "" for clients without a user name
	patterns []entry         // those that deny first
}

// entry is a rule and the 1-based line that it comes from.
type entry struct {
	topic  string
	line   int32
	access Access
}

type span struct{ start, end int32 }

// Client is who asks.
type Client struct {
	Username string // empty for a client without one
	ID       string // the client identifier
}

// Compile returns the meaning of f to a broker of version v. It costs as much
// as reading the file.
func (f *File) Compile(v Version) *Policy {
	p := &Policy{version: v, users: make(map[string]span, len(f.users)+1)}
	if len(f.blocks) == 0 {
		return p
	}
	firstLine := make([]int32, len(f.blocks))
	n := int32(1)
	for i := range f.blocks {
		firstLine[i] = n
		n += int32(strings.Count(f.blocks[i].text, "\n"))
	}
	p.compileUser(f, "", firstLine)
	for name := range f.Users() {
		p.compileUser(f, name, firstLine)
	}
	for i := range f.blocks {
		p.patterns = f.blocks[i].entries(p.patterns, kindPattern, firstLine[i])
	}
	denyFirst(p.patterns)
	return p
}

func (p *Policy) compileUser(f *File, name string, firstLine []int32) {
	start := len(p.rules)
	for i := range f.blocksOf(name) {
		p.rules = f.blocks[i].entries(p.rules, kindTopic, firstLine[i])
	}
	denyFirst(p.rules[start:])
	if len(p.rules) > start {
		p.users[name] = span{int32(start), int32(len(p.rules))}
	}
}

// entries appends the lines of b that are of kind k to list.
func (b *block) entries(list []entry, k kind, number int32) []entry {
	for _, l := range b.lines() {
		if l.kind == k {
			list = append(list, entry{l.text, number, l.access})
		}
		number++
	}
	return list
}

func denyFirst(list []entry) {
	slices.SortStableFunc(list, func(a, b entry) int {
		switch {
		case (a.access == Deny) == (b.access == Deny):
			return 0
		case a.access == Deny:
			return -1
		}
		return 1
	})
}

// Allows tells whether the broker lets c publish to topic (Write), delivers
// messages of topic to c (Read), or both (ReadWrite). A subscription is
// nothing that an access control file could refuse. Topic is the broker's,
// with the listener's mount_point in front.
//
// It doesn't allocate, unless the file has patterns in which %u or %c stand
// and the version is 2.0.
func (p *Policy) Allows(c Client, want Access, topic string) bool {
	if want == ReadWrite {
		return p.decide(c, Read, topic).allows() && p.decide(c, Write, topic).allows()
	}
	return p.decide(c, want, topic).allows()
}

// Decision is a verdict and its grounds.
type Decision struct {
	Allowed bool
	Line    int    // 1-based line of the file that decided, 0 if none did
	Reason  string // a sentence about why
}

// Explain returns what Allows does and why. When ReadWrite is wanted, it
// explains the direction that is refused, or else Write.
func (p *Policy) Explain(c Client, want Access, topic string) Decision {
	if want == ReadWrite {
		if d := p.Explain(c, Read, topic); !d.Allowed {
			return d
		}
		want = Write
	}
	v := p.decide(c, want, topic)
	return Decision{Allowed: v.allows(), Line: int(v.line), Reason: v.reason(c, want, topic)}
}

// ground is what a verdict rests on.
type ground uint8

const (
	noRule ground = iota
	badWant
	badTopic
	dollarSYS
	dollarShare
	ownRule
	aPattern
	dangerousUsername
	dangerousID
)

type verdict struct {
	ground ground
	entry  // of ownRule and aPattern
}

func (v verdict) allows() bool {
	return (v.ground == ownRule || v.ground == aPattern) && v.access != Deny
}

// decide follows the order in which brokers ask.
func (p *Policy) decide(c Client, want Access, topic string) verdict {
	switch {
	case want != Read && want != Write:
		return verdict{ground: badWant}
	case topicFault(topic) != "":
		return verdict{ground: badTopic}
	case want == Write && strings.HasPrefix(topic, "$SYS") && !matches("$SYS/broker/connection/+/state", topic, names{}):
		return verdict{ground: dollarSYS}
	case strings.HasPrefix(topic, "$share"):
		return verdict{ground: dollarShare}
	}
	own := p.users[c.Username]
	for _, e := range p.rules[own.start:own.end] {
		if e.decides(want) && matches(e.topic, topic, names{}) {
			return verdict{ownRule, e}
		}
	}
	if len(p.patterns) == 0 {
		return verdict{ground: noRule}
	}
	switch {
	case strings.ContainsAny(c.Username, "+#"):
		return verdict{ground: dangerousUsername}
	case strings.ContainsAny(c.ID, "+#"):
		return verdict{ground: dangerousID}
	}
	for _, e := range p.patterns {
		if e.decides(want) && p.matchesPattern(e.topic, topic, c) {
			return verdict{aPattern, e}
		}
	}
	return verdict{ground: noRule}
}

// decides tells whether a match of e settles the question.
func (e entry) decides(want Access) bool { return e.access == Deny || e.access.includes(want) }

// matchesPattern substitutes as brokers of the version do: 2.0 every %u and
// %c in the text, 2.1 those that fill a level. Both pass over a pattern with
// %u anywhere in it for clients without a user name.
func (p *Policy) matchesPattern(pattern, topic string, c Client) bool {
	if c.Username == "" && strings.Contains(pattern, "%u") {
		return false
	}
	if p.version.wholeLevels() {
		return matches(pattern, topic, names{c.Username, c.ID})
	}
	return matches(substitute(pattern, c), topic, names{})
}

// substitute doesn't look at what it has inserted: a name may hold %c.
func substitute(pattern string, c Client) string {
	if !strings.Contains(pattern, "%u") && !strings.Contains(pattern, "%c") {
		return pattern
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case strings.HasPrefix(pattern[i:], "%u"):
			b.WriteString(c.Username)
			i++
		case strings.HasPrefix(pattern[i:], "%c"):
			b.WriteString(c.ID)
			i++
		default:
			b.WriteByte(pattern[i])
		}
	}
	return b.String()
}

func (v verdict) reason(c Client, want Access, topic string) string {
	who := "clients without a user name"
	if c.Username != "" {
		who = "user " + quote(c.Username)
	}
	verb := "allows"
	if v.access == Deny {
		verb = "denies"
	}
	switch v.ground {
	case badWant:
		return fmt.Sprintf("nobody can be granted %s", want)
	case badTopic:
		return fmt.Sprintf("no message can have the topic %s: it is %s", quote(topic), topicFault(topic))
	case dollarSYS:
		return fmt.Sprintf("brokers refuse to publish to %s, which begins with $SYS", quote(topic))
	case dollarShare:
		return fmt.Sprintf("brokers refuse messages of %s, which begins with $share", quote(topic))
	case ownRule:
		return fmt.Sprintf("line %d, %s, %s it for %s", v.line, quote("topic "+v.rule().String()), verb, who)
	case aPattern:
		return fmt.Sprintf("line %d, %s, %s it for %s with the client identifier %s", v.line, quote("pattern "+v.rule().String()), verb, who, quote(c.ID))
	case dangerousUsername:
		return fmt.Sprintf("no rule of %s decides, and brokers ask no pattern about a user name with + or # in it", who)
	case dangerousID:
		return fmt.Sprintf("no rule of %s decides, and brokers ask no pattern about the client identifier %s, which has + or # in it", who, quote(c.ID))
	}
	return fmt.Sprintf("no rule of %s and no pattern grants %s on %s", who, want, quote(topic))
}

func (e entry) rule() Rule { return Rule{e.access, e.topic} }
