// Package groupcommit lets any number of concurrent callers share the runs of
// one expensive function: a file write, a broker reload. Callers that arrive
// while a run is under way share the next one, or this one if it has them join.
// The slower the function, the larger its batches: the queue is bounded by
// the number of callers, and a single caller waits for nobody. Callers who need
// long before their call can say so, for a run to wait for some of them.
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

	mu        sync.Mutex
	preparing int // callers who don't wait yet
	waiting   []*call[T]
	batch     *batch[T] // of the run under way
	running   bool      // so it is, or waiting[0] is about to begin one
	served    int       // callers whom the last run served
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

// Do has item dealt with by a run that begins after the call, or has the call
// join, and returns run's error for it. When ctx ends first, Do returns the
// context's error; a run that had taken the item by then may still have its
// effect.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	return g.DoPrepared(ctx, func() (T, error) { return item, nil })
}

// DoPrepared is Do with the item that prepare returns; if it fails, nothing
// is done and DoPrepared returns its error. While one half of the callers
// prepare, a run waits for the other half to be ready. prepare must come to its
// end without a run.
func (g *Group[T]) DoPrepared(ctx context.Context, prepare func() (T, error)) error {
	c := &call[T]{ctx: ctx, lead: make(chan struct{}), done: make(chan struct{})}
	if err := g.enqueue(c, prepare); err != nil {
		return err
	}
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

// enqueue has c wait as soon as it has its item.
func (g *Group[T]) enqueue(c *call[T], prepare func() (T, error)) (err error) {
	g.mu.Lock()
	g.preparing++
	g.mu.Unlock()
	ready := false
	defer func() { // even if prepare panics
		g.mu.Lock()
		defer g.mu.Unlock()
		g.preparing--
		if ready {
			g.waiting = append(g.waiting, c)
		}
		if !g.running {
			g.passLead()
		}
	}()
	c.item, err = prepare()
	if err == nil {
		err = c.ctx.Err()
	}
	ready = err == nil
	return err
}

// Join is for run alone. It makes the run serve those who have called since it
// began, and returns their items: the errors that run returns are for these,
// too, behind those that it had before. A run whose callers have all given up
// is joined by nobody.
func (g *Group[T]) Join() []T {
	g.mu.Lock()
	defer g.mu.Unlock()
	items, ok := g.batch.add(g.waiting)
	if ok {
		g.waiting = nil
	}
	return items
}

// abandon takes a call that nobody waits for any more out of the queue, and
// passes the lead on if it held it.
func (g *Group[T]) abandon(c *call[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, c); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	select {
	case <-c.lead:
		g.passLead()
	default:
	}
}

// enough callers share the cost of a run so widely that it waits for no more.
const enough = 16

// passLead is called with mu held when no run is under way, each time that
// somebody is ready for one or doesn't prepare any more.
//
// A run that is worth waiting for is one of half of the callers: while it is
// under way, the others prepare. How many there are is known by those who
// prepare, and by those whom the last run served: they may be about to come
// again. When nobody prepares, nobody can be waited for.
func (g *Group[T]) passLead() {
	n := len(g.waiting)
	g.running = n > 0 && (g.preparing == 0 || n >= min(max(g.preparing, g.served), enough))
	if g.running {
		close(g.waiting[0].lead)
	}
}

// lead runs once for everybody who waits, its caller included.
func (g *Group[T]) lead(leader *call[T]) {
	b := &batch[T]{}
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(leader.ctx))
	g.mu.Lock()
	g.batch = b
	g.mu.Unlock()
	items := g.Join()

	var errs []error
	returned := false
	defer func() {
		// Even if run panics, nobody may be left waiting: HTTP servers go on
		// after a panic.
		if !returned {
			errs = slices.Repeat([]error{errPanicked}, len(b.calls))
		}
		b.end(errs)
		g.mu.Lock()
		g.batch, g.served = nil, len(b.calls)
		g.passLead()
		g.mu.Unlock()
	}()
	errs = g.run(b.ctx, items)
	returned = true
}

var errPanicked = errors.New("the run that served this call panicked")

// batch is the callers whom one run serves. Its context ends when the contexts
// of all of them have, so that one caller's impatience is not another's
// failure.
type batch[T any] struct {
	ctx    context.Context
	cancel context.CancelFunc
	calls  []*call[T]
	stops  []func() bool

	mu   sync.Mutex
	left int // callers who have not given up
}

// add lets calls share the run unless it has nobody left to go on for.
func (b *batch[T]) add(calls []*call[T]) (items []T, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return nil, false
	}
	b.left += len(calls)
	for _, c := range calls {
		b.calls = append(b.calls, c)
		b.stops = append(b.stops, context.AfterFunc(c.ctx, b.giveUp))
		items = append(items, c.item)
	}
	return items, true
}

func (b *batch[T]) giveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left--; b.left == 0 {
		b.cancel()
	}
}

// end answers the callers, each with its error or all with none.
func (b *batch[T]) end(errs []error) {
	for _, stop := range b.stops {
		stop()
	}
	b.cancel()
	for i, c := range b.calls {
		if errs != nil {
			c.err = errs[i]
		}
		close(c.done)
	}
}
