package ejbca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

func TestIssuerSigns(t *testing.T) {
	s, c := newServer(t)
	issuer := &ejbca.Issuer{Client: c, User: "mosquitto", Register: true}
	chain, err := issuer.Chain(t.Context())
	if err != nil || len(chain) != 1 || !chain[0].Equal(s.Root()) {
		t.Errorf("chain %v, %v", chain, err)
	}
	for _, csr := range requests() { // once and again, with a new key
		certs, err := issuer.Sign(t.Context(), csr)
		if err != nil {
			t.Fatal(err)
		}
		if len(certs) != 1 || certs[0].Subject.CommonName != "mosquitto" || !certs[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(csr.PublicKey) {
			t.Errorf("got %d certificates, the first for %v", len(certs), certs[0].Subject)
		}
		if err := certs[0].CheckSignatureFrom(s.Root()); err != nil {
			t.Error(err)
		}
	}
	// Its random password is another each time.
	var bodies []string
	for _, r := range s.Requests() {
		if r.Path == "/user" {
			bodies = append(bodies, string(r.Body))
		}
	}
	if len(bodies) != 2 || bodies[0] == bodies[1] {
		t.Errorf("got the same password twice")
	}
}

func TestIssuerWithoutRegister(t *testing.T) {
	s, c := newServer(t)
	issuer := &ejbca.Issuer{Client: c, User: "admin:5c6512", Password: "dojot"}
	if _, err := issuer.Sign(t.Context(), requests()[0]); !errors.Is(err, ejbca.ErrNotFound) {
		t.Errorf("before it is registered: got %v, want ErrNotFound", err)
	}
	if err := c.PutUser(t.Context(), &ejbca.User{Name: "admin:5c6512", Password: "dojot"}); err != nil {
		t.Fatal(err)
	}
	first, err := issuer.Sign(t.Context(), requests()[0])
	if err != nil {
		t.Fatal(err)
	}
	// Its answer may have been lost.
	again, err := issuer.Sign(t.Context(), requests()[0])
	if err != nil || !again[0].Equal(first[0]) {
		t.Errorf("again: got %v, want the certificate that was made", err)
	}
	for _, tc := range []struct {
		name string
		csr  *x509.CertificateRequest
		now  time.Time
	}{
		{"another key", requests()[1], s.Now()},
		{"about to end", requests()[0], first[0].NotAfter.Add(-30 * 24 * time.Hour)},
		{"another name", &x509.CertificateRequest{Raw: requests()[0].Raw, PublicKey: requests()[0].PublicKey, DNSNames: []string{"other"}}, s.Now()},
	} {
		issuer.Now = func() time.Time { return tc.now }
		if _, err := issuer.Sign(t.Context(), tc.csr); !errors.Is(err, ejbca.ErrGenerated) {
			t.Errorf("%s: got %v, want ErrGenerated", tc.name, err)
		}
	}
	issuer.Now = s.Now
	if err := c.RevokeUser(t.Context(), "admin:5c6512", crl.Superseded); err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Sign(t.Context(), requests()[0]); !errors.Is(err, ejbca.ErrGenerated) {
		t.Errorf("revoked: got %v, want ErrGenerated", err)
	}
}

// A CA that can't show its chain hasn't used the end entity up.
func TestIssuerAsksForTheChainFirst(t *testing.T) {
	s, c := newServer(t)
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			http.Error(w, "no", http.StatusInternalServerError)
		}
		return r.Method == http.MethodGet
	})
	issuer := &ejbca.Issuer{Client: c, User: "a", Register: true}
	if _, err := issuer.Sign(t.Context(), requests()[0]); err == nil {
		t.Error("no error")
	}
	for _, r := range s.Requests() {
		if r.Method == http.MethodPost {
			t.Errorf("asked for %s", r.Path)
		}
	}
}

func TestIssuerRefusesCertificateOfAnotherCA(t *testing.T) {
	s, c := newServer(t)
	other := ejbcatest.NewServer()
	defer other.Close()
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			other.ServeHTTP(w, r)
			return true
		}
		return false
	})
	issuer := &ejbca.Issuer{Client: c, User: "a", Register: true}
	if _, err := issuer.Sign(t.Context(), requests()[0]); err == nil || !strings.Contains(err.Error(), "isn't signed by CA") {
		t.Errorf("got %v", err)
	}
}

