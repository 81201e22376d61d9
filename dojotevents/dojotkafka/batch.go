package dojotkafka

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// handler is what Run is given.
type handler func(ctx context.Context, batch []Record) error

// process has polled records dealt with and commits their offsets. It returns
// an error only if ctx has ended before.
func (c *Consumer) process(ctx context.Context, cl *kgo.Client, polled []*kgo.Record, handle handler) error {
	batch := make([]Record, 0, len(polled))
	givenUp := make(map[Position]error)
	for _, p := range polled {
		r := received(p)
		if err := r.open(c.resolved.tenant(r.Topic)); err != nil {
			givenUp[r.Position] = err
			continue
		}
		batch = append(batch, r)
	}
	if len(batch) > 0 {
		if err := c.apply(ctx, batch, handle, givenUp); err != nil {
			return err
		}
	}

	if len(givenUp) > 0 {
		var letters []deadLetter
		for _, p := range polled {
			r := received(p)
			if reason, ok := givenUp[r.Position]; ok {
				_ = r.open("") // for its event, if there is one
				letters = append(letters, deadLetter{polled: p, record: r, reason: reason})
			}
		}
		if err := c.setAside(ctx, cl, letters); err != nil {
			return err
		}
	}
	c.progress.done(polled, len(givenUp))
	cl.MarkCommitRecords(polled...)
	c.commit(ctx, cl)
	c.starts.done(polled)
	return nil
}

// apply calls handle until it succeeds but for single records, which are
// added to givenUp.
func (c *Consumer) apply(ctx context.Context, batch []Record, handle handler, givenUp map[Position]error) error {
	for n := 0; ; n++ {
		err := attempt(ctx, batch, handle, givenUp)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.progress.retried()
		if c.MaxAttempts > 0 && n+1 >= c.MaxAttempts {
			c.log().Warn(fmt.Sprintf("%d device events not applied in %d attempts, looking for those at fault", len(batch), n+1),
				"first", batch[0].Position, "err", err)
			return c.isolate(ctx, batch, handle, givenUp, err)
		}
		d := backoff(n)
		c.log().Warn(fmt.Sprintf("%d device events not applied, next try in %v", len(batch), d.Round(time.Millisecond)),
			"first", batch[0].Position, "err", err)
		if err := wait(ctx, d); err != nil {
			return err
		}
	}
}

// isolate halves a batch for which handle failed with cause until only records
// that fail alone are left, and adds those to givenUp.
func (c *Consumer) isolate(ctx context.Context, batch []Record, handle handler, givenUp map[Position]error, cause error) error {
	if len(batch) == 1 {
		givenUp[batch[0].Position] = cause
		return nil
	}
	middle := len(batch) / 2
	for _, half := range [][]Record{batch[:middle], batch[middle:]} {
		err := attempt(ctx, half, handle, givenUp)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.isolate(ctx, half, handle, givenUp, err); err != nil {
			return err
		}
	}
	return nil
}

// attempt calls handle once. Records that it gives up are added to givenUp.
func attempt(ctx context.Context, batch []Record, handle handler, givenUp map[Position]error) error {
	err := handle(ctx, slices.Clone(batch))
	if err == nil {
		return nil
	}
	failed, ok := recordErrors(err)
	if !ok || !within(batch, failed) {
		return err
	}
	for _, f := range failed {
		givenUp[f.Position] = f.Err
	}
	return nil
}

// within reports whether all failures are of records of the batch.
func within(batch []Record, failed []*RecordError) bool {
	positions := make(map[Position]struct{}, len(batch))
	for _, r := range batch {
		positions[r.Position] = struct{}{}
	}
	for _, f := range failed {
		if _, ok := positions[f.Position]; !ok {
			return false
		}
	}
	return true
}

// commit commits what has been marked, even if ctx has ended meanwhile.
func (c *Consumer) commit(ctx context.Context, cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := cl.CommitMarkedOffsets(ctx); err != nil {
		c.log().Warn("kafka: offsets not committed, events may be delivered again", "err", err)
	}
}
