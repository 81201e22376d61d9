package ejbca

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// What callers branch on, by [errors.Is].
var (
	// ErrNotFound: the CA, certificate or end entity doesn't exist.
	ErrNotFound = errors.New("not found")
	// ErrDenied: the token, the login or the end entity's password isn't
	// accepted, or the user may not do this.
	ErrDenied = errors.New("denied")
	// ErrGenerated: the end entity has its certificate already, or is
	// revoked. It may enrol again after PutUser.
	ErrGenerated = errors.New("end entity may not enrol now")
	// ErrKey: the CA's profile takes no key of that type and length.
	ErrKey = errors.New("key not taken")
	// ErrRevoked: the certificate is revoked already.
	ErrRevoked = errors.New("already revoked")
	// ErrUnavailable: the service can't be reached, broke off, or says that
	// it or what is behind it is down. Later may be better. Not among these
	// is the 500 of EJBCA-REST, which can mean as much, or a CRL that was
	// never made, or an answer that it can't put into JSON.
	ErrUnavailable = errors.New("service unavailable")
)

// Error is a request that failed.
type Error struct {
	// Op is what was tried, such as `sign for "admin:5c6512"`.
	Op string
	// URL is where, without the query, any user and password.
	URL string
	// StatusCode is the HTTP status, or 0 when there was no answer.
	StatusCode int
	// Message is what the service said, shortened. A page of HTML is cut
	// down to its text.
	Message string
	// RetryAfter is how long the service asked to be left alone, or 0.
	RetryAfter time.Duration
	// Err is the cause when there was no answer or no sense in it.
	Err error

	kinds []error // by the message as it was with the secrets in it
}

// say sets Message to what the service said. That may lack words which tell
// what kind of error it is: "user" can be a password.
func (e *Error) say(body []byte, hidden secrets) {
	e.Message = messageOf(body, nil)
	for _, kind := range []error{ErrNotFound, ErrDenied, ErrGenerated, ErrKey, ErrRevoked} {
		if e.Is(kind) {
			e.kinds = append(e.kinds, kind)
		}
	}
	e.Message = messageOf(body, hidden)
}

func (e *Error) Error() string {
	s := "ejbca: " + e.Op + " at " + e.URL
	if e.StatusCode != 0 && e.StatusCode != http.StatusOK {
		s += fmt.Sprintf(": status %d", e.StatusCode)
		if e.Message != "" {
			s += fmt.Sprintf(" %q", e.Message)
		}
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether e is of the kind of one of the package's sentinels.
func (e *Error) Is(target error) bool {
	if slices.Contains(e.kinds, target) {
		return true
	}
	switch target {
	case ErrDenied:
		return e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden ||
			e.fault("Got request for user with invalid password: ")
	case ErrNotFound:
		return e.StatusCode == http.StatusNotFound ||
			e.fault("CA with name ") && strings.HasSuffix(e.Message, " does not exist.") ||
			e.fault("CA with name ") && strings.HasSuffix(e.Message, " has no delta CRL.") ||
			e.fault("Could not find CA with name ", "Could not find end entity certificate. ", "Wrong username or password") ||
			e.StatusCode == http.StatusBadRequest && strings.HasPrefix(e.Message, "User not found to renew")
	case ErrGenerated:
		return e.fault("Got request with status ")
	case ErrKey:
		return e.fault("Illegal key length: ")
	case ErrRevoked:
		return e.fault("Certificate is already revoked. ")
	case ErrUnavailable:
		switch e.StatusCode {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return e.Err != nil && brokenOff(e.Err)
	}
	return false
}

// fault reports whether e is EJBCA's, with a text that begins in one of these
// ways.
func (e *Error) fault(texts ...string) bool {
	rest, isFault := strings.CutPrefix(e.Message, "soap message: ")
	if !isFault || e.StatusCode != http.StatusBadRequest {
		return false
	}
	for _, t := range texts {
		if strings.HasPrefix(rest, t) {
			return true
		}
	}
	return false
}

// brokenOff tells what the network did, which passes, from what will be the
// same next time: a bad certificate, a protocol that isn't HTTP.
func brokenOff(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "remote error" && op.Op != "local error" // TLS alerts
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

const maxMessage = 300

// messageOf gets the text out of an answer that isn't what was hoped for, which
// may quote the request, but not the secrets in it.
func messageOf(body []byte, hidden secrets) string {
	body = body[:min(len(body), 64<<10)]
	var m struct{ Message string }
	if json.Unmarshal(body, &m) == nil && m.Message != "" {
		return shorten(hidden.hide(m.Message))
	}
	text := hidden.hide(string(body)) // while it is as it was sent
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		text = withoutTags(text)
	}
	return shorten(strings.Join(strings.Fields(text), " "))
}

// withoutTags turns <h1>Not so</h1> into " Not so ".
func withoutTags(html string) string {
	var b strings.Builder
	for {
		text, rest, tag := strings.Cut(html, "<")
		b.WriteString(text + " ")
		if !tag {
			return b.String()
		}
		_, html, _ = strings.Cut(rest, ">")
	}
}

func shorten(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxMessage {
		return s
	}
	cut := maxMessage
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
