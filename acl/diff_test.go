package acl_test

import (
	"fmt"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	for _, tc := range []struct {
		name, old, new string
		want           []string // who, then what with + or -
	}{
		{"nothing", "user u\ntopic read a\n", "# moved\n\nuser u\ntopic read a\n", nil},
		{"a user more", "", "user u\ntopic read a\ntopic write b\n", []string{"u +read a +write b"}},
		{"a user less", "user u\ntopic read a\n", "user v\n", []string{"u -read a"}},
		{"a direction less", "user u\ntopic a\n", "user u\ntopic read a\n", []string{"u -write a"}},
		{"both directions in one", "user u\n", "user u\ntopic read a\ntopic write a\n", []string{"u +readwrite a"}},
		{"a rule that another covers", "user u\ntopic read a/#\n", "user u\ntopic read a/#\ntopic read a/b\n", nil},
		{"a wider rule", "user u\ntopic read a/b\n", "user u\ntopic read a/+\n", []string{"u +read a/+"}},
		{"a denial", "user u\ntopic read a/#\n", "user u\ntopic read a/#\ntopic deny a/b\n", []string{"u -read a/b"}},
		{"a denial lifted", "user u\ntopic deny a/#\ntopic read a/b\n", "user u\ntopic read a/b\n", []string{"u +read a/b"}},
		{"a denial of nothing", "user u\ntopic read a\n", "user u\ntopic read a\ntopic deny b\n", nil},
		{"anonymous", "topic read a\n", "topic read b\n", []string{" +read b -read a"}},
		{"users in order", "", "user b\ntopic read x\nuser a\ntopic read x\n", []string{"a +read x", "b +read x"}},
		{"everybody", "pattern read %u/a\n", "pattern write %u/a\n", []string{"* +write %u/a -read %u/a"}},
		{"a rule becomes a pattern", "user u\ntopic write t/u/a\n", "pattern write t/%u/a\n", []string{"* +write t/%u/a"}},
		{"a pattern becomes a rule", "pattern write t/%u/a\n", "user u\ntopic write t/u/a\n", []string{"* -write t/%u/a"}},
		{"a rule becomes a pattern, but for what another denies", "user u\ntopic write +/#\n", "pattern write +/#\npattern deny c\n", []string{"* +write +/#", "u -write c"}},
		{"a rule gives way to a denial of the client's name", "user u\ntopic read a/#\npattern read #\npattern deny %c\n", "user u\ntopic read b\npattern read #\npattern deny %c\n", []string{"u +read b -read a/#"}},
		{"a pattern's denial of what a rule grants", "user u\ntopic write #\n", "user u\ntopic write #\npattern deny c\n", nil},
		{"a denial of what a pattern grants", "pattern write t/%u/a\n", "pattern write t/%u/a\nuser u\ntopic deny #\n", []string{"u -write t/u/a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old, new := parse(t, tc.old).Compile(acl.Version{}), parse(t, tc.new).Compile(acl.Version{})
			if diff := cmp.Diff(tc.want, differences(acl.Diff(old, new))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func differences(list []acl.Difference) (out []string) {
	for _, d := range list {
		who := d.User
		if d.Everybody {
			who = "*"
		}
		for _, r := range d.Gained {
			who += fmt.Sprint(" +", r)
		}
		for _, r := range d.Lost {
			who += fmt.Sprint(" -", r)
		}
		out = append(out, who)
	}
	return out
}

// Diff of one file under two versions is what an upgrade changes.
func TestDiffOfVersions(t *testing.T) {
	for _, tc := range []struct {
		name, file, old, new string
		want                 []string // as in TestDiff
	}{
		{"the same version", "pattern write d/%u/a\nuser t/u\ntopic read x\n", "2.0.11", "2.0.11", nil},
		{"versions that agree", "pattern write d/%u/a\nuser t/u\ntopic read x\n", "2.0.11", "1.6.15", nil},
		{"a name with a slash", "pattern write d/%u/a\nuser t/u\ntopic read x\nuser v\ntopic read x\n", "2.0.11", "2.1.2", []string{"t/u -write d/t/u/a"}},
		{"a name with a slash comes into its own", "pattern write d/%u/a\nuser t/u\ntopic read x\n", "2.1.2", "2.0.11", []string{"t/u +write d/t/u/a"}},
		{"a name with a dollar sign", "pattern write %u/a\nuser $x\ntopic read x\n", "2.0.11", "2.1.2", []string{"$x -write $x/a"}},
		{"a part of a level", "pattern write d/%u/a\npattern read d/dev-%u\nuser v\ntopic read x\n", "2.0.11", "2.1.2",
			[]string{"* +read d/dev-%u -read d/dev-%u", "v +read d/dev-%u -read d/dev-v"}},
		{"a denial of a name with a slash", "pattern deny d/%u\npattern read d/#\nuser t/u\ntopic read x\n", "2.0.11", "2.1.2", []string{"t/u +read d/t/u"}},
		{"a denial of a name with a slash comes back", "pattern deny d/%u\npattern read d/#\nuser t/u\ntopic read x\n", "2.1.2", "2.0.11", []string{"t/u -read d/t/u"}},
		{"a denial of a name with a dollar sign", "pattern deny %u/+\npattern read $x/#\nuser $x\ntopic read x\n", "2.0.11", "2.1.2", []string{"$x +read $x/+"}},
		{"a denial of a name, but for what another denies", "pattern deny d/%u\npattern deny d/+/u\npattern read d/#\nuser t/u\ntopic read x\n", "2.0.11", "2.1.2", nil},
		{"a denial of a name, but for what a rule denies", "pattern deny d/%u\npattern read d/#\nuser t/u\ntopic deny d/t/u\n", "2.0.11", "2.1.2", nil},
		{"a denial of a name, but for what a rule grants", "pattern deny d/%u\npattern read d/#\nuser t/u\ntopic read d/t/u\n", "2.0.11", "2.1.2", nil},
		{"a denial of a part of a level", "pattern deny d/dev-%u\npattern read d/#\nuser v\ntopic read x\n", "2.0.11", "2.1.2",
			[]string{"* +read d/dev-%u -read d/dev-%u", "v +read d/dev-v -read d/dev-%u"}},
		{"a denial of the client's name in a level", "pattern deny d/dev-%c\npattern read d/dev-1\n", "2.0.11", "2.1.2", []string{"* +read d/dev-1", " +read d/dev-1"}},
		{"a denial of the client's name in another level", "pattern deny d/dev-%c\npattern read d/1\npattern read e/dev-1\n", "2.0.11", "2.1.2", nil},
		{"a denial of both names in a level", "pattern deny %u:%c-/a\npattern read v:1-/a\npattern read v:1/a\npattern read w:1-/a\nuser v\ntopic read x\n", "2.0.11", "2.1.2",
			[]string{"* +read v:1-/a +read w:1-/a", "v +read v:1-/a"}},
		{"the client's name", "pattern read d/%u/%c\ntopic read x\nuser v\ntopic read x\n", "2.0.11", "2.1.2", nil},
		{"a denial of the client's name", "pattern deny d/%c\npattern read d/a\npattern write d/+\ntopic read x\nuser v\ntopic read x\n", "2.0.11", "2.1.2", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := parse(t, tc.file)
			old, new := f.Compile(version(t, tc.old)), f.Compile(version(t, tc.new))
			if diff := cmp.Diff(tc.want, differences(acl.Diff(old, new))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
