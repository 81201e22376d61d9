// Package retry is how programs wait for others that are not up yet.
package retry

import (
	"context"
	"log/slog"
	"time"
)

const (
	first   = 500 * time.Millisecond
	longest = 30 * time.Second
)

// Do repeats do, with growing pauses and a line in the log for each, until it
// succeeds, ctx ends, or it fails in a way that may not pass.
func Do(ctx context.Context, log *slog.Logger, doing string, mayPass func(error) bool, do func(context.Context) error) error {
	for pause := first; ; pause = min(2*pause, longest) {
		err := do(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !mayPass(err):
			return err
		}
		log.Warn(doing, "next try in", pause, "cause", err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
