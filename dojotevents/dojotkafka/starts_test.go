package dojotkafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

func TestReplay(t *testing.T) {
	f := newFixture(t)
	f.publishIDs("a1", "a2")
	in := newInbox(t)
	r := start(t, f.consumer(), in.handle)
	in.take(2)
	r.stop()
	c := f.consumer()
	c.Replay = true
	r = start(t, c, in.handle)
	wantIDs(t, in.take(2), "a1", "a2")
	f.publishIDs("a3")
	wantIDs(t, in.take(1), "a3")

	// Another member makes the group assign partitions again, at the offsets
	// committed since.
	f.createTopic(f.topic+".more", 1)
	other := start(t, f.consumer(), in.handle)
	eventually(t, "two members", func() bool {
		groups, err := f.admin.DescribeGroups(f.context(), f.group)
		return err == nil && groups[f.group].State == "Stable" && len(groups[f.group].Members) == 2
	})
	other.stop()
	f.publishIDs("a4")
	wantIDs(t, in.take(1), "a4")
	r.stop()
	in.empty()
	if got := f.committed(f.topic, 0); got != 4 {
		t.Errorf("committed offset = %d, want 4", got)
	}
}

// Kafka has deleted what the group would have read next.
func TestExpiredOffsets(t *testing.T) {
	f := newFixture(t)
	f.publishIDs("a1")
	in := newInbox(t)
	r := start(t, f.consumer(), in.handle)
	in.take(1)
	r.stop()
	f.publishIDs("a2", "a3", "a4")
	var upTo kadm.Offsets
	upTo.AddOffset(f.topic, 0, 3, -1)
	if _, err := f.admin.DeleteRecords(f.context(), upTo); err != nil {
		t.Fatal(err)
	}
	start(t, f.consumer(), in.handle)
	wantIDs(t, in.take(1), "a4")
	f.publishIDs("a5")
	wantIDs(t, in.take(1), "a5")
	in.empty()
}

// A topic that is deleted and made again while it is consumed is consumed from
// its start, however many records the old one had.
func TestRecreatedTopic(t *testing.T) {
	f := newFixture(t)
	f.publishIDs("a1", "a2", "a3")
	in := newInbox(t)
	c := f.consumer()
	r := start(t, c, in.handle)
	in.take(3)
	eventually(t, "committed", func() bool { return f.committed(f.topic, 0) == 3 })
	if _, err := f.admin.DeleteTopic(f.context(), f.topic); err != nil {
		t.Fatal(err)
	}
	f.createTopic(f.topic, 1)
	f.client.PurgeTopicsFromClient(f.topic)
	f.publishIDs("b1", "b2", "b3", "b4", "b5")
	wantIDs(t, in.take(5), "b1", "b2", "b3", "b4", "b5")
	f.publishIDs("b6")
	wantIDs(t, in.take(1), "b6")
	r.stop()
	in.empty()
	if got := f.committed(f.topic, 0); got != 6 {
		t.Errorf("committed offset = %d, want 6", got)
	}
}
