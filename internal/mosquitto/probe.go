package mosquitto

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// ErrOpen is reported when the broker accepts what its access rules refuse.
// Mosquitto 2.0 is in that state after it failed to read its ACL file at a
// SIGHUP, until the next reload that succeeds.
var ErrOpen = errors.New("the broker accepts messages that its access rules refuse")

// RefusedError says that the broker is up, but refuses this client before it
// comes to access rules: its certificate, or its revocation list, is not
// accepted.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return fmt.Sprintf("the broker refuses the probe: %v", e.Err) }
func (e *RefusedError) Unwrap() error { return e.Err }

// Probe asks a broker what it does, as a client of it.
type Probe struct {
	Addr string // host:port of its listener
	// TLS is asked at each connection, so that a renewed certificate is used.
	// Nil is a plain listener. At most TLS 1.2 is best: in TLS 1.3 a client
	// often sees just a reset where the broker meant an alert, and a reset is
	// no answer.
	TLS func() (*tls.Config, error)
	// Forbidden is a topic to which the probe's user may not publish.
	Forbidden string
}

// Barrier returns when the broker has dealt with a connection that was made
// after the call. Its main loop does one thing at a time, so a reload that was
// asked for before the call is over by then, and none is under way.
//
// A *RefusedError says that it answered by refusing the connection, which
// proves the same. Any other error: it did not answer, or is not up.
func (p *Probe) Barrier(ctx context.Context) error {
	client, err := p.dial(ctx)
	if err != nil {
		return err
	}
	return client.Close()
}

// Verdict returns nil if the broker refuses a publish to the forbidden topic,
// as it must, and ErrOpen if it does not. Like Barrier, it makes a connection
// of its own.
func (p *Probe) Verdict(ctx context.Context) error {
	client, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	err = client.Publish(ctx, p.Forbidden, nil, 1, false)
	if errors.Is(err, mqttclient.ErrNotAuthorized) {
		return nil
	}
	if err == nil {
		return ErrOpen
	}
	return err
}

func (p *Probe) dial(ctx context.Context) (*mqttclient.Client, error) {
	var config *tls.Config
	if p.TLS != nil {
		var err error
		if config, err = p.TLS(); err != nil {
			return nil, err
		}
	}
	client, err := mqttclient.Dial(ctx, mqttclient.Options{Addr: p.Addr, TLS: config})
	if err == nil {
		return client, nil
	}
	var dial *mqttclient.DialError
	if !errors.As(err, &dial) || ctx.Err() != nil {
		return nil, err
	}
	if _, alert := tlsalert.Received(err); alert || dial.Reason != 0 {
		return nil, &RefusedError{err}
	}
	return nil, err
}

// answered tells an answer of the broker from its silence.
func answered(err error) bool {
	var refused *RefusedError
	return err == nil || errors.Is(err, ErrOpen) || errors.As(err, &refused)
}

// attempt is how long one question waits for its answer. A broker that reads a
// hundred thousand users is away for the better part of a minute; asking again
// meanwhile costs it nothing but makes the wait visible.
const attempt = 10 * time.Second

// await repeats ask until the broker answers, however long that takes, and
// returns the answer.
func await(ctx context.Context, ask func(context.Context) error, waiting func(error)) error {
	const longest = time.Second
	pause := 10 * time.Millisecond
	began := time.Now()
	for {
		once, cancel := context.WithTimeout(ctx, attempt)
		err := ask(once)
		cancel()
		if answered(err) {
			return err
		}
		if time.Since(began) > longest {
			waiting(err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for the broker: %w", ctx.Err(), err)
		case <-time.After(pause):
			pause = min(2*pause, longest)
		}
	}
}
