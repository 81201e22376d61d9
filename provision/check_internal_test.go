package provision

import (
	"context"
	"testing"
	"time"
)

func TestAttemptsAreLimited(t *testing.T) {
	ctx, cancel := limited(t.Context())
	defer cancel()
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > attemptTime {
		t.Errorf("deadline %v, %v, want one in %s", deadline, ok, attemptTime)
	}
	want := time.Now().Add(time.Hour)
	long, cancel := context.WithDeadline(t.Context(), want)
	defer cancel()
	ctx, cancel = limited(long)
	defer cancel()
	if got, _ := ctx.Deadline(); !got.Equal(want) {
		t.Errorf("deadline %v, want the caller's, %v", got, want)
	}
}
