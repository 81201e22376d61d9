package ejbca_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

const ca = "IOTmidCA"

// requests are made once for the package, with a key each.
var requests = sync.OnceValue(func() (csrs [2]*x509.CertificateRequest) {
	for i := range csrs {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"mqtt"}}, key)
		if err != nil {
			panic(err)
		}
		if csrs[i], err = x509.ParseCertificateRequest(der); err != nil {
			panic(err)
		}
	}
	return csrs
})

func newServer(t *testing.T) (*ejbcatest.Server, *ejbca.Client) {
	t.Helper()
	s := ejbcatest.NewServer()
	t.Cleanup(s.Close)
	return s, s.Client()
}

func enrol(t *testing.T, c *ejbca.Client, user string, csr *x509.CertificateRequest) *x509.Certificate {
	t.Helper()
	if err := c.PutUser(t.Context(), &ejbca.User{Name: user, Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	cert, err := c.Sign(t.Context(), user, "secret", csr)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestClient(t *testing.T) {
	s, c := newServer(t)
	c.BaseURL += "/" // makes no difference
	ctx := t.Context()

	if v, err := c.Version(ctx); err != nil || !strings.HasPrefix(v, "EJBCA") {
		t.Errorf("version %q, %v", v, err)
	}
	if names, err := c.CAs(ctx); err != nil || !slices.Equal(names, []string{ca}) {
		t.Errorf("CAs %q, %v", names, err)
	}
	chain, err := c.Chain(ctx, ca)
	if err != nil || len(chain) != 1 || !chain[0].Equal(s.Root()) {
		t.Errorf("chain %v, %v", chain, err)
	}

	const user = "admin:5c6512"
	cert := enrol(t, c, user, requests()[0])
	if got := cert.Subject.String(); got != "CN="+user {
		t.Errorf("subject %s", got)
	}
	want := &ejbca.User{
		Name: user, SubjectDN: "CN=" + user, CA: ca, CertificateProfile: "CFREE", EndEntityProfile: "EMPTY_CFREE",
		TokenType: "USERGENERATED", Status: ejbca.Generated,
	}
	if got, err := c.User(ctx, user); err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(*want, *got); diff != "" {
		t.Error(diff)
	}
	if _, err := c.Sign(ctx, user, "secret", requests()[0]); !errors.Is(err, ejbca.ErrGenerated) {
		t.Errorf("signing twice: got %v, want ErrGenerated", err)
	}

	if st, err := c.Status(ctx, s.Root(), cert.SerialNumber); err != nil || st.Revoked {
		t.Errorf("status %v, %v", st, err)
	}
	before, err := c.CRL(ctx, ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(ctx, s.Root(), cert.SerialNumber, crl.CertificateHold); err != nil {
		t.Fatal(err)
	}
	st, err := c.Status(ctx, s.Root(), cert.SerialNumber)
	if err != nil || !st.Revoked || st.Reason != crl.CertificateHold || time.Since(st.At).Abs() > time.Minute {
		t.Errorf("status %v, %v", st, err)
	}
	all := s.Requests()
	path := fmt.Sprintf("/ca/CN=IOTmidCA,O=EJBCA IOT,C=SE/certificate/%x/status", cert.SerialNumber)
	if got := all[len(all)-1].Path; got != path {
		t.Errorf("asked for %q, want %q", got, path) // EJBCA hashes the name, so its form counts
	}
	if err := c.Revoke(ctx, s.Root(), cert.SerialNumber, crl.RemoveFromCRL); err != nil {
		t.Error(err)
	}
	if err := c.Revoke(ctx, s.Root(), cert.SerialNumber, crl.PrivilegeWithdrawn); err != nil {
		t.Error(err)
	}
	if err := c.Revoke(ctx, s.Root(), cert.SerialNumber, crl.Superseded); !errors.Is(err, ejbca.ErrRevoked) {
		t.Errorf("revoking twice: got %v, want ErrRevoked", err)
	}
	if err := c.UpdateCRL(ctx, ca); err != nil {
		t.Error(err)
	}
	after, err := c.CRL(ctx, ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := crl.Verify(after, s.Root(), time.Now()); err != nil {
		t.Error(err)
	}
	if after.Number.Cmp(before.Number) <= 0 || len(after.RevokedCertificateEntries) != 1 {
		t.Errorf("CRL %v after %v has %d entries, want 1", after.Number, before.Number, len(after.RevokedCertificateEntries))
	}

	if err := c.RevokeUser(ctx, user, crl.KeyCompromise); err != nil {
		t.Error(err)
	}
	if got, err := c.User(ctx, user); err != nil || got.Status != ejbca.Revoked {
		t.Errorf("user %v, %v", got, err)
	}
	if err := c.DeleteUser(ctx, user); err != nil {
		t.Error(err)
	}
	if _, err := c.User(ctx, user); !errors.Is(err, ejbca.ErrNotFound) {
		t.Errorf("deleted user: got %v, want ErrNotFound", err)
	}
}

func TestKinds(t *testing.T) {
	s, c := newServer(t)
	ctx := t.Context()
	enrol(t, c, "used", requests()[0])
	if err := c.PutUser(ctx, &ejbca.User{Name: "new", Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	sentinels := map[string]error{
		"not found": ejbca.ErrNotFound, "denied": ejbca.ErrDenied, "generated": ejbca.ErrGenerated, "key": ejbca.ErrKey,
		"revoked": ejbca.ErrRevoked, "unavailable": ejbca.ErrUnavailable,
	}
	for _, tc := range []struct {
		name string
		do   func() error
		kind string
	}{
		{"CA", func() error { _, err := c.Chain(ctx, "x"); return err }, "not found"},
		{"CRL", func() error { _, err := c.CRL(ctx, "x y/z"); return err }, "not found"},
		{"new CRL", func() error { return c.UpdateCRL(ctx, "x") }, "not found"},
		{"serial", func() error { return c.Revoke(ctx, s.Root(), big.NewInt(7), crl.Unspecified) }, "not found"},
		{"other issuer", func() error {
			_, err := c.Status(ctx, &x509.Certificate{Subject: pkix.Name{CommonName: "x"}}, big.NewInt(7))
			return err
		}, "not found"},
		{"user", func() error { _, err := c.User(ctx, "x"); return err }, "not found"},
		{"revoke user", func() error { return c.RevokeUser(ctx, "x", crl.Unspecified) }, "not found"},
		{"delete user", func() error { return c.DeleteUser(ctx, "x") }, "not found"},
		{"sign for nobody", func() error { _, err := c.Sign(ctx, "x", "secret", requests()[1]); return err }, "not found"},
		{"sign again", func() error { _, err := c.Sign(ctx, "used", "secret", requests()[0]); return err }, "generated"},
		{"wrong password", func() error { _, err := c.Sign(ctx, "new", "Secret", requests()[1]); return err }, "denied"},
		{"key of another", func() error { _, err := c.Sign(ctx, "new", "secret", requests()[0]); return err }, ""},
		{"key on P-256", func() error {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return err
			}
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
			if err != nil {
				return err
			}
			csr, err := x509.ParseCertificateRequest(der)
			if err != nil {
				return err
			}
			_, err = c.Sign(ctx, "new", "secret", csr)
			return err
		}, "key"},
		{"unknown CA for user", func() error { return c.PutUser(ctx, &ejbca.User{Name: "a", Password: "b", CA: "x"}) }, "not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.do()
			var e *ejbca.Error
			if tc.kind != "" && !errors.As(err, &e) && !errors.Is(err, ejbca.ErrNotFound) {
				t.Fatalf("got %v, want *ejbca.Error", err)
			}
			if err == nil {
				t.Fatal("no error")
			}
			for name, sentinel := range sentinels {
				if got := errors.Is(err, sentinel); got != (name == tc.kind) {
					t.Errorf("%v is %s: %v", err, name, got)
				}
			}
			if strings.Contains(err.Error(), "ecret") {
				t.Errorf("%v has the password", err)
			}
		})
	}
}

// What an error is doesn't depend on the words that are left of it.
func TestKindsWithPlainPasswords(t *testing.T) {
	_, c := newServer(t)
	for _, password := range []string{"password", "Wrong", "request", "soap", "e"} {
		if err := c.PutUser(t.Context(), &ejbca.User{Name: "1", Password: "right"}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Sign(t.Context(), "1", password, requests()[0]); !errors.Is(err, ejbca.ErrDenied) || strings.Contains(err.(*ejbca.Error).Message, password) {
			t.Errorf("%q isn't the password: got %v, want ErrDenied", password, err)
		}
		if _, err := c.Sign(t.Context(), "2", password, requests()[0]); !errors.Is(err, ejbca.ErrNotFound) {
			t.Errorf("nobody, with password %q: got %v, want ErrNotFound", password, err)
		}
	}
}

// What never leaves the client.
func TestRefusedByTheClient(t *testing.T) {
	s, c := newServer(t)
	ctx := t.Context()
	for _, tc := range []struct {
		name string
		do   func() error
		want string
	}{
		{"no CA name", func() error { _, err := c.CRL(ctx, ""); return err }, `name "" can't be part of an address`},
		{"name that leads elsewhere", func() error { return c.DeleteUser(ctx, "..") }, `name ".."`},
		{"no password", func() error { return c.PutUser(ctx, &ejbca.User{Name: "a"}) }, "name and password are required"},
		{"no serial", func() error { return c.Revoke(ctx, s.Root(), nil, crl.Unspecified) }, "isn't positive"},
		{"no issuer", func() error { return c.Revoke(ctx, nil, big.NewInt(1), crl.Unspecified) }, "no issuer"},
		{"unknown reason", func() error { return c.RevokeUser(ctx, "a", 7) }, "unknown reason Reason(7)"},
		{"user released", func() error { return c.RevokeUser(ctx, "a", crl.RemoveFromCRL) }, "can't be released"},
		{"request that isn't encoded", func() error { _, err := c.Sign(ctx, "a", "b", &x509.CertificateRequest{}); return err }, "isn't encoded"},
		{"no base URL", func() error { _, err := (&ejbca.Client{}).Version(ctx); return err }, `base URL "" (want http`},
		{"base URL without scheme", func() error { _, err := (&ejbca.Client{BaseURL: "ejbca:5583"}).Version(ctx); return err }, `base URL "ejbca:5583" (want http`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.do(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	if got := s.Requests(); len(got) != 0 {
		t.Errorf("the service was asked: %v", got)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	s, c := newServer(t)
	for _, name := range []string{"a/b", "../ca", "a?delete=true", "a#b", "a%2fb", "a b", "admin:5c6512", "ä", "a+b", "a\r\nX: y"} {
		if _, err := c.User(t.Context(), name); err == nil {
			t.Errorf("%q exists", name)
		}
		all := s.Requests()
		if got := all[len(all)-1]; got.Path != "/user/"+name || len(got.Query) != 0 {
			t.Errorf("%q was asked for as %q?%v", name, got.Path, got.Query)
		}
	}
	// A name adds nothing to the subject.
	enrol(t, c, "a,O=b", requests()[0])
	if u, err := c.User(t.Context(), "a,O=b"); err != nil || u.SubjectDN != `CN=a\,O=b` {
		t.Errorf("got %v, %v", u, err)
	}
}

func TestRetries(t *testing.T) {
	s, c := newServer(t)
	ctx := t.Context()
	fail := func(times int, answer func(w http.ResponseWriter)) *atomic.Int32 {
		var seen atomic.Int32
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if int(seen.Add(1)) > times {
				return false
			}
			answer(w)
			return true
		})
		return &seen
	}
	status := func(n int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { http.Error(w, "busy", n) }
	}
	half := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"CRL":"MII`)
	}
	hangUp := func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }
	getCRL := func() error { _, err := c.CRL(ctx, ca); return err }
	putUser := func() error { return c.PutUser(ctx, &ejbca.User{Name: "a", Password: "b"}) }
	for _, tc := range []struct {
		name   string
		times  int
		answer func(http.ResponseWriter)
		do     func() error
		calls  int32
		kind   error // nil is success
	}{
		{"503, then all right", 1, status(503), getCRL, 2, nil},
		{"429, then all right", 2, status(429), getCRL, 3, nil},
		{"502 for ever", 99, status(502), getCRL, 4, ejbca.ErrUnavailable},
		{"504 for ever", 99, status(504), getCRL, 4, ejbca.ErrUnavailable},
		{"half an answer, then all right", 1, half, getCRL, 2, nil},
		{"connection lost, then all right", 2, hangUp, getCRL, 3, nil},
		{"PUT crl may be repeated", 1, status(503), func() error { return c.UpdateCRL(ctx, ca) }, 2, nil},
		{"POST may not", 1, status(503), putUser, 1, ejbca.ErrUnavailable},
		{"POST may not when the connection is lost either", 1, hangUp, putUser, 1, ejbca.ErrUnavailable},
		{"signing may not", 1, half, func() error { _, err := c.Sign(ctx, "a", "b", requests()[0]); return err }, 1, ejbca.ErrUnavailable},
		{"DELETE may not", 1, status(503), func() error { return c.DeleteUser(ctx, "a") }, 1, ejbca.ErrUnavailable},
		{"401 isn't repeated", 1, status(401), getCRL, 1, ejbca.ErrDenied},
		{"403 isn't repeated", 1, status(403), getCRL, 1, ejbca.ErrDenied},
		{"404 isn't repeated", 1, status(404), getCRL, 1, ejbca.ErrNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seen := fail(tc.times, tc.answer)
			if err := tc.do(); !errors.Is(err, tc.kind) {
				t.Errorf("got %v, want %v", err, tc.kind)
			}
			if got := seen.Load(); got != tc.calls {
				t.Errorf("%d calls, want %d", got, tc.calls)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	const nobody = "127.0.0.1:1" // below the ports that systems hand out
	c := &ejbca.Client{BaseURL: "http://" + nobody, RetryBackoff: func(int, *http.Response) time.Duration { return 0 }}
	_, err := c.CAs(t.Context())
	if !errors.Is(err, ejbca.ErrUnavailable) || !strings.Contains(err.Error(), nobody) {
		t.Errorf("got %v, want ErrUnavailable with the address", err)
	}
}

func TestRetryAfter(t *testing.T) {
	s, c := newServer(t)
	c.RetryBackoff = nil // the default
	var wait atomic.Value
	wait.Store("1")
	var calls atomic.Int32
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if calls.Add(1) > 1 {
			return false
		}
		w.Header().Set("Retry-After", wait.Load().(string))
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	start := time.Now()
	if _, err := c.CAs(t.Context()); err != nil || calls.Load() != 2 || time.Since(start) < time.Second {
		t.Errorf("got %v after %d calls and %v, want success after 2 and 1 s", err, calls.Load(), time.Since(start))
	}
	// Longer than anybody wants to wait, or the context allows.
	for _, value := range []string{"3600", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "30"} {
		wait.Store(value)
		calls.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := c.CAs(ctx)
		cancel()
		var e *ejbca.Error
		if !errors.As(err, &e) || e.StatusCode != 503 || e.RetryAfter < 29*time.Second || calls.Load() != 1 {
			t.Errorf("Retry-After %s: got %v after %d calls, want 503 at once", value, err, calls.Load())
		}
	}
}

// answerer is a network that always answers the same.
type answerer func() (*http.Response, error)

func (a answerer) RoundTrip(*http.Request) (*http.Response, error) { return a() }

func TestDefaultBackoff(t *testing.T) {
	for _, tc := range []struct {
		name, retryAfter string
		least, most      time.Duration
	}{
		// Half a second, doubled thrice, and up to half as much again.
		{"no word of it", "", 7500 * time.Millisecond, 11250 * time.Millisecond},
		{"no sense in it", "soon", 7500 * time.Millisecond, 11250 * time.Millisecond},
		{"in the past", "Thu, 01 Jan 1970 00:00:00 GMT", 7500 * time.Millisecond, 11250 * time.Millisecond},
		{"a while", "7", 28 * time.Second, 28 * time.Second},
		{"too long", "61", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				c := &ejbca.Client{BaseURL: "http://ejbca:5583", HTTPClient: &http.Client{Transport: answerer(func() (*http.Response, error) {
					calls++
					return &http.Response{
						StatusCode: http.StatusServiceUnavailable,
						Header:     http.Header{"Retry-After": {tc.retryAfter}},
						Body:       http.NoBody,
					}, nil
				})}}
				start := time.Now()
				_, err := c.CAs(t.Context())
				took, want := time.Since(start), 5
				if tc.most == 0 {
					want = 1
				}
				if !errors.Is(err, ejbca.ErrUnavailable) || calls != want || took < tc.least || took > tc.most {
					t.Errorf("got %v after %d calls and %v, want ErrUnavailable after %d and %v to %v", err, calls, took, want, tc.least, tc.most)
				}
			})
		})
	}
}

func TestCancelled(t *testing.T) {
	s, c := newServer(t)
	arrived := make(chan struct{})
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		close(arrived)
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.CAs(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ejbca.ErrUnavailable) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// Nobody waits for a list any more when it comes in: making sense of a large
// one takes long.
func TestCancelledWhileReading(t *testing.T) {
	_, c := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.HTTPClient = &http.Client{Transport: atTheEnd{cancel}}
	if _, err := c.CRL(ctx, ca); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// atTheEnd is a network that does something once an answer has been read.
type atTheEnd struct{ do func() }

func (a atTheEnd) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		resp.Body = &endingBody{resp.Body, a.do}
	}
	return resp, err
}

type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.end()
	}
	return n, err
}

// One cancelled while it waits to ask again, which the service wanted.
func TestCancelledWhileWaiting(t *testing.T) {
	s, c := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.RetryBackoff = func(int, *http.Response) time.Duration { cancel(); return time.Hour }
	s.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	_, err := c.CAs(ctx)
	if e, ok := errors.AsType[*ejbca.Error](err); !errors.Is(err, context.Canceled) || errors.Is(err, ejbca.ErrUnavailable) || !ok || e.StatusCode != 0 {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestStrangeAnswers(t *testing.T) {
	s, c := newServer(t)
	ctx := t.Context()
	other := ejbcatest.NewServer()
	defer other.Close()
	otherCert := enrol(t, other.Client(), "a", requests()[1])
	signed := func(data, kind string) string {
		text, _ := json.Marshal(map[string]any{"status": map[string]string{"data": data, "responseType": kind}})
		return string(text)
	}
	sign := func() error { _, err := c.Sign(ctx, "a", "b", requests()[0]); return err }
	chain := func() error { _, err := c.Chain(ctx, ca); return err }
	list := func() error { _, err := c.CRL(ctx, ca); return err }
	status := func() error { _, err := c.Status(ctx, s.Root(), big.NewInt(1)); return err }
	html := `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<title>500 Internal Server Error</title>
<h1>Internal Server Error</h1>
<p>The server <em>encountered</em> an internal error</p>`
	for _, tc := range []struct {
		name   string
		do     func() error
		status int
		body   string
		want   string
	}{
		{"page of HTML", list, 500, html, `status 500 "500 Internal Server Error Internal Server Error The server encountered an internal error"`},
		{"endless error", list, 400, strings.Repeat("é", 1<<20), "é…"},
		{"error with control characters", list, 400, `{"message":"a\n2026 all is well\u001b[2J"}`, `"a\n2026 all is well\x1b[2J"`},
		{"error without text", list, 418, "", "status 418"},
		{"page of HTML as success", list, 200, html, "isn't what was expected"},
		{"nothing as success", list, 200, "", "isn't what was expected"},
		{"half of JSON", list, 200, `{"CRL":"MII`, "isn't what was expected"},
		{"CRL that is none", list, 200, `{"CRL":"MAA="}`, "CRL"},
		{"no CRL", list, 200, `{}`, "CRL"},
		{"no certificate", chain, 200, `{}`, "no certificate"},
		{"certificate that is none", chain, 200, `{"certificate":"MAA="}`, "get the certificate of CA"},
		{"certificate for another key", sign, 200, signed(base64.StdEncoding.EncodeToString(otherCert.Raw), "CERTIFICATE"), "is for another key"},
		{"status as Python prints it", sign, 200, `{"status":"{'data': b'MII', 'responseType': 'CERTIFICATE'}"}`, "isn't a JSON object with data and responseType"},
		{"unknown response type", sign, 200, signed("MAA=", "CRL"), `unknown responseType "CRL"`},
		{"PKCS#7 that is none", sign, 200, signed("MAA=", "PKCS7"), "PKCS#7"},
		{"endless response type", sign, 200, signed("MAA=", strings.Repeat("x", 100_000)), "unknown responseType"},
		{"endless reason", status, 200, `{"status":{"reason":"` + strings.Repeat("x", 100_000) + `"}}`, "unknown reason"},
		{"nothing signed", sign, 200, `{}`, "isn't a JSON object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.body)
				return true
			})
			err := tc.do()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			if len(err.Error()) > 1200 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error of %d bytes: %q", len(err.Error()), err)
			}
		})
	}
	t.Run("endless answer", func(t *testing.T) {
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			for chunk := bytes.Repeat([]byte("A"), 1<<16); ; {
				if _, err := w.Write(chunk); err != nil {
					return true
				}
			}
		})
		if err := chain(); err == nil || !strings.Contains(err.Error(), "answer is longer than 1048576 bytes") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("PKCS#7", func(t *testing.T) {
		s.Intercept(nil)
		cert := enrol(t, c, "p7", requests()[0])
		p7 := pkcs7(s.Root().Raw, cert.Raw)
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			io.WriteString(w, signed(base64.StdEncoding.EncodeToString(p7), "PKCS7"))
			return true
		})
		if got, err := c.Sign(ctx, "p7", "b", requests()[0]); err != nil || !got.Equal(cert) {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("user list as null", func(t *testing.T) {
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			io.WriteString(w, `{"user":null}`)
			return true
		})
		if _, err := c.User(ctx, "a"); !errors.Is(err, ejbca.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
	t.Run("another user", func(t *testing.T) {
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			io.WriteString(w, `{"user":[{"username":"somebody/else"},{"username":"`+strings.Repeat("x", 10_000)+`"}]}`)
			return true
		})
		u, err := c.User(ctx, "me")
		if err == nil || errors.Is(err, ejbca.ErrNotFound) || !strings.Contains(err.Error(), `find user "me": the answer is user "somebody/else"`) {
			t.Errorf("got %v, %v", u, err)
		}
		if u, err = c.User(ctx, "somebody;else"); err != nil || u.Name != "somebody/else" { // EJBCA's way to store that name
			t.Errorf("got %v, %v", u, err)
		}
	})
	t.Run("date without fraction", func(t *testing.T) {
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			io.WriteString(w, `{"status":{"reason":"PRIVILEGESWITHDRAWN","date":"2017-08-21T17:26:03+00:00"}}`)
			return true
		})
		st, err := c.Status(ctx, s.Root(), big.NewInt(1))
		if err != nil || st.Reason != crl.PrivilegeWithdrawn || !st.At.Equal(time.Date(2017, 8, 21, 17, 26, 3, 0, time.UTC)) {
			t.Errorf("got %v, %v", st, err)
		}
	})
}

