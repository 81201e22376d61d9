package acl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Widening is a way in which patterns grant more than the stanzas that they
// replace.
type Widening string

// What Compact may do only if it is asked to.
const (
	// WidenUnlisted: patterns hold for each user name with which a client can
	// connect, not only for those that had a stanza. Nobody's removal from the
	// file ends anything any more; that takes CompactOptions.Removed, or the
	// revocation of a certificate.
	WidenUnlisted Widening = "unlisted"
	// WidenStanzas: there are several kinds of stanzas, as of several tenants,
	// and users get what any of them grants, under their own names.
	WidenStanzas Widening = "stanzas"
	// WidenKept: users whose stanzas stay get what the patterns grant to their
	// names, where a denial would take something else from them.
	WidenKept Widening = "kept"
)

// CompactOptions say what Compact may do.
type CompactOptions struct {
	Version Version    // of the broker
	Removed []string   // users who shall be denied everything, listed or not (2.0)
	Allow   []Widening // by name
}

// Compaction is what Compact has made of a file.
type Compaction struct {
	File     *File
	Patterns []Rule   // that were added
	Users    int      // whose stanzas the patterns replace
	Effects  []Effect // what else is different
}

// Effect is a change of meaning.
type Effect struct {
	Widening Widening // empty if nobody gets more
	Message  string
}

// WidenError is a compaction that would grant more than it was allowed to.
type WidenError struct {
	Effects []Effect // those that weren't allowed
}

func (e *WidenError) Error() string {
	var b strings.Builder
	b.WriteString("patterns would grant more than the stanzas:")
	for i, f := range e.Effects {
		if i > 0 {
			b.WriteByte(';')
		}
		fmt.Fprintf(&b, " %s (want %q to be allowed)", f.Message, string(f.Widening))
	}
	return b.String()
}

// ErrNotUniform is a file without two stanzas that are the same but for the
// name, as Compact can replace them.
var ErrNotUniform = errors.New("acl: no uniform stanzas")

// Compact returns a file in which patterns stand for the stanzas that are the
// same but for the user's name, for brokers that need too long to load those:
// before 2.1 the time grows with the square of the number of users. It leaves
// f as it is. Stanzas are replaced if they only grant, each rule has the name
// as a level of its topic, and names and denials of other patterns don't
// stand against it; all others stay. The replaced users may do what they
// could, but for clients whose identifier holds "+" or "#", to which brokers
// apply no patterns.
//
// What becomes more is an error, a *WidenError, unless it is allowed.
func Compact(f *File, o CompactOptions) (*Compaction, error) {
	f, err := f.as(o.Version)
	if err != nil {
		return nil, fmt.Errorf("brokers of version %s don't load the file: %w", o.Version, err)
	}
	c := compaction{file: f.clone(), options: o, policy: f.Compile(o.Version)}
	for _, user := range o.Removed {
		c.file.RemoveUser(user)
	}
	c.findStanzas()
	if len(c.kinds) == 0 {
		return nil, ErrNotUniform
	}
	if err := c.replace(); err != nil {
		return nil, err
	}
	c.keep()
	if err := c.deny(); err != nil {
		return nil, err
	}
	refused := slices.DeleteFunc(slices.Clone(c.effects), func(e Effect) bool {
		return e.Widening == "" || slices.Contains(o.Allow, e.Widening)
	})
	if len(refused) > 0 {
		return nil, &WidenError{refused}
	}
	return &Compaction{File: c.file, Patterns: c.patterns, Users: c.users, Effects: c.effects}, nil
}

type compaction struct {
	file     *File
	options  CompactOptions
	policy   *Policy // of the file as it was
	kinds    []*kindOfStanza
	patterns []Rule // new ones
	users    int
	effects  []Effect
}

// kindOfStanza is what stanzas say with %u in place of the user's name.
type kindOfStanza struct {
	rules []Rule
	users []string
}

func (c *compaction) effect(w Widening, format string, args ...any) {
	c.effects = append(c.effects, Effect{w, fmt.Sprintf(format, args...)})
}

// findStanzas collects the kinds that more than one user has.
func (c *compaction) findStanzas() {
	kinds := make(map[string]*kindOfStanza)
	var order []*kindOfStanza
	for name := range c.file.Users() {
		rules, ok := c.template(name)
		if !ok {
			continue
		}
		key := fmt.Sprint(rules)
		k := kinds[key]
		if k == nil {
			k = &kindOfStanza{rules: rules}
			kinds[key] = k
			order = append(order, k)
		}
		k.users = append(k.users, strings.Clone(name))
	}
	for _, k := range order {
		if len(k.users) > 1 {
			c.kinds = append(c.kinds, k)
		}
	}
}

// template returns the rules of a user as patterns.
func (c *compaction) template(name string) (rules []Rule, ok bool) {
	if checkName(name) != nil || strings.ContainsAny(name, "/+#%") || name[0] == '$' {
		return nil, false
	}
	for r := range c.file.Rules(name) {
		levels := strings.Split(r.Topic, "/")
		named := false
		for i, level := range levels {
			if level == name {
				levels[i], named = "%u", true
			}
		}
		t := Rule{r.Access, strings.Join(levels, "/")}
		if !named || r.Access == Deny || substitutes(r.Topic) || t.check(kindPattern, c.file.dialect) != nil || c.deniedByPattern(r.Topic) {
			return nil, false
		}
		rules = append(rules, t)
	}
	return rules, len(rules) > 0
}

