package mosquitto

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/groupcommit"
)

// ErrUnfit is wrapped by the error of a reload that was not asked for, because
// the files would have opened or stopped the broker.
var ErrUnfit = errors.New("the broker was not told to reload: its files would open or stop it")

// ErrUntold is wrapped by the error of a reload for which the broker could not
// be signalled: its PID file is not there, say.
var ErrUntold = errors.New("the broker could not be told to reload")

// Control is what a Reloader needs of a broker, whoever runs it.
type Control interface {
	// Signal has the broker read its files again. It is called only when the
	// broker is up and not reading them already.
	Signal(ctx context.Context) error
	// Restart ends a broker that is open to everybody and starts it anew.
	// Where that is not in the control's power, it returns an error.
	Restart(ctx context.Context) error
}

// Reloader owns the sequence by which a broker is told to read its files
// again. A signal is dangerous at the wrong moment: with a broken file it
// opens a 2.0 and stops a 2.1, during a reload it is lost, before the
// listeners are open it kills. So: check the files, wait until the broker
// answers a new connection, signal, wait until it answers another one, and
// have a publish refused that must be refused.
type Reloader struct {
	control Control
	check   func() error
	probe   *Probe
	log     *slog.Logger
	group   *groupcommit.Group[struct{}]
	reloads atomic.Int64
}

// NewReloader returns a Reloader. Check judges the files as they are on disk;
// its error keeps the broker from being signalled.
func NewReloader(control Control, check func() error, probe *Probe, log *slog.Logger) *Reloader {
	r := &Reloader{control: control, check: check, probe: probe, log: log}
	r.group = groupcommit.New(func(ctx context.Context, callers []struct{}) []error {
		err := r.once(ctx)
		errs := make([]error, len(callers))
		for i := range errs {
			errs[i] = err
		}
		return errs
	})
	return r
}

// Reload returns when the broker works by the files as they were at the call.
// Concurrent calls share a signal. It waits for a broker that is down or busy,
// as long as ctx allows.
//
// Clients that the broker refuses, because the revocation list has expired
// say, or that refuse its certificate, are no failure of the reload: it is
// logged, and health is another question.
func (r *Reloader) Reload(ctx context.Context) error {
	return r.group.Do(ctx, struct{}{})
}

// Ready returns when the broker answers, if only to refuse its own certificate
// as a client's, or with a certificate that clients refuse.
func (r *Reloader) Ready(ctx context.Context) error {
	err := await(ctx, r.probe.Barrier, r.waiting)
	if clientsFail(err) {
		r.log.Warn("the broker is up, but clients cannot use it", "cause", err)
		return nil
	}
	return err
}

func (r *Reloader) waiting(err error) { r.log.Warn("waiting for the broker to answer", "cause", err) }

// Reloads is how many signals have been sent and answered.
func (r *Reloader) Reloads() int64 { return r.reloads.Load() }

func (r *Reloader) fit() error {
	if err := r.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	return nil
}

func (r *Reloader) once(ctx context.Context) error {
	if err := r.fit(); err != nil {
		return err
	}
	began := time.Now()
	if err := r.Ready(ctx); err != nil {
		return err
	}
	// What was checked long ago may have changed since.
	if time.Since(began) > time.Second {
		if err := r.fit(); err != nil {
			return err
		}
	}
	if err := r.control.Signal(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUntold, err)
	}
	verdict := func() error { return await(ctx, r.probe.Verdict, r.waiting) }
	err := verdict()
	if clientsFail(err) {
		// A connection that the broker accepted just before it read its files
		// is shown the certificate from before.
		err = verdict()
	}
	if errors.Is(err, ErrOpen) {
		r.log.Error("the broker is open to everybody after a reload; restarting it")
		if restart := r.control.Restart(ctx); restart != nil {
			return fmt.Errorf("%w, and it could not be restarted: %w", ErrOpen, restart)
		}
		err = verdict()
	}
	if clientsFail(err) {
		r.log.Warn("reloaded, but clients cannot use the broker", "cause", err)
		err = nil
	}
	if err == nil {
		r.reloads.Add(1)
	}
	return err
}