// pkcs7 is a SignedData that holds certificates only, as CAs send them.
func pkcs7(certs ...[]byte) []byte {
	tlv := func(tag byte, content []byte) []byte {
		der, err := asn1.Marshal(asn1.RawValue{Class: int(tag >> 6), Tag: int(tag & 0x1f), IsCompound: true, Bytes: content})
		if err != nil {
			panic(err)
		}
		return der
	}
	data := bytes.Join([][]byte{
		{2, 1, 1}, // version
		{0x31, 0}, // digestAlgorithms
		{0x30, 11, 6, 9, 42, 134, 72, 134, 247, 13, 1, 7, 1}, // contentInfo: data
		tlv(0xa0, bytes.Join(certs, nil)),
		{0x31, 0}, // signerInfos
	}, nil)
	oid := []byte{6, 9, 42, 134, 72, 134, 247, 13, 1, 7, 2}
	return tlv(0x30, append(oid, tlv(0xa0, tlv(0x30, data))...))
}

// A hierarchy as a service shows it, with what is around it.
func TestChainOfSubCA(t *testing.T) {
	root, rootKey := newCA(t, "root", nil, nil)
	protocol, protocolKey := newCA(t, "PROTOCOL", root, rootKey)
	mqtt, _ := newCA(t, "MQTT", protocol, protocolKey)
	impostor, _ := newCA(t, "PROTOCOL", nil, nil)
	good := []*x509.Certificate{mqtt, protocol, root}
	type listed struct {
		name string
		is   any // a certificate, or a status
	}
	many := []listed{{"MQTT", mqtt}, {"PROTOCOL", protocol}, {"IOTmidCA", root}}
	for i := range 1000 {
		many = append(many, listed{fmt.Sprint("c", i), impostor})
	}
	for _, tc := range []struct {
		name  string
		cas   []listed
		asked int    // for certificates
		err   string // "" for the chain
	}{
		{"in order", []listed{{"MQTT", mqtt}, {"PROTOCOL", protocol}, {"IOTmidCA", root}}, 3, ""},
		{"what is called as the issuer is comes first", []listed{{"other", impostor}, {"MQTT", mqtt}, {"IOTmidCA", root}, {"PROTOCOL", protocol}}, 4, ""},
		{"under other names", []listed{{"a", root}, {"b", impostor}, {"MQTT", mqtt}, {"c", protocol}}, 4, ""},
		{"somebody else under the issuer's name", []listed{{"root", impostor}, {"PROTOCOL", impostor}, {"MQTT", mqtt}, {"a", protocol}, {"b", root}}, 5, ""},
		{"one that fails", []listed{{"a", 500}, {"b", 404}, {"MQTT", mqtt}, {"c", protocol}, {"d", root}}, 5, ""},
		{"one that makes no sense", []listed{{"..", 200}, {"a", 200}, {"MQTT", mqtt}, {"c", protocol}, {"d", root}}, 4, ""},
		{"no root", []listed{{"impostor", impostor}, {"PROTOCOL", protocol}, {"MQTT", mqtt}}, 3, `no CA of the service issued "CN=PROTOCOL"`},
		{"a root that fails", []listed{{"a", 500}, {"b", 418}, {"PROTOCOL", protocol}, {"MQTT", mqtt}}, 4,
			`no CA of the service issued "CN=PROTOCOL", unless it is one that failed: ejbca: get the certificate of CA "a" at `},
		{"a service that is gone", []listed{{"a", 503}, {"b", root}, {"PROTOCOL", protocol}, {"MQTT", mqtt}}, 3, `get the certificate of CA "a" at `},
		{"a token that is refused", []listed{{"a", 403}, {"b", root}, {"PROTOCOL", protocol}, {"MQTT", mqtt}}, 3, `get the certificate of CA "a" at `},
		{"too many", many, 1, "the service names 1003 CAs (want at most 1000)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/ca" {
					var list []map[string]any
					for _, ca := range tc.cas {
						list = append(list, map[string]any{"id": -5, "name": ca.name})
					}
					json.NewEncoder(w).Encode(map[string]any{"CAs": list})
					return
				}
				asked++
				for _, ca := range tc.cas {
					if r.URL.Path != "/ca/"+ca.name {
						continue
					}
					switch is := ca.is.(type) {
					case int:
						w.WriteHeader(is)
						io.WriteString(w, "{}")
					case *x509.Certificate:
						json.NewEncoder(w).Encode(map[string]any{"certificate": base64.StdEncoding.EncodeToString(is.Raw)})
					}
				}
			}))
			defer server.Close()
			c := &ejbca.Client{BaseURL: server.URL, RetryBackoff: func(int, *http.Response) time.Duration { return 0 }}
			chain, err := c.Chain(t.Context(), "MQTT")
			if tc.err == "" && (err != nil || !slices.EqualFunc(chain, good, (*x509.Certificate).Equal)) {
				t.Errorf("got %d certificates, %v, want MQTT, PROTOCOL, root", len(chain), err)
			}
			if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("got %v, want %s", err, tc.err)
			}
			if asked != tc.asked {
				t.Errorf("asked for %d certificates, want %d", asked, tc.asked)
			}
		})
	}
}