// deniedByPattern tells whether a pattern of the file may deny a part of topic,
// which would bind patterns and didn't bind the users' own rules.
func (c *compaction) deniedByPattern(topic string) bool {
	return slices.ContainsFunc(c.policy.patterns, func(p pattern) bool {
		return p.Access == Deny && overlap(p.withPlaces(c.options.Version.place()), topic)
	})
}

// replace puts patterns in the place of the stanzas.
func (c *compaction) replace() error {
	all := slices.Collect(c.file.Patterns())
	for _, k := range c.kinds {
		for _, r := range k.rules {
			if !slices.Contains(all, r) {
				all = append(all, r)
				c.patterns = append(c.patterns, r)
			}
		}
		for _, user := range k.users {
			c.file.RemoveUser(user)
		}
		c.users += len(k.users)
	}
	if err := c.file.addPatterns(c.patterns); err != nil {
		return err
	}
	c.effect("", "clients with + or # in their identifier lose what the stanzas of %d users granted them, since brokers apply no patterns to those", c.users)
	if len(c.patterns) > 0 {
		c.effect(WidenUnlisted, "users without a stanza, such as removed ones whose certificate is still good, get %s", words(c.patterns))
	}
	for _, k := range c.kinds {
		own := grants{own: k.rules}
		var more []Rule
		for _, r := range c.patterns {
			if !own.holds(r) {
				more = append(more, r)
			}
		}
		if len(more) > 0 {
			c.effect(WidenStanzas, "%d users, %s among them, get %s beside their own %s", len(k.users), quote(k.users[0]), words(more), words(k.rules))
		}
	}
	return nil
}

// keep sees to it that users whose stanzas stay get no more than before.
func (c *compaction) keep() {
	gaining, example := 0, ""
	place := c.options.Version.place()
	for _, name := range slices.Collect(c.file.Users()) {
		before := c.policy.grants(name, place)
		own := slices.Collect(c.file.Rules(name))
		denials := slices.Clone(own)
		var more, granted []Rule
		for _, r := range c.patterns {
			p := newPattern(r, 0, c.options.Version)
			topic, ok := p.of(name, place)
			if !ok || hasWildcard(name) || before.holds(Rule{r.Access, topic}) {
				continue
			}
			if before.touches(topic) {
				more = append(more, Rule{r.Access, topic})
				continue
			}
			denials = append(denials, Rule{Deny, topic})
			granted = append(granted, Rule{r.Access, topic})
		}
		if len(denials) > len(own) {
			if _, err := c.file.SetUser(name, denials...); err != nil { // a name or rule that can't be written, or no deny
				more = append(more, granted...)
			}
		}
		if len(more) > 0 {
			if gaining++; gaining == 1 {
				example = fmt.Sprintf("%s, for one, %s", quote(name), words(more))
			}
		}
	}
	if gaining > 0 {
		c.effect(WidenKept, "%d users whose stanzas stay get what patterns grant to their names: %s", gaining, example)
	}
}

// deny gives the removed users a stanza that patterns can't get past.
func (c *compaction) deny() error {
	denials := []Rule{{Deny, "#"}}
	for r := range c.file.Patterns() {
		// # matches no topic that begins with $; such patterns name a constant.
		if strings.HasPrefix(r.Topic, "$") {
			first, _, _ := strings.Cut(r.Topic, "/")
			if d := (Rule{Deny, first + "/#"}); !slices.Contains(denials, d) {
				denials = append(denials, d)
			}
		}
	}
	for _, user := range c.options.Removed {
		own := denials
		if strings.HasPrefix(user, "$") { // and up to 2.0, a name can begin a topic so
			own = append(slices.Clone(own), Rule{Deny, user + "/#"})
		}
		if _, err := c.file.SetUser(user, own...); err != nil {
			return fmt.Errorf("removed user %s: %w", quote(user), err)
		}
	}
	return nil
}

// holds tells whether all that r grants is there.
func (g grants) holds(r Rule) bool {
	for _, want := range []Access{Read, Write} {
		if r.Access.includes(want) && !g.held(want, r.Topic) {
			return false
		}
	}
	return true
}

// touches tells whether there is anything to lose by a denial of topic.
func (g grants) touches(topic string) bool {
	for _, r := range slices.Concat(g.own, g.patterns) {
		if r.Access != Deny && overlap(r.Topic, topic) {
			return true
		}
	}
	return false
}

// words lists rules as a file has them, a few of them.
func words(rules []Rule) string {
	const most = 5
	var list []string
	for _, r := range rules[:min(len(rules), most)] {
		list = append(list, quote(r.String()))
	}
	if len(rules) > most {
		list = append(list, fmt.Sprintf("%d more", len(rules)-most))
	}
	return strings.Join(list, ", ")
}
