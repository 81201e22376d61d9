package mosquittotest

import (
	"bytes"
	"context"
	"errors"
	"sync"
)

// journal collects what a process prints and wakes those who wait for a part
// of it. The zero journal is empty and usable.
type journal struct {
	mu      sync.Mutex
	text    []byte
	ended   bool
	changed chan struct{} // closed at the next change; nil while nobody waits
}

var errLogEnded = errors.New("the log has ended")

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, p...)
	j.wake()
	return len(p), nil
}

func (j *journal) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = true
	j.wake()
}

func (j *journal) wake() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.text)
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.text)
}

// wait returns the offset behind the first substr at or after from.
func (j *journal) wait(ctx context.Context, from int, substr string) (int, error) {
	for {
		j.mu.Lock()
		if i := bytes.Index(j.text[from:], []byte(substr)); i >= 0 {
			j.mu.Unlock()
			return from + i + len(substr), nil
		}
		if j.ended {
			j.mu.Unlock()
			return 0, errLogEnded
		}
		// What was searched need not be searched again, but for a substr that
		// is only half there.
		from = max(from, len(j.text)-len(substr))
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed := j.changed
		j.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
