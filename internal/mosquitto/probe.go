package mosquitto

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

// DistrustedError says that the broker is up and does what it should, but that
// clients refuse the certificate that it shows.
type DistrustedError struct{ Err error }

func (e *DistrustedError) Error() string {
	return fmt.Sprintf("clients refuse the broker's certificate: %v", e.Err)
}
func (e *DistrustedError) Unwrap() error { return e.Err }

// Probe asks a broker what it does, as a client of it. It does so whatever
// certificate the broker shows: one that clients refuse is cured by a reload,
// which the probe must not stand in the way of. It tells no secret.
type Probe struct {
	Addr string // host:port of its listener
	// TLS is asked at each connection, so that a renewed certificate is used.
	// It names the server. Nil is a plain listener. At most TLS 1.2 is best: in
	// TLS 1.3 a client often sees just a reset where the broker meant an alert,
	// and a reset is no answer.
	TLS func() (*tls.Config, error)
	// Forbidden is a topic to which the probe's user may not publish.
	Forbidden string
}

// Barrier returns when the broker has dealt with a connection that was made
// after the call. Its main loop does one thing at a time, so a reload that was
// asked for before the call is over by then, and none is under way.
//
// A *RefusedError says that it answered by refusing the connection, which
// proves the same, and so does a *DistrustedError. Any other error: it did not
// answer, or is not up.
func (p *Probe) Barrier(ctx context.Context) error {
	client, distrust, err := p.dial(ctx)
	if err != nil {
		return err
	}
	if err := client.Close(); err != nil {
		return err
	}
	return distrust
}

// Verdict returns nil if the broker refuses a publish to the forbidden topic,
// as it must, and ErrOpen if it does not. It is a *RefusedError if the broker
// did not let it come that far, and a *DistrustedError if no other client would
// have. Like Barrier, it makes a connection of its own.
func (p *Probe) Verdict(ctx context.Context) error {
	client, distrust, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	err = client.Publish(ctx, p.Forbidden, nil, 1, false)
	if errors.Is(err, mqttclient.ErrNotAuthorized) {
		return distrust
	}
	if err == nil {
		return ErrOpen
	}
	return err
}

// dial connects. Distrust is a *DistrustedError if another client would not
// have.
func (p *Probe) dial(ctx context.Context) (client *mqttclient.Client, distrust, err error) {
	var config *tls.Config
	if p.TLS != nil {
		if config, err = p.TLS(); err != nil {
			return nil, nil, err
		}
		config = config.Clone()
		config.InsecureSkipVerify = true // in favour of:
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if err := trusted(config, state.PeerCertificates); err != nil {
				distrust = &DistrustedError{err}
			}
			return nil
		}
	}
	client, err = mqttclient.Dial(ctx, mqttclient.Options{Addr: p.Addr, TLS: config})
	if err == nil {
		return client, distrust, nil
	}
	var dial *mqttclient.DialError
	if !errors.As(err, &dial) || ctx.Err() != nil {
		return nil, nil, err
	}
	if _, alert := tlsalert.Received(err); alert || dial.Reason != 0 {
		return nil, nil, &RefusedError{err}
	}
	return nil, nil, err
}

// trusted judges a server's certificate as crypto/tls does.
func trusted(config *tls.Config, chain []*x509.Certificate) error {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	options := x509.VerifyOptions{Roots: config.RootCAs, Intermediates: intermediates, DNSName: config.ServerName}
	if config.Time != nil {
		options.CurrentTime = config.Time()
	}
	_, err := chain[0].Verify(options)
	return err
}

// answered tells an answer of the broker from its silence.
func answered(err error) bool { return err == nil || errors.Is(err, ErrOpen) || clientsFail(err) }

// clientsFail tells whether the broker is up and clients cannot use it, one
// side's certificate being refused by the other.
func clientsFail(err error) bool {
	var refused *RefusedError
	var distrusted *DistrustedError
	return errors.As(err, &refused) || errors.As(err, &distrusted)
}

// attempt is how long one question waits for its answer. A broker that reads a
// hundred thousand users is away for the better part of a minute; asking again
// meanwhile costs it nothing but makes the wait visible.
const attempt = 10 * time.Second

// await repeats ask until the broker answers, however long that takes, and
// returns the answer. It tells waiting after a second, and whenever the wait
// has doubled since.
func await(ctx context.Context, ask func(context.Context) error, waiting func(error)) error {
	const longest = time.Second
	pause := 10 * time.Millisecond
	began, tell := time.Now(), time.Second
	for {
		once, cancel := context.WithTimeout(ctx, attempt)
		err := ask(once)
		cancel()
		if answered(err) {
			return err
		}
		if waited := time.Since(began); waited > tell {
			waiting(err)
			tell = 2 * waited
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for the broker: %w", ctx.Err(), err)
		case <-time.After(pause):
			pause = min(2*pause, longest)
		}
	}
}
