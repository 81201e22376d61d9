package localca

import (
	"context"
	"time"

	"go.etcd.io/bbolt"
)

// retryAfter is how long Run waits after a failure.
const retryAfter = time.Minute

// Run makes each CA's lists when they are due, with a third of their lifetime
// left, until ctx ends; it returns ctx's error. Nobody needs it to get current
// lists, which are also made when asked for; it has them ready for those who
// shouldn't wait. [CA.Serve] runs it.
func (ca *CA) Run(ctx context.Context) error {
	kinds := []listKind{fullList}
	if ca.deltaLifetime != 0 {
		kinds = append(kinds, deltaList)
	}
	for {
		wait := ca.crlLifetime
		for _, a := range ca.cas {
			for _, kind := range kinds {
				at, err := ca.prepare(ctx, a, kind)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					ca.log.Error("no CRL on schedule", "ca", a.name, "err", err, "again", retryAfter)
					wait = min(wait, retryAfter)
					continue
				}
				// A list is due just after its time.
				wait = min(wait, max(at.Sub(ca.now()), 0)+time.Second)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// prepare makes a list if one is due and says when the next will be.
func (ca *CA) prepare(ctx context.Context, a *authority, kind listKind) (next time.Time, err error) {
	if _, err := ca.currentList(ctx, a, kind); err != nil {
		return time.Time{}, err
	}
	err = ca.db.View(func(tx *bbolt.Tx) error {
		s, err := a.listState(tx)
		next = s.full.renewAt()
		if kind == deltaList {
			next = s.delta.renewAt()
			if base := s.base.renewAt(); base.Before(next) {
				next = base
			}
		}
		return err
	})
	return next, err
}
