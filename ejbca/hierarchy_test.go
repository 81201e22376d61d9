package ejbca_test

import (
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

// A device of dojot's sub-CA MQTT, from its chain to its revocation.
func TestSubCA(t *testing.T) {
	s := ejbcatest.NewServerWith(localca.Options{
		KeySize: 256, DeltaLifetime: time.Hour,
		SubCAs: []localca.SubCA{{Name: "PROTOCOL", SubCAs: []localca.SubCA{{Name: "MQTT"}}}},
	})
	defer s.Close()
	ctx, c := t.Context(), s.Client()
	if names, err := c.CAs(ctx); err != nil || !slices.Equal(names, []string{"IOTmidCA", "PROTOCOL", "MQTT"}) {
		t.Errorf("CAs %q, %v", names, err)
	}
	issuer := &ejbca.Issuer{Client: c, CA: "MQTT", User: "admin:5c6512", Register: true}
	chain, err := issuer.Chain(ctx)
	if err != nil || !slices.EqualFunc(chain, s.Chain("MQTT"), (*x509.Certificate).Equal) || len(chain) != 3 || !chain[2].Equal(s.Root()) {
		t.Fatalf("chain %v, %v", chain, err)
	}
	certs, err := issuer.Sign(ctx, requests()[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(certs) != 3 || !certs[1].Equal(chain[0]) || !certs[2].Equal(chain[1]) {
		t.Errorf("got %d certificates, want the device's, MQTT's and PROTOCOL's", len(certs))
	}
	if got, err := c.Certificate(ctx, chain[0], certs[0].SerialNumber); err != nil || !got.Equal(certs[0]) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := c.Revoke(ctx, chain[0], certs[0].SerialNumber, crl.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	list, err := issuer.CRL(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := crl.Verify(list, chain[0], time.Now().Add(time.Second)); err != nil || len(list.RevokedCertificateEntries) != 1 {
		t.Errorf("CRL has %d entries, %v", len(list.RevokedCertificateEntries), err)
	}
	delta, err := c.DeltaCRL(ctx, "MQTT")
	if err != nil || len(delta.RevokedCertificateEntries) != 1 || delta.Number.Cmp(list.Number) <= 0 {
		t.Errorf("delta %v, %v", delta, err)
	}
	if err := crl.Verify(delta, chain[0], time.Now().Add(time.Second)); !errors.Is(err, crl.ErrDelta) {
		t.Errorf("got %v, want ErrDelta", err)
	}
	if _, err := c.DeltaCRL(ctx, "x"); !errors.Is(err, ejbca.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestNoDeltas(t *testing.T) {
	_, c := newServer(t)
	if _, err := c.DeltaCRL(t.Context(), ca); !errors.Is(err, ejbca.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}
