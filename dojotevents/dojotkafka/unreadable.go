package dojotkafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrUnreadable is why records are set aside that a producer has compressed
// together and that can't be unpacked, or not into 16 MiB of memory. Kafka
// itself takes more than that, and zstd that needs a window of more, and others
// that speak its protocol take what isn't compressed at all.
var ErrUnreadable = errors.New("records that were compressed together can't be unpacked into 16 MiB of memory")

// skip sets batches aside that can't be unpacked, and has their partitions
// consumed again, from behind them. It returns an error only if ctx has ended
// before.
func (c *Consumer) skip(ctx context.Context, cl *kgo.Client, batches []*kgo.ErrDecompressTooLarge) error {
	for _, b := range batches {
		first := &kgo.Record{Topic: b.Topic, Partition: b.Partition, Offset: b.Offset}
		reason := fmt.Errorf("%w: offsets %d to %d", ErrUnreadable, b.Offset, b.NextOffset-1)
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
