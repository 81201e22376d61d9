package acl

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Check is the kind of a Finding. Its text doesn't change.
type Check string

// The checks of Vet.
const (
	CheckRefused      Check = "refused"       // the broker doesn't load the file
	CheckDeny         Check = "deny"          // nor a file with deny, before 2.0
	CheckNoRules      Check = "no-rules"      // the file has none
	CheckSlowLoad     Check = "slow-load"     // the broker serves nobody while it loads
	CheckIgnoredLine  Check = "ignored-line"  // before 1.5.6
	CheckSplitLine    Check = "split-line"    // before 1.6.9
	CheckDuplicate    Check = "duplicate"     // a rule that is there already
	CheckShadowed     Check = "shadowed"      // a rule that a wider one covers, or a denial
	CheckNeverMatches Check = "never-matches" // a rule for topics that nobody can use
	CheckLiteralName  Check = "literal-name"  // %u or %c where it stands for itself
	CheckPartOfLevel  Check = "part-of-level" // %u or %c with which 2.1 does something else
	CheckNoName       Check = "no-name"       // a pattern without %u and %c
	CheckBroad        Check = "broad"         // a device's or everybody's rule for all first levels
	CheckTenant       Check = "tenant"        // a device that can write into another tenant
	CheckIdentity     Check = "identity"      // a name that brokers refuse or patterns miss
	CheckNoStanza     Check = "no-stanza"     // a user line without rules
)

// Finding is a line that does not do what it seems to, or more than anybody
// should want.
type Finding struct {
	Check   Check
	Line    int    // 1-based, 0 for the file as a whole
	User    string // whose line it is, "" for nobody's
	Message string // what is wrong
	Remedy  string // what to do about it
}

func (f Finding) String() string {
	return fmt.Sprintf("line %d: %s: %s; %s", f.Line, f.Check, f.Message, f.Remedy)
}

// slowUsers is from how many users on brokers before 2.1 take about a second
// to load the file.
const slowUsers = 20_000

// Vet tells what in a file brokers of version v refuse, ignore or take in
// another way than its author may think, in the order of the lines.
//
// A user is taken for a device if its name has the form tenant:device, or if
// its name, as it is or without the tenant, is a level of one of its topics.
// The tenant of the others is the level before that one.
func Vet(f *File, v Version) []Finding {
	t := vetting{file: f, version: v, tenants: make(map[string]bool)}
	if g, err := f.as(v); err == nil {
		t.file = g
	} else {
		t.vetRefused(err) // the rest is about the file as it was read
	}
	t.compiler = compiler{file: t.file, policy: &Policy{version: v}}
	t.readLines()
	t.patterns = slices.DeleteFunc(t.list, func(e entry) bool { return filterFault(e.Topic) != "" })
	t.list = nil
	t.vetFile()
	t.findTenants()
	t.vetRules("", kindPattern, t.patterns)
	if i, ok := t.file.firstBlock(""); ok {
		t.vetRules("", kindTopic, slices.Clone(t.rulesFrom(i)))
	}
	for i, name := range t.file.firstBlocks() {
		rules := slices.Clone(t.rulesFrom(i))
		t.vetUser(i, name, rules)
		t.vetRules(name, kindTopic, rules)
	}
	slices.SortStableFunc(t.findings, func(a, b Finding) int { return cmp.Compare(a.Line, b.Line) })
	return t.findings
}

type vetting struct {
	compiler
	file     *File
	version  Version
	patterns []entry
	tenants  map[string]bool // of the devices in the file
	findings []Finding
}

func (t *vetting) add(c Check, line uint32, user, message, remedy string) {
	t.findings = append(t.findings, Finding{c, int(line), strings.Clone(user), message, remedy})
}

// vetRefused tells why the broker doesn't load the file.
func (t *vetting) vetRefused(err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.add(CheckRefused, 0, "", err.Error(), "make it smaller")
		return
	}
	for _, err := range joined.Unwrap() {
		var e *SyntaxError
		errors.As(err, &e)
		if errors.Is(e, errDeny) {
			t.add(CheckDeny, uint32(e.Line), "", fmt.Sprintf("brokers of version %s don't load a file with deny", t.version),
				"leave out the grants that it is an exception of, or upgrade to 2.0")
			continue
		}
		t.add(CheckRefused, uint32(e.Line), "", fmt.Sprintf("brokers of version %s don't load the file: %v", t.version, e.Err), "mend the line")
	}
}

