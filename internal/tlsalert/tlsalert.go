// Package tlsalert finds the TLS alert in an error of crypto/tls, which keeps
// the type of the alerts that it receives to itself.
package tlsalert

import (
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

// Received returns the alert that the peer sent, if err is about one: alone,
// wrapped, or joined with what failed because of it.
func Received(err error) (alert uint8, ok bool) {
	if op, ok := err.(*net.OpError); ok && op.Op == "remote error" {
		// The type is crypto/tls.alert, unexported, of kind uint8.
		if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
			return uint8(v.Uint()), true
		}
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		return Received(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range err.Unwrap() {
			if alert, ok := Received(err); ok {
				return alert, true
			}
		}
	}
	return 0, false
}
