package localca_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

const issuerDN = "CN=IOTmidCA,O=EJBCA IOT,C=SE"

// keys are made once: making them is most of the time that tests take.
var keys = sync.OnceValue(func() (keys [3]*rsa.PrivateKey) {
	for i := range keys {
		var err error
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return keys
})

// newborn is the file of a CA that was just made.
var newborn = sync.OnceValue(func() []byte {
	dir, err := os.MkdirTemp("", "localca-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ca, err := localca.Open(dir, localca.Options{KeySize: 2048})
	if err != nil {
		panic(err)
	}
	if err := ca.Close(); err != nil {
		panic(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "ca.db"))
	if err != nil {
		panic(err)
	}
	return data
})

// newDir returns a folder with a CA in it.
func newDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.db"), newborn(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// service is a CA over HTTP.
type service struct {
	t   testing.TB
	ca  *localca.CA
	url string
}

func serve(t testing.TB, dir string, o localca.Options) *service {
	t.Helper()
	ca, err := localca.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(ca)
	t.Cleanup(func() {
		server.Close()
		if err := ca.Close(); err != nil {
			t.Error(err)
		}
	})
	return &service{t, ca, server.URL}
}

// ask returns the status and the body of an answer.
func (s *service) ask(method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		s.t.Errorf("%s %s: content type %q", method, path, got)
	}
	return resp.StatusCode, strings.TrimSpace(string(data))
}

// must is ask for what has to succeed; it decodes the answer.
func (s *service) must(method, path, body string, answer any) {
	s.t.Helper()
	status, text := s.ask(method, path, body)
	if status != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	if answer != nil {
		if err := json.Unmarshal([]byte(text), answer); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
}

func (s *service) register(user string) {
	s.t.Helper()
	s.must("POST", "/user", asJSON(map[string]any{"username": user, "password": "secret"}), nil)
}

func signBody(password string, csr []byte) string {
	return asJSON(map[string]string{"passwd": password, "certificate": base64.StdEncoding.EncodeToString(csr)})
}

// enrol registers a user and has a certificate made.
func (s *service) enrol(user string, key *rsa.PrivateKey) *x509.Certificate {
	s.t.Helper()
	s.register(user)
	status, text := s.sign(user, newRequest(s.t, key, nil))
	return s.certificate(status, text)
}

func (s *service) sign(user string, csr []byte) (int, string) {
	s.t.Helper()
	return s.ask("POST", "/sign/"+url.PathEscape(user)+"/pkcs10", signBody("secret", csr))
}

// certificate reads an answer of sign.
func (s *service) certificate(status int, text string) *x509.Certificate {
	s.t.Helper()
	var answer struct {
		Status struct{ Data, ResponseType string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || answer.Status.ResponseType != "CERTIFICATE" {
		s.t.Fatalf("sign: %d %s", status, text)
	}
	der, err := base64.StdEncoding.DecodeString(answer.Status.Data)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

func certPath(cert *x509.Certificate) string {
	return "/ca/" + url.PathEscape(issuerDN) + "/certificate/" + cert.SerialNumber.Text(16)
}

// crl gets the root's CRL and verifies it.
func (s *service) crl(now time.Time) *x509.RevocationList {
	s.t.Helper()
	return s.list(s.ca.Certificate().Subject.CommonName, "", now)
}

func serials(list *x509.RevocationList) string {
	var all []string
	for _, e := range list.RevokedCertificateEntries {
		all = append(all, fmt.Sprintf("%x:%d", e.SerialNumber, e.ReasonCode))
	}
	return strings.Join(all, " ")
}

func newRequest(t testing.TB, key *rsa.PrivateKey, template *x509.CertificateRequest) []byte {
	t.Helper()
	if template == nil {
		template = &x509.CertificateRequest{
			Subject:     pkix.Name{CommonName: "whatever"},
			DNSNames:    []string{"mqtt", "localhost"},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1).To4()},
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newECDSAKey(t testing.TB, curve string) *ecdsa.PrivateKey {
	t.Helper()
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}
	key, err := ecdsa.GenerateKey(curves[curve], rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(bytes.TrimSpace(data))
}

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Add(time.Hour).UTC().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
