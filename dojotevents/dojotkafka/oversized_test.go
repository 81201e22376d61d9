package dojotkafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

// A batch that unpacks to far more than a manager's memory may hold is set aside
// like any other poison, wherever it is in a partition.
func TestBatchTooLarge(t *testing.T) {
	for _, before := range []int{0, 2} {
		for _, serverSide := range []bool{false, true} {
			t.Run(fmt.Sprintf("after %d records, server-side %v", before, serverSide), func(t *testing.T) {
				const total = 3
				f, _ := newFake(t) // a real Kafka has a look at batches itself: it takes none that aren't what they say
				f.serverSide = serverSide
				dead := f.tenant + ".dead"
				f.createTopic(dead, 1)
				f.publishIDs(numbered(before)...)
				f.publishBomb(total)
				c := f.consumer()
				c.DeadLetterTopic = dead
				var aside []dojotkafka.Record
				c.SetAside = func(_ context.Context, r dojotkafka.Record, reason error) {
					if !errors.Is(reason, dojotkafka.ErrBatchTooLarge) {
						t.Errorf("set aside for %v, want %v", reason, dojotkafka.ErrBatchTooLarge)
					}
					aside = append(aside, r)
				}
				in := newInbox(t)
				r := start(t, c, in.handle)
				wantIDs(t, in.take(before), numbered(before)...)
				end := int64(before) + total
				eventually(t, "batch passed", func() bool { return f.committed(f.topic, 0) == end })
				f.publishIDs("last")
				wantIDs(t, in.take(1), "last")
				r.stop()
				in.empty()
				if got := f.committed(f.topic, 0); got != end+1 {
					t.Errorf("committed offset = %d, want %d", got, end+1)
				}
				if len(aside) != 1 || aside[0].Offset != int64(before) || aside[0].Topic != f.topic {
					t.Errorf("set aside %v, want one record at offset %d", aside, before)
				}
				if want := (dojotkafka.Stats{Consumed: end + 1, Applied: int64(before) + 1, SetAside: total}); c.Stats() != want {
					t.Errorf("stats = %+v, want %+v", c.Stats(), want)
				}
				cause := dojotkafka.ErrBatchTooLarge.Error() + fmt.Sprintf(": offsets %d to %d", before, end-1)
				if got := header(f.readAll(dead, 1)[0], dojotkafka.HeaderCause); got != cause {
					t.Errorf("cause in the dead-letter topic = %s, want %s", got, cause)
				}
			})
		}
	}
}

// bomb compresses anything to a Snappy block that says that it is a GiB.
type bomb struct{}

func (bomb) Compress(*bytes.Buffer, []byte, ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	return append(binary.AppendUvarint(nil, 1<<30), "and then this"...), kgo.CodecSnappy
}

// partitioned gets a value for each record that a client has ready to be sent.
type partitioned chan struct{}

func (p partitioned) OnProduceRecordPartitioned(*kgo.Record, int32) { p <- struct{}{} }

// publishBomb sends records to the fixture's topic that are compressed together
// by bomb.
func (f *fixture) publishBomb(records int) {
	f.t.Helper()
	ctx := f.context()
	buffered := make(partitioned, records)
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.brokers...), kgo.DisableClientMetrics(), kgo.UnknownTopicRetries(-1),
		kgo.ManualFlushing(), kgo.WithCompressor(bomb{}), kgo.WithHooks(buffered))
	if err != nil {
		f.t.Fatal(err)
	}
	defer cl.Close()
	failures := make(chan error, records)
	for range records {
		record := &kgo.Record{Topic: f.topic, Value: make([]byte, 100)} // what wouldn't get smaller is not compressed
		cl.Produce(ctx, record, func(_ *kgo.Record, err error) { failures <- err })
	}
	// Once the client knows the topic, it moves the records to their partition
	// one by one: a flush before that sends them one by one, too.
	for range records {
		select {
		case <-buffered:
		case <-ctx.Done():
			f.t.Fatal(ctx.Err())
		}
	}
	if err := cl.Flush(ctx); err != nil {
		f.t.Fatal(err)
	}
	for range records {
		if err := <-failures; err != nil {
			f.t.Fatal(err)
		}
	}
}
