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
// one covers, a pattern included, is no gain, and its end no loss.
//
// What patterns say is everybody's. Where one version puts a name into a
// pattern and the other doesn't, everybody loses the one pattern and gains the
// other, by the same words. Users with rules of their own to whom a pattern
// grants or denies something else for their name, one with a slash or a "$" at
// its beginning from 2.1 on, come one by one; whoever else may have such a
// name, or such a client identifier, can't be known.
func Diff(old, new *Policy) []Difference {
	var list []Difference
	upgrade := old.version.wholeLevels() != new.version.wholeLevels()
	add := func(d Difference, from, to grants) {
		d.Gained, d.Lost = gains(from, to, upgrade), gains(to, from, upgrade)
		if d.Gained != nil || d.Lost != nil {
			list = append(list, d)
		}
	}
	place := old.version.place()
	if upgrade {
		place = levelPlace
	}
	oldPatterns, newPatterns := old.patternRules(place), new.patternRules(place)
	add(Difference{Everybody: true}, grants{own: oldPatterns}, grants{own: newPatterns})
	add(Difference{}, old.grants("", place), new.grants("", place))
	samePatterns := !upgrade && slices.Equal(oldPatterns, newPatterns)
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
		add(Difference{User: strings.Clone(name)}, old.grants(name, place), new.grants(name, place))
	}
	return list
}

// grants are the rules that apply to a user, those that deny first.
type grants struct{ own, patterns []Rule }

func (p *Policy) grants(user, place string) grants {
	var g grants
	for r := range p.rulesOf(user).all() {
		g.own = append(g.own, r)
	}
	if hasWildcard(user) {
		return g
	}
	for _, t := range p.patterns {
		if topic, ok := t.of(user, place); ok {
			g.patterns = append(g.patterns, Rule{t.Access, topic})
		}
	}
	return g
}

// patternRules returns the patterns with a place for each name that the broker
// puts in, unlike what looks like it and stands for itself.
func (p *Policy) patternRules(place string) []Rule {
	var rules []Rule
	for _, t := range p.patterns {
		rules = append(rules, Rule{t.Access, t.withPlaces(place)})
	}
	return rules
}

func (p *pattern) withPlaces(place string) string {
	var b strings.Builder
	for _, part := range p.parts {
		if part.name != 0 {
			b.WriteString(place)
			b.WriteByte(part.name)
			continue
		}
		b.WriteString(part.text)
	}
	return b.String()
}

// place returns what stands for a name in the filters of a pattern.
func (v Version) place() string {
	if v.wholeLevels() {
		return levelPlace
	}
	return anyPlace
}

// of returns the topic that a pattern becomes for a user, with a place for the
// client identifier.
func (p *pattern) of(user, place string) (topic string, ok bool) {
	if p.named && user == "" {
		return "", false
	}
	var b strings.Builder
	for i, part := range p.parts {
		switch part.name {
		case 0:
			b.WriteString(part.text)
		case 'c':
			b.WriteString(place + "c")
		default:
			if p.exact && (strings.Contains(user, "/") || i == 0 && user[0] == '$') {
				return "", false
			}
			b.WriteString(user)
		}
	}
	return b.String(), true
}

// inWords says names as a file does.
func inWords(topic string) string {
	return strings.NewReplacer(levelPlace, "%", anyPlace, "%").Replace(topic)
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

// gains returns what to has and from has not: of to's own rules, of what only
// from's denials took, and, if asked, of to's patterns.
func gains(from, to grants, patterns bool) []Rule {
	list := to.own
	if patterns {
		list = slices.Concat(to.own, to.patterns)
	}
	var found []Rule
	add := func(a Access, topic string) {
		topic = inWords(topic)
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
			if slices.Contains(to.own, d) {
				continue
			}
			for topic := range taken(d, want, slices.Concat(to.own, to.patterns)) {
				add(want, topic)
			}
		}
		// What a pattern denies is everybody's loss, unless to has rules of its
		// own that come before patterns, and from hasn't, or the pattern denies
		// something else for the name.
		for _, d := range from.patterns {
			if d.Access != Deny {
				break
			}
			granted := list
			if slices.Contains(to.patterns, d) {
				granted = to.own
			}
			for topic := range taken(d, want, granted) {
				if !(grants{own: from.own}).held(want, topic) {
					add(want, topic)
				}
			}
		}
	}
	return found
}

// taken yields the topics for which there is access want by rules, and which d
// denies.
func taken(d Rule, want Access, rules []Rule) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, r := range rules {
			if !r.Access.includes(want) || r.Access == Deny {
				continue
			}
			// What denies r precedes it.
			if topic, ok := meet(d.Topic, r.Topic); ok && !denied(rules[:i], topic) && !yield(topic) {
				return
			}
		}
	}
}

// denied tells whether rules deny all of topic.
func denied(rules []Rule, topic string) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.Access == Deny && covers(r.Topic, topic) })
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
