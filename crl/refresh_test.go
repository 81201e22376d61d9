package crl_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

// source is a CA behind a line that may fail. It notes when it was asked.
type source struct {
	asked []time.Time
	crl   func(ctx context.Context, n int) (*x509.RevocationList, error) // n counts from 1
}

func (s *source) CRL(ctx context.Context) (*x509.RevocationList, error) {
	s.asked = append(s.asked, time.Now())
	return s.crl(ctx, len(s.asked))
}

// intervals returns the time between the calls.
func (s *source) intervals() []time.Duration {
	var d []time.Duration
	for i := 1; i < len(s.asked); i++ {
		d = append(d, s.asked[i].Sub(s.asked[i-1]))
	}
	return d
}

// within checks that got is not longer than want and at most a tenth shorter.
func within(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got > want || got < want-want/10 {
		t.Errorf("%s: got %v, want %v or up to a tenth less", what, got, want)
	}
}

func newRefresher(t *testing.T, s *source) *crl.Refresher {
	t.Helper()
	f, err := crl.OpenFile(filepath.Join(t.TempDir(), "ca.crl"), crl.FileOptions{CAs: []*x509.Certificate{midCA().cert}})
	if err != nil {
		t.Fatal(err)
	}
	return &crl.Refresher{Source: s, File: f}
}

// runFor lets r run for d of the bubble's time.
func runFor(t *testing.T, r *crl.Refresher, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := r.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: got %v, want the context's error", err)
	}
}

// fresh issues a list with number n that is valid for lifetime from now.
func fresh(t *testing.T, n int, lifetime time.Duration) *x509.RevocationList {
	now := time.Now()
	return parse(t, midCA().forge(now, func(l *tbsCertList) {
		l.NextUpdate = now.UTC().Add(lifetime)
		l.Extensions[1].Value = []byte{2, 2, byte(n >> 8), byte(n)}
		if n < 128 {
			l.Extensions[1].Value = []byte{2, 1, byte(n)}
		}
	}))
}

func TestRunAsksRegularly(t *testing.T) {
	for _, tc := range []struct {
		name            string
		every, lifetime time.Duration
		want            time.Duration
	}{
		{"default", 0, 24 * time.Hour, 15 * time.Minute},
		{"every", 2 * time.Hour, 24 * time.Hour, 2 * time.Hour},
		{"before a third is left", 24 * time.Hour, 3 * time.Hour, 2 * time.Hour},
		{"short", 100 * time.Millisecond, 24 * time.Hour, 100 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{crl: func(_ context.Context, n int) (*x509.RevocationList, error) { return fresh(t, n, tc.lifetime), nil }}
				r := newRefresher(t, s)
				r.Every = tc.every
				var told []int64
				r.Installed = func(_ context.Context, l *x509.RevocationList) error {
					told = append(told, l.Number.Int64())
					return nil
				}
				runFor(t, r, 5*tc.want)
				if len(s.asked) < 5 {
					t.Errorf("asked %d times in %v", len(s.asked), 5*tc.want)
				}
				for _, d := range s.intervals() {
					within(t, "interval", d, tc.want)
				}
				if !slices.IsSorted(told) || len(told) != len(s.asked) {
					t.Errorf("told of %v after %d answers", told, len(s.asked))
				}
			})
		})
	}
}

func TestRunBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("connection refused")
		s := &source{crl: func(_ context.Context, n int) (*x509.RevocationList, error) {
			if n == 14 {
				return fresh(t, n, 24*time.Hour), nil
			}
			return nil, down
		}}
		var log bytes.Buffer
		r := newRefresher(t, s)
		r.Every = 10 * time.Minute
		r.Logger = slog.New(slog.NewTextHandler(&log, nil))
		runFor(t, r, time.Hour)
		want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300, 600, 1, 2}
		got := s.intervals()
		if len(got) < len(want) {
			t.Fatalf("asked %d times", len(got)+1)
		}
		for i := range want {
			within(t, "interval", got[i], want[i]*time.Second)
		}
		if !strings.Contains(log.String(), "connection refused") {
			t.Errorf("log lacks the reason:\n%s", &log)
		}
	})
}

func TestRunOwesInstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := fresh(t, 1, 24*time.Hour)
		s := &source{crl: func(_ context.Context, n int) (*x509.RevocationList, error) {
			if n == 2 {
				return nil, errors.New("connection refused")
			}
			return list, nil // never a new one
		}}
		r := newRefresher(t, s)
		calls := 0
		r.Installed = func(_ context.Context, l *x509.RevocationList) error {
			if calls++; calls <= 3 {
				return errors.New("the broker is not up")
			}
			if !bytes.Equal(l.Raw, list.Raw) {
				t.Error("told of another list")
			}
			return nil
		}
		runFor(t, r, 20*time.Minute)
		if calls != 4 {
			t.Errorf("Installed called %d times, want 4: three refusals, a success", calls)
		}
		for i, want := range []time.Duration{1, 2, 4, 900} {
			within(t, "interval", s.intervals()[i], want*time.Second)
		}
	})
}

