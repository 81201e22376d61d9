// Package tlsalert finds the TLS alert in an error of crypto/tls, which keeps
// the type of the alerts that it receives to itself.
package tlsalert

import (
	"errors"
	"net"
	"reflect"
)

// The alerts by which a broker refuses a client, with their numbers of
// RFC 8446 section 6.
const (
	HandshakeFailure       = 40
	BadCertificate         = 42
	UnsupportedCertificate = 43
	CertificateRevoked     = 44
	CertificateExpired     = 45
	CertificateUnknown     = 46
	UnknownCA              = 48
	DecryptError           = 51
	ProtocolVersion        = 70
	CertificateRequired    = 116
)

// Received returns the alert that the peer sent, if err is about one.
func Received(err error) (alert uint8, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	// The type is crypto/tls.alert, unexported, of kind uint8.
	v := reflect.ValueOf(op.Err)
	if v.Kind() != reflect.Uint8 {
		return 0, false
	}
	return uint8(v.Uint()), true
}
