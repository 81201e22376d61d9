package provision

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

// A Renewer keeps an identity fresh and tells whoever uses the files of it.
// Identity and CA are required. Use one for each identity.
type Renewer struct {
	Identity *Identity
	CA       CA

	// Every is the longest time between two looks at the files and the CA,
	// and so how late a revocation may be noticed. Zero is an hour. The look
	// comes up to a quarter sooner, at random, and sooner still for the sake
	// of the certificate; see NextLook.
	Every time.Duration

	// Changed is called when files have changed. If it fails, it is called
	// again at the next try, whether or not something changed by then. That it
	// is outstanding is remembered in a file, the certificate's name with the
	// suffix .pending, so that neither a crash nor the next process forgets
	// it. Nil does nothing.
	Changed func(ctx context.Context) error

	Logger *slog.Logger // nil: silent
}

// A HookError is a failure of Renewer.Changed. The files are in order.
type HookError struct{ Err error }

func (e *HookError) Error() string { return fmt.Sprintf("telling of the change: %v", e.Err) }
func (e *HookError) Unwrap() error { return e.Err }

// pendingSuffix marks an identity whose change is not yet told.
const pendingSuffix = ".pending"

// Pending reports whether Changed has yet to be called, or called again.
func (r *Renewer) Pending() bool {
	if r.Changed == nil {
		return false
	}
	_, err := os.Lstat(r.marker())
	return err == nil
}

func (r *Renewer) marker() string { return r.Identity.Files.Cert + pendingSuffix }

// Once is Identity.Ensure, followed by Changed if something changed or an
// earlier call of it is outstanding. The error is Ensure's or a *HookError.
func (r *Renewer) Once(ctx context.Context) ([]Step, error) {
	id := r.Identity
	if err := id.Validate(); err != nil {
		return nil, err
	}
	e := &ensuring{Identity: id}
	outstanding := r.Pending()
	if r.Changed != nil {
		// Before anything changes, so that a crash cannot come between.
		e.changing = func() error {
			return durable.WriteFile(r.marker(), nil, durable.Attr{Owner: (*durable.Owner)(id.Owner)})
		}
	}
	err := e.run(ctx, r.CA)
	if err != nil && !onlyList(err) && !outstanding || !r.Pending() {
		return e.steps, err
	}
	if hookErr := r.Changed(ctx); hookErr != nil {
		return e.steps, errors.Join(&HookError{hookErr}, err)
	}
	if rmErr := os.Remove(r.marker()); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		return e.steps, errors.Join(&HookError{rmErr}, err)
	}
	return e.steps, err
}

// onlyList reports whether all but the revocation list is in order.
func onlyList(err error) bool {
	step, ok := errors.AsType[*StepError](err)
	return ok && step.Step == StepCRL
}

const (
	defaultEvery = time.Hour
	firstRetry   = time.Minute // doubled with each failure, up to Every
	shortestWait = time.Second
)

// Run repeats Once until ctx ends, and returns why it did. The first time is
// at once. After a failure, the next try comes after a minute, then after two,
// and so on, up to Every.
func (r *Renewer) Run(ctx context.Context) error {
	logger := r.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	every := r.Every
	if every <= 0 {
		every = defaultEvery
	}
	retry := min(firstRetry, every)
	for {
		steps, err := r.Once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, s := range steps {
			switch {
			case s.Action == Made:
				logger.Info("file renewed", "file", s.Path, "because", s.Reason)
			case s.Reason != "":
				logger.Warn("file kept", "file", s.Path, "because", s.Reason)
			}
		}
		wait := r.wait(every)
		if err != nil {
			wait, retry = min(wait, retry), min(2*retry, every)
			logger.Error("identity not in order", "cause", err, "next try in", wait)
		} else {
			retry = min(firstRetry, every)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// NextLook returns when Once is to be called again at the latest, for the sake
// of that certificate of the identity: when it is to be renewed, and not before
// a thirtieth of its lifetime has passed. So a renewal that fails is tried
// several times before the certificate ends, but not without pause, and who
// looks at many does not have to look for each of them apart.
func (r *Renewer) NextLook(leaf *x509.Certificate) time.Time {
	due := r.Identity.renewAt(leaf)
	earliest := r.Identity.now().Add(leaf.NotAfter.Sub(leaf.NotBefore) / 30)
	if due.Before(earliest) {
		return earliest
	}
	return due
}

func (r *Renewer) wait(every time.Duration) time.Duration {
	wait := every - rand.N(every/4+1)
	if leaf, err := r.Identity.Files.Leaf(); err == nil {
		wait = min(wait, r.NextLook(leaf).Sub(r.Identity.now()))
	}
	return max(wait, min(shortestWait, every))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
