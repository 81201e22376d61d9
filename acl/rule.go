package acl

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Access is what a rule grants, or what a client wants. The zero Access is
// Deny.
type Access uint8

const (
	Deny  Access = iota // nothing, whatever other rules of the list grant
	Read                // receive messages; brokers grant every subscription
	Write               // publish messages
	ReadWrite
)

// includes tells whether a rule with access a grants want, one of Read and
// Write.
func (a Access) includes(want Access) bool { return a&want == want }

// String returns the word that stands for a in a file.
func (a Access) String() string {
	switch a {
	case Deny:
		return "deny"
	case Read:
		return "read"
	case Write:
		return "write"
	case ReadWrite:
		return "readwrite"
	}
	return fmt.Sprintf("Access(%d)", uint8(a))
}

func (d dialect) parseAccess(word string) (Access, bool) {
	switch word {
	case "deny":
		return Deny, !d.noDeny
	case "read":
		return Read, true
	case "write":
		return Write, true
	case "readwrite":
		return ReadWrite, true
	}
	return 0, false
}

// Rule is what a topic or pattern line says about the topics that a filter
// matches.
type Rule struct {
	Access Access
	Topic  string // an MQTT topic filter; in patterns %u and %c stand for names
}

// ParseRule reads a rule in the words of a topic line, such as "write /a/b".
// Unlike there, the access word may not be left out, so that "read" alone is
// a mistake and not a grant of a topic of that name. A rule that SetUser
// would refuse is refused: errors wrap ErrAccess or ErrTopic.
func ParseRule(s string) (Rule, error) {
	word, topic, _ := strings.Cut(s, " ")
	access, ok := dialect{}.parseAccess(word)
	if !ok {
		return Rule{}, accessFault(word, dialect{})
	}
	r := Rule{access, strings.Trim(topic, " ")}
	if err := r.check(kindTopic, dialect{}); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// String returns the rule as ParseRule reads it.
func (r Rule) String() string { return r.Access.String() + " " + r.Topic }

// keyword returns what a line of that kind begins with.
func (k kind) keyword() string {
	if k == kindPattern {
		return "pattern "
	}
	return "topic "
}

// check refuses what brokers don't all read the same way.
func (r Rule) check(k kind, d dialect) error {
	if r.Access > ReadWrite || r.Access == Deny && d.noDeny {
		return accessFault(r.Access.String(), d)
	}
	if err := checkText(ErrTopic, "topic", r.Topic); err != nil {
		return err
	}
	if why := filterFault(r.Topic); why != "" {
		return faultf(ErrTopic, "topic %s is not a valid filter: %s", quote(r.Topic), why)
	}
	if k == kindPattern {
		if hasPartLevel(r.Topic) {
			return faultf(ErrTopic, "pattern %s has %%u or %%c inside a level (want them to fill it, as Mosquitto 2.1 does)", quote(r.Topic))
		}
	}
	return checkLength(ErrTopic, "topic", r.Topic, len(k.keyword())+len(r.Access.String())+1+len(r.Topic))
}

// substitutes tells whether %u or %c is anywhere in a pattern.
func substitutes(pattern string) bool {
	return strings.Contains(pattern, "%u") || strings.Contains(pattern, "%c")
}

// hasPartLevel tells whether %u or %c is a part of a level of a pattern.
func hasPartLevel(pattern string) bool {
	for level := range strings.SplitSeq(pattern, "/") {
		if len(level) > 2 && substitutes(level) {
			return true
		}
	}
	return false
}

// userPrefix is what the line begins with that begins a block of a user.
const userPrefix = "user "

func checkName(user string) error {
	if err := checkText(ErrUser, "user name", user); err != nil {
		return err
	}
	return checkLength(ErrUser, "user name", user, len(userPrefix)+len(user))
}

// checkText refuses what a line can't carry, and what no client can present
// because brokers drop packets with such strings.
func checkText(kind error, field, s string) error {
	switch {
	case s == "":
		return faultf(kind, "%s is empty", field)
	case s[0] == ' ' || s[len(s)-1] == ' ':
		return faultf(kind, "%s %s begins or ends with a space, which the broker would cut off", field, quote(s))
	case isPlain(s):
		return nil
	case !utf8.ValidString(s):
		return faultf(kind, "%s %s is not valid UTF-8", field, quote(s))
	}
	for _, r := range s {
		if !presentable(r) {
			return faultf(kind, "%s %s holds %U (want no control characters and no noncharacters)", field, quote(s), r)
		}
	}
	return nil
}

// isPlain tells whether s is printable ASCII, as most names and topics are.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// presentable tells whether brokers accept r in a topic or user name.
func presentable(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return false
	case r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe:
		return false
	}
	return true
}

// maxLine is the length of the longest line, without its end, that brokers
// before 1.6.9 don't split in two.
const maxLine = 1022

func checkLength(kind error, field, s string, line int) error {
	if line > maxLine {
		return faultf(kind, "%s %s makes a line of %d bytes (want at most %d)", field, quote(s), line, maxLine)
	}
	return nil
}