func TestRunWarns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		list := fresh(t, 1, 24*time.Hour)
		s := &source{crl: func(context.Context, int) (*x509.RevocationList, error) { return list, nil }}
		r := newRefresher(t, s)
		r.Logger = slog.New(slog.NewTextHandler(&log, nil))
		for _, tc := range []struct {
			name string
			run  time.Duration
			want string
		}{
			{"two thirds of the lifetime", 15*time.Hour + 59*time.Minute, ""},
			{"then", time.Hour, "level=WARN msg=\"installed revocation list expires soon"},
			{"after nextUpdate", 8 * time.Hour, "level=ERROR msg=\"installed revocation list has expired"},
		} {
			log.Reset()
			runFor(t, r, tc.run)
			if got := log.String(); !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("%s: log is\n%s\nwant %q", tc.name, got, tc.want)
			}
		}
	})
}

func TestRunWarnsOfListFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := midCA().list(t, 1, time.Now().Add(time.Hour))
		var log bytes.Buffer
		r := newRefresher(t, answers(list, nil))
		r.Logger = slog.New(slog.NewTextHandler(&log, nil))
		path := filepath.Join(t.TempDir(), "ca.crl")
		write(t, path, crl.EncodePEM(list))
		r.File = openFile(t, path, time.Now(), midCA())
		runFor(t, r, time.Minute)
		if want := "level=ERROR msg=\"installed revocation list is not yet valid"; !strings.Contains(log.String(), want) {
			t.Errorf("log is\n%s\nwant %q", &log, want)
		}
	})
}

// A process that starts while the CA is down warns about the list that an
// earlier one installed.
func TestRunWarnsOfWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &source{crl: func(context.Context, int) (*x509.RevocationList, error) { return nil, errors.New("down") }}
		r := newRefresher(t, s)
		r.Logger = slog.New(slog.NewTextHandler(&log, nil))
		if _, err := r.File.Install(fresh(t, 1, time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		runFor(t, r, time.Second)
		if !strings.Contains(log.String(), "expires soon") {
			t.Errorf("log is\n%s", &log)
		}
	})
}

func TestRefresh(t *testing.T) {
	list := midCA().list(t, 2, time.Now().Add(-time.Minute))
	older := midCA().list(t, 1, time.Now().Add(-time.Minute))
	down := errors.New("down")
	for _, tc := range []struct {
		name      string
		answer    *x509.RevocationList
		err       error
		installed error
		changed   bool
		want      error
	}{
		{"new", list, nil, nil, true, nil},
		{"unchanged", list, nil, nil, false, nil},
		{"older", older, nil, nil, false, crl.ErrRollback},
		{"source fails", nil, down, nil, false, down},
		{"newer, broker not told", midCA().list(t, 3, time.Now().Add(-time.Minute)), nil, down, true, down},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &source{crl: func(context.Context, int) (*x509.RevocationList, error) { return tc.answer, tc.err }}
			r := newRefresher(t, s)
			if tc.name != "new" {
				if _, err := r.File.Install(list); err != nil {
					t.Fatal(err)
				}
			}
			r.Installed = func(context.Context, *x509.RevocationList) error { return tc.installed }
			changed, err := r.Refresh(t.Context())
			if changed != tc.changed || !errors.Is(err, tc.want) {
				t.Errorf("got %v, %v, want %v, %v", changed, err, tc.changed, tc.want)
			}
		})
	}
	t.Run("no list, no error", func(t *testing.T) {
		s := &source{crl: func(context.Context, int) (*x509.RevocationList, error) { return nil, nil }}
		if _, err := newRefresher(t, s).Refresh(t.Context()); err == nil {
			t.Error("got no error")
		}
	})
}

// A process that is about to stop would not tell the broker.
func TestRefreshStopsBeforeInstalling(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRefresher(t, &source{crl: func(context.Context, int) (*x509.RevocationList, error) {
		cancel()
		return midCA().list(t, 1, time.Now().Add(-time.Minute)), nil
	}})
	if changed, err := r.Refresh(ctx); changed || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v, want context.Canceled", changed, err)
	}
	if _, err := r.File.Lists(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file: got %v, want none", err)
	}
}

