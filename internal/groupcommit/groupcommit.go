// Package groupcommit lets any number of concurrent callers share the runs of
// one expensive function: a file write, a broker reload. Callers that arrive
// while a run is under way wait for it to end and then share the next one.
// The slower the function, the larger its batches: the queue is bounded by
// the number of callers, and a single caller waits for nobody.
package groupcommit

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Group shares the runs of one function. It starts no goroutines: a run
// happens in the goroutine of one of the callers that it serves.
type Group[T any] struct {
	run func(context.Context, []T) []error

	mu      sync.Mutex
	running bool
	waiting []*call[T]
}

type call[T any] struct {
	ctx  context.Context
	item T
	lead chan struct{} // closed when this caller is to do the next run
	done chan struct{} // closed when err is set
	err  error
}

// New returns a Group around run. Run gets the items of all callers that it
// serves, in the order of their arrival, and returns one error for each, or
// nil when there is none. It is never called twice at a time. Its context
// carries the values of one of the callers and ends when all of them have
// given up.
func New[T any](run func(ctx context.Context, items []T) []error) *Group[T] {
	return &Group[T]{run: run}
}

// Do has item dealt with by a run that begins after the call, and returns
// run's error for it. When ctx ends first, Do returns the context's error; a
// run that had begun by then may still have its effect.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call[T]{ctx: ctx, item: item, lead: make(chan struct{}), done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	if !g.running {
		g.running = true
		close(c.lead)
	}
	g.mu.Unlock()

	select {
	case <-c.lead:
		g.lead(c)
		return c.err
	case <-c.done:
		return c.err
	case <-ctx.Done():
		g.abandon(c)
		return ctx.Err()
	}
}

// abandon takes a call that nobody waits for any more out of the queue, and
// passes the lead on if it held it.
func (g *Group[T]) abandon(c *call[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w == c {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			break
		}
	}
	select {
	case <-c.lead:
		g.passLead()
	default:
	}
}

// passLead is called with mu held when no run is under way.
func (g *Group[T]) passLead() {
	g.running = len(g.waiting) > 0
	if g.running {
		close(g.waiting[0].lead)
	}
}

// lead runs once for everybody who waits.
func (g *Group[T]) lead(leader *call[T]) {
	g.mu.Lock()
	batch := g.waiting
	g.waiting = nil
	g.mu.Unlock()

	items := make([]T, len(batch))
	for i, c := range batch {
		items[i] = c.item
	}
	ctx, stop := whileAny(leader.ctx, batch)
	// Even if run panics, nobody may be left waiting: HTTP servers go on after
	// a panic.
	errs := slices.Repeat([]error{errPanicked}, len(batch))
	defer func() {
		stop()
		for i, c := range batch {
			c.err = errs[i]
			close(c.done)
		}
		g.mu.Lock()
		g.passLead()
		g.mu.Unlock()
	}()
	if got := g.run(ctx, items); got != nil {
		errs = got
	} else {
		clear(errs)
	}
}

var errPanicked = errors.New("the run that served this call panicked")

// whileAny returns a context that ends when the contexts of all calls have,
// so that one caller's impatience is not another's failure.
func whileAny[T any](parent context.Context, calls []*call[T]) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	var (
		mu    sync.Mutex
		left  = len(calls)
		stops = make([]func() bool, 0, len(calls)+1)
	)
	for _, c := range calls {
		stops = append(stops, context.AfterFunc(c.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
