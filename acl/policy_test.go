package acl_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
)

func version(t testing.TB, s string) acl.Version {
	t.Helper()
	v, err := acl.ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// verdicts are questions about files, with the answers of brokers. Those of
// TestBrokerAgreesWithPolicy are many more; these are the rules one by one.
var verdicts = []struct {
	name   string
	file   string
	user   string
	id     string // "c" if empty
	want   acl.Access
	topic  string
	in20   bool
	in21   bool
	line   int    // in 2.0
	reason string // part of it in 2.0
}{
	{name: "own rule", file: "user u\ntopic write a/+\n", user: "u", want: acl.Write, topic: "a/b", in20: true, in21: true, line: 2, reason: `line 2, "topic write a/+", allows it for user "u"`},
	{name: "the other direction", file: "user u\ntopic write a/+\n", user: "u", want: acl.Read, topic: "a/b", reason: `no rule of user "u" and no pattern grants read on "a/b"`},
	{name: "both directions from two rules", file: "user u\ntopic write a\ntopic read a\n", user: "u", want: acl.ReadWrite, topic: "a", in20: true, in21: true, line: 2},
	{name: "both directions, one missing", file: "user u\ntopic read a\n", user: "u", want: acl.ReadWrite, topic: "a", reason: "grants write"},
	{name: "second block", file: "user u\ntopic write a\nuser v\ntopic write b\n# c\nuser u\n\ntopic write d\n", user: "u", want: acl.Write, topic: "d", in20: true, in21: true, line: 8},
	{name: "another user's rule", file: "user u\ntopic write a\nuser v\ntopic write b\n", user: "u", want: acl.Write, topic: "b"},
	{name: "names have a case", file: "user u\ntopic write a\n", user: "U", want: acl.Write, topic: "a"},
	{name: "deny comes first wherever it stands", file: "user u\ntopic write a\ntopic deny a\n", user: "u", want: acl.Write, topic: "a", line: 3, reason: "denies"},
	{name: "deny in a later block", file: "user u\ntopic write #\nuser v\nuser u\ntopic deny a\n", user: "u", want: acl.Write, topic: "a", line: 5},
	{name: "deny binds both directions", file: "user u\ntopic readwrite #\ntopic deny a\n", user: "u", want: acl.Read, topic: "a", line: 3},
	{name: "own grant before a pattern's denial", file: "pattern deny a\nuser u\ntopic write a\n", user: "u", want: acl.Write, topic: "a", in20: true, in21: true, line: 3},
	{name: "own denial before a pattern's grant", file: "pattern write a\nuser u\ntopic deny a\n", user: "u", want: acl.Write, topic: "a", line: 3},
	{name: "pattern's denial before a pattern's grant", file: "pattern write a\npattern deny a\n", user: "u", want: acl.Write, topic: "a", line: 2, reason: `"pattern deny a", denies it for user "u" with the client identifier "c"`},
	{name: "pattern below a user is everybody's", file: "user u\npattern write a\n", user: "v", want: acl.Write, topic: "a", in20: true, in21: true, line: 2},
	{name: "wildcards of topic lines don't substitute", file: "user u\ntopic write %u\n", user: "u", want: acl.Write, topic: "u"},
	{name: "%u is literal in topic lines", file: "user u\ntopic write %u\n", user: "u", want: acl.Write, topic: "%u", in20: true, in21: true, line: 2},

	{name: "anonymous", file: "topic read a\nuser u\ntopic read b\n", want: acl.Read, topic: "a", in20: true, in21: true, line: 1, reason: "clients without a user name"},
	{name: "anonymous asks for a user's", file: "topic read a\nuser u\ntopic read b\n", want: acl.Read, topic: "b"},
	{name: "anonymous rules are not for users", file: "topic read a\nuser u\ntopic read b\n", user: "u", want: acl.Read, topic: "a"},
	{name: "nor for users unknown", file: "topic read a\n", user: "x", want: acl.Read, topic: "a"},
	{name: "anonymous denial binds no user", file: "topic deny a\nuser u\ntopic read a\n", user: "u", want: acl.Read, topic: "a", in20: true, in21: true, line: 3},
	{name: "no rules at all", file: "# none\n", want: acl.Read, topic: "a"},

	{name: "%u", file: "pattern write d/%u/a\n", user: "u", want: acl.Write, topic: "d/u/a", in20: true, in21: true, line: 1},
	{name: "%u of another", file: "pattern write d/%u/a\n", user: "u", want: acl.Write, topic: "d/v/a"},
	{name: "%c", file: "pattern write d/%c/a\n", user: "u", id: "i", want: acl.Write, topic: "d/i/a", in20: true, in21: true, line: 1},
	{name: "%u and %c", file: "pattern write %c/%u\n", user: "u", id: "i", want: acl.Write, topic: "i/u", in20: true, in21: true, line: 1},
	{name: "%u for anonymous", file: "pattern write d/%u/#\n", want: acl.Write, topic: "d//x"},
	{name: "%u anywhere for anonymous", file: "pattern write d/x%u\n", want: acl.Write, topic: "d/x%u"},
	{name: "%c for anonymous", file: "pattern write d/%c\n", id: "i", want: acl.Write, topic: "d/i", in20: true, in21: true, line: 1},
	{name: "%u inside a level", file: "pattern write d/dev-%u\n", user: "u", want: acl.Write, topic: "d/dev-u", in20: true, line: 1},
	{name: "%u inside a level as it stands", file: "pattern write d/dev-%u\n", user: "u", want: acl.Write, topic: "d/dev-%u", in21: true},
	{name: "%u%c", file: "pattern write %u%c\n", user: "u", id: "i", want: acl.Write, topic: "ui", in20: true, line: 1},
	{name: "%%u", file: "pattern write %%u\n", user: "u", want: acl.Write, topic: "%u", in20: true, line: 1},
	{name: "%U is literal", file: "pattern write %U\n", user: "u", want: acl.Write, topic: "%U", in20: true, in21: true, line: 1},
	{name: "name with a slash", file: "pattern write d/%u/a\n", user: "t/u", want: acl.Write, topic: "d/t/u/a", in20: true, line: 1},
	{name: "name that is a substitution", file: "pattern write d/%u\n", user: "%c", id: "i", want: acl.Write, topic: "d/i"},
	{name: "name that is a substitution as it stands", file: "pattern write d/%u\n", user: "%c", id: "i", want: acl.Write, topic: "d/%c", in20: true, in21: true, line: 1},
	{name: "name $x", file: "pattern write %u/#\n", user: "$x", want: acl.Write, topic: "$x/a", in20: true, line: 1},
	{name: "name with a tenant", file: "pattern write d/%u\n", user: "t:u", want: acl.Write, topic: "d/t:u", in20: true, in21: true, line: 1},

	{name: "dangerous name", file: "pattern write a\n", user: "x+", want: acl.Write, topic: "a", reason: "user name with + or #"},
	{name: "dangerous identifier", file: "pattern write a\n", user: "u", id: "#", want: acl.Write, topic: "a", reason: `client identifier "#"`},
	{name: "dangerous name with a rule of its own", file: "user x+\ntopic write a\npattern write b\n", user: "x+", want: acl.Write, topic: "a", in20: true, in21: true, line: 2},
	{name: "dangerous name without patterns", file: "user x#\ntopic write a\n", user: "x#", want: acl.Write, topic: "a", in20: true, in21: true, line: 2},

	{name: "# and $ topics", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: "$x"},
	{name: "+ and $ topics", file: "user u\ntopic readwrite +/a\n", user: "u", want: acl.Write, topic: "$x/a"},
	{name: "$x/#", file: "user u\ntopic readwrite $x/#\n", user: "u", want: acl.Write, topic: "$x", in20: true, in21: true, line: 2},
	{name: "write to $SYS", file: "user u\ntopic readwrite $SYS/#\n", user: "u", want: acl.Write, topic: "$SYS/a", reason: "$SYS"},
	{name: "write to $SYSTEM", file: "user u\ntopic readwrite $SYSTEM/#\n", user: "u", want: acl.Write, topic: "$SYSTEM/a", reason: "$SYS"},
	{name: "bridge state", file: "user u\ntopic readwrite $SYS/#\n", user: "u", want: acl.Write, topic: "$SYS/broker/connection/b/state", in20: true, in21: true, line: 2},
	{name: "bridge state without a rule", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: "$SYS/broker/connection/b/state"},
	{name: "read from $SYS", file: "user u\ntopic read $SYS/#\n", user: "u", want: acl.Read, topic: "$SYS/broker/version", in20: true, in21: true, line: 2},
	{name: "write to $share", file: "user u\ntopic readwrite $share/#\n", user: "u", want: acl.Write, topic: "$share/a", reason: "$share"},
	{name: "write to $sharex", file: "user u\ntopic readwrite $sharex/#\n", user: "u", want: acl.Write, topic: "$sharex/a", reason: "$share"},

	{name: "empty topic", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: "", reason: "empty"},
	{name: "filter as topic", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: "a/+", reason: "filter"},
	{name: "control character", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: "a\n", reason: "control"},
	{name: "not UTF-8", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: "a\xff", reason: "UTF-8"},
	{name: "replacement character", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: "a\ufffd", in20: true, in21: true, line: 2},
	{name: "long topic", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: strings.Repeat("a", 65536), reason: "65535"},
	{name: "deep topic", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Write, topic: strings.Repeat("/", 201), reason: "slashes"},
	{name: "want nothing", file: "user u\ntopic readwrite #\n", user: "u", want: acl.Deny, topic: "a", reason: "granted deny"},
	{name: "want too much", file: "user u\ntopic readwrite #\n", user: "u", want: 7, topic: "a", reason: "Access(7)"},
}

func TestVerdicts(t *testing.T) {
	v20, v21 := version(t, "2.0.11"), version(t, "2.1.2")
	for _, tc := range verdicts {
		t.Run(tc.name, func(t *testing.T) {
			if tc.id == "" {
				tc.id = "c"
			}
			f := parse(t, tc.file)
			c := acl.Client{Username: tc.user, ID: tc.id}
			for v, want := range map[acl.Version]bool{v20: tc.in20, v21: tc.in21} {
				p := f.Compile(v)
				if got := p.Allows(c, tc.want, tc.topic); got != want {
					t.Errorf("%v: Allows(%+v, %v, %q) = %v, want %v", v, c, tc.want, tc.topic, got, want)
				}
				if got := p.Explain(c, tc.want, tc.topic); got.Allowed != want {
					t.Errorf("%v: Explain says %+v, want %v", v, got, want)
				}
			}
			d := f.Compile(v20).Explain(c, tc.want, tc.topic)
			if d.Line != tc.line || !strings.Contains(d.Reason, tc.reason) {
				t.Errorf("Explain says %+v, want line %d and %q", d, tc.line, tc.reason)
			}
		})
	}
}

func TestMatching(t *testing.T) {
	yes := map[string][]string{
		"a/#":   {"a", "a/", "a/b", "a/b/c"},
		"+/#":   {"a", "a/b", "/", "/a/b"},
		"a/+/#": {"a/b", "a/", "a/b/c"},
		"+":     {"a"},
		"/+":    {"/", "/a"},
		"#":     {"a", "/", "a/b"},
		"$x/#":  {"$x", "$x/y"},
		"a/b":   {"a/b"},
		"+/+":   {"/", "a/b"},
	}
	no := map[string][]string{
		"a/#":   {"ab", "b"},
		"+/#":   {"$x", "$x/a"},
		"a/+/#": {"a"},
		"+":     {"/", "a/b", "$x"},
		"/+":    {"a", "a/b", "/a/b"},
		"#":     {"$x", "$SYS/a"},
		"$x/#":  {"$xy", "x"},
		"a/b":   {"a", "a/b/", "a/b/c", "A/b"},
		"+/+":   {"a", "a/b/c"},
	}
	ask := func(filter, topic string, want bool) {
		t.Helper()
		p := parse(t, "topic read "+filter+"\n").Compile(acl.Version{})
		if got := p.Allows(acl.Client{ID: "c"}, acl.Read, topic); got != want {
			t.Errorf("%s matches %s: %v, want %v", filter, topic, got, want)
		}
	}
	for filter, topics := range yes {
		for _, topic := range topics {
			ask(filter, topic, true)
		}
	}
	for filter, topics := range no {
		for _, topic := range topics {
			ask(filter, topic, false)
		}
	}
}

func TestPolicyIsASnapshot(t *testing.T) {
	f := parse(t, "user a\ntopic read x\n")
	p := f.Compile(acl.Version{})
	f.RemoveUser("a")
	c := acl.Client{Username: "a", ID: "c"}
	if !p.Allows(c, acl.Read, "x") || f.Compile(acl.Version{}).Allows(c, acl.Read, "x") {
		t.Error("an edit reached the policy, or not the next one")
	}
}

func TestLinesAfterEdits(t *testing.T) {
	f := parse(t, "# head\nuser a\ntopic read x\nuser b\ntopic read y")
	if _, err := f.SetUser("a", rules(t, "read v", "read w")...); err != nil {
		t.Fatal(err)
	}
	if _, err := f.SetUser("c", rules(t, "read z")...); err != nil {
		t.Fatal(err)
	}
	p := f.Compile(acl.Version{})
	for topic, want := range map[string]int{"b y": 6, "c z": 8, "a w": 4} {
		user, topic, _ := strings.Cut(topic, " ")
		if got := p.Explain(acl.Client{Username: user, ID: "i"}, acl.Read, topic); got.Line != want {
			t.Errorf("%s: %+v, want line %d", topic, got, want)
		}
	}
}

func TestZeroPolicy(t *testing.T) {
	var p acl.Policy
	if p.Allows(acl.Client{}, acl.Read, "a") {
		t.Error("allows")
	}
}

func TestAllowsDoesNotAllocate(t *testing.T) {
	f := parse(t, "pattern read everybody/#\npattern write d/%u/%c\nuser u\ntopic write a/+/b\n")
	c := acl.Client{Username: "u", ID: "i"}
	for v, topics := range map[string][]string{"2.0.11": {"a/x/b"}, "2.1.2": {"a/x/b", "d/u/i", "nothing"}} {
		p := f.Compile(version(t, v))
		for _, topic := range topics {
			if n := testing.AllocsPerRun(100, func() { p.Allows(c, acl.Write, topic) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", v, topic, n)
			}
		}
	}
}

func TestAccessString(t *testing.T) {
	got := fmt.Sprint(acl.Deny, acl.Read, acl.Write, acl.ReadWrite, acl.Access(9))
	if want := "deny read write readwrite Access(9)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
