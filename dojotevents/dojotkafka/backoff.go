package dojotkafka

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	minBackoff = 250 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// backoff returns the time to wait after the nth failure in a row, counted
// from zero: minBackoff, doubled each time up to maxBackoff, less up to a
// quarter by chance so that those who failed together don't return together.
func backoff(n int) time.Duration {
	d := maxBackoff
	if n < 10 {
		d = min(minBackoff<<n, maxBackoff)
	}
	return d - rand.N(d/4)
}

// wait returns after d, or with the context's error.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