func newCA(t *testing.T, name string, issuer *x509.Certificate, issuerKey *rsa.PrivateKey) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestSecretsAreNotPrinted(t *testing.T) {
	user := ejbca.User{Name: "name", Password: "sesame"}
	login := &ejbca.Credentials{BaseURL: "http://dojot:sesame@host", Username: "name", Password: "sesame"}
	issuer := ejbca.Issuer{User: "name", Password: "sesame"}
	account := ejbcatest.Account{Username: "name", Password: "sesame"}
	for _, v := range []any{user, &user, login, issuer, &issuer, account} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log := slog.New(slog.NewTextHandler(&out, nil))
		log.Info("text", "value", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "value", v)
		json.NewEncoder(&out).Encode(v)
		if got := out.String(); strings.Contains(got, "sesame") || !strings.Contains(got, "name") {
			t.Errorf("%T is printed as\n%s", v, got)
		}
	}
}

// An address that is broken is quoted without the password that is in it.
func TestSecretsInAddresses(t *testing.T) {
	for _, url := range []string{
		"admin:sesame@ejbca:5583", "http:admin:sesame@ejbca:5583", "http:///admin:sesame@ejbca:5583",
		"http://admin:ses%ame@ejbca:5583", "http://admin:sesame@127.0.0.1:1?token=sesame",
	} {
		_, err := (&ejbca.Client{BaseURL: url, RetryBackoff: func(int, *http.Response) time.Duration { return 0 }}).CAs(t.Context())
		for _, text := range []string{fmt.Sprint(err), (&ejbca.Credentials{BaseURL: url}).String()} {
			if strings.Contains(text, "ame") || !strings.Contains(text, "…@") {
				t.Errorf("%s: got %s", url, text)
			}
		}
	}
}

