package retry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/retry"
)

func TestDo(t *testing.T) {
	down, denied, asked := errors.New("down"), errors.New("denied"), errors.New("asked to end")
	for _, tc := range []struct {
		name    string
		answers []error // the last one for ever
		end     time.Duration
		want    error
		after   time.Duration
		lines   int
	}{
		{"well at once", []error{nil}, time.Hour, nil, 0, 0},
		{"well in the end", []error{down, down, down, nil}, time.Hour, nil, 3500 * time.Millisecond, 3},
		{"denied", []error{down, denied}, time.Hour, denied, 500 * time.Millisecond, 1},
		{"asked to end amid a pause", []error{down}, 2 * time.Minute, asked, 2 * time.Minute, 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				stop := time.AfterFunc(tc.end, func() { cancel(asked) })
				defer stop.Stop()
				var log bytes.Buffer
				tries := 0
				began := time.Now()
				err := retry.Do(ctx, slog.New(slog.NewTextHandler(&log, nil)), "waiting", func(err error) bool { return err == down },
					func(context.Context) error {
						tries++
						return tc.answers[min(tries, len(tc.answers))-1]
					})
				if err != tc.want || time.Since(began) != tc.after {
					t.Errorf("got %v after %v, want %v after %v", err, time.Since(began), tc.want, tc.after)
				}
				if n := strings.Count(log.String(), "msg=waiting"); n != tc.lines {
					t.Errorf("%d lines, want %d:\n%s", n, tc.lines, &log)
				}
			})
		})
	}
}

// A try that ended because it was to end is no reason for another.
func TestDoEndsWithinATry(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := retry.Do(ctx, slog.New(slog.DiscardHandler), "waiting", func(error) bool { return true }, func(ctx context.Context) error {
		tries++
		cancel()
		return errors.New("connection closed")
	})
	if !errors.Is(err, context.Canceled) || tries != 1 {
		t.Errorf("got %v after %d tries", err, tries)
	}
}
