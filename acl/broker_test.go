package acl_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/eclipse/paho.golang/packets"
)

// startBroker runs the installed broker with an access file.
func startBroker(t testing.TB, file []byte) (*mosquittotest.Broker, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "access.acl"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := mosquittotest.Start(mosquittotest.Options{
		Dir:  dir,
		Conf: "allow_anonymous true\nacl_file access.acl\n",
	})
	if err == nil {
		t.Cleanup(func() { b.Close() })
	}
	return b, err
}

// needBroker returns the version of the broker that the environment variable
// MOSQUITTO names, or else of the installed one.
func needBroker(t testing.TB) acl.Version {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a broker")
	}
	b, err := mosquittotest.Start(mosquittotest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	return version(t, b.Version())
}

func TestBrokerLoadsWhatParseAccepts(t *testing.T) {
	installed := needBroker(t)
	type file struct {
		name string
		data []byte
	}
	var files []file
	for _, tc := range grammar {
		if tc.err != acl.ErrNUL {
			files = append(files, file{tc.name, []byte(tc.text)})
		}
	}
	for _, path := range testdata(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{path, data})
	}
	for i, data := range corpus(t) {
		files = append(files, file{fmt.Sprint("corpus ", i+1), data})
	}
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	t.Run("files", func(t *testing.T) {
		for _, f := range files {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				limit <- struct{}{}
				defer func() { <-limit }()
				_, want := installed.Parse("access.acl", f.data)
				b, err := startBroker(t, f.data)
				if (err == nil) != (want == nil) {
					t.Errorf("Parse says %v, the broker %v", want, err)
				}
				if exit := (*mosquittotest.ExitError)(nil); err != nil && !errors.As(err, &exit) {
					t.Errorf("the broker didn't refuse the file: %v", err)
				}
				if b != nil {
					b.Close()
				}
			})
		}
	})
}

// mqttClient speaks just enough MQTT 5.0 to see verdicts. It knows, unlike a
// client that handles messages on goroutines, what came before an answer.
type mqttClient struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	id   uint16
	got  []string // topics of messages, since the last look
}

func connect(t testing.TB, addr string, c acl.Client) *mqttClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &mqttClient{t: t, conn: conn, r: bufio.NewReader(conn)}
	p := packets.NewControlPacket(packets.CONNECT)
	open := p.Content.(*packets.Connect)
	open.ClientID, open.CleanStart = c.ID, true
	open.Username, open.UsernameFlag = c.Username, c.Username != ""
	m.send(p)
	if ack := m.await(packets.CONNACK).(*packets.Connack); ack.ReasonCode != 0 {
		t.Fatalf("client %+v refused: %#x", c, ack.ReasonCode)
	}
	return m
}

// send gives the packet and its answer a minute.
func (m *mqttClient) send(p *packets.ControlPacket) {
	m.t.Helper()
	m.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := p.WriteTo(m.conn); err != nil {
		m.t.Fatal(err)
	}
}

// await reads up to an answer and keeps the topics of messages before it.
func (m *mqttClient) await(kind byte) packets.Packet {
	m.t.Helper()
	for {
		p, err := packets.ReadPacket(m.r)
		if err != nil {
			m.t.Fatalf("waiting for packet type %d: %v", kind, err)
		}
		switch {
		case p.Type == kind:
			return p.Content
		case p.Type == packets.PUBLISH:
			m.got = append(m.got, p.Content.(*packets.Publish).Topic)
		default:
			m.t.Fatalf("got %v, want packet type %d", p, kind)
		}
	}
}

func (m *mqttClient) nextID() uint16 { m.id++; return m.id }

// publish returns whether the broker takes the message.
func (m *mqttClient) publish(topic string) bool {
	m.t.Helper()
	p := packets.NewControlPacket(packets.PUBLISH)
	msg := p.Content.(*packets.Publish)
	msg.Topic, msg.QoS, msg.PacketID = topic, 1, m.nextID()
	m.send(p)
	switch ack := m.await(packets.PUBACK).(*packets.Puback); ack.ReasonCode {
	case packets.PubackSuccess, packets.PubackNoMatchingSubscribers:
		return true
	case packets.PubackNotAuthorized:
		return false
	default:
		m.t.Fatalf("publish to %q: reason %#x", topic, ack.ReasonCode)
		return false
	}
}

