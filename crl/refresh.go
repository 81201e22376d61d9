package crl

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Source gives the newest list of one CA, parsed and not verified. Where the
// CA issues lists only when asked, the Source asks: what it returns should
// not be about to expire.
type Source interface {
	CRL(ctx context.Context) (*x509.RevocationList, error)
}

const (
	defaultEvery = 15 * time.Minute
	minRetry     = time.Second
	maxRetry     = 5 * time.Minute
)

// Refresher keeps one CA's list in a crlfile fresh. Use one for each CA; they
// may share the File. The fields must not change once it is in use.
type Refresher struct {
	Source Source // required
	File   *File  // required

	// Every is how often the Source is asked, and so how late a revocation
	// may reach the broker. Zero or less is 15 minutes. The Source is asked
	// sooner when a third of the list's lifetime is about to be all that is
	// left.
	Every time.Duration

	// Installed is called after a list was installed, to tell the broker. If
	// it returns an error it is called again, with the newest list by then,
	// at the next try, whether or not that brings a new list. A process that
	// ends with the call outstanding forgets it: tell the broker at start.
	// Nil does nothing.
	Installed func(context.Context, *x509.RevocationList) error

	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now

	once sync.Once
	turn chan struct{} // holds a token while no round runs; guards what follows
	last *x509.RevocationList
	owed *x509.RevocationList // Installed has not succeeded for it
}

// Refresh asks the Source now, installs its list if it is newer, and reports
// whether it did so. If Installed fails the list is in place all the same:
// changed is true and err tells of the failure.
//
// Rounds never overlap: Refresh waits for one that runs, in Run or in another
// call, until ctx ends.
func (r *Refresher) Refresh(ctx context.Context) (changed bool, err error) {
	changed, _, err = r.round(ctx)
	return changed, err
}

// Run refreshes at once, and then as the fields say, until ctx ends, and
// returns ctx.Err(). Intervals are up to a tenth shorter at random, so that
// many brokers do not ask a CA at the same instant. After an error, and while
// the Source has only a list with less than a third of its lifetime left, it
// tries again after 1, 2, 4, … seconds, but at most 5 minutes or Every.
//
// Errors go to the Logger, with a warning if the list in the file is about to
// expire.
func (r *Refresher) Run(ctx context.Context) error {
	retries := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		_, last, err := r.round(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		left := r.untilRenewal(last)
		wait := min(r.every(), max(left, minRetry))
		if err != nil || left <= 0 {
			wait = r.backoff(retries)
			retries++
		} else {
			retries = 0
		}
		wait -= rand.N(wait/10 + 1)
		r.report(ctx, last, err, wait)
		timer.Reset(wait)
	}
}

// round asks, installs and tells once. last is the newest list of the Source
// that is in the file, nil if there is none yet.
func (r *Refresher) round(ctx context.Context) (changed bool, last *x509.RevocationList, err error) {
	r.once.Do(func() {
		r.turn = make(chan struct{}, 1)
		r.turn <- struct{}{}
	})
	select {
	case <-ctx.Done():
		return false, nil, ctx.Err()
	case <-r.turn:
		defer func() { r.turn <- struct{}{} }()
	}
	changed, err = r.fetch(ctx)
	if r.owed != nil && r.Installed != nil {
		if told := r.Installed(ctx, r.owed); told != nil {
			return changed, r.last, errors.Join(err, fmt.Errorf("after installing CRL: %w", told))
		}
	}
	r.owed = nil
	return changed, r.last, err
}

func (r *Refresher) fetch(ctx context.Context) (changed bool, err error) {
	list, err := r.Source.CRL(ctx)
	if err == nil && list == nil {
		err = errors.New("the source has none")
	}
	if err != nil {
		return false, fmt.Errorf("fetching CRL: %w", err)
	}
	if changed, err = r.File.Install(list); err != nil {
		return false, err
	}
	r.last = list
	if changed {
		r.owed = list
	}
	return changed, nil
}

// untilRenewal is how long the list has more than a third of its lifetime
// left. For no list it is zero.
func (r *Refresher) untilRenewal(list *x509.RevocationList) time.Duration {
	if list == nil {
		return 0
	}
	third := list.NextUpdate.Sub(list.ThisUpdate) / 3
	return list.NextUpdate.Add(-third).Sub(r.now())
}

func (r *Refresher) every() time.Duration {
	if r.Every <= 0 {
		return defaultEvery
	}
	return r.Every
}

// backoff is the interval after as many retries in a row.
func (r *Refresher) backoff(retries int) time.Duration {
	limit := min(maxRetry, r.every())
	// 2⁹ seconds exceed maxRetry; a larger shift would overflow in the end.
	return min(limit, minRetry<<min(retries, 9))
}

// report logs what went wrong in a round, and how urgent that is.
func (r *Refresher) report(ctx context.Context, last *x509.RevocationList, err error, wait time.Duration) {
	log := r.Logger
	if log == nil {
		return
	}
	if err != nil {
		log.WarnContext(ctx, "revocation list not refreshed", "error", err, "retry", wait)
	}
	if last == nil {
		last = r.soonest()
	}
	if last == nil || r.untilRenewal(last) > 0 {
		return
	}
	attrs := []any{"issuer", last.Issuer.String(), "nextUpdate", last.NextUpdate, "retry", wait}
	if !r.now().Before(last.NextUpdate) {
		log.ErrorContext(ctx, "installed revocation list has expired: the broker refuses every client of its issuer", attrs...)
		return
	}
	log.WarnContext(ctx, "installed revocation list expires soon and its issuer offers no newer one", attrs...)
}

// soonest returns the list in the file that expires first. Before the Source
// has answered once it stands in for the list of its CA.
func (r *Refresher) soonest() *x509.RevocationList {
	lists, err := r.File.Lists()
	if err != nil {
		return nil
	}
	first := lists[0]
	for _, l := range lists[1:] {
		if l.NextUpdate.Before(first.NextUpdate) {
			first = l
		}
	}
	return first
}

func (r *Refresher) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}