func TestIssuerCRL(t *testing.T) {
	s, c := newServer(t)
	issuer := &ejbca.Issuer{Client: c, User: "a", Register: true, Now: s.Now}
	get := func() *x509.RevocationList {
		t.Helper()
		list, err := issuer.CRL(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := crl.Verify(list, s.Root(), s.Now()); err != nil {
			t.Error(err)
		}
		return list
	}
	first := get()
	if again := get(); again.Number.Cmp(first.Number) != 0 {
		t.Errorf("a fresh list %v was replaced by %v", first.Number, again.Number)
	}

	// A service that makes no list unless asked by PUT, as EJBCA.
	var down atomic.Bool
	stale := first
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			if down.Load() {
				http.Error(w, "no", http.StatusInternalServerError)
				return true
			}
			stale = nil
		}
		if r.Method == http.MethodGet && stale != nil {
			io.WriteString(w, crlAnswer(stale))
			return true
		}
		return false
	})
	s.Advance(15 * time.Hour)
	if got := get(); got.Number.Cmp(first.Number) != 0 {
		t.Errorf("with 9 h left got list %v, want %v", got.Number, first.Number)
	}
	s.Advance(2 * time.Hour)
	down.Store(true)
	if got := get(); got.Number.Cmp(first.Number) != 0 {
		t.Errorf("with 7 h left and nothing better got list %v, want %v", got.Number, first.Number)
	}
	s.Advance(8 * time.Hour)
	if got, err := issuer.CRL(t.Context()); err == nil {
		t.Errorf("got list %v, which is over", got.Number)
	}
	down.Store(false)
	if got := get(); got.Number.Cmp(first.Number) <= 0 {
		t.Errorf("got list %v, want one after %v", got.Number, first.Number)
	}

	// After a revocation.
	s.Intercept(nil)
	certs, err := issuer.Sign(t.Context(), requests()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Revoke(t.Context(), s.Root(), certs[0].SerialNumber, crl.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	fresh, err := issuer.FreshCRL(t.Context())
	if err != nil || len(fresh.RevokedCertificateEntries) != 1 {
		t.Errorf("got %v, %v, want one entry", fresh, err)
	}
	puts := 0
	for _, r := range s.Requests() {
		if r.Method == http.MethodPut && r.Path == "/ca/IOTmidCA/crl" {
			puts++
		}
	}
	if puts == 0 {
		t.Error("no list was asked for")
	}
}

// A service, or a cache before it, that gives an old list whatever is asked.
func TestIssuerCRLStaysStale(t *testing.T) {
	s, c := newServer(t)
	issuer := &ejbca.Issuer{Client: c, User: "a", Now: s.Now}
	older, err := c.CRL(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	s.Advance(time.Hour)
	newer, err := c.FreshCRL(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	var answers []*x509.RevocationList // to come, the last one for ever
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		io.WriteString(w, crlAnswer(answers[0]))
		answers = answers[min(1, len(answers)-1):]
		return true
	})
	s.Advance(17 * time.Hour) // 7 h are left of newer, 6 h of older
	for name, lists := range map[string][]*x509.RevocationList{
		"the same":   {newer},
		"older":      {newer, older},
		"a bit more": {older, newer},
	} {
		answers = lists
		if got, err := issuer.CRL(t.Context()); err != nil || got.Number.Cmp(newer.Number) != 0 {
			t.Errorf("%s: got %v, %v, want list %v", name, got, err, newer.Number)
		}
	}
	s.Advance(7 * time.Hour)
	answers = []*x509.RevocationList{newer}
	if got, err := issuer.CRL(t.Context()); err == nil || !strings.Contains(err.Error(), "is over since") {
		t.Errorf("got %v, %v, want an error for a list that is over", got, err)
	}
}

// A list that was just made is newer, though it may last less long than the one
// before did.
func TestIssuerCRLOfAShorterLife(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: ca}, SubjectKeyId: []byte{1}, KeyUsage: x509.KeyUsageCRLSign}
	var answers []*x509.RevocationList
	for n, life := range []time.Duration{30 * 24 * time.Hour, 24 * time.Hour} {
		begins := now.Add(time.Duration(n-1) * 21 * 24 * time.Hour)
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(int64(n + 1)), ThisUpdate: begins, NextUpdate: begins.Add(life)}, issuer, key)
		if err != nil {
			t.Fatal(err)
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, list)
	}
	s, c := newServer(t)
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		io.WriteString(w, crlAnswer(answers[0]))
		answers = answers[1:]
		return true
	})
	got, err := (&ejbca.Issuer{Client: c, User: "a"}).CRL(t.Context())
	if err != nil || got.Number.Int64() != 2 {
		t.Errorf("got %v, %v, want list 2", got, err)
	}
}

// EJBCA-REST answers 500 when a CRL was never made.
func TestIssuerCRLWhenNoneWasMade(t *testing.T) {
	s, c := newServer(t)
	made := false
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		made = made || r.Method == http.MethodPut
		if !made {
			http.Error(w, "<h1>Internal Server Error</h1>", http.StatusInternalServerError)
		}
		return !made
	})
	if _, err := (&ejbca.Issuer{Client: c, User: "a"}).CRL(t.Context()); err != nil {
		t.Error(err)
	}
}

func crlAnswer(list *x509.RevocationList) string {
	pem := strings.Split(strings.TrimSpace(string(crl.EncodePEM(list))), "\n")
	return `{"CRL":"` + strings.Join(pem[1:len(pem)-1], "") + `"}`
}
