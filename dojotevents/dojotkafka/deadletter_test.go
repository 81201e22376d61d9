package dojotkafka_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

// readAll returns n records of a topic, from its start.
func (f *fixture) readAll(topic string, n int) []*kgo.Record {
	f.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.brokers...), kgo.ConsumeTopics(topic), kgo.DisableClientMetrics())
	if err != nil {
		f.t.Fatal(err)
	}
	defer cl.Close()
	var records []*kgo.Record
	for len(records) < n {
		fetches := cl.PollFetches(f.context())
		if err := fetches.Err(); err != nil {
			f.t.Fatalf("after %d of %d records of %s: %v", len(records), n, topic, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// header returns a header of a record, the first of that name.
func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return "(none)"
}

func TestDeadLetterTopic(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture) {
		dead := f.topic + ".dead"
		f.createTopic(dead, 1)
		original := &kgo.Record{
			Topic: f.topic, Key: []byte("k"), Value: []byte("poison"),
			Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("1f")}},
		}
		f.publishIDs("a1")
		if err := f.client.ProduceSync(f.context(), original).FirstErr(); err != nil {
			t.Fatal(err)
		}
		f.publishIDs("a2", "refused")

		c := f.consumer()
		c.Topics = []string{"^" + f.tenant} // matches the dead-letter topic, too
		c.DeadLetterTopic = dead
		var aside []int64
		c.SetAside = func(ctx context.Context, r dojotkafka.Record, _ error) {
			ends, err := f.admin.ListEndOffsets(ctx, dead)
			if end, _ := ends.Lookup(dead, 0); end.Offset != 2 {
				t.Errorf("dead-letter topic has %d records when SetAside is called, want 2: %v", end.Offset, err)
			}
			aside = append(aside, r.Offset)
		}
		in := newInbox(t)
		r := start(t, c, func(ctx context.Context, batch []dojotkafka.Record) error {
			_ = in.handle(ctx, batch)
			for _, r := range batch {
				if r.Event.DeviceID == "refused" {
					return &dojotkafka.RecordError{Position: r.Position, Err: errors.New(strings.Repeat("é", 1000))}
				}
			}
			return nil
		})
		in.take(3)
		f.publishIDs("a3")
		in.take(1)
		r.stop()
		in.empty()
		if !slices.Equal(aside, []int64{1, 3}) {
			t.Errorf("SetAside got offsets %v, want [1 3]", aside)
		}

		letters := f.readAll(dead, 2)
		first := letters[0]
		got := map[string]string{"key": string(first.Key), "value": string(first.Value)}
		for _, h := range first.Headers {
			got[h.Key] = string(h.Value)
		}
		want := map[string]string{
			"key": "k", "value": "poison", "trace": "1f",
			dojotkafka.HeaderTopic:     f.topic,
			dojotkafka.HeaderPartition: "0",
			dojotkafka.HeaderOffset:    "1",
			dojotkafka.HeaderTimestamp: fmt.Sprint(original.Timestamp.UnixMilli()),
			dojotkafka.HeaderGroup:     f.group,
			dojotkafka.HeaderCause:     "device event: byte 0: not valid JSON in UTF-8",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("first dead letter (-want +got):\n%s", diff)
		}
		if got, want := header(letters[1], dojotkafka.HeaderCause), strings.Repeat("é", 512); got != want {
			t.Errorf("cause of 2000 bytes became %q, want %q", got, want)
		}
		if got := header(letters[1], dojotkafka.HeaderOffset); got != "3" {
			t.Errorf("offset of the second dead letter = %s, want 3", got)
		}
	})
}

// A record too large for the dead-letter topic is told of there without its
// value.
func TestDeadLetterTooLarge(t *testing.T) {
	f := newFixture(t)
	dead := f.topic + ".dead"
	limit := "1000"
	if _, err := f.admin.CreateTopic(f.context(), 1, -1, map[string]*string{"max.message.bytes": &limit}, dead); err != nil {
		t.Fatal(err)
	}
	f.publish(f.topic, 0, strings.Repeat("poison ", 10_000), "small poison")
	c := f.consumer()
	c.DeadLetterTopic = dead
	start(t, c, newInbox(t).handle)
	eventually(t, "both committed", func() bool { return f.committed(f.topic, 0) == 2 })
	letters := f.readAll(dead, 2)
	slices.SortFunc(letters, func(a, b *kgo.Record) int { return len(a.Value) - len(b.Value) })
	if v := letters[0].Value; len(v) != 0 {
		t.Skip("this Kafka doesn't limit the size of records")
	}
	if h := letters[0].Headers[len(letters[0].Headers)-1]; h.Key != dojotkafka.HeaderSize || string(h.Value) != "70000" {
		t.Errorf("last header = %s %s, want %s 70000", h.Key, h.Value, dojotkafka.HeaderSize)
	}
	if string(letters[1].Value) != "small poison" {
		t.Errorf("the small record's value = %q, want it unchanged", letters[1].Value)
	}
}

