package dojotkafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

// A batch that unpacks to far more than a manager's memory may hold is set aside
// like any other poison, wherever it is in a partition.
func TestUnreadable(t *testing.T) {
	for _, before := range []int{0, 2} {
		for _, serverSide := range []bool{false, true} {
			t.Run(fmt.Sprintf("after %d records, server-side %v", before, serverSide), func(t *testing.T) {
				const total = 3
				f, _ := newFake(t) // Apache's Kafka takes few batches that aren't what they say
				f.serverSide = serverSide
				dead := f.tenant + ".dead"
				f.createTopic(dead, 1)
				f.publishIDs(numbered(before)...)
				f.publishTogether(bomb, f.topic, valued(slices.Repeat([]string{strings.Repeat("x", 100)}, total)...)...) // what wouldn't get smaller is not compressed
				c := f.consumer()
				c.DeadLetterTopic = dead
				var aside []dojotkafka.Record
				c.SetAside = func(_ context.Context, r dojotkafka.Record, reason error) {
					if !errors.Is(reason, dojotkafka.ErrUnreadable) {
						t.Errorf("set aside for %v, want %v", reason, dojotkafka.ErrUnreadable)
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
				cause := dojotkafka.ErrUnreadable.Error() + fmt.Sprintf(": offsets %d to %d", before, end-1)
				if got := header(f.readAll(dead, 1)[0], dojotkafka.HeaderCause); got != cause {
					t.Errorf("cause in the dead-letter topic = %s, want %s", got, cause)
				}
			})
		}
	}
}

// So is whatever else can't be unpacked. Each of these batches is behind and
// before others that can.
func TestUnreadableForms(t *testing.T) {
	spaces := func(n int) string { return strings.Repeat(" ", n) }
	tests := []struct {
		name    string
		packed  compressor
		records []*kgo.Record
	}{
		{"garbage as gzip", garbage(kgo.CodecGzip), valued(spaces(200))},
		{"garbage as snappy", garbage(kgo.CodecSnappy), valued(spaces(200))},
		{"garbage as lz4", garbage(kgo.CodecLz4), valued(spaces(200))},
		{"garbage as zstd", garbage(kgo.CodecZstd), valued(spaces(200))},
		{"window of zstd", wide(zstd(t)), valued(spaces(200))},
		{"one large record", zstd(t), valued(spaces(20 << 20))},
		{"many small records", zstd(t), valued(make([]string, 100_000)...)},
		{"many headers", zstd(t), []*kgo.Record{{Headers: make([]kgo.RecordHeader, 500_000)}}},
		{"more headers than anything", zstd(t), []*kgo.Record{{Headers: make([]kgo.RecordHeader, 10_000)}}},
	}
	f, _ := newFake(t)
	largest := `{"event":"ping","data":{"id":"last"},"x":"`
	largest += spaces(dojotevents.MaxSize-len(largest)-2) + `"}`
	var want []string
	for _, tt := range tests {
		f.publishIDs(tt.name)
		want = append(want, tt.name)
		f.publishTogether(tt.packed, f.topic, tt.records...)
	}
	f.publishTogether(zstd(t), f.topic, valued(largest)...)
	want = append(want, "last")
	c := f.consumer()
	var reasons []error
	c.SetAside = func(_ context.Context, _ dojotkafka.Record, reason error) { reasons = append(reasons, reason) }
	in := newInbox(t)
	r := start(t, c, in.handle)
	wantIDs(t, in.take(len(want)), want...)
	r.stop()
	in.empty()
	if len(reasons) != len(tests) {
		t.Fatalf("%d set aside, want %d: %v", len(reasons), len(tests), reasons)
	}
	for i, reason := range reasons {
		if !errors.Is(reason, dojotkafka.ErrUnreadable) {
			t.Errorf("%s is set aside for %v, want %v", tests[i].name, reason, dojotkafka.ErrUnreadable)
		}
	}
}

// Many batches that are small enough each take no more memory than is
// documented, and all come.
func TestMemory(t *testing.T) {
	const batches, size = 12, 15 << 20
	f, _ := newFake(t)
	other := f.topic + "-2"
	f.createTopic(other, 1)
	value := valued(strings.Repeat(" ", size))
	once := zstd(t).once()
	for range batches {
		f.publishTogether(once, f.topic, value...)
	}
	f.publish(other, 0, `{"event":"ping","data":{"id":"a1"}}`)
	before := heap()
	most := before
	c := f.consumer()
	c.Topics = []string{f.topic, other}
	aside, asideBefore := 0, 0
	c.SetAside = func(context.Context, dojotkafka.Record, error) {
		most = max(most, heap())
		aside++
	}
	in := newInbox(t)
	r := start(t, c, func(ctx context.Context, batch []dojotkafka.Record) error {
		asideBefore = aside
		return in.handle(ctx, batch)
	})
	wantIDs(t, in.take(1), "a1")
	eventually(t, "all committed", func() bool { return f.committed(f.topic, 0) == batches })
	r.stop()
	if got := (most - before) >> 20; got > 128 {
		t.Errorf("the consumer takes %d MiB, want at most 128", got)
	}
	if asideBefore == batches {
		t.Error("another topic's event waited for all of them")
	}
	if aside != batches {
		t.Errorf("%d set aside, want %d", aside, batches)
	}
}

// heap returns how many bytes of memory are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A backlog of honest events comes in batches as large as there are, however
// well they are compressed.
func TestLargeBatches(t *testing.T) {
	const total = 12_000
	f, _ := newFake(t)
	var values []string
	padding := strings.Repeat("x", 1950)
	for _, id := range numbered(total) {
		values = append(values, `{"event":"ping","data":{"id":"`+id+`","x":"`+padding+`"}}`)
	}
	for chunk := range slices.Chunk(values, 500) {
		f.publishTogether(zstd(t), f.topic, valued(chunk...)...)
	}
	in := newInbox(t)
	start(t, f.consumer(), in.handle)
	wantIDs(t, in.take(total), numbered(total)...)
	if first := <-in.batches; first != 10_000 {
		t.Errorf("the first batch is of %d events, want 10000", first)
	}
}

// bomb compresses anything to a Snappy block that says that it is a GiB.
func bomb([]byte) ([]byte, kgo.CompressionCodecType) {
	return append(binary.AppendUvarint(nil, 1<<30), "and then this"...), kgo.CodecSnappy
}

// wide has a zstd frame (RFC 8878, 3.1.1) say that decoding it takes a window of
// 128 MiB, as Java's do at the highest level.
func wide(c compressor) compressor {
	return func(plain []byte) ([]byte, kgo.CompressionCodecType) {
		frame, codec := c(plain)
		frame[5] = (27 - 10) << 3 // the window's descriptor, behind magic number and the frame's descriptor
		return frame, codec
	}
}

// garbage compresses to what was never compressed, and says that it was.
func garbage(codec kgo.CompressionCodecType) compressor {
	return func([]byte) ([]byte, kgo.CompressionCodecType) { return []byte("not compressed at all"), codec }
}

// zstd compresses as it should.
func zstd(t *testing.T) compressor {
	c, err := kgo.DefaultCompressor(kgo.ZstdCompression())
	if err != nil {
		t.Fatal(err)
	}
	return func(plain []byte) ([]byte, kgo.CompressionCodecType) {
		return c.Compress(new(bytes.Buffer), plain)
	}
}

type compressor func(plain []byte) ([]byte, kgo.CompressionCodecType)

func (c compressor) Compress(_ *bytes.Buffer, plain []byte, _ ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	return c(plain)
}

// partitioned gets a value for each record that a client has ready to be sent.
type partitioned chan struct{}

func (p partitioned) OnProduceRecordPartitioned(*kgo.Record, int32) { p <- struct{}{} }

// once returns a compressor for one plaintext, which it does the work for once.
func (c compressor) once() compressor {
	var packed []byte
	var codec kgo.CompressionCodecType
	return func(plain []byte) ([]byte, kgo.CompressionCodecType) {
		if packed == nil {
			packed, codec = c(plain)
		}
		return packed, codec
	}
}

// publishTogether sends records to a topic in one batch, compressed by c.
func (f *fixture) publishTogether(c compressor, topic string, records ...*kgo.Record) {
	f.t.Helper()
	ctx := f.context()
	buffered := make(partitioned, len(records))
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.brokers...), kgo.DisableClientMetrics(), kgo.UnknownTopicRetries(-1),
		kgo.ManualFlushing(), kgo.MaxBufferedRecords(len(records)+1), kgo.ProducerBatchMaxBytes(100<<20),
		kgo.WithCompressor(c), kgo.WithHooks(buffered))
	if err != nil {
		f.t.Fatal(err)
	}
	defer cl.Close()
	failures := make(chan error, len(records))
	for _, record := range records {
		cl.Produce(ctx, &kgo.Record{Topic: topic, Value: record.Value, Headers: record.Headers}, func(_ *kgo.Record, err error) { failures <- err })
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

// valued returns records of values.
func valued(values ...string) []*kgo.Record {
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Value: []byte(v)}
	}
	return records
}
