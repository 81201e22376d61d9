package dojotkafka_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every event arrives, in order and committed, whatever Kafka answers on the
// way. Each fault is known to have happened.
func TestFaults(t *testing.T) {
	tests := []struct {
		name  string
		fault kfake.Fault
	}{
		{"not leader", kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: 3}},
		{"leader not available", kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.LeaderNotAvailable, Count: 2}},
		{"unknown server error", kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError, Count: 2}},
		{"offset not available", kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.OffsetNotAvailable, Count: 2}},
		{"coordinator moves", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator, Count: 2}},
		{"coordinator loading", kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: 2}},
		{"offsets not fetched", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorLoadInProgress, Count: 2}},
		{"join refused", kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress, Count: 1, TopLevel: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, cluster := newFake(t)
			f.publishIDs(numbered(20)...)
			handle := cluster.Fault(tt.fault)
			in := newInbox(t)
			r := start(t, f.consumer(), in.handle)
			wantIDs(t, in.take(20), numbered(20)...)
			eventually(t, "fault happened", func() bool { return handle.Hits() >= tt.fault.Count })
			f.publishIDs("last")
			wantIDs(t, in.take(1), "last")
			eventually(t, "all committed", func() bool { return f.committed(f.topic, 0) == 21 })
			r.stop()
			in.empty()
		})
	}
}

// A topic that may not be read, and one day may, is asked for now and then, not
// all the time, and keeps no other from being consumed.
func TestUnreadableTopic(t *testing.T) {
	f, cluster := newFake(t)
	other := f.topic + "-2"
	f.createTopic(other, 1)
	f.publishIDs("a1")
	refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: f.topic, Err: kerr.TopicAuthorizationFailed, Count: -1})
	var log logged
	c := f.consumer()
	c.Topics = []string{f.topic, other}
	c.Logger = log.logger()
	in := newInbox(t)
	began := time.Now()
	r := start(t, c, in.handle)
	if err := refused.Wait(f.context(), 3); err != nil {
		t.Fatal(err)
	}
	for _, id := range numbered(20) {
		f.publish(other, 0, `{"event":"ping","data":{"id":"`+id+`"}}`)
		wantIDs(t, in.take(1), id)
	}
	hits, took := refused.Hits(), time.Since(began)
	if most := int(took/c.TopicRefresh) + 2; hits > most {
		t.Errorf("refused %d times in %v, want at most %d", hits, took, most)
	}
	if n, most := strings.Count(log.String(), "kafka: consuming"), refused.Hits(); n == 0 || n > most {
		t.Errorf("log has %d lines about it, want 1 to %d:\n%s", n, most, &log)
	}
	refused.Remove()
	wantIDs(t, in.take(1), "a1")
	r.stop()
	in.empty()
}

// Connections break in the middle of fetches and commits.
func TestLostConnections(t *testing.T) {
	f, cluster := newFake(t)
	broken := make(chan struct{}, 100)
	for _, key := range []kmsg.Key{kmsg.Fetch, kmsg.OffsetCommit} {
		for range 3 {
			cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
				broken <- struct{}{}
				return nil, errors.New("connection reset"), true
			})
		}
	}
	in := newInbox(t)
	r := start(t, f.consumer(), in.handle)
	want := numbered(30)
	for _, id := range want {
		f.publishIDs(id)
	}
	wantIDs(t, in.take(len(want)), want...)
	eventually(t, "all committed", func() bool { return f.committed(f.topic, 0) == int64(len(want)) })
	r.stop()
	in.empty()
	if n := len(broken); n < 4 {
		t.Errorf("%d connections broke, want at least 4", n)
	}
}

// The leader of a partition changes while it is consumed. A new leader that
// seems to know less than the old one has the partition delivered again from
// its start; nothing is skipped.
func TestLeaderMoves(t *testing.T) {
	f, cluster := newFake(t, kfake.NumBrokers(3))
	in := newInbox(t)
	r := start(t, f.consumer(), in.handle)
	for node := range int32(3) {
		if err := cluster.MoveTopicPartition(f.topic, 0, node); err != nil {
			t.Fatal(err)
		}
		id := numbered(3)[node]
		f.publishIDs(id)
		for in.take(1)[0].Event.DeviceID != id {
		}
	}
	r.stop()
	if got := f.committed(f.topic, 0); got > 3 {
		t.Errorf("committed offset = %d, want at most 3", got)
	}
}

// A fetch that hangs loses nothing: its answer is used when it comes.
func TestSlowFetch(t *testing.T) {
	f, cluster := newFake(t, kfake.SleepOutOfOrder())
	f.publishIDs("a1")
	release := make(chan struct{})
	slow := make(chan struct{}, 100)
	cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		slow <- struct{}{}
		cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	in := newInbox(t)
	r := start(t, f.consumer(), in.handle)
	<-slow
	f.publishIDs("a2")
	if got := r.consumer.Stats().Consumed; got != 0 {
		t.Errorf("consumed = %d during the fetch, want 0", got)
	}
	close(release)
	wantIDs(t, in.take(2), "a1", "a2")
	r.stop()
	in.empty()
}

// When commits never arrive, a successor gets the same events once more, in the
// same order: none is lost.
func TestDuplicateDelivery(t *testing.T) {
	f, cluster := newFake(t)
	lost := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	f.publishIDs("a1", "a2")
	in := newInbox(t)
	var log logged
	c := f.consumer()
	c.Logger = log.logger()
	r := start(t, c, in.handle)
	wantIDs(t, in.take(2), "a1", "a2")
	if err := lost.Wait(f.context(), 1); err != nil {
		t.Fatal(err)
	}
	r.stop()
	lost.Remove()
	if got := f.committed(f.topic, 0); got != -1 {
		t.Fatalf("committed offset = %d, want none", got)
	}
	r = start(t, f.consumer(), in.handle)
	f.publishIDs("a3")
	wantIDs(t, in.take(3), "a1", "a2", "a3")
	r.stop()
	in.empty()
	if !strings.Contains(log.String(), "offsets not committed") {
		t.Error("log says nothing of offsets that were not committed")
	}
}
