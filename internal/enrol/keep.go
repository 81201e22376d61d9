package enrol

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	keepEvery    = time.Hour   // and up to a quarter sooner, at random
	firstRetry   = time.Minute // after a failure; doubled with each, up to keepEvery
	shortestWait = time.Second
)

// Keep has all devices seen to, again and again until ctx ends: each hour or
// so, and sooner where a certificate would not last until then. Each round is a
// run of its own, so that no more devices are worked on at once than it says,
// and so that a [Shared] CA is asked anew. It tells done of each device, for
// the log. An error says why there was no run.
func Keep(ctx context.Context, logger *slog.Logger, round func(done func(Result)) (*Report, error)) {
	retry := firstRetry
	for {
		report, err := round(logTo(logger))
		if ctx.Err() != nil {
			return
		}
		wait := keepEvery - rand.N(keepEvery/4)
		if err == nil {
			wait = report.untilNextLook(wait)
		}
		if err == nil && report.Err() == nil {
			retry = firstRetry
		} else {
			wait, retry = min(wait, retry), min(2*retry, keepEvery)
		}
		switch {
		case err != nil:
			logger.Warn("round skipped", "cause", err, "next try in", wait)
		case report.Err() != nil:
			logger.Error("not all devices are in order", "failed", report.Count[Failed], "next try in", wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// untilNextLook is how long no certificate has to be looked at, at most longest.
func (r *Report) untilNextLook(longest time.Duration) time.Duration {
	wait := longest
	for _, d := range r.Devices {
		if !d.nextLook.IsZero() {
			wait = min(wait, time.Until(d.nextLook))
		}
	}
	return max(wait, shortestWait)
}

// logTo logs what became of the devices of one round.
func logTo(logger *slog.Logger) func(Result) {
	warned := map[string]bool{"": true} // what is wrong with the CA is so for all devices
	return func(d Result) {
		logger := logger.With("device", d.Device)
		switch d.Status {
		case Made, Renewed:
			logger.Info("certificate "+string(d.Status), "because", d.Reason, "until", d.NotAfter)
		case Failed:
			logger.Error("device failed", "cause", d.Err)
		}
		if !warned[d.Warning] {
			warned[d.Warning] = true
			logger.Warn(d.Warning)
		}
	}
}
