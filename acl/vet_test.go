package acl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/google/go-cmp/cmp"
)

func TestVet(t *testing.T) {
	long := strings.Repeat("x", 1100)
	for _, tc := range []struct {
		name    string
		file    string
		version string // 2.0.11 if empty
		want    []string
	}{
		{"nothing", "# c\nuser iotagent\ntopic read /#\ntopic write /+/+/config\nuser admin:1\ntopic write /admin/1/attrs\ntopic read /admin/1/config\n", "", nil},
		{"no rules", "# c\n", "", []string{"0 no-rules"}},
		{"no rules, before 1.5.6", "# c\n", "1.4.13", []string{"0 no-rules"}},
		{"deny before 2.0", "user u\ntopic a\ntopic deny b\n", "1.6.15", []string{"3 deny"}},
		{"refused by later versions", "user u\ntopic a\ntpic b\n", "1.4.13", []string{"3 ignored-line"}},
		{"long line", "user u\ntopic read " + long + "\ntopic a\n", "1.6.8", []string{"2 refused"}},
		{"long comment", "#" + long + "\nuser u\ntopic a\n", "1.4.13", []string{"1 ignored-line", "1 split-line"}},
		{"invalid filter", "user u\ntopic read a+\n", "1.4.13", []string{"1 no-stanza u", "2 never-matches"}},

		{"duplicates", "user u\ntopic read a\ntopic a\nuser u\ntopic read a\ntopic write a\ntopic deny b\ntopic deny b\n", "",
			[]string{"5 duplicate u", "6 duplicate u", "8 duplicate u"}},
		{"covered", "user u\ntopic read a/#\ntopic read a/b\ntopic write a/b\ntopic read a/+/c\n", "", []string{"3 shadowed u", "5 shadowed u"}},
		{"covered by a later line", "user u\ntopic read a/b\ntopic a/#\n", "", []string{"2 shadowed u"}},
		{"denied", "user u\ntopic read a/b\ntopic deny a/#\ntopic read b\ntopic deny b\n", "", []string{"2 shadowed u", "4 shadowed u"}},
		{"a denial covered", "user u\ntopic deny a/b\ntopic deny a/#\ntopic read #\n", "", []string{"2 shadowed u"}},
		{"patterns covered", "pattern read d/%u/#\npattern read d/%u/a\n", "", []string{"2 shadowed"}},
		{"# does not cover $x", "user u\ntopic read #\ntopic read $x/#\n", "", nil},
		{"lists are apart", "topic read a\nuser u\ntopic read a\npattern read a/%u\n", "", nil},

		{"topics that nobody can use", "user u\ntopic read a\tb\ntopic read \xff\ntopic read \uffff\ntopic write $SYS/a\ntopic read $SYS/#\ntopic write $SYS/#\ntopic $share/g/a\n", "",
			[]string{"2 never-matches u", "3 never-matches u", "4 never-matches u", "5 never-matches u", "5 shadowed u", "8 never-matches u"}},
		{"$SYS before 1.6", "user u\ntopic write $SYS/a\n", "1.4.13", nil},

		{"%u in a topic line", "user u\ntopic read d/%u\n", "", []string{"2 literal-name u"}},
		{"pattern without names", "user u\npattern read a\n", "", []string{"1 no-stanza u", "2 no-name"}},
		{"part of a level", "pattern read dev-%u/a\n", "", []string{"1 part-of-level"}},

		{"device with a wide rule", "user admin:1\ntopic read #\ntopic read /+/1/config\n", "", []string{"2 broad admin:1", "3 broad admin:1", "3 shadowed admin:1"}},
		{"device of a bare name", "user 24f6\ntopic read /+/24f6/config\n", "", []string{"2 broad 24f6"}},
		{"wide patterns", "pattern read /+/%u/config\npattern read #\n", "", []string{"1 broad", "1 shadowed", "2 broad", "2 no-name"}},
		{"wide for anonymous", "topic read #\n", "", []string{"1 broad"}},

		{"into another tenant", "user a:1\ntopic write /a/1/attrs\ntopic write /b/1/attrs\ntopic read /b/1/config\ntopic write /c/x\nuser b:2\ntopic write b:2/attrs\n", "",
			[]string{"3 tenant a:1"}},
		{"into another tenant, bare names", "user 1\ntopic write /a/1/attrs\nuser 2\ntopic write /b/2/attrs\ntopic write /a/2/attrs\n", "", []string{"5 tenant 2"}},
		{"into all tenants", "user a:1\ntopic write /+/1/attrs\n", "", []string{"2 broad a:1", "2 tenant a:1"}},
		{"into all tenants by pattern", "pattern write /+/%u/attrs\nuser 1\ntopic write /a/1/x\n", "", []string{"1 broad", "1 tenant"}},
		{"denials do no harm", "user a:1\ntopic deny #\n", "", nil},

		{"identities with patterns", "pattern read d/%u\nuser x+\ntopic a\nuser t/u\ntopic a\n", "", []string{"2 identity x+", "4 identity t/u"}},
		{"identities with patterns in 2.1", "pattern read d/%u\nuser t/u\ntopic a\n", "2.1.2", []string{"2 identity t/u"}},
		{"identities without", "user x+\ntopic a\nuser t/u\ntopic a\n", "", nil},
		{"identities that nobody can have", "user a\tb\ntopic a\nuser \xff\ntopic a\n", "", []string{"1 identity a\tb", "3 identity \xff"}},
		{"no stanza", "user u\n# c\nuser v\ntopic a\nuser v\n", "", []string{"1 no-stanza u"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.version == "" {
				tc.version = "2.0.11"
			}
			v := version(t, tc.version)
			f, err := v.Parse("access.acl", []byte(tc.file))
			if err != nil {
				f = parse(t, tc.file)
			}
			var got []string
			for _, finding := range acl.Vet(f, v) {
				s := fmt.Sprint(finding.Line, " ", finding.Check)
				if finding.User != "" {
					s += " " + finding.User
				}
				got = append(got, s)
				if finding.Message == "" || finding.Remedy == "" {
					t.Errorf("%+v says nothing", finding)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
				for _, f := range acl.Vet(f, v) {
					t.Log(f)
				}
			}
		})
	}
}

func TestVetSlowLoad(t *testing.T) {
	f := parse(t, string(fleet(20_001)))
	slow := func(v string) bool {
		return slices.ContainsFunc(acl.Vet(f, version(t, v)), func(f acl.Finding) bool { return f.Check == acl.CheckSlowLoad })
	}
	if !slow("2.0.11") || slow("2.1.2") {
		t.Error("want a finding for 2.0.11 and none for 2.1.2")
	}
}

// A rule that Vet says changes nothing can go without a difference.
func TestVetAndDiff(t *testing.T) {
	const file = "user u\ntopic read a/#\ntopic read a/b\ntopic write c\ntopic c\ntopic deny d/#\ntopic read d/e\ntopic deny d/f\n"
	f := parse(t, file)
	lines := strings.SplitAfter(file, "\n")
	for _, finding := range acl.Vet(f, acl.Version{}) {
		rest := strings.Join(slices.Concat(lines[:finding.Line-1], lines[finding.Line:]), "")
		if d := acl.Diff(f.Compile(acl.Version{}), parse(t, rest).Compile(acl.Version{})); d != nil {
			t.Errorf("%v, but without it: %v", finding, d)
		}
	}
}
