package groupcommit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dojot/mqtt-manager-go/internal/groupcommit"
)

func TestCallersShareRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var batches [][]int
		g := groupcommit.New(func(_ context.Context, items []int) []error {
			batches = append(batches, items)
			<-release
			return nil
		})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := g.Do(t.Context(), i); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		seen := 0
		for _, b := range batches {
			seen += len(b)
		}
		if seen != 100 || len(batches) != 2 {
			t.Errorf("%d items in %d runs, want 100 in 2", seen, len(batches))
		}
	})
}

func TestEachCallerGetsItsOwnError(t *testing.T) {
	odd := errors.New("odd")
	g := groupcommit.New(func(_ context.Context, items []int) []error {
		errs := make([]error, len(items))
		for i, n := range items {
			if n%2 == 1 {
				errs[i] = fmt.Errorf("%d: %w", n, odd)
			}
		}
		return errs
	})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := g.Do(t.Context(), i); errors.Is(err, odd) != (i%2 == 1) {
				t.Errorf("%d: got %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestARunStartsAfterTheCall(t *testing.T) {
	// A caller that arrives during a run must not be served by it: the run
	// may have read the state before the caller changed it.
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		release := make(chan struct{})
		g := groupcommit.New(func(context.Context, []int) []error {
			runs++
			<-release
			return nil
		})
		var wg sync.WaitGroup
		wg.Go(func() { g.Do(t.Context(), 1) })
		synctest.Wait()
		wg.Go(func() { g.Do(t.Context(), 2) })
		synctest.Wait()
		if runs != 1 {
			t.Fatalf("%d runs at once", runs)
		}
		close(release)
		wg.Wait()
		if runs != 2 {
			t.Errorf("%d runs, want 2", runs)
		}
	})
}

func TestCallersJoinARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		odd := errors.New("odd")
		var runs [][]int
		var g *groupcommit.Group[int]
		g = groupcommit.New(func(_ context.Context, items []int) []error {
			<-release
			items = append(items, g.Join()...)
			if more := g.Join(); more != nil {
				t.Errorf("%v joined twice, or from nowhere", more)
			}
			runs = append(runs, items)
			errs := make([]error, len(items))
			for i, n := range items {
				if n%2 == 1 {
					errs[i] = fmt.Errorf("%d: %w", n, odd)
				}
			}
			return errs
		})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if err := g.Do(t.Context(), i); errors.Is(err, odd) != (i%2 == 1) {
					t.Errorf("%d: got %v", i, err)
				}
			})
			synctest.Wait()
		}
		close(release)
		wg.Wait()
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; len(runs) != 1 || !slices.Equal(runs[0], want) {
			t.Errorf("runs served %v, want one with %v", runs, want)
		}
	})
}

// Who comes late must not share a context that has ended.
func TestNobodyJoinsARunThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var served [][]string
		var g *groupcommit.Group[string]
		g = groupcommit.New(func(ctx context.Context, items []string) []error {
			<-release
			served = append(served, append(items, g.Join()...))
			return []error{ctx.Err()}
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { g.Do(ctx, "gives up") })
		synctest.Wait()
		wg.Go(func() {
			if err := g.Do(t.Context(), "stays"); err != nil {
				t.Errorf("who stayed: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		if len(served) != 2 || !slices.Equal(served[1], []string{"stays"}) {
			t.Errorf("served %q", served)
		}
	})
}

// A run that late callers have joined goes on for them.
func TestACancelledCallerLeavesARunToThoseWhoJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		join, release := make(chan struct{}), make(chan struct{})
		var g *groupcommit.Group[string]
		g = groupcommit.New(func(ctx context.Context, items []string) []error {
			<-join
			items = append(items, g.Join()...)
			<-release
			return slices.Repeat([]error{ctx.Err()}, len(items))
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { g.Do(ctx, "gives up") })
		synctest.Wait()
		wg.Go(func() {
			if err := g.Do(t.Context(), "joins"); err != nil {
				t.Errorf("who joined: %v", err)
			}
		})
		synctest.Wait()
		close(join)
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
	})
}

func TestCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var served [][]string
		var ended []error
		g := groupcommit.New(func(ctx context.Context, items []string) []error {
			served = append(served, items)
			select {
			case <-release:
			case <-ctx.Done():
			}
			ended = append(ended, ctx.Err())
			return nil
		})
		ctx1, cancel1 := context.WithCancel(t.Context())
		ctx2, cancel2 := context.WithCancel(t.Context())
		defer cancel2()
		var wg sync.WaitGroup
		var err2 error
		wg.Go(func() { g.Do(ctx1, "first") })
		synctest.Wait()
		wg.Go(func() { err2 = g.Do(ctx2, "gives up") })
		wg.Go(func() { g.Do(t.Context(), "stays") })
		synctest.Wait()
		cancel2()
		synctest.Wait()
		if !errors.Is(err2, context.Canceled) {
			t.Errorf("waiting caller: got %v", err2)
		}
		cancel1() // its only caller gone, the first run is told
		synctest.Wait()
		close(release)
		wg.Wait()
		if len(served) != 2 || len(served[1]) != 1 || served[1][0] != "stays" {
			t.Errorf("served %q", served)
		}
		if !errors.Is(ended[0], context.Canceled) || ended[1] != nil {
			t.Errorf("runs ended with %v", ended)
		}
		if err := g.Do(ctx1, "too late"); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before the call: got %v", err)
		}
	})
}

