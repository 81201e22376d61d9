package dojotkafka_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestReplay(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture) {
		topics := []string{f.topic, f.topic + "-2"}
		f.createTopic(topics[1], 1)
		publish := func(id string) {
			for _, topic := range topics {
				f.publish(topic, 0, `{"event":"ping","data":{"id":"`+id+`"}}`)
			}
		}
		in := newInbox(t)
		member := func(replay bool) *run {
			c := f.consumer()
			c.Topics = topics
			c.Replay = replay
			return start(t, c, in.handle)
		}
		publish("1")
		publish("2")
		r := member(false)
		in.take(4)
		r.stop()
		r = member(true)
		if got := ids(in.take(4)); !slices.Equal(got, []string{"1", "2", "1", "2"}) {
			t.Errorf("replayed %v, want both topics from their start", got)
		}
		publish("3")
		wantIDs(t, in.take(2), "3", "3")

		// A topic goes to another member and comes back: it is consumed from
		// the offset committed since.
		other := member(false)
		f.awaitMembers(1, 1)
		publish("4")
		wantIDs(t, in.take(2), "4", "4")
		other.stop()
		f.awaitMembers(2)
		publish("5")
		wantIDs(t, in.take(2), "5", "5")
		r.stop()
		in.empty()
		for _, topic := range topics {
			if got := f.committed(topic, 0); got != 5 {
				t.Errorf("committed offset of %s = %d, want 5", topic, got)
			}
		}
	})
}

// Kafka has deleted what the group would have read next.
func TestExpiredOffsets(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture) {
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
	})
}

// A topic that is deleted and made again while it is consumed is consumed from
// its start, whether it gets more records than the old one had, or fewer.
func TestRecreatedTopic(t *testing.T) {
	const before = 3
	for _, after := range []int{1, before, 5} {
		t.Run(fmt.Sprint(after, " records after ", before), func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, f *fixture) {
				if !f.supports(kmsg.Fetch, 13) {
					t.Skip("this Kafka tells topics by their names alone")
				}
				f.publishIDs(numbered(before)...)
				in := newInbox(t)
				r := start(t, f.consumer(), in.handle)
				in.take(before)
				eventually(t, "committed", func() bool { return f.committed(f.topic, 0) == before })
				f.recreateTopic()
				f.publishIDs(numbered(after)...)
				wantIDs(t, in.take(after), numbered(after)...)
				f.publishIDs("last")
				wantIDs(t, in.take(1), "last")
				r.stop()
				in.empty()
				if got := f.committed(f.topic, 0); got != int64(after)+1 {
					t.Errorf("committed offset = %d, want %d", got, after+1)
				}
			})
		})
	}
}

// recreateTopic deletes the fixture's topic and makes another of its name.
func (f *fixture) recreateTopic() {
	f.t.Helper()
	if _, err := f.admin.DeleteTopic(f.context(), f.topic); err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, "topic made again", func() bool {
		_, err := f.admin.CreateTopic(f.context(), 1, -1, nil, f.topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) { // it is deleted in the background
			f.t.Fatal(err)
		}
		return err == nil
	})
	f.client.PurgeTopicsFromClient(f.topic) // the producer's
}
