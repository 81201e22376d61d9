package acl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
)

// The tests in this file hold what Vet, Diff and Compact say against the
// verdicts of Policy, on generated files. That those are the broker's is for
// TestGeneratedFilesOnBroker.

// clients are all that generated files know, and some that they don't.
func (g generator) clients() (out []acl.Client) {
	for _, name := range []string{"", "u", "v", "a", "t/u", "x+", "$x", "%c", "b"} {
		out = append(out, acl.Client{Username: name, ID: g.pick("c1", "u", "a")})
	}
	return out
}

func (g generator) topic() string {
	for {
		topic := g.pick("", "", "$x/") + strings.TrimSuffix(g.filter("a", "b", "u", "", "c1", "d-u", "uc1", "v", "t", "%u"), "#")
		if topic != "" {
			return topic
		}
	}
}

// TestVetFindingsHold removes lines of which Vet says that they change
// nothing.
func TestVetFindingsHold(t *testing.T) {
	g := newGenerator(true)
	tried := 0
	for range 400 {
		text := g.file()
		v := version(t, g.pick("2.0.11", "2.1.2"))
		f := parse(t, text)
		before := f.Compile(v)
		lines := strings.SplitAfter(text, "\n")
		for _, finding := range acl.Vet(f, v) {
			switch finding.Check {
			case acl.CheckDuplicate, acl.CheckShadowed, acl.CheckNeverMatches:
			default:
				continue
			}
			tried++
			rest := strings.Join(slices.Concat(lines[:finding.Line-1], lines[finding.Line:]), "")
			after := parse(t, rest).Compile(v)
			for range 50 {
				topic := g.topic()
				for _, c := range g.clients() {
					for _, want := range []acl.Access{acl.Read, acl.Write} {
						if was, is := before.Allows(c, want, topic), after.Allows(c, want, topic); was != is {
							t.Fatalf("seed %d, %s: %v\nbut without it %+v, %v %q: was %v, is %v; the file is\n%s", *seed, v, finding, c, want, topic, was, is, text)
						}
					}
				}
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d findings", tried)
	}
}

// TestDiffMissesNothing asks two policies, and Diff for the reason of what
// they don't agree about.
func TestDiffMissesNothing(t *testing.T) {
	g := newGenerator(true)
	changed := 0
	for range 400 {
		oldText, newText := g.file(), g.file()
		if g.IntN(2) == 0 { // a small change
			lines := strings.SplitAfter(oldText, "\n")
			i := g.IntN(len(lines))
			newText = strings.Join(slices.Concat(lines[:i], lines[i+1:]), "")
		}
		oldVersion := version(t, g.pick("2.0.11", "2.1.2"))
		newVersion := oldVersion
		if g.IntN(4) == 0 {
			newText, newVersion = oldText, version(t, "2.1.2")
		}
		old, new := parse(t, oldText).Compile(oldVersion), parse(t, newText).Compile(newVersion)
		gained, lost := make(map[string]bool), make(map[string]bool)
		for _, d := range acl.Diff(old, new) {
			who := "user " + d.User
			if d.Everybody {
				who = "everybody"
			}
			gained[who], lost[who] = len(d.Gained) > 0, len(d.Lost) > 0
		}
		for range 50 {
			topic := g.topic()
			for _, c := range g.clients() {
				for _, want := range []acl.Access{acl.Read, acl.Write} {
					was, is := old.Allows(c, want, topic), new.Allows(c, want, topic)
					if was == is {
						continue
					}
					if unknown := newVersion != oldVersion && strings.ContainsAny(c.Username, "/$"); unknown && len(slices.Collect(parse(t, newText).Rules(c.Username))) == 0 {
						continue // who may have such a name, Diff can't know
					}
					changed++
					said := gained
					if was {
						said = lost
					}
					if !said["everybody"] && !said["user "+c.Username] {
						t.Fatalf("seed %d: %+v, %v %q: was %v, is %v, but Diff says %+v; the files are, for %s and %s,\n%s\n\n%s",
							*seed, c, want, topic, was, is, acl.Diff(old, new), oldVersion, newVersion, oldText, newText)
					}
				}
			}
		}
	}
	if changed < 100 {
		t.Errorf("only %d changes", changed)
	}
}

// fleet of a few devices that Compact finds uniform, among whatever else.
func (g generator) fleet() (text string, removed []string) {
	var b strings.Builder
	b.WriteString(g.file())
	kinds := []string{"topic write %s/a\n", "topic read b/%s\ntopic write a/%s\n", "topic b/%s/#\n", "topic write $x/%s\n"}[:1+g.IntN(4)]
	for i := range 3 + g.IntN(6) {
		name := fmt.Sprint("d", i)
		fmt.Fprintf(&b, "user %s\n%s", name, strings.ReplaceAll(kinds[i%len(kinds)], "%s", name))
		if g.IntN(4) == 0 {
			b.WriteString(g.rule("topic ", "a", "b", name, "+"))
		}
		if g.IntN(6) == 0 {
			removed = append(removed, name)
		}
	}
	return b.String(), append(removed, g.pick("gone", "t/gone", "$gone", "$x", "g+"))
}

// TestCompactIsHonest lets Compact do one thing and another, and watches that
// nobody gets more than it may, or loses what it says nothing of.
func TestCompactIsHonest(t *testing.T) {
	g := newGenerator(true)
	done := 0
	for range 1500 {
		in, removed := g.fleet()
		v := version(t, g.pick("2.0.11", "2.1.2"))
		o := acl.CompactOptions{Version: v, Removed: removed}
		for _, w := range []acl.Widening{acl.WidenUnlisted, acl.WidenStanzas, acl.WidenKept} {
			if g.IntN(3) > 0 {
				o.Allow = append(o.Allow, w)
			}
		}
		f := parse(t, in)
		c, err := acl.Compact(f, o)
		if err != nil {
			continue
		}
		done++
		old, new := f.Compile(v), c.File.Compile(v)
		listed := make(map[string]bool)
		kept := make(map[string]bool)
		for user := range f.Users() {
			listed[user] = true
		}
		for user := range c.File.Users() {
			kept[user] = true
		}
		users := append([]string{"", "unlisted", "d99"}, removed...)
		users = append(users, slices.Collect(f.Users())...)
		for range 60 {
			topic := g.topic()
			if g.IntN(2) == 0 {
				topic = strings.ReplaceAll(g.pick("%s/a", "b/%s", "a/%s", "b/%s/x", "$x/%s"), "%s", g.pick(users...))
			}
			if topic == "" {
				continue
			}
			for _, user := range users {
				client := acl.Client{Username: user, ID: "c1"}
				for _, want := range []acl.Access{acl.Read, acl.Write} {
					was, is := old.Allows(client, want, topic), new.Allows(client, want, topic)
					fail := ""
					switch {
					case slices.Contains(removed, user):
						if is {
							fail = "a removed user is allowed something"
						}
					case was && !is:
						fail = "lost"
					case was == is:
					case user == "":
						fail = "anonymous clients gain"
					case !listed[user] && !slices.Contains(o.Allow, acl.WidenUnlisted):
						fail = "unlisted users gain"
					case listed[user] && kept[user] && !slices.Contains(o.Allow, acl.WidenKept):
						fail = "a user whose stanza stays gains"
					case listed[user] && !kept[user] && !slices.Contains(o.Allow, acl.WidenStanzas):
						fail = "a user whose stanza is replaced gains"
					}
					if fail != "" {
						t.Fatalf("seed %d, %s, %+v: %s: %q, %v %q: was %v, is %v; the file was\n%s\nand is\n%s\n%+v",
							*seed, v, o, fail, user, want, topic, was, is, in, text(t, c.File), c.Effects)
					}
				}
			}
		}
	}
	if done < 50 {
		t.Errorf("only %d compactions", done)
	}
}