// A service that quotes the request gets neither password nor token into
// errors.
func TestSecretsAreNotQuoted(t *testing.T) {
	const token = "eyJ0eXAi.S3c.c2ln"
	for _, form := range []string{`{"message":"boom %s"}`, `{"error":"boom %s"}`, "<h1>boom</h1> %s", strings.Repeat("x", 290) + "%s"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			said := r.Header.Get("Authorization") + " " + string(body)
			if strings.HasPrefix(form, "{") {
				text, _ := json.Marshal(said)
				said = strings.Trim(string(text), `"`)
			}
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, form, said)
		}))
		defer server.Close()
		for _, password := range []string{"S3cretPassw0rd", `S3c"ret`, "S3c<ret>&", "S3c  ret", "S3c\tret", "<S3c>", "S3cé"} {
			c := &ejbca.Client{BaseURL: server.URL, Token: func(context.Context, string) (string, error) { return token, nil }}
			_, loginErr := (&ejbca.Credentials{BaseURL: server.URL, Username: "admin", Password: password}).Token(t.Context(), "")
			_, signErr := c.Sign(t.Context(), "a", password, requests()[0])
			userErr := c.PutUser(t.Context(), &ejbca.User{Name: "a", Password: password})
			_, caErr := c.CAs(t.Context())
			basic := &ejbca.Client{BaseURL: strings.Replace(server.URL, "//", "//u:S3cret@", 1)}
			_, basicErr := basic.CAs(t.Context())
			for _, err := range []error{loginErr, signErr, userErr, caErr, basicErr} {
				if err == nil || strings.Contains(err.Error(), "S3c") || strings.Contains(err.Error(), "dTpTM2NyZXQ=") || !strings.Contains(err.Error(), "status 500") {
					t.Errorf("%q: got %v", password, err)
				}
			}
		}
	}
}

