package acl

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Difference is what somebody may do by one Policy and not by another.
type Difference struct {
	User      string // empty for clients without a user name, and for everybody
	Everybody bool   // by patterns, whatever the user's name
	// Gained and Lost grant Read, Write or both. Where a denial takes a part of
	// a grant, or gives it back, the narrower of the two topics is named.
	Gained, Lost []Rule
}

// Diff tells who gained and who lost what from one Policy to the other, which
// may be of two files or of two versions of the broker: everybody first, then
// clients without a user name, then users by their names. A rule that another
// one covers, a pattern included, is no gain, and its end no loss. What a
// pattern says is everybody's, unless versions differ about what it says of a
// user that has rules.
func Diff(old, new *Policy) []Difference {
	var list []Difference
	upgrade := old.version.wholeLevels() != new.version.wholeLevels()
	add := func(d Difference, from, to grants) {
		d.Gained, d.Lost = gains(from, to, upgrade), gains(to, from, upgrade)
		if d.Gained != nil || d.Lost != nil {
			list = append(list, d)
		}
	}
	add(Difference{Everybody: true}, grants{own: old.patternRules()}, grants{own: new.patternRules()})
	add(Difference{}, old.grants(""), new.grants(""))
	samePatterns := !upgrade && slices.Equal(old.patternRules(), new.patternRules())
	names := make(map[string]bool)
	for name, rules := range old.users.all() {
		if !samePatterns || !rules.equal(new.rulesOf(name)) {
			names[name] = true
		}
	}
	for name := range new.users.all() {
		if old.rulesOf(name) == "" {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		add(Difference{User: strings.Clone(name)}, old.grants(name), new.grants(name))
	}
	return list
}

// grants are the rules that apply to a user, those that deny first.
type grants struct{ own, patterns []Rule }

func (p *Policy) grants(user string) grants {
	var g grants
	for r := range p.rulesOf(user).all() {
		g.own = append(g.own, r)
	}
	if hasWildcard(user) {
		return g
	}
	for _, t := range p.patterns {
		if topic, ok := t.of(user); ok {
			g.patterns = append(g.patterns, Rule{t.Access, topic})
		}
	}
	return g
}

func (p *Policy) patternRules() []Rule {
	var rules []Rule
	for _, t := range p.patterns {
		rules = append(rules, t.Rule)
	}
	return rules
}

// of returns the topic that a pattern becomes for a user.
func (p *pattern) of(user string) (topic string, ok bool) {
	if p.named && user == "" {
		return "", false
	}
	var b strings.Builder
	for _, part := range p.parts {
		if part.name != 'u' {
			b.WriteString(part.text)
			continue
		}
		if p.exact && strings.Contains(user, "/") {
			return "", false
		}
		b.WriteString(user)
	}
	return b.String(), true
}

// held tells whether there is access want to all of topic.
func (g grants) held(want Access, topic string) bool {
	for _, list := range [][]Rule{g.own, g.patterns} {
		for _, r := range list {
			if r.Access.decides(want) && covers(r.Topic, topic) {
				return r.Access != Deny
			}
		}
	}
	return false
}

// gains returns what to has and from has not, of to's own rules, of what
// from's own denials took, and, if asked, of to's patterns.
func gains(from, to grants, patterns bool) []Rule {
	list := to.own
	if patterns {
		list = slices.Concat(to.own, to.patterns)
	}
	var found []Rule
	add := func(a Access, topic string) {
		for i := range found {
			if found[i].Topic == topic {
				found[i].Access |= a
				return
			}
		}
		found = append(found, Rule{a, topic})
	}
	for _, want := range []Access{Read, Write} {
		for _, r := range list {
			if r.Access.includes(want) && r.Access != Deny && to.held(want, r.Topic) && !from.held(want, r.Topic) {
				add(want, r.Topic)
			}
		}
		for _, d := range from.own {
			if d.Access != Deny {
				break
			}
			for _, r := range slices.Concat(to.own, to.patterns) {
				if !r.Access.includes(want) || r.Access == Deny || !overlap(r.Topic, d.Topic) {
					continue
				}
				topic := d.Topic
				if covers(d.Topic, r.Topic) {
					topic = r.Topic
				}
				if to.held(want, topic) && !from.held(want, topic) {
					add(want, topic)
				}
			}
		}
	}
	return found
}

// all yields the rules, those that deny first.
func (r rules) all() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for ; r != ""; r = r.rest() {
			if !yield(r.rule()) {
				return
			}
		}
	}
}

// equal tells whether two lists say the same, in whatever lines.
func (r rules) equal(s rules) bool {
	for ; r != "" && s != ""; r, s = r.rest(), s.rest() {
		if r.rule() != s.rule() {
			return false
		}
	}
	return r == s
}
