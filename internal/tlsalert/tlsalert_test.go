package tlsalert_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

func TestReceived(t *testing.T) {
	// A real alert: a server that has no certificate to show answers with
	// one, so this notices if crypto/tls changes how it reports them.
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		tls.Server(server, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("none")
		}}).Handshake()
	}()
	err := tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if got, ok := tlsalert.Received(fmt.Errorf("wrapped: %w", err)); !ok || got != 80 {
		t.Errorf("got %d, %v from %v, want 80 (internal_error)", got, ok, err)
	}

	hungUp := &net.OpError{Op: "write", Err: io.ErrClosedPipe}
	if got, ok := tlsalert.Received(errors.Join(hungUp, fmt.Errorf("wrapped: %w", err))); !ok || got != 80 {
		t.Errorf("got %d, %v from an alert that is joined with another error, want 80", got, ok)
	}

	for _, err := range []error{nil, io.EOF, &net.OpError{Op: "read", Err: io.EOF}, &net.OpError{Op: "remote error", Err: io.EOF}} {
		if got, ok := tlsalert.Received(err); ok {
			t.Errorf("%v: got alert %d", err, got)
		}
	}
}