func (m *mqttClient) subscribe(filter string) {
	m.t.Helper()
	p := packets.NewControlPacket(packets.SUBSCRIBE)
	sub := p.Content.(*packets.Subscribe)
	sub.PacketID, sub.Subscriptions = m.nextID(), []packets.SubOptions{{Topic: filter}}
	m.send(p)
	if ack := m.await(packets.SUBACK).(*packets.Suback); ack.Reasons[0] != 0 {
		m.t.Fatalf("subscribe to %q: reason %#x", filter, ack.Reasons[0])
	}
}

// received returns the topics of messages that the broker sent before now.
func (m *mqttClient) received() []string {
	m.t.Helper()
	m.send(packets.NewControlPacket(packets.PINGREQ))
	m.await(packets.PINGRESP)
	got := m.got
	m.got = nil
	return got
}

// everyTopic has a line for each tree that the questions are about, since a
// filter of # matches no topic that begins with $.
const everyTopic = `
user publisher
topic readwrite #
topic readwrite $x/#
topic readwrite $SYS/#
`

func TestBrokerAgreesWithPolicy(t *testing.T) {
	v := needBroker(t)
	for _, tc := range []struct {
		name, file string
	}{
		{"topics only", `
topic read anon
topic readwrite both/+
topic deny both/secret
user u
topic read a/#
topic write a/+
topic readwrite b/+/c
topic deny b/x/c
topic read $x/y
topic readwrite %u/%c
topic write $SYS/#
topic write $x
user v
topic readwrite #
topic deny a/b
user t/u
topic readwrite t/u/#
topic write +/#
user x+y
topic readwrite +
user bob smith
topic read a b
topic /
user u
topic write d/u/a
`},
		{"patterns", `
topic write anon
pattern readwrite d/%u/%c
pattern write dev-%u/a
pattern read p/%c
pattern deny d/%u/secret
pattern write d/%u/#
pattern read %u%c
pattern readwrite %u/#
pattern read $x/%u
pattern write %%u
pattern write %U
pattern read both/+
user u
topic read d/u/secret
topic write own
topic deny d/u/x
user x+y
topic write own
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !knowsDeny(v) {
				tc.file = regexp.MustCompile("(?m)^.* deny .*\n").ReplaceAllString(tc.file, "")
			}
			file := parse(t, tc.file+everyTopic)
			broker, err := startBroker(t, []byte(tc.file+everyTopic))
			if err != nil {
				t.Fatal(err)
			}
			policy := file.Compile(version(t, broker.Version()))
			publisher := connect(t, broker.Addr(), acl.Client{Username: "publisher", ID: "publisher"})

			clients := []acl.Client{
				{ID: "anon"}, {ID: "u"}, {Username: "u", ID: "i"}, {Username: "u", ID: "x+"}, {Username: "u", ID: "a/b"},
				{Username: "v", ID: "v"}, {Username: "unknown", ID: "k"}, {Username: "t/u", ID: "tu"}, {Username: "x+y", ID: "xy"},
				{Username: "#", ID: "hash"}, {Username: "bob smith", ID: "bob"}, {Username: "$x", ID: "dollar"}, {Username: "%c", ID: "percent"},
				{Username: "t:u", ID: "t:u"}, {Username: "$SYS", ID: "sys"}, {Username: "ü", ID: "ü"},
			}
			topics := []string{
				"anon", "both/x", "both/secret", "both/", "a", "a/b", "a/b/c", "/", "//", "a b", "own", "%u/%c", "%u", "%U", "%%u",
				"b/y/c", "b/x/c", "b//c", "d/u/a", "d/u/i", "d/u/x", "d/u/secret", "d/u", "d//i", "d/v/v", "d/t/u/a", "d/t:u/t:u",
				"dev-u/a", "dev-%u/a", "p/i", "p/u", "p/a/b", "ui", "tu", "u/x", "u", "t/u/x", "%c/x", "%c/i", "d/%c/a", "ü", "ü/a",
				"$x", "$x/y", "$x/u", "$x/a",
			}
			// Brokers refuse these before they ask the file, or hardly ask it.
			onlyWrite := []string{"$SYS/a", "$SYS", "$SYSTEM/a", "$SYS/broker/connection/b/state", "$share/g/a", "$sharex"}
			onlyRetained := "$SYS/broker/version"

			asked, allowed := 0, 0
			ask := func(c acl.Client, want acl.Access, topic string, got bool) {
				t.Helper()
				asked++
				if got {
					allowed++
				}
				if d := policy.Explain(c, want, topic); d.Allowed != got {
					t.Errorf("%+v, %v %q: the broker says %v, the policy %+v", c, want, topic, got, d)
				}
			}
			readers := make([]*mqttClient, len(clients))
			for i, c := range clients {
				m := connect(t, broker.Addr(), c)
				for _, topic := range slices.Concat(topics, onlyWrite) {
					ask(c, acl.Write, topic, m.publish(topic))
				}
				m.subscribe(onlyRetained)
				ask(c, acl.Read, onlyRetained, len(m.received()) == 1)
				for _, filter := range []string{"#", "$x/#"} {
					m.subscribe(filter)
				}
				m.received()
				readers[i] = m
			}
			for _, topic := range topics {
				if !publisher.publish(topic) {
					t.Fatalf("the publisher may not publish to %q", topic)
				}
			}
			for i, c := range clients {
				got := readers[i].received()
				for _, topic := range topics {
					ask(c, acl.Read, topic, slices.Contains(got, topic))
				}
			}
			t.Logf("mosquitto %s: %d questions, %d allowed", broker.Version(), asked, allowed)
			if allowed < asked/20 {
				t.Errorf("only %d of %d questions allowed: they show nothing", allowed, asked)
			}
		})
	}
}

// TestBrokerRefusesTopics asks about topics for which the broker ends the
// connection, so that what Policy says of them hasn't to be believed.
func TestBrokerRefusesTopics(t *testing.T) {
	needBroker(t)
	broker, err := startBroker(t, []byte("topic readwrite #\n"))
	if err != nil {
		t.Fatal(err)
	}
	policy := parse(t, "topic readwrite #\n").Compile(version(t, broker.Version()))
	for i, topic := range []string{
		"a/+", "#", "a\x01", "a\x7f", "a\u0085", "a\ufdd0", "a\uffff", "a\U0001ffff", "a\xff", "a\xed\xa0\x80",
		"a\ufffd", "a\u00a0", "a\U0001f600", " a ",
		strings.Repeat("/", 200), strings.Repeat("/", 201),
	} {
		c := acl.Client{ID: fmt.Sprint("c", i)}
		m := connect(t, broker.Addr(), c)
		p := packets.NewControlPacket(packets.PUBLISH)
		msg := p.Content.(*packets.Publish)
		msg.Topic, msg.QoS, msg.PacketID = topic, 1, 1
		m.send(p)
		answer, err := packets.ReadPacket(m.r)
		got := err == nil && answer.Type == packets.PUBACK && answer.Content.(*packets.Puback).ReasonCode < 0x80
		if want := policy.Allows(c, acl.Write, topic); got != want {
			t.Errorf("%q: the broker says %v (%v, %v), the policy %v", topic, got, answer, err, want)
		}
	}
}

// TestStoreAndBroker follows a device from its creation to its removal: what
// Apply acknowledges is what the broker does.
func TestStoreAndBroker(t *testing.T) {
	needBroker(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "access.acl")
	var broker *mosquittotest.Broker
	store := reopen(t, path, acl.StoreOptions{
		Seed:    []byte("user iotagent\ntopic read /#\n"),
		Written: func(context.Context) error { return broker.Reload() },
	})
	broker, err := mosquittotest.Start(mosquittotest.Options{Dir: dir, Conf: "allow_anonymous true\nacl_file access.acl\n"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	device := connect(t, broker.Addr(), acl.Client{Username: "admin:24f6", ID: "device"})
	agent := connect(t, broker.Addr(), acl.Client{Username: "iotagent", ID: "agent"})
	agent.subscribe("#")
	for _, step := range []struct {
		change acl.Change
		want   map[string]bool
	}{
		{set("other", "write /admin/24f6/attrs"), map[string]bool{"/admin/24f6/attrs": false}},
		{set("admin:24f6", "write /admin/24f6/attrs"), map[string]bool{"/admin/24f6/attrs": true, "/admin/24f/attrs": false}},
		{set("admin:24f6", "write /other/24f6/attrs"), map[string]bool{"/admin/24f6/attrs": false, "/other/24f6/attrs": true}},
		{set("admin:24f6"), map[string]bool{"/other/24f6/attrs": false}},
	} {
		if err := store.Apply(t.Context(), step.change); err != nil {
			t.Fatal(err)
		}
		for topic, want := range step.want {
			if got := device.publish(topic); got != want {
				t.Errorf("after %+v: publish to %s: %v, want %v", step.change, topic, got, want)
			}
			if got := agent.received(); slices.Contains(got, topic) != want {
				t.Errorf("after %+v: the agent received %q", step.change, got)
			}
		}
	}
}

// TestCompactOnBroker asks a broker what Compact promises about the file that
// it made.
func TestCompactOnBroker(t *testing.T) {
	v := needBroker(t)
	if !knowsDeny(v) {
		t.Skip("removed users take Mosquitto 2.0")
	}
	f := parse(t, `user agent
topic read /#
user d1
topic write /a/d1/attrs
topic read /a/d1/config
topic write $x/d1
user d2
topic write /a/d2/attrs
topic read /a/d2/config
topic write $x/d2
user odd
topic write odd
`)
	c, err := acl.Compact(f, acl.CompactOptions{
		Version: v,
		Removed: []string{"gone", "$x"},
		Allow:   []acl.Widening{acl.WidenUnlisted, acl.WidenKept},
	})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := startBroker(t, []byte(text(t, c.File)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text(t, c.File))
	}
	for _, tc := range []struct {
		user, topic string
		want        bool
	}{
		{"d1", "/a/d1/attrs", true},
		{"d1", "$x/d1", true},
		{"d1", "/a/d2/attrs", false},
		{"d1", "/a/d1/config", false},
		{"unlisted", "/a/unlisted/attrs", true},
		{"gone", "/a/gone/attrs", false},
		{"gone", "$x/gone", false},
		{"$x", "/a/$x/attrs", false},
		{"odd", "odd", true},
		{"odd", "/a/odd/attrs", false},
		{"odd", "$x/odd", false},
		{"", "/a//attrs", false},
	} {
		m := connect(t, broker.Addr(), acl.Client{Username: tc.user, ID: "c"})
		if got := m.publish(tc.topic); got != tc.want {
			t.Errorf("user %q, %s: the broker says %v, want %v; the file is\n%s", tc.user, tc.topic, got, tc.want, text(t, c.File))
		}
	}
}

// TestVetOnBroker asks a broker about topics that a rule seems to grant and
// that are nobody's, as Vet finds.
func TestVetOnBroker(t *testing.T) {
	v := needBroker(t)
	for _, tc := range []struct {
		file    string
		check   acl.Check
		user    string
		topic   string
		until20 bool // whether it is granted before 2.1
	}{
		{file: "user u\ntopic write d/%u\n", check: acl.CheckLiteralName, user: "u", topic: "d/u"},
		{file: "user u\ntopic write $share/g\n", check: acl.CheckNeverMatches, user: "u", topic: "$share/g"},
		{file: "user u\ntopic write $SYS/a\n", check: acl.CheckNeverMatches, user: "u", topic: "$SYS/a"},
		{file: "pattern write d\nuser x+\ntopic read a\n", check: acl.CheckIdentity, user: "x+", topic: "d"},
		{file: "pattern write d/%u\nuser t/u\ntopic read a\n", check: acl.CheckIdentity, user: "t/u", topic: "d/t/u", until20: true},
		{file: "pattern write d/dev-%u\nuser u\ntopic read a\n", check: acl.CheckPartOfLevel, user: "u", topic: "d/dev-u", until20: true},
		{file: "user u\ntopic write a/b\ntopic deny a/#\n", check: acl.CheckShadowed, user: "u", topic: "a/b"},
		{file: "# nothing\n", check: acl.CheckNoRules, user: "u", topic: "a"},
	} {
		f, err := v.Parse("access.acl", []byte(tc.file))
		if err != nil {
			continue // before there was deny
		}
		if !slices.ContainsFunc(acl.Vet(f, v), func(f acl.Finding) bool { return f.Check == tc.check }) {
			t.Errorf("no %s in\n%s", tc.check, tc.file)
		}
		broker, err := startBroker(t, []byte(tc.file))
		if err != nil {
			t.Fatal(err)
		}
		got := connect(t, broker.Addr(), acl.Client{Username: tc.user, ID: "c"}).publish(tc.topic)
		if want := tc.until20 && !strings.HasPrefix(v.String(), "2.1"); got != want {
			t.Errorf("publish to %s: %v, want %v; the file is\n%s", tc.topic, got, want, tc.file)
		}
		broker.Close()
	}
}
