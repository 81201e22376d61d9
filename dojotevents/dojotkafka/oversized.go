package dojotkafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxUnpacked is how many bytes the records that a producer has compressed
// together may be. Kafka limits what they are compressed, to a megabyte unless
// it is told otherwise, which can be a gigabyte of nothing.
const maxUnpacked = 64 << 20

// ErrBatchTooLarge is why records are set aside that a producer has compressed
// together and that are too large to be unpacked.
var ErrBatchTooLarge = errors.New("records are too large to be unpacked (want at most 64 MiB compressed together)")

// skip sets batches aside that can't be unpacked, and has their partitions
// consumed again, from behind them. It returns an error only if ctx has ended
// before.
func (c *Consumer) skip(ctx context.Context, cl *kgo.Client, batches []*kgo.ErrDecompressTooLarge) error {
	for _, b := range batches {
		first := &kgo.Record{Topic: b.Topic, Partition: b.Partition, Offset: b.Offset}
		reason := fmt.Errorf("%w: offsets %d to %d", ErrBatchTooLarge, b.Offset, b.NextOffset-1)
		if err := c.setAside(ctx, cl, []deadLetter{{polled: first, record: received(first), reason: reason}}); err != nil {
			return err
		}
		c.progress.skipped(partition{b.Topic, b.Partition}, b.Offset, b.NextOffset)
		next := map[string]map[int32]kgo.EpochOffset{b.Topic: {b.Partition: {Epoch: b.Epoch, Offset: b.NextOffset}}}
		cl.MarkCommitOffsets(next) // SetOffsets wants something of the partition to be marked
		c.commit(ctx, cl)
		cl.SetOffsets(next)
		c.starts.done([]*kgo.Record{first})
	}
	return nil
}