// What a Refresher holds for as long as it lives is no more than it needs,
// whatever its source gives.
func TestRefreshLeavesEntries(t *testing.T) {
	list := midCA().list(t, 1, time.Now().Add(-time.Minute), 66)
	r := newRefresher(t, answers(list, nil))
	told := 0
	check := func(got *x509.RevocationList) {
		told++
		if len(got.RevokedCertificateEntries) != 0 || !bytes.Equal(got.Raw, list.Raw) {
			t.Errorf("got %d entries, %d bytes, want none and %d", len(got.RevokedCertificateEntries), len(got.Raw), len(list.Raw))
		}
	}
	r.Installed = func(_ context.Context, l *x509.RevocationList) error { check(l); return nil }
	r.Notify = func(_ context.Context, e crl.Event) { check(e.List) }
	if changed, err := r.Refresh(t.Context()); !changed || err != nil || told != 2 {
		t.Errorf("got %v, %v, told %d times", changed, err, told)
	}
}

func TestRefreshBesideRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := 0
		s := &source{crl: func(ctx context.Context, n int) (*x509.RevocationList, error) {
			if running++; running > 1 {
				t.Error("rounds overlap")
			}
			time.Sleep(10 * time.Second) // a slow CA
			running--
			return fresh(t, n, 24*time.Hour), ctx.Err()
		}}
		r := newRefresher(t, s)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()

		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Refresh(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error while Run's round lasts", err)
		}
		if changed, err := r.Refresh(t.Context()); !changed || err != nil {
			t.Errorf("got %v, %v", changed, err)
		}
		stop()
		if err := <-done; err != context.Canceled {
			t.Errorf("Run: got %v, want context.Canceled", err)
		}
		if len(s.asked) != 2 {
			t.Errorf("asked %d times, want 2", len(s.asked))
		}
	})
}

// A clock that was ahead is set back: until the CA has a list with a greater
// number the broker refuses every client, which is told.
func TestRefreshNotYetValid(t *testing.T) {
	mid, mqtt := midCA(), mqttCA()
	ahead := t0.AddDate(1, 0, 0)
	early := mid.list(t, 5, ahead)
	later := mid.list(t, 6, t0)
	for _, tc := range []struct {
		name    string
		restart bool
		answer  *source
		events  string
		err     error
	}{
		{"same list", false, answers(early, nil), "failed not yet valid", crl.ErrNotYetValid},
		{"same list after a restart", true, answers(early, nil), "failed not yet valid", crl.ErrNotYetValid},
		{"older list", false, answers(mid.list(t, 4, t0), nil), "failed not yet valid", crl.ErrRollback},
		{"next list", false, answers(later, nil), "installed", nil},
		{"next list after a restart", true, answers(later, nil), "installed", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := ahead
			clock := func() time.Time { return now }
			f, err := crl.OpenFile(filepath.Join(t.TempDir(), "ca.crl"), crl.FileOptions{CAs: []*x509.Certificate{mqtt.cert, mid.cert}, Now: clock})
			if err != nil {
				t.Fatal(err)
			}
			source := answers(early, nil)
			r := &crl.Refresher{Source: source, File: f, Now: clock}
			if changed, err := r.Refresh(t.Context()); !changed || err != nil {
				t.Fatalf("got %v, %v", changed, err)
			}
			now = t0
			if _, err := f.Install(mqtt.list(t, 1, t0)); err != nil {
				t.Fatal(err)
			}
			if tc.restart {
				r = &crl.Refresher{Source: source, File: f, Now: clock}
			}
			source.crl = tc.answer.crl
			var events []string
			r.Notify = func(_ context.Context, e crl.Event) {
				events = append(events, e.Kind.String())
				if e.Kind == crl.EventNotYetValid && !bytes.Equal(e.List.Raw, early.Raw) {
					t.Errorf("told of number %v of %q", e.List.Number, e.List.Issuer)
				}
			}
			if _, err := r.Refresh(t.Context()); !errors.Is(err, tc.err) {
				t.Errorf("got %v, want %v", err, tc.err)
			}
			if got := strings.Join(events, " "); got != tc.events {
				t.Errorf("events: got %q, want %q", got, tc.events)
			}
		})
	}
}

// answers is a source with always the same answer.
func answers(list *x509.RevocationList, err error) *source {
	return &source{crl: func(context.Context, int) (*x509.RevocationList, error) { return list, err }}
}

