package acl_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/google/go-cmp/cmp"
)

// lines are one version of each way in which brokers read lines.
var lines = []string{"1.4.13", "1.5.8", "1.6.15", "2.0.11", "2.1.2"}

// TestParseByVersion has what versions disagree about. For what they agree
// about see grammar.
func TestParseByVersion(t *testing.T) {
	const long = 1023
	for _, tc := range []struct {
		name string
		text string
		// What content says, joined with "|", or the name of the error, by the
		// first version that says so.
		want map[string]string
	}{
		{"unknown keyword", "topics a\nuser u\n", map[string]string{"1.4.13": "user u", "1.5.8": "keyword"}},
		{"indented comment", " # a\ntopic a\n", map[string]string{"1.4.13": "readwrite a", "1.5.8": "keyword"}},
		{"TAB after the keyword", "topic\ta\n", map[string]string{"1.4.13": "", "1.5.8": "keyword"}},
		{"deny", "topic deny a\n", map[string]string{"1.4.13": "access", "2.0.11": "deny a"}},
		{"deny without a topic is one", "topic deny\n", map[string]string{"1.4.13": "readwrite deny"}},
		{"invalid filter", "topic read a+\n", map[string]string{"1.4.13": "read a+", "1.6.15": "topic"}},
		{"many levels", "topic " + strings.Repeat("/", 201) + "\n", map[string]string{"1.4.13": "readwrite " + strings.Repeat("/", 201), "1.6.15": "topic"}},
		{"blanks behind a name", "user a \t\n", map[string]string{"1.4.13": "user a \t", "1.6.15": "user a"}},
		{"blanks behind a topic", "topic read a \t\r\n", map[string]string{"1.4.13": "read a \t", "1.6.15": "read a"}},
		{"blanks behind a topic without access", "topic a  \n", map[string]string{"1.4.13": "access", "1.6.15": "readwrite a"}},
		{"one blank behind it", "topic a \n", map[string]string{"1.4.13": "readwrite a"}},
		{"a line of TABs", "\t\t\n", map[string]string{"1.4.13": "", "1.5.8": "keyword", "1.6.15": ""}},
		{"a long comment", "#" + strings.Repeat("x", long-1) + "user u\ntopic a\n",
			map[string]string{"1.4.13": "user u|readwrite a", "1.6.15": "readwrite a"}},
		{"a long name", "user " + strings.Repeat("x", 1500) + "\n",
			map[string]string{"1.4.13": "user " + strings.Repeat("x", long-5), "1.5.8": "keyword", "1.6.15": "user " + strings.Repeat("x", 1500)}},
		{"the longest line", "user " + strings.Repeat("x", long-6) + "\n", map[string]string{"1.4.13": "user " + strings.Repeat("x", long-6)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := ""
			for _, v := range lines {
				if w, ok := tc.want[v]; ok {
					want = w
				}
				f, err := version(t, v).Parse("access.acl", []byte(tc.text))
				kind := map[string]error{"keyword": acl.ErrKeyword, "access": acl.ErrAccess, "topic": acl.ErrTopic, "user": acl.ErrUser}[want]
				if !errors.Is(err, kind) {
					t.Errorf("%s: got error %v, want %v", v, err, kind)
				}
				if err != nil {
					continue
				}
				if diff := cmp.Diff(want, strings.Join(content(f), "|")); diff != "" {
					t.Errorf("%s: content (-want +got):\n%s", v, diff)
				}
				if got := text(t, f); got != tc.text {
					t.Errorf("%s: wrote %q", v, got)
				}
			}
		})
	}
}

// What edits add is read the same way by all versions.
func TestEditsByVersion(t *testing.T) {
	const in = "# c\nuser u\nthis is nothing\ntopic read x \nuser w\ntopic a\n"
	f, err := version(t, "1.4.13").Parse("access.acl", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.SetUser("u", rules(t, "deny a")...); !errors.Is(err, acl.ErrAccess) || !strings.Contains(err.Error(), "2.0") {
		t.Errorf("deny: got %v, want ErrAccess", err)
	}
	if _, err := f.SetUser("u", rules(t, "read x")...); err != nil {
		t.Fatal(err)
	}
	f.RemoveUser("w")
	if got, want := text(t, f), "# c\nuser u\nthis is nothing\ntopic read x\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestVerdictsByVersion has the verdicts that versions before 2.0 reach
// otherwise.
func TestVerdictsByVersion(t *testing.T) {
	for _, tc := range []struct {
		name  string
		file  string
		want  acl.Access
		topic string
		since map[string]bool // the verdict from that version on
	}{
		{"+/# and one level", "user u\ntopic read +/#\n", acl.Read, "a", map[string]bool{"1.4.13": false, "1.6.15": true}},
		{"+/# and two levels", "user u\ntopic read +/#\n", acl.Read, "a/b", map[string]bool{"1.4.13": true}},
		{"a/+/# and a/b", "user u\ntopic read a/+/#\n", acl.Read, "a/b", map[string]bool{"1.4.13": false, "1.6.15": true}},
		{"a/+/# and a/", "user u\ntopic read a/+/#\n", acl.Read, "a/", map[string]bool{"1.4.13": false, "1.6.15": true}},
		{"a/# and a", "user u\ntopic read a/#\n", acl.Read, "a", map[string]bool{"1.4.13": true}},
		{"write to $SYS", "user u\ntopic write $SYS/#\n", acl.Write, "$SYS/a", map[string]bool{"1.4.13": true, "1.6.15": false}},
		{"bridge state", "user u\ntopic write $SYS/#\n", acl.Write, "$SYS/broker/connection/b/state", map[string]bool{"1.4.13": true}},
		{"write to $share", "user u\ntopic write $share/#\n", acl.Write, "$share/a", map[string]bool{"1.4.13": true, "1.6.15": false}},
		{"no rules", "user u\n# x\n", acl.Write, "a", map[string]bool{"1.4.13": true, "1.5.8": false}},
		{"a file that isn't loaded", "user u\ntopic deny b\ntopic read a\n", acl.Read, "a", map[string]bool{"1.4.13": false, "2.0.11": true}},
		{"%u in a level", "pattern write d-%u\n", acl.Write, "d-u", map[string]bool{"1.4.13": true, "2.1.2": false}},
		{"a user's blank", "user u \ntopic read a\n", acl.Read, "a", map[string]bool{"1.4.13": false, "1.6.15": true}},
		{"invalid filter", "user u\ntopic read a/#/b\ntopic read a/x/b\n", acl.Read, "a/x/b", map[string]bool{"1.4.13": true, "1.6.15": false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := version(t, "1.4.13").Parse("access.acl", []byte(tc.file))
			if err != nil {
				f = parse(t, tc.file)
			}
			want := false
			for _, v := range lines {
				if w, ok := tc.since[v]; ok {
					want = w
				}
				p := f.Compile(version(t, v))
				c := acl.Client{Username: "u", ID: "c"}
				if got := p.Allows(c, tc.want, tc.topic); got != want {
					t.Errorf("%s: %v, want %v", v, got, want)
				}
				if d := p.Explain(c, tc.want, tc.topic); d.Allowed != want || d.Reason == "" {
					t.Errorf("%s: %+v, want %v", v, d, want)
				}
			}
		})
	}
}

func TestExplainHints(t *testing.T) {
	const file = `topic read a
user 24f6
topic write /admin/24f6/attrs
topic read /admin/24f6/config
pattern read /devices/%u/#
pattern write /clients/%c
pattern write /parts/dev-%u
user agent
topic write #
user reader
topic read a
topic deny b
user many
topic write 1
topic read 2
topic write 3
topic write 4
topic write 5
topic write 6
`
	for _, tc := range []struct {
		user  string
		want  acl.Access
		topic string
		hint  string
	}{
		{"24f6", acl.Read, "/admin/24f6/attrs", "line 3 only lets it publish"},
		{"24f6", acl.Write, "/admin/24f6/config", "line 4 only lets it receive"},
		{"24f6", acl.Write, "admin/24f6/attrs", `line 3 grants "/admin/24f6/attrs", which differs in the slash at its beginning`},
		{"x", acl.Read, "devices/x/y", `line 5 grants "/devices/x/y", which`},
		{"admin:24f6", acl.Write, "/admin/24f6/attrs", `the file has rules of user "24f6" and none of this one`},
		{"24F6", acl.Write, "/admin/24f6/attrs", `the file has rules of user "24f6" and none of this one`},
		{"y", acl.Write, "/admin/24f6/attrs", "the file has no rules of this user"},
		{"", acl.Write, "/admin/24f6/attrs", "use_identity_as_username"},
		{"24f6", acl.Write, "/admin/24f7/attrs", `; its rules grant it on "/admin/24f6/attrs" (line 3)`},
		{"many", acl.Write, "7", `; its rules grant it on "1" (line 14), "3" (line 16), "4" (line 17), 2 more`},
		{"reader", acl.Write, "x", "; none of its rules grants write"},
		{"agent", acl.Write, "$x/y", "line 9 does not, since # and + at the beginning match no topic that begins with $"},
		{"24f6", acl.Write, "/clients/24f6", `line 6 grants it to a client whose identifier is its user name, and not to "c"`},
		{"24f6", acl.Write, "/parts/dev-24f6", "line 7 granted it up to Mosquitto 2.0"},
		{"t/24f6", acl.Read, "/devices/t/24f6/x", "line 5 granted it up to Mosquitto 2.0"},
	} {
		d := parse(t, file).Compile(version(t, "2.1.2")).Explain(acl.Client{Username: tc.user, ID: "c"}, tc.want, tc.topic)
		if d.Allowed || d.Line != 0 || !strings.Contains(d.Reason, tc.hint) {
			t.Errorf("%q, %v %s: %+v, want %q", tc.user, tc.want, tc.topic, d, tc.hint)
		}
	}
	v := version(t, "1.6.15")
	d := parse(t, "topic read a\ntopic deny b\n").Compile(v).Explain(acl.Client{}, acl.Read, "a")
	if want := `brokers of version 1.6.15 don't load the file: line 2: access "deny" is unknown before Mosquitto 2.0`; !strings.HasPrefix(d.Reason, want) {
		t.Errorf("got %q, want %q", d.Reason, want)
	}
}
