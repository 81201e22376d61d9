package ejbca_test

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
)

func TestCertificate(t *testing.T) {
	s, c := newServer(t)
	ctx := t.Context()
	cert := enrol(t, c, "admin:5c6512", requests()[0])
	if got, err := c.Certificate(ctx, s.Root(), cert.SerialNumber); err != nil || !got.Equal(cert) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := c.Certificate(ctx, s.Root(), big.NewInt(7)); !errors.Is(err, ejbca.ErrNotFound) {
		t.Errorf("unknown serial: got %v, want ErrNotFound", err)
	}
	answer := func(cert *x509.Certificate) {
		s.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprintf(w, `{"certificate":{"certificate":null,"keyStore":null,"type":0,"certificateData":%q}}`, base64.StdEncoding.EncodeToString(cert.Raw))
			return true
		})
	}
	answer(cert)
	if _, err := c.Certificate(ctx, s.Root(), big.NewInt(7)); err == nil || !strings.Contains(err.Error(), "the answer is certificate") {
		t.Errorf("another certificate: got %v", err)
	}
	impostor, _ := newCA(t, "IOTmidCA", nil, nil)
	answer(impostor)
	if _, err := c.Certificate(ctx, s.Root(), impostor.SerialNumber); err == nil {
		t.Error("the certificate of another CA was accepted")
	}
}

func TestCertificatesOfUser(t *testing.T) {
	s, c := newServer(t)
	ctx := t.Context()
	const user = "admin:5c6512"
	find := func(all bool, want ...*x509.Certificate) {
		t.Helper()
		got, err := c.Certificates(ctx, user, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, cert := range want {
			if !slices.ContainsFunc(got, cert.Equal) {
				t.Errorf("all %v: %x is missing", all, cert.SerialNumber)
			}
		}
		if len(got) != len(want) {
			t.Errorf("all %v: got %d certificates, want %d", all, len(got), len(want))
		}
	}
	find(true)
	first := enrol(t, c, user, requests()[0])
	second := enrol(t, c, user, requests()[1])
	find(false, first, second)
	if err := c.Revoke(ctx, s.Root(), first.SerialNumber, crl.Superseded); err != nil {
		t.Fatal(err)
	}
	find(false, second)
	find(true, first, second)

	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true })
	if _, err := c.Certificates(ctx, user, true); !errors.Is(err, ejbca.ErrNotFound) {
		t.Errorf("a path that isn't there: got %v, want ErrNotFound", err)
	}
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		io.WriteString(w, `{"certs":[{"certificateData":"MAA="}]}`)
		return true
	})
	if _, err := c.Certificates(ctx, user, true); err == nil || !strings.Contains(err.Error(), "certificate 1") {
		t.Errorf("got %v", err)
	}
}

func TestFreshCRL(t *testing.T) {
	_, c := newServer(t)
	ctx := t.Context()
	before, err := c.CRL(ctx, ca)
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.FreshCRL(ctx, ca)
	if err != nil {
		t.Fatal(err)
	}
	if after.Number.Cmp(before.Number) <= 0 {
		t.Errorf("got CRL %v after %v", after.Number, before.Number)
	}
}