func TestRefreshFallbacks(t *testing.T) {
	ca := midCA()
	now := time.Now()
	down := errors.New("connection refused")
	good := ca.list(t, 5, now.Add(-time.Minute))
	newer := ca.list(t, 6, now.Add(-time.Second))
	older := ca.list(t, 4, now.Add(-2*time.Minute))
	stale := ca.list(t, 3, now.Add(-20*time.Hour)) // four hours left of 24
	foreign := mqttCA().list(t, 9, now.Add(-time.Minute))
	for _, tc := range []struct {
		name    string
		sources []*source
		want    *x509.RevocationList
		asked   int // how many of them
		events  string
		err     error
	}{
		{"first", []*source{answers(good, nil), answers(newer, nil)}, good, 1, "installed", nil},
		{"first is down", []*source{answers(nil, down), answers(good, nil), answers(newer, nil)}, good, 2, "failed installed", nil},
		{"first is refused", []*source{answers(foreign, nil), answers(good, nil)}, good, 2, "failed installed", nil},
		{"first is stale", []*source{answers(stale, nil), answers(good, nil)}, good, 2, "installed", nil},
		{"stale, and others older", []*source{answers(stale, nil), answers(ca.list(t, 2, now.Add(-21*time.Hour)), nil)}, stale, 2, "installed expiring", nil},
		{"stale, and another down", []*source{answers(stale, nil), answers(nil, down)}, stale, 2, "failed installed expiring", nil},
		{"all down", []*source{answers(nil, down), answers(nil, down)}, nil, 2, "failed failed", down},
		{"all refused", []*source{answers(foreign, nil), answers(nil, down)}, nil, 2, "failed failed", crl.ErrIssuer},
		{"then older", []*source{answers(nil, down), answers(good, nil), answers(older, nil)}, good, 2, "failed installed", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRefresher(t, tc.sources[0])
			for _, s := range tc.sources[1:] {
				r.Fallbacks = append(r.Fallbacks, s)
			}
			var events []string
			r.Notify = func(_ context.Context, e crl.Event) {
				events = append(events, e.Kind.String())
				if (e.Kind == crl.EventFailed) != (e.Err != nil) || (e.List == nil) != (e.Err != nil) {
					t.Errorf("%v: list %v, error %v", e.Kind, e.List, e.Err)
				}
			}
			changed, err := r.Refresh(t.Context())
			if changed != (tc.want != nil) || !errors.Is(err, tc.err) {
				t.Errorf("got %v, %v, want %v", changed, err, tc.err)
			}
			if got := strings.Join(events, " "); got != tc.events {
				t.Errorf("events: got %q, want %q", got, tc.events)
			}
			for i, s := range tc.sources {
				if want := min(1, max(0, tc.asked-i)); len(s.asked) != want {
					t.Errorf("source %d was asked %d times, want %d", i, len(s.asked), want)
				}
			}
			if tc.want == nil {
				return
			}
			if lists, err := r.File.Lists(); err != nil || len(lists) != 1 || !bytes.Equal(lists[0].Raw, tc.want.Raw) {
				t.Errorf("file has %d lists, %v, not the one wanted", len(lists), err)
			}
		})
	}
}

func TestRefreshTooLarge(t *testing.T) {
	list := midCA().list(t, 1, time.Now().Add(-time.Minute))
	r := newRefresher(t, answers(list, nil))
	r.MaxSize = len(list.Raw) - 1
	if changed, err := r.Refresh(t.Context()); changed || !errors.Is(err, crl.ErrTooLarge) {
		t.Errorf("got %v, %v, want ErrTooLarge", changed, err)
	}
	r = newRefresher(t, answers(list, nil))
	r.MaxSize = len(list.Raw)
	if changed, err := r.Refresh(t.Context()); !changed || err != nil {
		t.Errorf("got %v, %v", changed, err)
	}
}

// The events of a list's life, once its CA falls silent.
func TestRunNotifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefresher(t, answers(fresh(t, 1, 3*time.Hour), nil))
		first := make(map[crl.EventKind]time.Duration)
		start := time.Now()
		r.Notify = func(_ context.Context, e crl.Event) {
			if _, seen := first[e.Kind]; !seen {
				first[e.Kind] = time.Since(start)
			}
		}
		broker := errors.New("the broker is not up")
		r.Installed = func(context.Context, *x509.RevocationList) error {
			if time.Since(start) < time.Minute {
				return broker
			}
			return nil
		}
		runFor(t, r, 4*time.Hour)
		for _, tc := range []struct {
			kind     crl.EventKind
			from, to time.Duration
		}{
			{crl.EventFailed, 0, 0},
			{crl.EventInstalled, time.Minute, 3 * time.Minute},
			{crl.EventExpiring, 2 * time.Hour, 2*time.Hour + 15*time.Minute},
			{crl.EventExpired, 3 * time.Hour, 3*time.Hour + 5*time.Minute},
		} {
			if at, seen := first[tc.kind]; !seen || at < tc.from || at > tc.to {
				t.Errorf("%v: first after %v, %v, want %v to %v", tc.kind, at, seen, tc.from, tc.to)
			}
		}
	})
}
