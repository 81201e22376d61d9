package acl_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

var seed = flag.Uint64("seed", 8, "where generated files begin")

// generator makes files and topics of few words, so that they meet.
type generator struct {
	*rand.Rand
	deny bool
}

func newGenerator(deny bool) generator {
	return generator{rand.New(rand.NewPCG(*seed, 0)), deny}
}

func (g generator) pick(words ...string) string { return words[g.IntN(len(words))] }

func (g generator) filter(levels ...string) string {
	var filter []string
	for range 1 + g.IntN(3) {
		filter = append(filter, g.pick(levels...))
	}
	if g.IntN(5) == 0 {
		filter = append(filter, "#")
	}
	if s := strings.Join(filter, "/"); s != "" {
		return s
	}
	return "/"
}

func (g generator) rule(keyword string, levels ...string) string {
	access := g.pick("read ", "write ", "readwrite ", "")
	if g.deny && g.IntN(5) == 0 {
		access = "deny "
	}
	return keyword + access + g.filter(levels...) + "\n"
}

func (g generator) file() string {
	topics := []string{"a", "a", "b", "u", "", "+", "+", "$x", "%u", "c1", "d-u"}
	patterns := append(topics, "%u", "%u", "%c", "%c", "d-%u", "d-%c", "%u%c", "%%c", "%cx")
	var b strings.Builder
	for range g.IntN(3) {
		b.WriteString(g.rule("topic ", topics...))
	}
	for range 3 + g.IntN(5) {
		fmt.Fprintf(&b, "user %s\n", g.pick("u", "u", "v", "a", "t/u", "x+", "$x", "%c"))
		for range g.IntN(5) {
			b.WriteString(g.rule("topic ", topics...))
		}
		if g.IntN(2) == 0 {
			b.WriteString(g.rule("pattern ", patterns...))
		}
	}
	return b.String()
}

// knowsDeny tells whether a file with deny loads.
func knowsDeny(v acl.Version) bool {
	_, err := v.Parse("", []byte("topic deny a\n"))
	return err == nil
}

// TestGeneratedFilesOnBroker asks one broker about many files: it reloads
// each, and the clients stay.
func TestGeneratedFilesOnBroker(t *testing.T) {
	v := needBroker(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "access.acl")
	write := func(text string) *acl.File {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := v.Parse(path, []byte(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return f
	}
	write(everyTopic)
	broker, err := mosquittotest.Start(mosquittotest.Options{Dir: dir, Conf: "allow_anonymous true\nset_tcp_nodelay true\nacl_file access.acl\n"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })

	clients := []acl.Client{
		{ID: "c0"}, {ID: "u"}, {Username: "u", ID: "c1"}, {Username: "u", ID: "a/b"}, {Username: "u", ID: "x#"}, {Username: "v", ID: "b"},
		{Username: "a", ID: "a"}, {Username: "t/u", ID: "$x"}, {Username: "x+", ID: "c7"}, {Username: "$x", ID: "c8"}, {Username: "%c", ID: "c9"}, {Username: "unknown", ID: "c10"},
	}
	var conns []*mqttClient
	for _, c := range clients {
		m := connect(t, broker.Addr(), c)
		m.subscribe("#")
		m.subscribe("$x/#")
		conns = append(conns, m)
	}
	publisher := connect(t, broker.Addr(), acl.Client{Username: "publisher", ID: "publisher"})

	g := newGenerator(knowsDeny(v))
	files, asked, allowed := 40, 0, 0
	for range files {
		text := g.file() + everyTopic
		policy := write(text).Compile(v)
		if err := broker.Reload(); err != nil {
			t.Fatal(err)
		}
		topics := make([]string, 0, 30)
		for len(topics) < cap(topics) {
			topic := g.pick("", "", "$x/") + strings.TrimSuffix(g.filter("a", "b", "u", "", "c1", "d-u", "uc1", "v", "t", "%u"), "#")
			if topic != "" && !slices.Contains(topics, topic) {
				topics = append(topics, topic)
			}
		}
		check := func(c acl.Client, want acl.Access, topic string, got bool) {
			asked++
			if got {
				allowed++
			}
			d := policy.Explain(c, want, topic)
			if d.Allowed != got || policy.Allows(c, want, topic) != got {
				t.Errorf("seed %d: %+v, %v %q: the broker says %v, the policy %+v; the file is\n%s", *seed, c, want, topic, got, d, text)
			}
		}
		for _, topic := range topics {
			if !publisher.publish(topic) {
				t.Fatalf("the publisher may not publish to %q", topic)
			}
		}
		for i, c := range clients {
			got := conns[i].received()
			for _, topic := range topics {
				check(c, acl.Read, topic, slices.Contains(got, topic))
			}
		}
		for i, c := range clients {
			for _, topic := range topics {
				check(c, acl.Write, topic, conns[i].publish(topic))
			}
		}
		for _, m := range conns {
			m.received() // what the others have published
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("mosquitto %v: %d files, %d questions, %d allowed", v, files, asked, allowed)
	if allowed < asked/200 {
		t.Errorf("only %d of %d questions allowed: they show nothing", allowed, asked)
	}
}
