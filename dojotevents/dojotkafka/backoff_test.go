package dojotkafka

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	tests := []struct {
		n    int
		want time.Duration // the longest
	}{
		{0, 250 * time.Millisecond},
		{1, 500 * time.Millisecond},
		{6, 16 * time.Second},
		{7, 30 * time.Second},
		{1 << 40, 30 * time.Second},
	}
	for _, tt := range tests {
		for range 100 {
			if got := backoff(tt.n); got > tt.want || got < tt.want*3/4 {
				t.Fatalf("backoff(%d) = %v, want between %v and %v", tt.n, got, tt.want*3/4, tt.want)
			}
		}
	}
}
