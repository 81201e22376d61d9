package acl_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/google/go-cmp/cmp"
)

func rules(t testing.TB, words ...string) []acl.Rule {
	t.Helper()
	var out []acl.Rule
	for _, w := range words {
		r, err := acl.ParseRule(w)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestEdits(t *testing.T) {
	for _, tc := range []struct {
		name  string
		in    string
		user  string
		rules []string // none: RemoveUser
		want  string   // the same as in: unchanged
	}{
		{
			name: "new user in an empty file",
			in:   "", user: "a", rules: []string{"write /t/a/attrs", "read /t/a/config"},
			want: "user a\ntopic write /t/a/attrs\ntopic read /t/a/config\n",
		},
		{
			name: "new user comes last",
			in:   "# head\nuser b\ntopic read x\n", user: "a", rules: []string{"write y"},
			want: "# head\nuser b\ntopic read x\nuser a\ntopic write y\n",
		},
		{
			name: "new user after a last line without end",
			in:   "user b\ntopic read x", user: "a", rules: []string{"write y"},
			want: "user b\ntopic read x\nuser a\ntopic write y\n",
		},
		{
			name: "new user after a comment without end",
			in:   "# x", user: "a", rules: []string{"write y"},
			want: "# x\nuser a\ntopic write y\n",
		},
		{
			name: "new user in a file of CR LF lines",
			in:   "# x\r\nuser b\r\ntopic read x", user: "a", rules: []string{"write y"},
			want: "# x\r\nuser b\r\ntopic read x\r\nuser a\r\ntopic write y\r\n",
		},
		{
			name: "rules that it has",
			in:   "user   a\n\ntopic   read  x\t\n# c\ntopic y", user: "a", rules: []string{"read x", "readwrite y"},
			want: "user   a\n\ntopic   read  x\t\n# c\ntopic y",
		},
		{
			name: "rules that it has in two blocks",
			in:   "user a\ntopic read x\nuser b\nuser a\ntopic read y\n", user: "a", rules: []string{"read x", "read y"},
			want: "user a\ntopic read x\nuser b\nuser a\ntopic read y\n",
		},
		{
			name: "replaced where they stand",
			in:   "user a\n# one\ntopic read x\n# two\ntopic read y\n\npattern write p/%u\nuser b\ntopic read z\n", user: "a", rules: []string{"write v", "write w"},
			want: "user a\n# one\ntopic write v\ntopic write w\n# two\n\npattern write p/%u\nuser b\ntopic read z\n",
		},
		{
			name: "the first rules are left as they are",
			in:   "user a\n topic   read   x\n# about y\ntopic read y\n# end\n", user: "a", rules: []string{"read x", "write w"},
			want: "user a\n topic   read   x\n# about y\ntopic write w\n# end\n",
		},
		{
			name: "one more rule follows the last one",
			in:   "user a\ntopic read x\n\n# about b\nuser b\n", user: "a", rules: []string{"read x", "read y"},
			want: "user a\ntopic read x\ntopic read y\n\n# about b\nuser b\n",
		},
		{
			name: "one more rule after a last line without end",
			in:   "user a\ntopic read x", user: "a", rules: []string{"read x", "read y"},
			want: "user a\ntopic read x\ntopic read y\n",
		},
		{
			name: "first rule after a user line without end",
			in:   "user a", user: "a", rules: []string{"read x"},
			want: "user a\ntopic read x\n",
		},
		{
			name: "one rule less",
			in:   "user a\ntopic read x\ntopic read y\ntopic read z\n", user: "a", rules: []string{"read x"},
			want: "user a\ntopic read x\n",
		},
		{
			name: "order is kept",
			in:   "user a\ntopic read x\ntopic read y\n", user: "a", rules: []string{"read y", "read x"},
			want: "user a\ntopic read y\ntopic read x\n",
		},
		{
			name: "further blocks go",
			in:   "user a\ntopic read x\nuser b\ntopic read b\nuser a\n# c\npattern read p\ntopic read y\nuser a\n", user: "a", rules: []string{"write w"},
			want: "user a\ntopic write w\nuser b\ntopic read b\n# c\npattern read p\n",
		},
		{
			name: "anonymous rules and patterns are nobody's",
			in:   "topic read x\npattern read p\nuser a\ntopic read y\n", user: "a", rules: []string{"read x"},
			want: "topic read x\npattern read p\nuser a\ntopic read x\n",
		},

		{
			name: "remove",
			in:   "# head\nuser a\ntopic read x\nuser b\ntopic read y\n", user: "a",
			want: "# head\nuser b\ntopic read y\n",
		},
		{
			name: "remove every block",
			in:   "user a\ntopic read x\nuser b\ntopic read y\nuser a\ntopic read z", user: "a",
			want: "user b\ntopic read y\n",
		},
		{
			name: "comments, blank lines and patterns stay",
			in:   "user a\r\n# c\r\n\r\ntopic read x\r\npattern read p\r\n# d", user: "a",
			want: "# c\r\n\r\npattern read p\r\n# d",
		},
		{
			name: "remove nobody",
			in:   "user a\ntopic read x\n", user: "b",
			want: "user a\ntopic read x\n",
		},
		{
			name: "remove the only user",
			in:   "user a\ntopic read x\n", user: "a",
			want: "",
		},
		{
			name: "names have a case",
			in:   "user a\ntopic read x\n", user: "A",
			want: "user a\ntopic read x\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := parse(t, tc.in)
			others := without(content(f), f, tc.user)
			var changed bool
			var err error
			if tc.rules == nil {
				changed = f.RemoveUser(tc.user)
			} else {
				changed, err = f.SetUser(tc.user, rules(t, tc.rules...)...)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, f); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if changed != (tc.in != tc.want) {
				t.Errorf("changed is %v", changed)
			}
			var got []string
			for r := range f.Rules(tc.user) {
				got = append(got, r.String())
			}
			if diff := cmp.Diff(tc.rules, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(others, without(content(f), f, tc.user)); diff != "" {
				t.Errorf("rules of others (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(content(f), content(parse(t, text(t, f)))); diff != "" {
				t.Errorf("content (-in memory +read again):\n%s", diff)
			}
		})
	}
}

// without drops what content says of user.
func without(content []string, f *acl.File, user string) []string {
	i := slices.Index(content, "user "+user)
	if i < 0 {
		return content
	}
	n := 1 + len(slices.Collect(f.Rules(user)))
	return slices.Concat(content[:i], content[i+n:])
}

// What dojot's MQTT Manager, which this package follows, did to its file.
func TestDefectsOfTheSeed(t *testing.T) {
	seed := strings.Join([]string{
		"user iotagent", "topic read /#",
		"user 24f6", "topic write /admin/24f6/attrs",
		"user 24f", "topic write /admin/24f/attrs",
		"user a24f", "topic write /admin/a24f/attrs", "",
	}, "\n")
	remove := func(name string, user string, gone ...string) {
		t.Run(name, func(t *testing.T) {
			f := parse(t, seed)
			want := seed
			for _, line := range gone {
				want = strings.Replace(want, line+"\n", "", 1)
			}
			if changed := f.RemoveUser(user); changed != (gone != nil) {
				t.Errorf("changed is %v", changed)
			}
			if got := text(t, f); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	remove("a name within others", "24f", "user 24f", "topic write /admin/24f/attrs")
	remove("a name within the agent's", "iot")
	remove("a name within topics", "admin")
	remove("a name within the last line", "a")
	remove("the last user", "a24f", "user a24f", "topic write /admin/a24f/attrs")
	remove("the empty name", "")

	t.Run("creating twice", func(t *testing.T) {
		f := parse(t, seed)
		for _, topic := range []string{"write /admin/new/attrs", "write /admin/new/attrs", "write /other/new/attrs"} {
			if _, err := f.SetUser("new", rules(t, topic)...); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := text(t, f), seed+"user new\ntopic write /other/new/attrs\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})

	t.Run("update of an unknown device", func(t *testing.T) {
		f := parse(t, seed)
		if changed, err := f.SetUser("unknown", rules(t, "write x")...); !changed || err != nil {
			t.Errorf("got %v, %v, want true", changed, err)
		}
	})

	t.Run("injection", func(t *testing.T) {
		for _, tc := range []struct {
			user, topic string
			err         error
		}{
			{"x\ntopic readwrite #\nuser y", "a", acl.ErrUser},
			{"x\r", "a", acl.ErrUser},
			{"", "a", acl.ErrUser},
			{" x", "a", acl.ErrUser},
			{"x ", "a", acl.ErrUser},
			{"x\x00", "a", acl.ErrUser},
			{"x\ty", "a", acl.ErrUser},
			{"x\u0085", "a", acl.ErrUser},
			{"x\x7f", "a", acl.ErrUser},
			{"x\xff", "a", acl.ErrUser},
			{"\uffff", "a", acl.ErrUser},
			{strings.Repeat("x", 1018), "a", acl.ErrUser},
			{"x", "a\nuser y\ntopic readwrite #", acl.ErrTopic},
			{"x", "", acl.ErrTopic},
			{"x", " a", acl.ErrTopic},
			{"x", "a ", acl.ErrTopic},
			{"x", "a\x00", acl.ErrTopic},
			{"x", "a\xc3", acl.ErrTopic},
			{"x", "a#", acl.ErrTopic},
			{"x", "#/a", acl.ErrTopic},
			{"x", strings.Repeat("/", 201), acl.ErrTopic},
			{"x", strings.Repeat("t", 1011), acl.ErrTopic},
		} {
			f := parse(t, seed)
			changed, err := f.SetUser(tc.user, acl.Rule{Access: acl.Write, Topic: tc.topic})
			if changed || !errors.Is(err, tc.err) {
				t.Errorf("SetUser(%q, %q) = %v, %v, want %v", tc.user, tc.topic, changed, err, tc.err)
			}
			if got := text(t, f); got != seed {
				t.Errorf("SetUser(%q, %q) made %q", tc.user, tc.topic, got)
			}
		}
	})
}

func TestSetUserRefusesUnknownAccess(t *testing.T) {
	var f acl.File
	if _, err := f.SetUser("a", acl.Rule{Access: 4, Topic: "x"}); !errors.Is(err, acl.ErrAccess) {
		t.Errorf("got %v, want ErrAccess", err)
	}
}

func TestLongestLines(t *testing.T) {
	var f acl.File
	user, topic := strings.Repeat("u", 1017), strings.Repeat("t", 1010)
	if _, err := f.SetUser(user, acl.Rule{Access: acl.Write, Topic: topic}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text(t, &f)) {
		if len(line) != 1023 {
			t.Errorf("line of %d bytes, want 1023 with its end", len(line))
		}
	}
}

func TestZeroFile(t *testing.T) {
	var f acl.File
	if got := content(&f); got != nil {
		t.Errorf("content %q", got)
	}
	if f.RemoveUser("a") || f.RemoveUser("") {
		t.Error("removed a user")
	}
	if got := text(t, &f); got != "" {
		t.Errorf("wrote %q", got)
	}
	var v acl.Version
	if f.Compile(v).Allows(acl.Client{}, acl.Read, "a") {
		t.Error("allows")
	}
	if changed, err := f.SetUser("a"); changed || err != nil {
		t.Errorf("SetUser without rules: %v, %v", changed, err)
	}
	if _, err := f.SetUser("a", rules(t, "read x")...); err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, &f), "user a\ntopic read x\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Users that come and go, beside a model, until blocks have been compacted
// several times.
func TestManyEdits(t *testing.T) {
	f := parse(t, "# head\ntopic read anon\nuser 7\n# seven\ntopic read old\nuser 8\nuser 7\npattern read p\n")
	model := map[string][]acl.Rule{"7": rules(t, "read old"), "8": nil}
	rng := rand.New(rand.NewPCG(1, 2))
	var wantOrder []string
	check := func() {
		t.Helper()
		for _, file := range []*acl.File{f, parse(t, text(t, f))} {
			var users []string
			for user := range file.Users() {
				users = append(users, user)
				if got, want := slices.Collect(file.Rules(user)), model[user]; !slices.Equal(got, want) {
					t.Fatalf("user %s has %v, want %v", user, got, want)
				}
			}
			if !slices.Equal(users, wantOrder) {
				t.Fatalf("users %q, want %q", users, wantOrder)
			}
		}
	}
	wantOrder = []string{"7", "8"}
	for i := range 20_000 {
		user := fmt.Sprint(rng.IntN(300))
		_, there := model[user]
		if rng.IntN(2) == 0 {
			if got := f.RemoveUser(user); got != there {
				t.Fatalf("RemoveUser(%s) = %v, want %v", user, got, there)
			}
			delete(model, user)
			wantOrder = slices.DeleteFunc(wantOrder, func(s string) bool { return s == user })
		} else {
			rules := []acl.Rule{{Access: acl.Write, Topic: fmt.Sprint(rng.IntN(3))}, {Access: acl.Read, Topic: user}}[:1+rng.IntN(2)]
			want := !slices.Equal(model[user], rules)
			if got, err := f.SetUser(user, rules...); got != want || err != nil {
				t.Fatalf("SetUser(%s, %v) = %v, %v, want %v", user, rules, got, err, want)
			}
			model[user] = rules
			if !there {
				wantOrder = append(wantOrder, user)
			}
		}
		if i%1000 == 0 {
			check()
		}
	}
	check()
	if got, want := text(t, f), "# head\ntopic read anon\n"; !strings.HasPrefix(got, want) {
		t.Errorf("begins with %q, want %q", got[:len(want)], want)
	}
	if got := text(t, f); strings.Count(got, "# seven\n") != 1 || strings.Count(got, "pattern read p\n") != 1 {
		t.Error("lost a comment or a pattern")
	}
}
