package acl_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
)

func FuzzParse(f *testing.F) {
	for _, tc := range grammar {
		if len(tc.text) < 1000 {
			f.Add([]byte(tc.text), "a", "b/c")
		}
	}
	for _, data := range corpus(f) {
		f.Add(data, "a", "b/c")
	}
	for _, path := range testdata(f) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "iotagent", "/+/+/config")
	}
	f.Fuzz(func(t *testing.T, data []byte, user, topic string) {
		for _, v := range lines {
			if file, err := version(t, v).Parse("access.acl", data); err == nil {
				if got := text(t, file); got != string(data) {
					t.Fatalf("%s: wrote %q, want %q", v, got, data)
				}
				file.SetUser(user, acl.Rule{Access: acl.Write, Topic: topic})
				file.SetAnonymous(acl.Rule{Access: acl.Read, Topic: topic})
				file.SetPatterns(acl.Rule{Access: acl.Read, Topic: topic})
				file.RemoveUser("a")
				if _, err := version(t, v).Parse("access.acl", []byte(text(t, file))); err != nil {
					t.Fatalf("%s: after edits of %q: %v", v, data, err)
				}
				acl.Vet(file, acl.Version{})
				acl.Diff(file.Compile(version(t, v)), file.Compile(acl.Version{}))
			}
		}
		file, err := acl.Parse("access.acl", data)
		if err != nil {
			return
		}
		if got := text(t, file); got != string(data) {
			t.Fatalf("wrote %q, want %q", got, data)
		}
		// What an edit of one user must leave alone.
		others := func(f *acl.File) (lines []string) {
			for _, name := range append([]string{""}, slices.Collect(f.Users())...) {
				if name == user && name != "" {
					continue
				}
				for r := range f.Rules(name) {
					lines = append(lines, name+" "+r.String())
				}
			}
			return lines
		}
		rest := func(text []byte) (lines []string) {
			for line := range bytes.Lines(text) {
				s := strings.TrimRight(string(line), "\r\n")
				if w := strings.TrimLeft(s, " "); !strings.HasPrefix(w, "topic ") && !strings.HasPrefix(w, "user ") {
					lines = append(lines, s)
				}
			}
			return lines
		}
		wantOthers, wantRest := others(file), rest(data)
		check := func(what string, want ...acl.Rule) {
			t.Helper()
			out := []byte(text(t, file))
			again, err := acl.Parse("access.acl", out)
			if err != nil {
				t.Fatalf("after %s, %q doesn't parse: %v", what, out, err)
			}
			for _, f := range []*acl.File{file, again} {
				if got := slices.Collect(f.Rules(user)); user != "" && !slices.Equal(got, want) {
					t.Fatalf("after %s: rules %v, want %v, in %q", what, got, want, out)
				}
				if got := others(f); !slices.Equal(got, wantOthers) {
					t.Fatalf("after %s: others have %q, want %q", what, got, wantOthers)
				}
			}
			if got := rest(out); !slices.Equal(got, wantRest) {
				t.Fatalf("after %s: other lines are %q, want %q", what, got, wantRest)
			}
		}
		rules := []acl.Rule{{Access: acl.Write, Topic: topic}, {Access: acl.Read, Topic: "x"}}
		for n := range 3 {
			rules := rules[:n]
			changed, err := file.SetUser(user, rules...)
			if err != nil {
				if got := text(t, file); got != string(data) {
					t.Fatalf("a refused edit made %q of %q", got, data)
				}
				return
			}
			check("SetUser", rules...)
			if again, _ := file.SetUser(user, rules...); again {
				t.Fatalf("SetUser again changes (first: %v)", changed)
			}
			data = []byte(text(t, file))
		}
		file.RemoveUser(user)
		check("RemoveUser")
	})
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"write /a/b", "read a  b", "readwrite #", "deny $SYS/+", "read", "read a\nb", "read \xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := acl.ParseRule(s)
		if err != nil {
			return
		}
		if again, err := acl.ParseRule(r.String()); again != r || err != nil {
			t.Errorf("ParseRule(%q) = %v, %v, want %v", r.String(), again, err, r)
		}
		var file acl.File
		if _, err := file.SetUser("u", r); err != nil {
			t.Errorf("SetUser refuses %v: %v", r, err)
		}
		if got := slices.Collect(parse(t, text(t, &file)).Rules("u")); !slices.Equal(got, []acl.Rule{r}) {
			t.Errorf("the file says %v, want %v", got, r)
		}
	})
}
