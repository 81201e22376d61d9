package provision

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// An Explanation says why a connection to a broker failed and what to do.
type Explanation struct {
	Cause  string
	Remedy string
}

func (e Explanation) String() string { return e.Cause + "; " + e.Remedy }

// alerts are what Mosquitto tells a client whose certificate it does not take.
// One alert may stand for several causes; the texts name them in the order of
// likelihood.
var alerts = map[uint8]Explanation{
	tlsalert.HandshakeFailure: {
		"the broker and the client found no common ground; with TLS 1.2 that is how a broker says that no client certificate was sent",
		"give the client its certificate and key"},
	tlsalert.BadCertificate: {
		"the broker finds a date in the future, or something weak: the certificate is not yet valid, its revocation list is from the future, or its key or the hash in its signature (SHA-1) is too weak; or those of a CA above it",
		"compare the clocks of broker, CA and client; use RSA keys of at least 2048 bits, and SHA-256"},
	tlsalert.UnsupportedCertificate: {
		"the certificate is not for clients: it, or a CA above it, has an extended key usage without clientAuth, or it has a key usage without digitalSignature",
		"have it issued anew for TLS clients"},
	tlsalert.CertificateRevoked: {
		"the certificate has been revoked",
		"get a new one, if the device is to stay"},
	tlsalert.CertificateExpired: {
		"the certificate has expired, or a CA above it; if they have not, the broker's revocation list has, and then it refuses every client",
		"renew the certificate, or install a current revocation list at the broker"},
	tlsalert.CertificateUnknown: {
		"the broker cannot use the certificate's revocation list, or the certificate has a critical extension that the broker does not know or a name that its CA must not certify",
		"install a complete list, of all certificates of that CA, at the broker; look into the certificate"},
	tlsalert.UnknownCA: {
		"the broker does not know the CA that signed the certificate, has no revocation list of that CA that it can use, or takes the certificate for self-signed because its subject is the CA's",
		"check that the certificate is of the broker's CA, and that the broker has a revocation list of it"},
	tlsalert.DecryptError: {
		"the broker's revocation list is not signed by the CA that it names, or the certificate is not",
		"install the list of that CA at the broker; if the CA was rebuilt under its name, have the certificate issued anew"},
	tlsalert.ProtocolVersion: {
		"the broker wants a newer TLS version",
		"use TLS 1.2 or 1.3"},
	tlsalert.CertificateRequired: {
		"the client sent no certificate",
		"give the client its certificate and key"},
}

// Explain turns the error of a failed connection into cause and remedy. It
// understands the alerts by which a broker refuses a client (RFC 8446 section
// 6), what crypto/x509 says of the broker's certificate, network errors, and
// the errors by which [Check] tells refusals of MQTT: one who has a reason code
// from another client may ask about a [ConnackError], [PubackError] or
// [DisconnectError] with it. For other errors, ok is false.
//
// With TLS 1.3 the broker judges the client's certificate when the handshake
// is over for the client, so the alert comes with the first read; it may be
// lost in the reset that follows. Dial again with TLS 1.2 to see it.
func Explain(err error) (e Explanation, ok bool) {
	if alert, received := tlsalert.Received(err); received {
		if e, ok := alerts[alert]; ok {
			return e, true
		}
		return Explanation{fmt.Sprintf("the broker ended the handshake with alert %d", alert),
			"look into its log"}, true
	}
	if e, ok := explainMQTT(err); ok {
		return e, true
	}
	if e, ok := explainBroker(err, nil); ok {
		return e, true
	}
	var (
		record tls.RecordHeaderError
		dns    *net.DNSError
	)
	switch {
	case errors.As(err, &record):
		return Explanation{
			"the broker does not speak TLS on that port",
			"use the port of its TLS listener, 8883 by custom"}, true
	case errors.As(err, &dns) && dns.IsNotFound:
		return Explanation{fmt.Sprintf("there is no host %q", dns.Name), "check the host's name"}, true
	case errors.As(err, &dns):
		return Explanation{fmt.Sprintf("the name server does not say where the host %q is", dns.Name), "check the client's name server and the way there"}, true
	case errors.Is(err, syscall.ECONNREFUSED):
		return Explanation{"nothing listens there", "check host and port, and that the broker runs"}, true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ETIMEDOUT):
		return Explanation{"there is no way to that host, or it is down", "check the address, the network and firewalls"}, true
	case isEnd(err):
		return Explanation{
			"the broker closed the connection without a word: its port is one without TLS, it has as many clients as it may (max_connections), or, with TLS 1.3, it refuses the client's certificate",
			"check the port; dial with TLS 1.2, which shows why a certificate is refused, or look into the broker's log"}, true
	case isTimeout(err):
		return Explanation{
			"the broker did not answer in time",
			"check the way there (firewalls), and whether the broker is busy reading a large ACL file"}, true
	}
	return Explanation{}, false
}

func isEnd(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }
