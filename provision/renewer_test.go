package provision_test

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dojot/mqtt-manager-go/provision"
)

// In a year, a certificate of thirty days is renewed in time, each time, and
// its user told each time.
func TestRenewerRun(t *testing.T) {
	id := newP256(t)
	id.Files.CRL = ""
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t, "ca")
		ca.cert = ca.issue(t, caTemplate("ca"), func(c *x509.Certificate) { ca.cert, c.NotAfter = nil, time.Now().AddDate(10, 0, 0) }, ca.key.Public())
		told := 0
		r := &provision.Renewer{Identity: id, CA: chainAndSign{ca}, Every: 12 * time.Hour, Changed: func(context.Context) error { told++; return nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 365*24*time.Hour)
		defer cancel()
		checked := make(chan struct{})
		go func() {
			defer close(checked)
			for ctx.Err() == nil {
				select {
				case <-time.After(24 * time.Hour):
				case <-ctx.Done():
					return
				}
				leaf, err := id.Files.Leaf()
				if err != nil {
					t.Error(err)
					return
				}
				if left := time.Until(leaf.NotAfter); left < 9*24*time.Hour {
					t.Errorf("a certificate is in service that ends in %s", left)
				}
			}
		}()
		if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		<-checked
		if ca.signed < 17 || ca.signed > 22 || told != ca.signed {
			t.Errorf("%d certificates in a year, told %d times; want about 18 or 19 each", ca.signed, told)
		}
	})
}

// A certificate that does not last until the next look is looked at before,
// even if it is to be renewed from the start, because the CA dates it back, or
// its renewal fails for a while.
func TestRenewerRunShortLived(t *testing.T) {
	for name, back := range map[string]time.Duration{"from now": 0, "dated back": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			id := newP256(t)
			synctest.Test(t, func(t *testing.T) {
				ca := newTestCA(t, "ca")
				ca.edit = func(c *x509.Certificate) {
					c.NotBefore, c.NotAfter = time.Now().Add(-back), time.Now().Add(time.Minute)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				looks, began := 0, time.Now()
				var lapsed []time.Duration
				r := &provision.Renewer{Identity: id, CA: looked{ca, func() error {
					looks++
					if leaf, err := id.Files.Leaf(); err == nil && time.Now().After(leaf.NotAfter) {
						lapsed = append(lapsed, time.Since(began))
					}
					if since := time.Since(began); 5*time.Minute < since && since < 5*time.Minute+20*time.Second {
						return errors.New("it is down")
					}
					return nil
				}}}
				if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				leaf, err := id.Files.Leaf()
				if err != nil || time.Now().After(leaf.NotAfter) || len(lapsed) > 0 || looks > 60 {
					t.Errorf("%d looks, and it had lapsed at %v, ends at %v (%v)", looks, lapsed, leaf.NotAfter, err)
				}
			})
		})
	}
}

// looked is a CA that says when it is asked.
type looked struct {
	*testCA
	look func() error
}

func (l looked) Chain(ctx context.Context) ([]*x509.Certificate, error) {
	if err := l.look(); err != nil {
		return nil, err
	}
	return l.testCA.Chain(ctx)
}

// chainAndSign hides that a CA has lists.
type chainAndSign struct{ provision.CA }

// A hook that fails is tried again, with pauses, and by the next process.
func TestRenewerRemembersTheHook(t *testing.T) {
	id := newP256(t)
	synctest.Test(t, func(t *testing.T) {
		ca := newTestCA(t, "ca")
		down := errors.New("the broker is down")
		var calls []time.Time
		r := &provision.Renewer{Identity: id, CA: chainAndSign{ca}, Changed: func(context.Context) error {
			calls = append(calls, time.Now())
			if len(calls) < 4 {
				return down
			}
			return nil
		}}
		var hook *provision.HookError
		if _, err := r.Once(t.Context()); !errors.Is(err, down) || !errors.As(err, &hook) {
			t.Fatalf("got %v, want a HookError", err)
		}
		// Another process.
		r = &provision.Renewer{Identity: id, CA: r.CA, Changed: r.Changed}
		if !r.Pending() {
			t.Error("the failure is forgotten")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
		defer cancel()
		if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if len(calls) != 4 || calls[2].Sub(calls[1]) != time.Minute || calls[3].Sub(calls[2]) != 2*time.Minute {
			t.Errorf("called at %v", calls)
		}
		if r.Pending() {
			t.Error("still outstanding")
		}
	})
}

// What changed just before a crash is told by the next process.
func TestRenewerTellsAfterACrash(t *testing.T) {
	ca := newTestCA(t, "ca")
	id := newP256(t)
	crash := errors.New("crash")
	calls := 0
	r := &provision.Renewer{Identity: id, CA: chainAndSign{ca}, Changed: func(context.Context) error { calls++; return nil }}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no crash")
			}
		}()
		id.Report = func(s provision.Step) {
			if s.Path == id.Files.Cert {
				panic(crash)
			}
		}
		r.Once(t.Context())
	}()
	id.Report = nil
	if _, err := r.Once(t.Context()); err != nil || calls != 1 {
		t.Errorf("got %v, told %d times, want once", err, calls)
	}
	if _, err := r.Once(t.Context()); err != nil || calls != 1 {
		t.Errorf("got %v, told %d times although nothing changed", err, calls)
	}
	if _, err := os.Stat(id.Files.Cert + ".pending"); err == nil {
		t.Error("the marker is still there")
	}
}

// A CA that is down is no reason to keep quiet about what changed before.
func TestRenewerTellsWithoutCA(t *testing.T) {
	ca := newTestCA(t, "ca")
	id := newP256(t)
	down := errors.New("it is down")
	calls := 0
	r := &provision.Renewer{Identity: id, CA: chainAndSign{ca}, Changed: func(context.Context) error {
		if calls++; calls == 1 {
			return down
		}
		return nil
	}}
	if _, err := r.Once(t.Context()); !errors.Is(err, down) {
		t.Fatalf("got %v, want the hook's error", err)
	}
	id.Now = func() time.Time { return time.Now().Add(25 * 24 * time.Hour) }
	r.CA = chainOf{ca.cert}
	if _, err := r.Once(t.Context()); err == nil || errors.As(err, new(*provision.HookError)) || calls != 2 || r.Pending() {
		t.Errorf("got %v, told %d times, pending %v; want the CA's error, told again", err, calls, r.Pending())
	}
	// This try changed nothing, so there is nothing to tell.
	if _, err := r.Once(t.Context()); err == nil || calls != 2 || r.Pending() {
		t.Errorf("got %v, told %d times, pending %v", err, calls, r.Pending())
	}
}

// What failed before anything changed is nothing to tell of.
func TestRenewerTellsOfChangesOnly(t *testing.T) {
	ca := newTestCA(t, "ca")
	id := newP256(t)
	ensure(t, id, ca)
	id.Overwrite = true
	r := &provision.Renewer{Identity: id, CA: stubbornCA{ca}, Changed: func(context.Context) error {
		t.Error("told of nothing")
		return nil
	}}
	for range 2 {
		if _, err := r.Once(t.Context()); err == nil || r.Pending() {
			t.Errorf("got %v, pending %v, want an error and nothing pending", err, r.Pending())
		}
	}
}

// It is told of a new set as of a new certificate.
func TestRenewerTellsOfASwap(t *testing.T) {
	ca := newTestCA(t, "ca")
	id := newP256(t)
	ensure(t, id, ca)
	ca.revoke(leaf(t, id.Files))
	told := 0
	r := &provision.Renewer{Identity: id, CA: ca, Changed: func(context.Context) error { told++; return nil }}
	if _, err := r.Once(t.Context()); err != nil || told != 1 {
		t.Errorf("got %v, told %d times, want once", err, told)
	}
}
