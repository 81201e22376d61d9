package mosquitto_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
)

func TestReload(t *testing.T) {
	r := newRig(t)
	ctx := r.start()
	reloader := r.reloader(r.child, fit)
	// It waits for a broker that is not up yet: a signal now would kill it.
	if err := reloader.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	client := r.device("d1")
	publish := func() error { return client.Publish(ctx, "data", nil, 1, false) }
	if err := publish(); !errors.Is(err, mqttclient.ErrNotAuthorized) {
		t.Errorf("before: got %v, want %v", err, mqttclient.ErrNotAuthorized)
	}
	// Each time, what was written before the call counts after it.
	for range 10 {
		r.writeACL(mayPublish("d1"))
		if err := reloader.Reload(ctx); err != nil {
			t.Fatal(err)
		}
		if err := publish(); err != nil {
			t.Errorf("granted: got %v", err)
		}
		r.writeACL(mayPublish("d2"))
		if err := reloader.Reload(ctx); err != nil {
			t.Fatal(err)
		}
		if err := publish(); !errors.Is(err, mqttclient.ErrNotAuthorized) {
			t.Errorf("withdrawn: got %v, want %v", err, mqttclient.ErrNotAuthorized)
		}
	}

	before := reloader.Reloads()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if err := reloader.Reload(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := reloader.Reloads() - before; got > 50 {
		t.Errorf("%d reloads for 100 callers at once", got)
	}
}

func TestUnfitFilesAreNotSignalled(t *testing.T) {
	r := newRig(t)
	broken := errors.New("access.acl:1: broken")
	var verdict error
	reloader := r.reloader(r.child, func() error { return verdict })
	r.writeACL(mayPublish("d1"))
	ctx := r.start()
	if err := reloader.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	reloads := r.log.count("Reloading config")
	client := r.device("d1")
	verdict = broken
	r.writeACL("rubbish\n")
	if err := reloader.Reload(ctx); !errors.Is(err, mosquitto.ErrUnfit) || !errors.Is(err, broken) {
		t.Errorf("got %v, want %v with the cause", err, mosquitto.ErrUnfit)
	}
	if err := client.Publish(ctx, "data", nil, 1, false); err != nil {
		t.Errorf("the broker no longer works by the files it had: %v", err)
	}
	if err := client.Publish(ctx, "other", nil, 1, false); !errors.Is(err, mqttclient.ErrNotAuthorized) {
		t.Errorf("the broker is open: got %v", err)
	}
	if got := r.log.count("Reloading config"); got != reloads {
		t.Errorf("the broker was signalled")
	}
}

// slip is a control by which a broken file reaches the broker, as it would if
// somebody else wrote and signalled at the wrong moment.
type slip struct {
	*rig
	restarted int
}

func (s *slip) Signal(ctx context.Context) error {
	s.writeACL("rubbish\n")
	return s.child.Signal(ctx)
}

func (s *slip) Restart(ctx context.Context) error {
	s.restarted++
	s.writeACL(mayPublish("d1"))
	return s.child.Restart(ctx)
}

func TestOpenBrokerIsRestarted(t *testing.T) {
	r := newRig(t)
	if !strings.HasPrefix(r.child.Binary.Version, "2.0.") {
		t.Skipf("mosquitto %s ends where 2.0 opens", r.child.Binary.Version)
	}
	ctx := r.start()
	s := &slip{rig: r}
	if err := r.reloader(s, fit).Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if s.restarted != 1 {
		t.Errorf("restarted %d times, want 1", s.restarted)
	}
	client := r.device("d2")
	if err := client.Publish(ctx, "data", nil, 1, false); !errors.Is(err, mqttclient.ErrNotAuthorized) {
		t.Errorf("the broker is still open: got %v", err)
	}
}

// Where the broker is somebody else's, being open is an error.
func TestOpenBrokerOfSomebodyElse(t *testing.T) {
	r := newRig(t)
	if !strings.HasPrefix(r.child.Binary.Version, "2.0.") {
		t.Skipf("mosquitto %s ends where 2.0 opens", r.child.Binary.Version)
	}
	ctx := r.start()
	s := &slip{rig: r}
	err := r.reloader(notMine{s}, fit).Reload(ctx)
	if !errors.Is(err, mosquitto.ErrOpen) || !errors.Is(err, errNotMine) {
		t.Errorf("got %v, want %v and %v", err, mosquitto.ErrOpen, errNotMine)
	}
	r.writeACL(mayPublish("d1")) // or it could not be stopped in peace
}

type notMine struct{ *slip }

var errNotMine = errors.New("not mine")

func (notMine) Restart(context.Context) error { return errNotMine }

// A list that keeps everybody out must not keep a better one out.
func TestReloadWhileEverybodyIsRefused(t *testing.T) {
	r := newRig(t)
	good := r.path("ca.crl")
	ctx := r.start()
	reloader := r.reloader(r.child, fit)
	if err := reloader.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	r.server.Advance(48 * 3600 * 1e9) // the next list is from the future
	r.installCRL()
	if err := reloader.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	var refused *mosquitto.RefusedError
	if err := r.probe.Verdict(ctx); !errors.As(err, &refused) {
		t.Fatalf("got %v, want a *RefusedError", err)
	}
	r.server.Advance(-48 * 3600 * 1e9)
	r.installCRL()
	if err := reloader.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.probe.Verdict(ctx); err != nil {
		t.Errorf("with a good list in %s again: %v", good, err)
	}
}

func TestReloadGivesUpWithItsCaller(t *testing.T) {
	r := newRig(t) // not started
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.reloader(r.child, fit).Reload(ctx) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// A broker that is away for long is told of, but does not fill the log.
func TestWaitingIsLoggedEverLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &journal{}
		probe := &mosquitto.Probe{TLS: func() (*tls.Config, error) { return nil, errors.New("no broker") }}
		reloader := mosquitto.NewReloader(nil, fit, probe, slog.New(slog.NewTextHandler(log, nil)))
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		if err := reloader.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if n := log.count("waiting for the broker"); n < 10 || n > 20 {
			t.Errorf("%d lines in a day, want one whenever the wait has doubled", n)
		}
	})
}
