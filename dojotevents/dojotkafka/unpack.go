package dojotkafka

import (
	"encoding/binary"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// maxUnpacked is how many bytes of memory the records that a producer has
	// compressed together may take, in the format that Kafka has had since
	// 0.11; of older ones, whose records are not looked into, it is the bytes
	// alone. Kafka limits what they are compressed, to a megabyte unless it is
	// told otherwise, which can be a gigabyte of nothing.
	maxUnpacked = 16 << 20

	// maxReady is how many bytes of memory records may take that are not yet
	// in work, for each broker, when a batch is about to be unpacked. 10,000
	// events of 2 kB are some 22 MB.
	maxReady = 32 << 20

	// What the client takes for a record and a header beside their bytes, of
	// which a record needs seven and a header two.
	recordSize = 168
	headerSize = 40

	// unpacking is more time than it takes to unpack a batch.
	unpacking = 5 * time.Second
)

// errFull is why a partition gets nothing for once: others have all that may be
// ready. It is fetched again as soon as some of that is in work.
var errFull = errors.New("too much is ready")

// unpacker unpacks what producers have compressed, within bounds. It is the
// client's decompressor, and a hook that tells it what the client holds.
type unpacker struct {
	bounded kgo.Decompressor

	mu    sync.Mutex
	ready map[int32]*lastFetch // by broker
}

// lastFetch is a broker's, which is the only one not yet in work.
type lastFetch struct {
	bytes int
	grew  time.Time
}

// newUnpacker borrows the decompressor of a client that never connects: the
// one that can be had without a client knows no bound.
func newUnpacker() (*unpacker, error) {
	cl, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(maxUnpacked), kgo.DisableClientMetrics())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	bounded, ok := cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	if !ok {
		return nil, errors.New("the Kafka client has no decompressor")
	}
	return &unpacker{bounded: bounded, ready: make(map[int32]*lastFetch)}, nil
}

// OnBrokerRead notes that a fetch has come, which the client asks for when all
// of the one before has been polled.
func (u *unpacker) OnBrokerRead(broker kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Fetch) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.ready[broker.NodeID] = &lastFetch{grew: time.Now()}
	}
}

// OnFetchBatchRead notes what the client has unpacked.
func (u *unpacker) OnFetchBatchRead(broker kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f := u.ready[broker.NodeID]; f != nil {
		f.bytes += m.UncompressedBytes + m.NumRecords*recordSize
		f.grew = time.Now()
	}
}

// polled notes at a time that all that was ready is in work. Brokers that have
// nothing more for us, as their partitions moved to others, would count for
// ever; one whose fetch is still being unpacked was heard of a moment ago.
func (u *unpacker) polled(at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.ready, func(_ int32, f *lastFetch) bool { return at.Sub(f.grew) > unpacking })
}

// full reports whether the brokers have used what is theirs together. Which of
// them a batch is from is known afterwards only.
func (u *unpacker) full() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	left := 0
	for _, f := range u.ready {
		left += maxReady - f.bytes
	}
	return left <= 0 && len(u.ready) > 0
}

// Decompress unpacks a batch. ErrMaxDecompress has the client stop before it
// and tell its offsets, whatever the reason. Any other error ends what it takes
// of the partition this time, and it tells of that only if it is nothing.
func (u *unpacker) Decompress(packed []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if u.full() {
		return nil, errFull
	}
	records, err := u.bounded.Decompress(packed, codec)
	if err != nil {
		return nil, kgo.ErrMaxDecompress
	}
	// The client doesn't tell how many headers there are, so that full doesn't
	// know of them: let it be off by half at most.
	if size, headers := footprint(records); size+headers > maxUnpacked || headers > size {
		return nil, kgo.ErrMaxDecompress
	}
	return records, nil
}

// footprint returns what records take in memory without their headers, and what
// those do. It stops where the client will.
func footprint(records []byte) (size, headers int) {
	size = len(records)
	for {
		length, used := binary.Varint(records)
		if used <= 0 || length < 0 || length > int64(len(records)-used) {
			return size, headers
		}
		r := kbin.Reader{Src: records[used : used+int(length)]}
		r.Int8()        // attributes
		r.Varlong()     // time
		r.Varint()      // offset
		r.VarintBytes() // key
		r.VarintBytes() // value
		headers += headerSize * max(0, int(r.VarintArrayLen()))
		size += recordSize
		records = records[used+int(length):]
	}
}