// Neither does one that doesn't speak HTTP, at any length.
func TestSecretsInOtherProtocols(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":          "S3cret %s\r\n\r\n",
		"broken header":    "HTTP/1.1 200 OK\r\nS3cret %s\r\n\r\n",
		"broken redirect":  "HTTP/1.1 302 Found\r\nLocation: http://x/%%zz?S3cret=%s\r\n\r\n",
		"redirect":         "HTTP/1.1 302 Found\r\nLocation: http://x/S3cret/%s\r\n\r\n",
		"redirect's extra": "HTTP/1.1 302 Found\r\nLocation: http://u:S3cret@x/%s?S3cret#S3cret\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					conn.Read(make([]byte, 1<<16))
					fmt.Fprintf(conn, answer, strings.Repeat("x", 100_000))
					conn.Close()
				}
			}()
			c := &ejbca.Client{
				BaseURL: "http://" + l.Addr().String(),
				Token:   func(context.Context, string) (string, error) { return "S3cret", nil },
			}
			if _, err := c.CAs(t.Context()); err == nil || strings.Contains(err.Error(), "S3cret") || len(err.Error()) > 1200 {
				t.Errorf("got %.1500v", err)
			}
		})
	}
}

// Passwords and tokens are for the service that was named.
func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer other.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusTemporaryRedirect} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/auth?token=S3cret#S3cret", status)
		}))
		defer server.Close()
		_, loginErr := (&ejbca.Credentials{BaseURL: server.URL, Username: "admin", Password: "admin"}).Token(t.Context(), "")
		_, chainErr := (&ejbca.Client{BaseURL: server.URL}).Chain(t.Context(), "IOTmidCA")
		for _, err := range []error{loginErr, chainErr} {
			if e, ok := errors.AsType[*ejbca.Error](err); !ok || e.StatusCode != status || e.Message != "redirect to "+other.URL+"/auth" {
				t.Errorf("status %d: got %v", status, err)
			}
		}
	}
	if asked {
		t.Error("a redirect was followed")
	}
}
