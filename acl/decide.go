package acl

import "strings"

// Allows tells whether the broker lets c publish to topic (Write), delivers
// messages of topic to c (Read), or both (ReadWrite). A subscription is
// nothing that an access control file could refuse. Topic is the broker's,
// with the listener's mount_point in front. It doesn't allocate.
func (p *Policy) Allows(c Client, want Access, topic string) bool {
	if want == ReadWrite {
		return p.Allows(c, Read, topic) && p.Allows(c, Write, topic)
	}
	if topic == "" || want != Read && want != Write {
		return false
	}
	own := p.rulesOf(c.Username)
	// Mostly a device asks for the one topic that it has.
	if own != "" && own.flags()&ruleSound != 0 && topic[0] != '$' && own.access().decides(want) && own.topic() == topic {
		return own.access() != Deny
	}
	// Only who is allowed has to be asked whether there can be such a topic.
	return p.decideBy(own, c, want, topic).allows() && topicFault(topic) == ""
}

// ground is what a verdict rests on.
type ground uint8

const (
	noRule ground = iota
	fileRefused
	noRulesAtAll
	badWant
	badTopic
	dollarSYS
	dollarShare
	ownRule
	aPattern
	dangerousUsername
	dangerousID
)

// verdict is small enough to be returned in registers.
type verdict struct {
	ground  ground
	own     rules    // of ownRule; the first one decided
	pattern *pattern // of aPattern
}

func (v verdict) allows() bool {
	switch v.ground {
	case ownRule, aPattern:
		return v.rule().Access != Deny
	}
	return v.ground == noRulesAtAll
}

// rule returns the rule that decided.
func (v verdict) rule() Rule {
	switch v.ground {
	case ownRule:
		return v.own.rule()
	case aPattern:
		return v.pattern.Rule
	}
	return Rule{}
}

// line returns where that rule stands, or 0.
func (v verdict) line() int {
	switch v.ground {
	case ownRule:
		return int(v.own.line())
	case aPattern:
		return int(v.pattern.line)
	}
	return 0
}

// decide asks for access Read or Write to a topic that is not empty.
func (p *Policy) decide(c Client, want Access, topic string) verdict {
	return p.decideBy(p.rulesOf(c.Username), c, want, topic)
}

// decideBy follows the order in which brokers ask.
func (p *Policy) decideBy(own rules, c Client, want Access, topic string) verdict {
	if topic[0] == '$' && p.version.guardsDollar() {
		switch {
		case want == Write && strings.HasPrefix(topic, "$SYS") && !matches("$SYS/broker/connection/+/state", topic, p.plusHash):
			return verdict{ground: dollarSYS}
		case strings.HasPrefix(topic, "$share"):
			return verdict{ground: dollarShare}
		}
	}
	switch {
	case p.refused != nil:
		return verdict{ground: fileRefused}
	case p.open:
		return verdict{ground: noRulesAtAll}
	}
	if own := own.find(want, topic, p.plusHash); own != "" {
		return verdict{ground: ownRule, own: own}
	}
	if len(p.patterns) == 0 {
		return verdict{}
	}
	switch {
	case hasWildcard(c.Username):
		return verdict{ground: dangerousUsername}
	case hasWildcard(c.ID):
		return verdict{ground: dangerousID}
	}
	for i := range p.patterns {
		if t := &p.patterns[i]; t.Access.decides(want) && t.matches(c, topic, p.plusHash) {
			return verdict{ground: aPattern, pattern: t}
		}
	}
	return verdict{}
}

// decides tells whether a match of a rule with access a settles the question.
func (a Access) decides(want Access) bool { return a == Deny || a.includes(want) }
