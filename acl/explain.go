package acl

import (
	"fmt"
	"strings"
)

// Decision is a verdict and its grounds.
type Decision struct {
	Allowed bool
	Line    int    // 1-based line of the file that decided, 0 if none did
	Reason  string // why, and where nothing grants it, what comes near
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
	var v verdict
	switch {
	case want != Read && want != Write:
		v.ground = badWant
	case topicFault(topic) != "":
		v.ground = badTopic
	default:
		v = p.decide(c, want, topic)
	}
	return Decision{Allowed: v.allows(), Line: v.line(), Reason: p.reason(v, c, want, topic)}
}

func (p *Policy) reason(v verdict, c Client, want Access, topic string) string {
	who := "clients without a user name"
	if c.Username != "" {
		who = "user " + quote(c.Username)
	}
	verb := "allows"
	if v.rule().Access == Deny {
		verb = "denies"
	}
	switch v.ground {
	case badWant:
		return fmt.Sprintf("nobody can be granted %s", want)
	case badTopic:
		return fmt.Sprintf("no message can have the topic %s: it is %s", quote(topic), topicFault(topic))
	case fileRefused:
		return fmt.Sprintf("brokers of version %s don't load the file: line %d: %v", p.version, p.refused.Line, p.refused.Err)
	case noRulesAtAll:
		return fmt.Sprintf("the file has no rules, and brokers of version %s then allow everything", p.version)
	case dollarSYS:
		return fmt.Sprintf("brokers refuse to publish to %s, which begins with $SYS", quote(topic))
	case dollarShare:
		return fmt.Sprintf("brokers refuse messages of %s, which begins with $share", quote(topic))
	case ownRule:
		return fmt.Sprintf("line %d, %s, %s it for %s", v.line(), quote("topic "+v.rule().String()), verb, who)
	case aPattern:
		return fmt.Sprintf("line %d, %s, %s it for %s with the client identifier %s", v.line(), quote("pattern "+v.rule().String()), verb, who, quote(c.ID))
	case dangerousUsername:
		return fmt.Sprintf("no rule of %s decides, and brokers ask no pattern about a user name with + or # in it", who)
	case dangerousID:
		return fmt.Sprintf("no rule of %s decides, and brokers ask no pattern about the client identifier %s, which has + or # in it", who, quote(c.ID))
	}
	return fmt.Sprintf("no rule of %s and no pattern grants %s on %s%s", who, want, quote(topic), p.hint(c, want, topic))
}

// hint says what is nearly a grant, which is what people look for who see a
// handshake succeed and no data arrive.
func (p *Policy) hint(c Client, want Access, topic string) string {
	other, does := Write, "publish"
	if want == Write {
		other, does = Read, "receive"
	}
	if v := p.decide(c, other, topic); v.allows() {
		return fmt.Sprintf("; line %d only lets it %s", v.line(), does)
	}
	if topic[0] == '$' {
		if v := p.decide(c, want, "-"+topic[1:]); v.allows() {
			return fmt.Sprintf("; line %d does not, since # and + at the beginning match no topic that begins with $", v.line())
		}
	}
	slash := "/" + topic
	if strings.HasPrefix(topic, "/") {
		slash = topic[1:]
	}
	if slash != "" && slash[0] != '$' {
		if v := p.decide(c, want, slash); v.allows() {
			return fmt.Sprintf("; line %d grants %s, which differs in the slash at its beginning", v.line(), quote(slash))
		}
	}
	if v := p.decide(Client{c.Username, c.Username}, want, topic); v.allows() {
		return fmt.Sprintf("; line %d grants it to a client whose identifier is its user name, and not to %s (see use_username_as_clientid)", v.line(), quote(c.ID))
	}
	for _, t := range p.patterns {
		older := newPattern(t.Rule, t.line, Version{})
		if t.exact && t.Access.includes(want) && t.Access != Deny && older.matches(c, topic, p.plusHash) {
			return fmt.Sprintf("; line %d granted it up to Mosquitto 2.0, but from 2.1 on %%u and %%c must fill a level, and match no name with a slash", t.line)
		}
	}
	switch {
	case c.Username == "":
		return "; the client has no user name, which from a certificate takes use_identity_as_username or use_subject_as_username"
	case p.rulesOf(c.Username) != "":
		return p.hintOfRules(c.Username, want)
	}
	for _, name := range likeNames(c.Username) {
		if p.rulesOf(name) != "" {
			return fmt.Sprintf("; the file has rules of user %s and none of this one", quote(name))
		}
	}
	return "; the file has no rules of this user"
}

// hintOfRules says what a user has been granted instead.
func (p *Policy) hintOfRules(user string, want Access) string {
	const most = 3
	var list []string
	more := 0
	for r := p.rulesOf(user); r != ""; r = r.rest() {
		switch {
		case r.access() == Deny || !r.access().includes(want):
		case len(list) == most:
			more++
		default:
			list = append(list, fmt.Sprintf("%s (line %d)", quote(r.topic()), r.line()))
		}
	}
	if list == nil {
		return fmt.Sprintf("; none of its rules grants %s", want)
	}
	if more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("; its rules grant it on %s", strings.Join(list, ", "))
}

// likeNames returns the names that a user is often mistaken for: in another
// case, or without its tenant.
func likeNames(user string) []string {
	names := []string{strings.ToLower(user), strings.ToUpper(user)}
	if _, device, ok := strings.Cut(user, ":"); ok {
		names = append(names, device)
	}
	return names
}
