package dojotkafka_test

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

// Kafka isn't there at first, goes later, and comes back with what it had.
func TestOutages(t *testing.T) {
	port, err := mosquittotest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	opts := dojoteventstest.Options{Dir: t.TempDir(), Port: port, Tenants: []string{"admin"}}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: opts.Port}).String()
	up := func() *dojoteventstest.Kafka {
		t.Helper()
		kafka, err := dojoteventstest.NewKafka(opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kafka.Close)
		return kafka
	}
	publish := func(k *dojoteventstest.Kafka, id string) {
		t.Helper()
		if err := k.Publish(t.Context(), dojoteventstest.CreateEvent("admin", id)); err != nil {
			t.Fatal(err)
		}
	}
	var log logged
	tries := func() int {
		return strings.Count(log.String(), "kafka not reachable at ["+addr+"], next try in ")
	}
	in := newInbox(t)
	c := &dojotkafka.Consumer{Brokers: []string{addr}, TopicRefresh: 100 * time.Millisecond, Logger: log.logger()}
	unreachable := func() time.Time { return c.Stats().Unreachable }
	begin := time.Now()
	r := start(t, c, in.handle)

	eventually(t, "two attempts logged", func() bool { return tries() >= 2 })
	since := unreachable()
	if since.Before(begin) || since.After(time.Now()) {
		t.Errorf("out of reach since %v, want a moment after %v", since, begin)
	}
	eventually(t, "a third", func() bool { return tries() >= 3 })
	if again := unreachable(); !again.Equal(since) {
		t.Errorf("out of reach since %v, then since %v", since, again)
	}
	kafka := up()
	publish(kafka, "a1")
	wantIDs(t, in.take(1), "a1")
	if since := unreachable(); !since.IsZero() {
		t.Errorf("out of reach since %v, but there", since)
	}

	f := fixtureAt(t, kafka.Brokers())
	f.group = dojotkafka.DefaultGroup
	eventually(t, "a1 committed", func() bool { return f.committed(dojotevents.Topic("admin"), 0) == 1 })

	before := tries()
	kafka.Close()
	eventually(t, "outage noticed", func() bool { return tries() > before && unreachable().After(since) })
	kafka = up()
	publish(kafka, "a2")
	wantIDs(t, in.take(1), "a2")
	if n := strings.Count(log.String(), "kafka reachable again"); n != 2 {
		t.Errorf("log says %d times that kafka is back, want twice:\n%s", n, &log)
	}
	r.stop()
	in.empty()
	if got := f.committed(dojotevents.Topic("admin"), 0); got != 2 {
		t.Errorf("committed offset = %d, want 2", got)
	}
}

// Run ends when it is told to even if there is no Kafka, and what it started
// ends with it.
func TestNothingStays(t *testing.T) {
	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{Tenants: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	in := newInbox(t)
	c := &dojotkafka.Consumer{Brokers: kafka.Brokers(), TopicRefresh: 100 * time.Millisecond}
	if err := kafka.Publish(t.Context(), dojoteventstest.CreateEvent("admin", "a1")); err != nil {
		t.Fatal(err)
	}
	r := start(t, c, in.handle)
	in.take(1)
	kafka.Close()
	r.stop()

	c = &dojotkafka.Consumer{Brokers: kafka.Brokers()}
	var log logged
	c.Logger = log.logger()
	r = start(t, c, in.handle)
	eventually(t, "an attempt logged", func() bool { return strings.Contains(log.String(), "not reachable") })
	r.stop()

	eventually(t, "no goroutine of the consumer left", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !strings.Contains(string(stacks), "franz-go/pkg/kgo.") && !strings.Contains(string(stacks), "/dojotkafka.(")
	})
}
