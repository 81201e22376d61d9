package provision

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
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
		"the broker finds a date in the future, or a weak key: the certificate is not yet valid, or its revocation list is from the future",
		"compare the clocks of broker, CA and client; use RSA keys of at least 2048 bits"},
	tlsalert.UnsupportedCertificate: {
		"the certificate is not for clients: it has an extended key usage without clientAuth",
		"have it issued anew for TLS clients"},
	tlsalert.CertificateRevoked: {
		"the certificate has been revoked",
		"get a new one, if the device is to stay"},
	tlsalert.CertificateExpired: {
		"the certificate has expired; if it has not, the broker's revocation list has, and then it refuses every client",
		"renew the certificate, or install a current revocation list at the broker"},
	tlsalert.CertificateUnknown: {
		"the broker cannot use the certificate's revocation list",
		"install a complete list, of all certificates of that CA, at the broker"},
	tlsalert.UnknownCA: {
		"the broker does not know the CA that signed the certificate, has no revocation list of that CA, or takes the certificate for self-signed because its subject is the CA's",
		"check that the certificate is of the broker's CA, and that the broker has a revocation list of it"},
	tlsalert.DecryptError: {
		"the broker's revocation list is not signed by the CA that it names",
		"install the list of that CA at the broker"},
	tlsalert.ProtocolVersion: {
		"the broker wants a newer TLS version",
		"use TLS 1.2 or 1.3"},
	tlsalert.CertificateRequired: {
		"the client sent no certificate",
		"give the client its certificate and key"},
}

// remedyRules is for a message that was discarded.
const remedyRules = "check that the device is registered, and that tenant and id in the topic are its own; " +
	"or add a rule for its common name to the ACL file and have the broker read that (SIGHUP)"

// Explain turns the error of a failed connection into cause and remedy. It
// understands the alerts by which a broker refuses a client (RFC 8446 section
// 6), what crypto/x509 says of the broker's certificate, and network errors.
// For other errors, ok is false.
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
	var (
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		dns       *net.DNSError
		connack   *ConnackError
		puback    *PubackError
	)
	switch {
	case errors.As(err, &host):
		return Explanation{
			fmt.Sprintf("the broker's certificate is not for %q", host.Host),
			"connect by a name that it carries" + names(host.Certificate) + ", or have it issued with this one"}, true
	case errors.As(err, &authority):
		return Explanation{
			"the broker's certificate is not of the CA that the client trusts",
			"get the CA's certificate anew; if the CA was rebuilt, the client's own certificate too"}, true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && strings.Contains(invalid.Detail, " is before "):
		return Explanation{
			"the broker's certificate is not valid at this time, but from " + when(invalid.Cert.NotBefore) + " on",
			"compare the clocks of client and CA"}, true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Explanation{
			"the broker's certificate is not valid at this time: it expired at " + when(invalid.Cert.NotAfter),
			"renew the broker's certificate and have the broker read it (SIGHUP); if it is newer, compare the clocks"}, true
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return Explanation{
			"the broker's certificate is not for servers: it has an extended key usage without serverAuth",
			"have it issued anew for TLS servers"}, true
	case errors.As(err, &connack):
		return explainConnack(connack.Reason), true
	case errors.As(err, &puback):
		return Explanation{
			fmt.Sprintf("the broker's access rules do not let this client publish to %q, so the message is discarded", puback.Topic),
			remedyRules}, true
	case errors.As(err, &record):
		return Explanation{
			"the broker does not speak TLS on that port",
			"use the port of its TLS listener, 8883 by custom"}, true
	case errors.As(err, &dns):
		return Explanation{fmt.Sprintf("there is no host %q", dns.Name), "check the host's name"}, true
	case errors.Is(err, syscall.ECONNREFUSED):
		return Explanation{"nothing listens there", "check host and port, and that the broker runs"}, true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF):
		return Explanation{
			"the broker closed the connection without a word: its port is one without TLS, or, with TLS 1.3, it refuses the client's certificate",
			"check the port; dial with TLS 1.2, which shows why a certificate is refused, or look into the broker's log"}, true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Explanation{
			"the broker did not answer in time",
			"check the way there (firewalls), and whether the broker is busy reading a large ACL file"}, true
	}
	return Explanation{}, false
}

// explainConnack knows the reason codes of MQTT 5 and, below 0x80, of 3.1.1.
func explainConnack(reason byte) Explanation {
	switch reason {
	case 0x01, 0x84:
		return Explanation{"the broker does not speak MQTT 5", "use a Mosquitto of 1.6 or later"}
	case 0x02, 0x85:
		return Explanation{"the broker does not accept the client's id", "use another one, without + and #"}
	case 0x04, 0x86:
		return Explanation{"the broker wants a user name, and finds none in the certificate: it has no common name that can be used",
			"have the certificate issued with a common name"}
	case 0x05, 0x87:
		return Explanation{"the broker does not let this user in: wrong password, unknown user, or none at all",
			"see that it takes the user name from the certificate (use_identity_as_username), or allows anonymous clients"}
	}
	return Explanation{fmt.Sprintf("the broker refuses the connection with reason code 0x%02x", reason), "look into its log"}
}

func names(cert *x509.Certificate) string {
	var all []string
	all = append(all, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return " (it carries none)"
	}
	return " (" + strings.Join(all, ", ") + ")"
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }
