package acl_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/google/go-cmp/cmp"
)

const uniform = `# the agent
user iotagent
topic read /#
topic write /+/+/config

user 1
topic write /admin/1/attrs
topic read /admin/1/config
user 2
topic write /admin/2/attrs
topic read /admin/2/config
user 3
topic write /admin/3/attrs
topic read /admin/3/config
topic read news
`

func TestCompact(t *testing.T) {
	all := []acl.Widening{acl.WidenUnlisted, acl.WidenStanzas, acl.WidenKept}
	for _, tc := range []struct {
		name     string
		file     string
		o        acl.CompactOptions
		want     string         // the file
		err      any            // or an error, or what a WidenError lacks
		effects  []acl.Widening // of what is allowed
		patterns int            // added
		users    int            // replaced
	}{
		{name: "uniform fleet", file: uniform, o: acl.CompactOptions{Allow: all},
			want:    "# the agent\npattern write /admin/%u/attrs\npattern read /admin/%u/config\nuser iotagent\ntopic read /#\ntopic write /+/+/config\n\nuser 3\ntopic write /admin/3/attrs\ntopic read /admin/3/config\ntopic read news\n",
			effects: []acl.Widening{"", acl.WidenUnlisted, acl.WidenKept}, patterns: 2, users: 2},
		{name: "not allowed", file: uniform, err: []acl.Widening{acl.WidenUnlisted, acl.WidenKept}},
		{name: "not all allowed", file: uniform, o: acl.CompactOptions{Allow: []acl.Widening{acl.WidenUnlisted}}, err: []acl.Widening{acl.WidenKept}},
		{name: "kept users are denied what they had not", file: "user 1\ntopic write t/1\nuser 2\ntopic write t/2\nuser x\ntopic read y\n",
			o:       acl.CompactOptions{Allow: []acl.Widening{acl.WidenUnlisted}},
			want:    "pattern write t/%u\nuser x\ntopic read y\ntopic deny t/x\n",
			effects: []acl.Widening{"", acl.WidenUnlisted}, patterns: 1, users: 2},
		{name: "which takes 2.0", file: "user 1\ntopic write t/1\nuser 2\ntopic write t/2\nuser x\ntopic read y\n",
			o:   acl.CompactOptions{Allow: []acl.Widening{acl.WidenUnlisted}, Version: version(t, "1.6.15")},
			err: []acl.Widening{acl.WidenKept}},
		{name: "removed users", file: "user 1\ntopic write t/1\nuser 2\ntopic write t/2\nuser 3\ntopic write t/3\n",
			o:       acl.CompactOptions{Allow: []acl.Widening{acl.WidenUnlisted}, Removed: []string{"3", "4"}},
			want:    "pattern write t/%u\nuser 3\ntopic deny #\nuser 4\ntopic deny #\n",
			effects: []acl.Widening{"", acl.WidenUnlisted}, patterns: 1, users: 2},
		{name: "removed users before 2.0", file: "user 1\ntopic write t/1\nuser 2\ntopic write t/2\n",
			o: acl.CompactOptions{Allow: all, Removed: []string{"3"}, Version: version(t, "1.6.15")}, err: acl.ErrAccess},
		{name: "several tenants", file: "user 1\ntopic write /a/1\nuser 2\ntopic write /a/2\nuser 3\ntopic write /b/3\nuser 4\ntopic write /b/4\n",
			o: acl.CompactOptions{Allow: []acl.Widening{acl.WidenUnlisted}}, err: []acl.Widening{acl.WidenStanzas, acl.WidenStanzas}},
		{name: "patterns that are there", file: "# c\npattern write dev-%u\npattern read t/%u\nuser 1\ntopic read t/1\nuser 2\ntopic read t/2\n",
			want: "# c\npattern write dev-%u\npattern read t/%u\n", effects: []acl.Widening{""}, users: 2},
		{name: "patterns behind others", file: "pattern write dev-%u\nuser 1\ntopic read t/1\nuser 2\ntopic read t/2\n", o: acl.CompactOptions{Allow: all},
			want: "pattern write dev-%u\npattern read t/%u\n", effects: []acl.Widening{"", acl.WidenUnlisted}, patterns: 1, users: 2},
		{name: "a pattern that denies", file: "pattern deny t/%c\nuser 1\ntopic read t/1\nuser 2\ntopic read t/2\n", err: acl.ErrNotUniform},
		{name: "stanzas that deny", file: "user 1\ntopic read t/1\ntopic deny t/1/x\nuser 2\ntopic read t/2\ntopic deny t/2/x\n", err: acl.ErrNotUniform},
		{name: "names that patterns miss", file: "user a/1\ntopic read t/a/1\nuser a+\ntopic read t/a\nuser $1\ntopic read t/$1\nuser $2\ntopic read t/$2\n", err: acl.ErrNotUniform},
		{name: "names within levels", file: "user a:1\ntopic read /a/1\nuser a:2\ntopic read /a/2\n", err: acl.ErrNotUniform},
		{name: "rules without names", file: "user 1\ntopic read news\nuser 2\ntopic read news\n", err: acl.ErrNotUniform},
		{name: "no users", file: "topic read news\n", err: acl.ErrNotUniform},
		{name: "refused by the version", file: "user 1\ntopic deny a\n", o: acl.CompactOptions{Version: version(t, "1.6.15")}, err: acl.ErrAccess},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := parse(t, tc.file)
			c, err := acl.Compact(f, tc.o)
			if got := text(t, f); got != tc.file {
				t.Errorf("the file became %q", got)
			}
			switch want := tc.err.(type) {
			case error:
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
				return
			case []acl.Widening:
				var we *acl.WidenError
				if !errors.As(err, &we) {
					t.Fatalf("got %v, want a WidenError", err)
				}
				if diff := cmp.Diff(want, widenings(we.Effects)); diff != "" {
					t.Errorf("(-want +got):\n%s\n%v", diff, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, text(t, c.File)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.effects, widenings(c.Effects)); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if len(c.Patterns) != tc.patterns || c.Users != tc.users {
				t.Errorf("%d patterns for %d users, want %d for %d", len(c.Patterns), c.Users, tc.patterns, tc.users)
			}
			for _, d := range acl.Diff(f.Compile(tc.o.Version), c.File.Compile(tc.o.Version)) {
				removed := strings.Contains(strings.Join(tc.o.Removed, " "), d.User)
				if len(d.Lost) > 0 && !removed || len(d.Gained) > 0 && !d.Everybody {
					t.Errorf("a difference: %+v", d)
				}
			}
		})
	}
}

func widenings(effects []acl.Effect) (out []acl.Widening) {
	for _, e := range effects {
		out = append(out, e.Widening)
	}
	return out
}

// TestCompactKeepsVerdicts asks the policies of before and after.
func TestCompactKeepsVerdicts(t *testing.T) {
	var b strings.Builder
	b.WriteString(uniform)
	b.WriteString("user odd\ntopic read odd\n")
	for i := range 50 {
		fmt.Fprintf(&b, "user d%d\ntopic write /admin/d%d/attrs\ntopic read /admin/d%d/config\n", i, i, i)
	}
	for _, v := range lines[2:] {
		v := version(t, v)
		f := parse(t, b.String())
		c, err := acl.Compact(f, acl.CompactOptions{Version: v, Allow: []acl.Widening{acl.WidenUnlisted, acl.WidenKept}})
		if err != nil {
			t.Fatal(err)
		}
		old, new := f.Compile(v), c.File.Compile(v)
		for user := range f.Users() {
			for _, topic := range []string{"/admin/" + user + "/attrs", "/admin/" + user + "/config", "/admin/d1/attrs", "/other/" + user + "/attrs", "odd", "news", "$SYS/x"} {
				for _, want := range []acl.Access{acl.Read, acl.Write} {
					client := acl.Client{Username: user, ID: "c"}
					was, is := old.Allows(client, want, topic), new.Allows(client, want, topic)
					if was != is && !(is && user == "iotagent") && !(is && user == "odd" && v == version(t, "1.6.15")) {
						t.Errorf("%s: %s, %v %s: was %v, is %v", v, user, want, topic, was, is)
					}
				}
			}
		}
		if !new.Allows(acl.Client{Username: "unlisted", ID: "c"}, acl.Write, "/admin/unlisted/attrs") {
			t.Error("an unlisted user isn't allowed what Compact says it is")
		}
	}
}
