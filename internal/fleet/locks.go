package fleet

import (
	"context"
	"slices"
	"sync"
)

// locks let one call at a time change a user, whose rules and end entity would
// else be those of different calls.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when it is free
}

// lock waits until it has all users, and returns what lets them go.
func (l *locks) lock(ctx context.Context, users []string) (unlock func(), err error) {
	users = slices.Clone(users)
	slices.Sort(users) // so that no two calls wait for each other
	users = slices.Compact(users)
	free := make(chan struct{})
	for i, user := range users {
		if err := l.take(ctx, user, free); err != nil {
			l.release(users[:i], free)
			return nil, err
		}
	}
	return func() { l.release(users, free) }, nil
}

func (l *locks) take(ctx context.Context, user string, free chan struct{}) error {
	for {
		l.mu.Lock()
		other, busy := l.held[user]
		if !busy {
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			l.held[user] = free
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *locks) release(users []string, free chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, user := range users {
		delete(l.held, user)
	}
	close(free)
}