func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g := groupcommit.New(func(_ context.Context, items []string) []error {
			<-release
			if items[0] != "good" {
				panic(items[0])
			}
			return nil
		})
		var wg sync.WaitGroup
		for _, item := range []string{"first", "second", "third"} {
			wg.Go(func() {
				defer func() { recover() }() // as net/http does
				if err := g.Do(t.Context(), item); err == nil {
					t.Errorf("%s: got no error from a run that panicked", item)
				}
			})
			synctest.Wait()
		}
		close(release)
		wg.Wait()
		if err := g.Do(t.Context(), "good"); err != nil {
			t.Errorf("after the panics: got %v", err)
		}
	})
}

// preparing is callers of a group who prepare until they are told, and the
// runs that serve them.
type preparing struct {
	tell []chan error // what prepare is to return
	got  []error      // what DoPrepared returned
	runs [][]int
	wg   sync.WaitGroup
}

func prepare(ctx context.Context, n int) *preparing {
	p := &preparing{got: make([]error, n)}
	g := groupcommit.New(func(_ context.Context, items []int) []error {
		p.runs = append(p.runs, items)
		return nil
	})
	for i := range n {
		told := make(chan error)
		p.tell = append(p.tell, told)
		p.wg.Go(func() {
			defer func() {
				if err, panicked := recover().(error); panicked {
					p.got[i] = err
				}
			}()
			p.got[i] = g.DoPrepared(ctx, func() (int, error) {
				err := <-told
				if errors.Is(err, errPanic) {
					panic(err)
				}
				return i, err
			})
		})
	}
	synctest.Wait()
	return p
}

var errPanic = errors.New("panic")

// say tells callers first to last, one after the other.
func (p *preparing) say(first, last int, err error) {
	for i := first; i <= last; i++ {
		p.tell[i] <- err
		synctest.Wait()
	}
}

func (p *preparing) check(t *testing.T, runs ...[]int) {
	t.Helper()
	if !slices.EqualFunc(p.runs, runs, slices.Equal) {
		t.Errorf("runs served %v, want %v", p.runs, runs)
	}
}

func TestARunWaitsForHalfOfThoseWhoPrepare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prepare(t.Context(), 8)
		p.say(0, 2, nil)
		p.check(t)
		p.say(3, 3, nil)
		p.check(t, []int{0, 1, 2, 3})
		// The first half doesn't come again; that it might doesn't stop these.
		p.say(4, 6, nil)
		p.check(t, []int{0, 1, 2, 3})
		p.say(7, 7, nil)
		p.check(t, []int{0, 1, 2, 3}, []int{4, 5, 6, 7})
		p.wg.Wait()
	})
}

func TestARunWaitsForNoMoreThanEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prepare(t.Context(), 100)
		p.say(0, 14, nil)
		p.check(t)
		p.say(15, 15, nil)
		if len(p.runs) != 1 || len(p.runs[0]) != 16 {
			t.Errorf("runs served %v, want one with 16", p.runs)
		}
		p.say(16, 99, nil)
		p.wg.Wait()
	})
}

func TestARunWaitsForNobodyWhoFails(t *testing.T) {
	for _, failure := range []error{errors.New("failed"), errPanic} {
		t.Run(failure.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := prepare(t.Context(), 6)
				p.say(0, 1, nil)
				p.check(t)
				p.say(2, 3, failure)
				p.check(t, []int{0, 1})
				p.say(4, 4, nil)
				p.say(5, 5, failure)
				p.check(t, []int{0, 1}, []int{4})
				p.wg.Wait()
				for i, want := range []error{nil, nil, failure, failure, nil, failure} {
					if !errors.Is(p.got[i], want) {
						t.Errorf("%d: got %v, want %v", i, p.got[i], want)
					}
				}
			})
		})
	}
}

func TestWhoGivesUpIsNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := prepare(ctx, 4)
		p.say(0, 0, nil)
		cancel() // while one waits for the others, who prepare
		p.say(1, 3, nil)
		p.wg.Wait()
		p.check(t)
		for i, err := range p.got {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%d: got %v", i, err)
			}
		}
	})
}
