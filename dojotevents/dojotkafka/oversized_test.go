package dojotkafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

// A batch of a few kilobytes that unpacks to far more than a manager's memory
// may hold is set aside like any other poison, wherever it is in a partition.
func TestBatchTooLarge(t *testing.T) {
	for _, before := range []int{0, 2} {
		t.Run(fmt.Sprint("after ", before, " records"), func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, f *fixture) {
				const total = 65 // MiB, and records
				dead := f.tenant + ".dead"
				f.createTopic(dead, 1)
				f.publishIDs(numbered(before)...)
				f.publishZeros(total)
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
		})
	}
}

// publishZeros sends records of a MiB each to the fixture's topic, compressed
// together.
func (f *fixture) publishZeros(n int) {
	f.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.brokers...), kgo.DisableClientMetrics(), kgo.UnknownTopicRetries(-1),
		kgo.ProducerBatchMaxBytes(80<<20), kgo.MaxBufferedRecords(n), kgo.ManualFlushing(),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	if err != nil {
		f.t.Fatal(err)
	}
	defer cl.Close()
	zeros := make([]byte, 1<<20)
	failures := make(chan error, n)
	for range n {
		cl.Produce(f.context(), &kgo.Record{Topic: f.topic, Value: zeros}, func(_ *kgo.Record, err error) { failures <- err })
	}
	if err := cl.Flush(f.context()); err != nil {
		f.t.Fatal(err)
	}
	for range n {
		if err := <-failures; err != nil {
			f.t.Fatal(err)
		}
	}
}
