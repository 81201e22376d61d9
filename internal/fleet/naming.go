// Package fleet turns dojot's devices into users of a Mosquitto broker: it
// names them, guards each tenant's devices against those of other tenants, and
// carries changes to the ACL file and to the CA.
package fleet

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dojot/mqtt-manager-go/acl"
)

// A Device is identified by its tenant and its id; ids are unique per tenant
// only.
type Device struct {
	Tenant string `json:"tenant"`
	ID     string `json:"id"`
}

func (d Device) String() string { return d.Tenant + "/" + d.ID }

// FieldError says which identifier cannot be used, and why.
type FieldError struct {
	Field string // "tenant", "device id", or "user name", which is made of them
	Value string
	Want  string
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s %q: want %s", e.Field, e.Value, e.Want) }

// maxIdentifier bounds tenants and ids, in bytes. dojot's are at most 36.
const maxIdentifier = 255

func checkIdentifier(field, value string) error {
	bad := func(want string) error { return &FieldError{field, value, want} }
	switch {
	case value == "":
		return bad("at least one character")
	case len(value) > maxIdentifier:
		return &FieldError{field, shorten(value), fmt.Sprintf("at most %d bytes", maxIdentifier)}
	case !utf8.ValidString(value):
		return bad("valid UTF-8")
	case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
		return bad("printable characters alone, no line breaks or invisible ones")
	case value == "." || value == "..":
		return bad("a name, not a step in a path")
	case strings.ContainsAny(value, "+#/"):
		return bad("none of + # /, which are special in topics")
	case strings.TrimSpace(value) != value:
		return bad("no blanks at either end")
	case value[0] == '$':
		return bad("no $ at the start, which makes a topic special")
	}
	return nil
}

// shorten keeps errors readable.
func shorten(s string) string { return strings.ToValidUTF8(s[:20], "") + "…" }

// The places in a template where a device's identifiers go.
const (
	placeTenant = "{tenant}"
	placeID     = "{id}"
)

// Naming says what a device is called at the broker and what it may do there.
// It works in both directions: from a device to its user and rules, and back,
// so that the ACL file itself tells whose each user is.
type Naming struct {
	user       template
	rules      []ruleTemplate
	separators map[string][]string // identifier → texts that it must not contain
}

type ruleTemplate struct {
	access acl.Access
	topic  template
}

// template is a text with places, and the expression that takes it apart.
type template struct {
	text  string
	match *regexp.Regexp
}

// NewNaming returns the naming by which a device's user is called by the
// template user, "{id}" say, and has the rules given, each a template in the
// words of the ACL file: "write /{tenant}/{id}/attrs".
//
// It refuses templates by which two devices could share a user's rights: the
// rules or the user must name the tenant, and the user must name the id.
func NewNaming(user string, rules ...string) (*Naming, error) {
	n := &Naming{separators: map[string][]string{}}
	if !strings.Contains(user, placeID) {
		return nil, fmt.Errorf("user template %q: want %s in it", user, placeID)
	}
	var err error
	if n.user, err = n.parse("user template", user); err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, errors.New("a device needs at least one rule")
	}
	tenant := strings.Contains(user, placeTenant)
	for _, text := range rules {
		access, topic, ok := strings.Cut(text, " ")
		if !ok {
			return nil, fmt.Errorf("rule template %q: want an access and a topic, like \"write /%s/%s/attrs\"", text, placeTenant, placeID)
		}
		if !strings.Contains(topic, placeID) {
			return nil, fmt.Errorf("rule template %q: want %s in the topic", text, placeID)
		}
		tenant = tenant || strings.Contains(topic, placeTenant)
		t, err := n.parse("rule template", topic)
		if err != nil {
			return nil, err
		}
		// What a device's rule will look like must be something the broker
		// loads, and is judged here once rather than at each event.
		sample, err := acl.ParseRule(access + " " + t.fill(Device{"t", "d"}))
		if err != nil {
			return nil, fmt.Errorf("rule template %q: %w", text, err)
		}
		n.rules = append(n.rules, ruleTemplate{sample.Access, t})
	}
	if !tenant {
		return nil, fmt.Errorf("no template names the %s, and ids are unique per tenant only", placeTenant)
	}
	return n, nil
}

var places = regexp.MustCompile(`\{[^{}]*\}`)