func (t *vetting) vetFile() {
	rules := 0
	for i := range t.file.blocks {
		number := t.numbers[i]
		for s, l := range t.file.lines(uint32(i)) {
			switch l.kind {
			case kindTopic, kindPattern:
				rules++
				if why := filterFault(l.text); why != "" {
					t.add(CheckNeverMatches, number, "", fmt.Sprintf("%s matches nothing: it is no filter, %s", quote(l.text), why), "mend the line, which later versions refuse")
				}
			case kindUnknown:
				t.add(CheckIgnoredLine, number, "", fmt.Sprintf("brokers of version %s pass over %s, and later ones don't load the file", t.version, quote(strings.TrimSpace(s))),
					"put # in its first column")
			}
			if s[len(s)-1] == '\n' {
				number++
			} else if t.file.dialect.raw && len(s) == rawLine {
				t.add(CheckSplitLine, number, "", fmt.Sprintf("brokers of version %s take what follows byte %d for a line of its own", t.version, rawLine),
					"make it shorter")
			}
		}
	}
	switch {
	case rules > 0:
	case t.version.emptyDenies():
		t.add(CheckNoRules, 0, "", "without rules, the broker denies everything to everybody", "add the rules of those who shall do something")
	default:
		t.add(CheckNoRules, 0, "", fmt.Sprintf("without rules, brokers of version %s allow everything to everybody", t.version), "add a rule, for a user that nobody has if need be")
	}
	if n := t.file.users.used; n > slowUsers && !t.version.since(2, 1, 0) {
		t.add(CheckSlowLoad, 0, "", fmt.Sprintf("brokers of version %s serve nobody while they load %d users, in a time that grows with the square of that", t.version, n),
			"use patterns, see Compact, or upgrade to 2.1")
	}
}

// vetUser looks at a name.
func (t *vetting) vetUser(block uint32, name string, rules []entry) {
	line := t.numbers[block]
	add := func(message, remedy string) { t.add(CheckIdentity, line, name, message, remedy) }
	switch {
	case len(name) > maxTopic:
		add("a name of more than 65535 bytes, which no client can have", "remove the user")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !presentable(r) }):
		add(fmt.Sprintf("no client can have the name %s: brokers refuse its characters", quote(name)), "remove the user")
	case len(t.patterns) == 0:
	case hasWildcard(name):
		add(fmt.Sprintf("brokers apply no pattern to %s, which has + or # in it", quote(name)), "rename the user")
	case strings.Contains(name, "/") && t.usesName() && t.version.wholeLevels():
		add(fmt.Sprintf("no pattern with %%u matches %s, which is more than one level", quote(name)), "rename the user, or give it rules of its own")
	case strings.Contains(name, "/") && t.usesName():
		add(fmt.Sprintf("in patterns, %s stands for several levels, and for none from 2.1 on", quote(name)), "rename the user, or give it rules of its own")
	}
	if len(rules) == 0 {
		t.add(CheckNoStanza, line, name, fmt.Sprintf("user %s has no rules and gets what patterns grant", quote(name)), "add its rules or remove the line")
	}
}

func (t *vetting) usesName() bool {
	return slices.ContainsFunc(t.patterns, func(e entry) bool { return strings.Contains(e.Topic, "%u") })
}

// vetRules looks at the list of a user, or of everybody.
func (t *vetting) vetRules(user string, k kind, rules []entry) {
	t.vetCovered(user, k, rules)
	home, device := homeOf(user, rules)
	for _, e := range rules {
		add := func(c Check, message, remedy string) { t.add(c, e.line, user, message, remedy) }
		quoted := quote(e.Topic)
		if why := t.neverMatches(e.Rule); why != "" {
			add(CheckNeverMatches, fmt.Sprintf("%s matches nothing: %s", quoted, why), "remove or mend the line")
			continue
		}
		switch {
		case k == kindTopic && substitutes(e.Topic):
			add(CheckLiteralName, fmt.Sprintf("%%u and %%c stand for nothing in the topic line of %s", quoted), "use a pattern line, or write the name")
		case k == kindPattern && !substitutes(e.Topic):
			add(CheckNoName, fmt.Sprintf("%s is the same for everybody, whoever's section it stands in", quoted), "use a topic line unless that is meant")
		case k == kindPattern && hasPartLevel(e.Topic):
			add(CheckPartOfLevel, fmt.Sprintf("up to 2.0, names are put into %s, and from 2.1 on it is taken as it stands", quoted), "let %u and %c fill a level")
		}
		if e.Access == Deny || e.Topic[0] == '$' || k == kindTopic && user != "" && !device {
			continue
		}
		first := firstLevel(e.Topic)
		wild := first == "+" || first == "#"
		if wild {
			add(CheckBroad, fmt.Sprintf("%s grants %s everywhere", quoted, e.Access), "name the first level")
		}
		tenant, _, _ := strings.Cut(first, ":")
		if !e.Access.includes(Write) || user == "" && k == kindTopic {
			continue
		}
		if k == kindPattern {
			if others := len(t.tenants); others > 0 && (wild || t.tenants[first] && others > 1) {
				add(CheckTenant, fmt.Sprintf("devices of all tenants can write to %s", quoted), "use a topic line for each device, or the tenant's name in its user name")
			}
			continue
		}
		if wild || t.tenants[tenant] && tenant != home {
			add(CheckTenant, fmt.Sprintf("device %s of tenant %s can write to %s, which is another tenant's", quote(user), quote(home), quoted), "name its own tenant")
		}
	}
}

