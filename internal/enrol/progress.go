package enrol

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A Bar shows on a terminal how far a run is.
type Bar struct {
	W     io.Writer
	Total int
	Now   func() time.Time // nil: time.Now

	began        time.Time
	shown        time.Time
	done, failed int
}

const (
	barWidth = 30
	barEvery = 100 * time.Millisecond
)

// Done counts a device. It must not be called concurrently.
func (b *Bar) Done(r Result) {
	now := time.Now()
	if b.Now != nil {
		now = b.Now()
	}
	if b.began.IsZero() {
		b.began = now
	}
	b.done++
	if r.Status == Failed {
		b.failed++
	}
	if b.done < b.Total && now.Sub(b.shown) < barEvery {
		return
	}
	b.shown = now
	full := barWidth * b.done / b.Total
	line := fmt.Sprintf("\r[%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), b.done, b.Total)
	if b.failed > 0 {
		line += fmt.Sprintf(", %d failed", b.failed)
	}
	if b.done < b.Total {
		left := now.Sub(b.began) / time.Duration(b.done) * time.Duration(b.Total-b.done)
		line += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	fmt.Fprint(b.W, line, "\x1b[K") // and clear what was longer
	if b.done == b.Total {
		fmt.Fprintln(b.W)
	}
}
