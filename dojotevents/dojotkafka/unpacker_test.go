package dojotkafka

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker that has filled what may be ready keeps others waiting until its
// fetch is in work: until the next one comes, or, as its partitions have moved,
// none does.
func TestUnpackerFull(t *testing.T) {
	u, err := newUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	packed := []byte{4, 3 << 2, 'x', 'x', 'x', 'x'} // Snappy: four bytes, literally
	want := func(when string, wantErr error) {
		t.Helper()
		if _, err := u.Decompress(packed, kgo.CodecSnappy); !errors.Is(err, wantErr) {
			t.Errorf("%s: error %v, want %v", when, err, wantErr)
		}
	}
	fetched := func(broker int32) {
		u.OnBrokerRead(kgo.BrokerMetadata{NodeID: broker}, int16(kmsg.Fetch), 0, 0, 0, nil)
	}
	fill := func(broker int32) {
		u.OnFetchBatchRead(kgo.BrokerMetadata{NodeID: broker}, "t", 0, kgo.FetchBatchMetrics{UncompressedBytes: maxFetch, NumRecords: 1_000_000})
	}
	fetched(1)
	want("nothing is ready", nil)
	fill(1)
	fetched(2)
	want("the first broker has filled it", errFull)
	fetched(1)
	want("the first broker's next fetch has come", nil)
	fill(1)
	u.polled(time.Now())
	want("the first broker's fetch may still be unpacked", errFull)
	u.polled(time.Now().Add(2 * unpacking))
	fetched(2)
	want("the first broker has gone", nil)
}