// With a bound, a batch that never succeeds costs only the records at fault;
// those before and after them are applied, in order.
func TestMaxAttempts(t *testing.T) {
	f := newFixture(t)
	const total = 50
	bad := map[string]bool{"000003": true, "000004": true, "000031": true}
	f.publishIDs(numbered(total)...)
	c := f.consumer()
	c.MaxAttempts = 2
	var aside []string
	c.SetAside = func(_ context.Context, r dojotkafka.Record, reason error) {
		if want := "no room for " + r.Event.DeviceID; !strings.Contains(reason.Error(), want) {
			t.Errorf("%s set aside for %v, want %s", r.Event.DeviceID, reason, want)
		}
		aside = append(aside, r.Event.DeviceID)
	}
	var applied []string
	whole := make(map[int]int) // calls by size
	r := start(t, c, func(_ context.Context, batch []dojotkafka.Record) error {
		whole[len(batch)]++
		for _, r := range batch {
			if bad[r.Event.DeviceID] {
				return errors.New("no room for " + r.Event.DeviceID)
			}
		}
		applied = append(applied, ids(batch)...)
		return nil
	})
	eventually(t, "all committed", func() bool { return f.committed(f.topic, 0) == total })
	r.stop()
	if want := []string{"000003", "000004", "000031"}; !slices.Equal(aside, want) {
		t.Errorf("set aside %v, want %v", aside, want)
	}
	if len(applied) != total-len(bad) || !slices.IsSorted(applied) {
		t.Errorf("applied %d in the order %v, want %d sorted", len(applied), applied, total-len(bad))
	}
	if s := c.Stats(); s.Applied != total-3 || s.SetAside != 3 || s.Retried == 0 {
		t.Errorf("stats = %+v, want %d applied, 3 set aside", s, total-3)
	}
}

// Neither is one lost, nor does it stop the rest, whose key or headers alone are
// too large for the dead-letter topic.
func TestDeadLetterTooLargeBesideValue(t *testing.T) {
	big := make([]byte, 20_000)
	_, _ = rand.Read(big)
	for _, tt := range []struct {
		name         string
		record       kgo.Record
		key, headers string // sizes
	}{
		{"key", kgo.Record{Key: big, Value: []byte("poison")}, "20000", "0"},
		{"header", kgo.Record{Value: []byte("poison"), Headers: []kgo.RecordHeader{{Key: "trace", Value: big}}}, "0", "20005"},
		{"both", kgo.Record{Key: big[:10], Value: big, Headers: []kgo.RecordHeader{{Key: "a", Value: big}, {Key: "b", Value: big}}}, "10", "40002"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			dead := f.topic + ".dead"
			limit := "1000"
			if _, err := f.admin.CreateTopic(f.context(), 1, -1, map[string]*string{"max.message.bytes": &limit}, dead); err != nil {
				t.Fatal(err)
			}
			tt.record.Topic = f.topic
			if err := f.client.ProduceSync(f.context(), &tt.record).FirstErr(); err != nil {
				t.Fatal(err)
			}
			f.publishIDs("after")
			c := f.consumer()
			c.DeadLetterTopic = dead
			in := newInbox(t)
			start(t, c, in.handle)
			eventually(t, "both committed", func() bool { return f.committed(f.topic, 0) == 2 })
			wantIDs(t, in.take(1), "after")
			letter := f.readAll(dead, 1)[0]
			if len(letter.Key) > 0 || len(letter.Value) > 0 || header(letter, "trace") != "(none)" {
				t.Skip("this Kafka doesn't limit the size of records")
			}
			for name, want := range map[string]string{
				dojotkafka.HeaderOffset:      "0",
				dojotkafka.HeaderSize:        strconv.Itoa(len(tt.record.Value)),
				dojotkafka.HeaderKeySize:     tt.key,
				dojotkafka.HeaderHeadersSize: tt.headers,
			} {
				if got := header(letter, name); got != want {
					t.Errorf("header %s = %s, want %s", name, got, want)
				}
			}
		})
	}
}

// While the dead-letter topic can't be written nothing is committed; with a
// bound the record is given up after all.
func TestDeadLetterUnwritable(t *testing.T) {
	for _, attempts := range []int{0, 2} {
		t.Run(fmt.Sprintf("MaxAttempts %d", attempts), func(t *testing.T) {
			f := newFixture(t)
			dead := f.topic + ".dead"
			f.createTopic(dead, 1)
			config := []kadm.AlterConfig{{Name: "max.message.bytes", Value: kadm.StringPtr("1")}}
			if _, err := f.admin.AlterTopicConfigs(f.context(), config, dead); err != nil {
				t.Fatal(err)
			}
			f.publish(f.topic, 0, "poison", value(t, dojoteventstest.CreateEvent(f.tenant, "a1")))
			var log logged
			c := f.consumer()
			c.DeadLetterTopic = dead
			c.MaxAttempts = attempts
			c.Logger = log.logger()
			r := start(t, c, newInbox(t).handle)
			if attempts == 0 {
				eventually(t, "two attempts logged", func() bool { return strings.Count(log.String(), "not written to the dead-letter topic, next try") >= 2 })
				r.stop()
				if got := f.committed(f.topic, 0); got != -1 {
					t.Errorf("committed offset = %d, want none", got)
				}
				return
			}
			eventually(t, "both committed", func() bool { return f.committed(f.topic, 0) == 2 })
			r.stop()
			if !strings.Contains(log.String(), "given up") || !strings.Contains(log.String(), "device event set aside") {
				t.Errorf("log doesn't tell what was given up:\n%s", &log)
			}
		})
	}
}
