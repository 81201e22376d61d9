// Package ejbcatest has a certificate authority for tests and demonstrations:
// a real one, which signs and revokes, behind the REST API of dojot's
// EJBCA-REST, on loopback.
//
//	server := ejbcatest.NewServer()
//	defer server.Close()
//	issuer := &ejbca.Issuer{Client: server.Client(), User: "mosquitto", Register: true}
//
// [Server.Intercept] makes it fail in the ways that services do, [Server.Advance]
// makes time pass, [Server.Requests] tells what was asked. [Gateway] puts
// dojot's login in front.
package ejbcatest

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

// maxRecorded limits what is kept of a request's body.
const maxRecorded = 1 << 20

// Server is a CA that listens on loopback. It is safe for concurrent use.
type Server struct {
	// URL is where the API is, without a trailing slash.
	URL string
	// CAName is the root CA's name.
	CAName string

	ca   *localca.CA
	http *httptest.Server

	mu        sync.Mutex
	intercept func(http.ResponseWriter, *http.Request) bool
	requests  []Request
	ahead     time.Duration
}

// Request is what the server was asked.
type Request struct {
	Method string
	Path   string // unescaped
	Query  url.Values
	Header http.Header
	Body   []byte
}

// NewServer starts a CA in memory with a fresh key, ECDSA on P-256, all of
// which takes milliseconds. Devices' keys are RSA's even so, unless
// [localca.Options] allow others. It panics when it can't, like
// [httptest.NewServer]. Close it when done; if nobody does, no file is left.
func NewServer() *Server { return NewServerWith(localca.Options{}) }

// NewServerWith is NewServer for a CA with options: sub-CAs, delta lists, an
// RSA key as the original's. Its clock is the server's, whatever Now is. A
// token isn't for [Server.Client], which has none.
func NewServerWith(o localca.Options) *Server {
	s := &Server{CAName: cmp.Or(o.Name, localca.DefaultName)}
	o.KeySize, o.Now = cmp.Or(o.KeySize, 256), s.Now
	var err error
	if s.ca, err = localca.OpenTemporary(o); err != nil {
		panic("ejbcatest: " + err.Error())
	}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Client returns a client of the server that retries within milliseconds,
// three times.
func (s *Server) Client() *ejbca.Client {
	return &ejbca.Client{
		BaseURL:    s.URL,
		HTTPClient: s.http.Client(),
		RetryBackoff: func(n int, _ *http.Response) time.Duration {
			if n > 3 {
				return 0
			}
			return time.Millisecond
		},
	}
}

// Root returns the root CA's certificate.
func (s *Server) Root() *x509.Certificate { return s.ca.Certificate() }

// Chain returns the certificate of the CA called name and those above it, the
// root last; nil when there is no such CA.
func (s *Server) Chain(name string) []*x509.Certificate { return s.ca.Chain(name) }

// Intercept has f see each request first. When f returns true it has answered
// and the CA isn't asked. Nil ends it. f may be called from several goroutines
// at a time.
func (s *Server) Intercept(f func(w http.ResponseWriter, r *http.Request) (handled bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Requests returns what was asked so far, in order, intercepted or not.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Advance sets the CA's clock ahead by d, in addition to what it is ahead
// already. What it issued stays as it is, and so grows old.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// Now is the CA's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead)
}

// ServeHTTP serves the API as at URL, for use behind another handler such as
// a [Gateway].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRecorded))
	if err != nil {
		http.Error(w, "body breaks off", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
	s.mu.Lock()
	s.requests = append(s.requests, Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Body: body,
	})
	intercept := s.intercept
	s.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	s.ca.ServeHTTP(w, r)
}

// Close waits for requests under way, and forgets the CA.
func (s *Server) Close() {
	s.http.Close()
	if err := s.ca.Close(); err != nil {
		panic(fmt.Sprintf("ejbcatest: closing: %v", err))
	}
}
