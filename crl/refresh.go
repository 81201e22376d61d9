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

	// Fallbacks are asked in this order when Source fails, or has a list that
	// the File refuses or that is soon to expire, until one has a better one.
	Fallbacks []Source

	// MaxSize is how large a list may be that is installed, in bytes of DER.
	// Zero or less is DefaultMaxSize.
	MaxSize int

	// Every is how often the Source is asked, and so how late a revocation
	// may reach the broker. Zero or less is 15 minutes. The Source is asked
	// sooner when a third of the list's lifetime is about to be all that is
	// left.
	Every time.Duration

	// Installed is called after a list was installed, to tell the broker. Its
	// argument has no RevokedCertificateEntries: [NewIndex] of Raw does. If
	// it returns an error it is called again, with the newest list by then,
	// at the next try, whether or not that brings a new list. A process that
	// ends with the call outstanding forgets it: tell the broker at start.
	// Nil does nothing.
	Installed func(context.Context, *x509.RevocationList) error

	// Notify is told of all that happens, in Run and Refresh alike, before
	// they go on. Nil does nothing.
	Notify func(context.Context, Event)

	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now

	once sync.Once
	turn chan struct{} // holds a token while no round runs; guards what follows
	last *x509.RevocationList
	owed *x509.RevocationList // Installed has not succeeded for it
}

// EventKind says what an [Event] is about.
type EventKind int

const (
	// EventInstalled: a list was installed, and Installed, if there is one,
	// has returned nil.
	EventInstalled EventKind = iota

	// EventFailed: a source failed or had a list that was refused, or
	// Installed returned an error.
	EventFailed

	// EventExpiring: less than a third of its lifetime is left of the list in
	// the file, and no source has a newer one.
	EventExpiring

	// EventExpired: that list has expired, and the broker refuses every client
	// of its issuer.
	EventExpired

	// EventNotYetValid: that list is not valid yet, as after a clock that was
	// ahead, and the broker refuses every client of its issuer until a source
	// has one with a greater number.
	EventNotYetValid
)

// String returns "installed", "failed", "expiring", "expired" or "not yet
// valid".
func (k EventKind) String() string {
	names := [...]string{"installed", "failed", "expiring", "expired", "not yet valid"}
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("EventKind(%d)", int(k))
	}
	return names[k]
}

// Event is something that happened to the list of a [Refresher].
type Event struct {
	Kind EventKind
	List *x509.RevocationList // what is in the file, without entries, as for Installed; nil with EventFailed
	Err  error                // with EventFailed
}

// Refresh asks the Source now, or the Fallbacks, installs the list if it is
// newer, and reports whether it did so. If Installed fails the list is in place
// all the same: changed is true and err tells of the failure.
//
// Rounds never overlap: Refresh waits for one that runs, in Run or in another
// call, until ctx ends.
func (r *Refresher) Refresh(ctx context.Context) (changed bool, err error) {
	o := r.round(ctx)
	return o.changed, o.err
}

// outcome is what came of a round.
type outcome struct {
	changed bool
	err     error
	events  []Event
	left    time.Duration // until the list in the file should be renewed
}

// Run refreshes at once, and then as the fields say, until ctx ends, and
// returns ctx.Err(). Intervals are up to a tenth shorter at random, so that
// many brokers do not ask a CA at the same instant. After an error, and while
// no source has more than a list with less than a third of its lifetime left,
// it tries again after 1, 2, 4, … seconds, but at most 5 minutes or Every. A
// fallback's success is a success.
//
// What went wrong goes to the Logger, too.
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
		o := r.round(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := min(r.every(), max(o.left, minRetry))
		if o.err != nil || o.left <= 0 {
			wait = r.backoff(retries)
			retries++
		} else {
			retries = 0
		}
		wait -= rand.N(wait/10 + 1)
		r.log(ctx, o.events, wait)
		timer.Reset(wait)
	}
}

// round asks, installs and tells once.
func (r *Refresher) round(ctx context.Context) (o outcome) {
	r.once.Do(func() {
		r.turn = make(chan struct{}, 1)
		r.turn <- struct{}{}
	})
	select {
	case <-ctx.Done():
		return outcome{err: ctx.Err()}
	case <-r.turn:
		defer func() { r.turn <- struct{}{} }()
	}
	o.changed, o.events, o.err = r.fetch(ctx)
	if told := r.tell(ctx); told != nil {
		o.events = append(o.events, Event{Kind: EventFailed, Err: told})
		o.err = errors.Join(o.err, told)
	} else if r.owed != nil {
		o.events = append(o.events, Event{Kind: EventInstalled, List: r.owed})
		r.owed = nil
	}
	if ctx.Err() != nil {
		return o // what was cut short has not failed
	}
	o.left = r.untilRenewal(r.last)
	o.events = append(o.events, r.expiry()...)
	if r.Notify != nil {
		for _, e := range o.events {
			r.Notify(ctx, e)
		}
	}
	return o
}

