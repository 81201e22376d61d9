package acl_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/google/go-cmp/cmp"
)

// Edits of what is no user's.
func TestSetAnonymousAndPatterns(t *testing.T) {
	for _, tc := range []struct {
		name     string
		in       string
		patterns bool
		rules    []string
		want     string
	}{
		{name: "anonymous in an empty file", rules: []string{"read a"}, want: "topic read a\n"},
		{name: "anonymous before the first user", in: "# head\nuser u\ntopic read x\n", rules: []string{"read a", "deny b"},
			want: "# head\ntopic read a\ntopic deny b\nuser u\ntopic read x\n"},
		{name: "anonymous after a line without end", in: "# head", rules: []string{"read a"}, want: "# head\ntopic read a\n"},
		{name: "anonymous replaced where they stand", in: "# one\ntopic read a\n# two\ntopic read b\npattern read p\nuser u\ntopic read x\n",
			rules: []string{"read c"}, want: "# one\ntopic read c\n# two\npattern read p\nuser u\ntopic read x\n"},
		{name: "anonymous kept", in: "topic   a\nuser u\ntopic read x\n", rules: []string{"readwrite a"}, want: "topic   a\nuser u\ntopic read x\n"},
		{name: "anonymous removed", in: "topic a\r\n# c\r\nuser u\r\ntopic read x\r\n", want: "# c\r\nuser u\r\ntopic read x\r\n"},
		{name: "anonymous removed from a file of nothing else", in: "topic a\n", want: ""},

		{name: "patterns in an empty file", patterns: true, rules: []string{"read %u/a", "write %c"}, want: "pattern read %u/a\npattern write %c\n"},
		{name: "patterns before the first user", in: "topic a\r\nuser u\r\n", patterns: true, rules: []string{"read %u/a"}, want: "topic a\r\npattern read %u/a\r\nuser u\r\n"},
		{name: "patterns gathered where the first is", in: "# a\npattern read %u/a\n# b\npattern read %u/b\nuser u\n# c\npattern read %u/c\ntopic x\n", patterns: true,
			rules: []string{"read %u/a", "write %u/b"}, want: "# a\npattern read %u/a\n# b\npattern write %u/b\nuser u\n# c\ntopic x\n"},
		{name: "patterns below a user stay there", in: "user u\npattern %u/a\ntopic x\n", patterns: true, rules: []string{"deny %c"}, want: "user u\npattern deny %c\ntopic x\n"},
		{name: "patterns kept", in: "user u\npattern %u/a\ntopic x\nuser v\npattern read b\n", patterns: true, rules: []string{"readwrite %u/a", "read b"},
			want: "user u\npattern %u/a\ntopic x\nuser v\npattern read b\n"},
		{name: "patterns removed", in: "pattern a\nuser u\npattern %u/a\ntopic x\n", patterns: true, want: "user u\ntopic x\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := parse(t, tc.in)
			before := strings.Join(content(f)[len(slices.Collect(f.Rules(""))):], "\n")
			set, get := f.SetAnonymous, f.Rules("")
			if tc.patterns {
				set, get = f.SetPatterns, f.Patterns()
			}
			changed, err := set(rules(t, tc.rules...)...)
			if err != nil || changed != (tc.in != tc.want) {
				t.Fatalf("changed %v, %v", changed, err)
			}
			if got := text(t, f); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			var got []string
			for r := range get {
				got = append(got, r.String())
			}
			if diff := cmp.Diff(tc.rules, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			after := strings.Join(content(parse(t, text(t, f)))[len(slices.Collect(f.Rules(""))):], "\n")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("users (-before +after):\n%s", diff)
			}
			if again, err := set(rules(t, tc.rules...)...); again || err != nil {
				t.Errorf("again: %v, %v", again, err)
			}
			if _, err := f.SetUser("new", rules(t, "read x")...); err != nil || !f.RemoveUser("new") {
				t.Errorf("the file can't be edited any more: %v", err)
			}
		})
	}
}

func TestSetPatternsRefuses(t *testing.T) {
	for _, topic := range []string{"a/dev-%u", "%u%c", "%%u", "a/%cx/b", "a#", "", "a\nuser x"} {
		f := parse(t, "pattern read a\n")
		if changed, err := f.SetPatterns(acl.Rule{Access: acl.Read, Topic: topic}); changed || !errors.Is(err, acl.ErrTopic) {
			t.Errorf("%q: %v, %v, want ErrTopic", topic, changed, err)
		}
		if got := text(t, f); got != "pattern read a\n" {
			t.Errorf("%q made %q", topic, got)
		}
	}
	long := acl.Rule{Access: acl.Read, Topic: strings.Repeat("a", 1010)}
	var f acl.File
	if _, err := f.SetPatterns(long); !errors.Is(err, acl.ErrTopic) {
		t.Errorf("a pattern line of 1023 bytes: %v, want ErrTopic", err)
	}
	if _, err := f.SetAnonymous(long); err != nil {
		t.Errorf("a topic line of 1021 bytes: %v", err)
	}
	if _, err := f.SetAnonymous(acl.Rule{Access: acl.Read, Topic: "a\n"}); !errors.Is(err, acl.ErrTopic) {
		t.Errorf("got %v, want ErrTopic", err)
	}
}