// parse compiles a template and notes what its identifiers must not contain:
// the text between two places belongs to neither of them, or "a:b" with "c"
// and "a" with "b:c" would be one and the same.
func (n *Naming) parse(what, text string) (template, error) {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || strings.TrimSpace(text) != text {
		return template{}, fmt.Errorf("%s %q: want no control characters and no blanks at either end", what, text)
	}
	var expr strings.Builder
	expr.WriteString(`^`)
	end, previous := 0, ""
	seen := map[string]bool{}
	for _, at := range places.FindAllStringIndex(text, -1) {
		literal, place := text[end:at[0]], text[at[0]:at[1]]
		if place != placeTenant && place != placeID {
			return template{}, fmt.Errorf("%s %q: unknown place %q (want %s or %s)", what, text, place, placeTenant, placeID)
		}
		if seen[place] {
			return template{}, fmt.Errorf("%s %q: %s appears twice", what, text, place)
		}
		seen[place] = true
		if previous != "" {
			if literal == "" {
				return template{}, fmt.Errorf("%s %q: want a separator between %s and %s", what, text, previous, place)
			}
			n.separators[previous] = append(n.separators[previous], literal)
		}
		fmt.Fprintf(&expr, `%s(?P<%s>.+?)`, regexp.QuoteMeta(literal), strings.Trim(place, "{}"))
		end, previous = at[1], place
	}
	expr.WriteString(regexp.QuoteMeta(text[end:]) + `$`)
	return template{text: text, match: regexp.MustCompile(expr.String())}, nil
}

// fill puts a device's identifiers in their places; what is put in is not
// looked at again.
func (t template) fill(d Device) string {
	return strings.NewReplacer(placeTenant, d.Tenant, placeID, d.ID).Replace(t.text)
}

// read takes a filled template apart. Identifiers that it has no place for
// stay empty.
func (t template) read(text string) (d Device, ok bool) {
	m := t.match.FindStringSubmatch(text)
	if m == nil {
		return Device{}, false
	}
	for i, name := range t.match.SubexpNames() {
		switch "{" + name + "}" {
		case placeTenant:
			d.Tenant = m[i]
		case placeID:
			d.ID = m[i]
		}
	}
	return d, true
}

// Check refuses a device whose identifiers could say something else than a
// name in an ACL file, a topic or a path. Its error is a *FieldError.
func (n *Naming) Check(d Device) error {
	for _, f := range []struct{ field, value, place string }{
		{"tenant", d.Tenant, placeTenant},
		{"device id", d.ID, placeID},
	} {
		if err := checkIdentifier(f.field, f.value); err != nil {
			return err
		}
		for _, separator := range n.separators[f.place] {
			if strings.Contains(f.value, separator) {
				return &FieldError{f.field, f.value, fmt.Sprintf("no %q, which separates the parts of a name", separator)}
			}
		}
	}
	return checkUser(n.User(d))
}

// maxUser is how long a common name can be, in characters: RFC 5280's
// ub-common-name.
const maxUser = 64

// checkUser refuses names that cannot be told apart in a certificate or at the
// CA: EJBCA stores a slash for each of these characters, so that two devices
// would be one end entity there.
func checkUser(user string) error {
	const alike = ";!%?$~<>`"
	switch {
	case utf8.RuneCountInString(user) > maxUser:
		return &FieldError{"user name", shorten(user), fmt.Sprintf("at most %d characters, as many as a certificate's common name can have", maxUser)}
	case strings.ContainsAny(user, alike):
		return &FieldError{"user name", user, "none of " + alike + ", which EJBCA takes for one another"}
	}
	return nil
}

// User returns the name of a device's user.
func (n *Naming) User(d Device) string { return n.user.fill(d) }

// Rules returns what a device may do.
func (n *Naming) Rules(d Device) []acl.Rule {
	rules := make([]acl.Rule, len(n.rules))
	for i, r := range n.rules {
		rules[i] = acl.Rule{Access: r.access, Topic: r.topic.fill(d)}
	}
	return rules
}

// Owner returns the device that a user of the ACL file stands for, judged by
// its name and any of its rules. A user whose rules are not of this naming is
// nobody's device: somebody wrote it for another purpose.
func (n *Naming) Owner(user string, rules []acl.Rule) (d Device, ok bool) {
	named, ok := n.user.read(user)
	if !ok {
		return Device{}, false
	}
	for _, rule := range rules {
		for _, t := range n.rules {
			d, ok := t.topic.read(rule.Topic)
			if !ok || d.ID != named.ID {
				continue
			}
			if d.Tenant == "" {
				d.Tenant = named.Tenant
			}
			// Taking a name apart may go wrong where putting it together
			// cannot, so that decides.
			if n.Check(d) == nil && n.User(d) == user && slices.ContainsFunc(n.Rules(d), func(r acl.Rule) bool { return r.Topic == rule.Topic }) {
				return d, true
			}
		}
	}
	return Device{}, false
}