// vetCovered finds rules that change nothing.
func (t *vetting) vetCovered(user string, k kind, rules []entry) {
	first := make(map[string]entry, len(rules)) // of each topic and access
	key := func(e entry, a Access) string { return string(rune('0'+a)) + e.Topic }
	filter := func(e entry) string { return e.Topic }
	if k == kindPattern {
		filter = func(e entry) string {
			p := newPattern(e.Rule, e.line, t.version)
			return p.withPlaces(t.version.place())
		}
	}
	var wide []entry
	for _, e := range rules {
		if hasWildcard(e.Topic) {
			wide = append(wide, e)
		}
	}
	for _, e := range rules {
		message := ""
		check := CheckShadowed
		for _, a := range []Access{e.Access, ReadWrite, Deny} {
			if other, ok := first[key(e, a)]; ok {
				check = CheckDuplicate
				message = fmt.Sprintf("line %d says so already", other.line)
				if a == Deny && e.Access != Deny {
					check, message = CheckShadowed, fmt.Sprintf("line %d denies it", other.line)
				}
				break
			}
		}
		for i := 0; message == "" && i < len(wide); i++ {
			w := wide[i]
			switch {
			case w == e || !covers(filter(w), filter(e)) || w.Topic == e.Topic && w.line > e.line:
			case w.Access == Deny && e.Access != Deny:
				message = fmt.Sprintf("line %d, %s, denies it", w.line, quote(w.Topic))
			case (w.Access == Deny) == (e.Access == Deny) && w.Access.includes(e.Access):
				message = fmt.Sprintf("line %d, %s, covers it", w.line, quote(w.Topic))
			}
		}
		if message != "" {
			t.add(check, e.line, user, fmt.Sprintf("%s changes nothing: %s", quote(k.keyword()+e.Rule.String()), message), "remove the line")
		}
		if _, ok := first[key(e, e.Access)]; !ok {
			first[key(e, e.Access)] = e
		}
	}
}

// neverMatches says why no message has a topic that r is about, or "".
func (t *vetting) neverMatches(r Rule) string {
	const bridge = "$SYS/broker/connection/+/state"
	switch {
	case !utf8.ValidString(r.Topic):
		return "it is not valid UTF-8"
	case strings.ContainsFunc(r.Topic, func(c rune) bool { return !presentable(c) }):
		return "brokers refuse topics with its characters"
	case !t.version.guardsDollar() || r.Access == Deny:
	case strings.HasPrefix(r.Topic, "$share"):
		return "brokers refuse topics that begin with $share"
	case r.Access == Write && strings.HasPrefix(r.Topic, "$SYS") && !overlap(r.Topic, bridge):
		return "brokers refuse to publish to topics that begin with $SYS"
	}
	return ""
}

// firstLevel returns the first level of a filter that has a name, since many
// begin with a slash.
func firstLevel(filter string) string {
	level, _, _ := strings.Cut(strings.TrimPrefix(filter, "/"), "/")
	return level
}

// homeOf returns the tenant of a device.
func homeOf(user string, rules []entry) (tenant string, device bool) {
	tenant, id, named := strings.Cut(user, ":")
	if named && tenant != "" && id != "" {
		return tenant, true
	}
	for _, e := range rules {
		before := ""
		for level := range strings.SplitSeq(e.Topic, "/") {
			if level == user && user != "" {
				return before, true
			}
			before = level
		}
	}
	return "", false
}

func (t *vetting) findTenants() {
	for i, name := range t.file.firstBlocks() {
		if tenant, ok := homeOf(name, t.rulesFrom(i)); ok && tenant != "" && !hasWildcard(tenant) {
			t.tenants[tenant] = true
		}
	}
}