// tell calls Installed if that is owed.
func (r *Refresher) tell(ctx context.Context) error {
	if r.owed == nil || r.Installed == nil {
		return nil
	}
	if err := r.Installed(ctx, r.owed); err != nil {
		return fmt.Errorf("after installing CRL: %w", err)
	}
	return nil
}

// fetch asks the sources until one has a list that is in the file then, and
// will last. faults are about those that were asked in vain; err joins them if
// all were.
func (r *Refresher) fetch(ctx context.Context) (changed bool, faults []Event, err error) {
	var errs []error
	succeeded := false
	for _, source := range append([]Source{r.Source}, r.Fallbacks...) {
		replaced, err := r.fetchFrom(ctx, source)
		changed = changed || replaced
		switch {
		case err == nil:
			succeeded = true
		case succeeded && errors.Is(err, ErrRollback):
			continue // an earlier source had a newer one, that is all
		default:
			errs = append(errs, err)
			faults = append(faults, Event{Kind: EventFailed, Err: err})
		}
		if ctx.Err() != nil || err == nil && r.untilRenewal(r.last) > 0 {
			break
		}
	}
	if succeeded {
		return changed, faults, nil
	}
	return changed, faults, errors.Join(errs...)
}

func (r *Refresher) fetchFrom(ctx context.Context, source Source) (changed bool, err error) {
	list, err := source.CRL(ctx)
	if err == nil && list == nil {
		err = errors.New("the source has none")
	}
	if err != nil {
		return false, fmt.Errorf("fetching CRL: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return false, err // the broker would not be told
	}
	limit := r.MaxSize
	if limit <= 0 {
		limit = DefaultMaxSize
	}
	if len(list.Raw) > limit {
		return false, fmt.Errorf("fetching CRL: %w: %d bytes (want at most %d)", ErrTooLarge, len(list.Raw), limit)
	}
	d, err := readDocument(list.Raw)
	if err != nil {
		return false, fmt.Errorf("fetching CRL: %w: %w", ErrMalformed, err)
	}
	if changed, err = r.File.Install(d.head); err != nil {
		return false, err
	}
	// The source may have read the entries, too, which are not to be kept.
	r.last = d.head
	if changed {
		r.owed = d.head
	}
	return changed, nil
}

// untilRenewal is how long the list has more than a third of its lifetime
// left. For no list, and one that is not yet valid, it is zero.
func (r *Refresher) untilRenewal(list *x509.RevocationList) time.Duration {
	if list == nil || r.now().Before(list.ThisUpdate) {
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

// expiry says whether the list in the file is about to expire, or not valid.
func (r *Refresher) expiry() []Event {
	list := r.last
	if list == nil {
		list = r.worst()
	}
	switch {
	case list == nil || r.untilRenewal(list) > 0:
		return nil
	case r.now().Before(list.ThisUpdate):
		return []Event{{Kind: EventNotYetValid, List: list}}
	case r.now().Before(list.NextUpdate):
		return []Event{{Kind: EventExpiring, List: list}}
	}
	return []Event{{Kind: EventExpired, List: list}}
}

// log logs what went wrong in a round, and how urgent that is.
func (r *Refresher) log(ctx context.Context, events []Event, wait time.Duration) {
	if r.Logger == nil {
		return
	}
	for _, e := range events {
		switch e.Kind {
		case EventFailed:
			r.Logger.WarnContext(ctx, "revocation list not refreshed", "error", e.Err, "next", wait)
		case EventExpiring:
			r.Logger.WarnContext(ctx, "installed revocation list expires soon and its issuer offers no newer one",
				"issuer", e.List.Issuer.String(), "nextUpdate", e.List.NextUpdate, "next", wait)
		case EventExpired:
			r.Logger.ErrorContext(ctx, "installed revocation list has expired: the broker refuses every client of its issuer",
				"issuer", e.List.Issuer.String(), "nextUpdate", e.List.NextUpdate, "next", wait)
		case EventNotYetValid:
			r.Logger.ErrorContext(ctx, "installed revocation list is not yet valid: the broker refuses every client of its issuer",
				"issuer", e.List.Issuer.String(), "thisUpdate", e.List.ThisUpdate, "next", wait)
		}
	}
}

// worst returns a list in the file that is not yet valid, or else the one that
// expires first. Before the Source has answered once it stands in for the list
// of its CA.
func (r *Refresher) worst() *x509.RevocationList {
	lists, err := r.File.read(readHead)
	if err != nil {
		return nil
	}
	first := lists[0]
	for _, l := range lists {
		switch {
		case r.now().Before(l.ThisUpdate):
			return l
		case l.NextUpdate.Before(first.NextUpdate):
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
