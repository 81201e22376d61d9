package localca_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

// baseOf returns the number of the complete list that a delta changes.
func baseOf(t *testing.T, list *x509.RevocationList) int64 {
	t.Helper()
	for _, ext := range list.Extensions {
		if ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}) {
			n := new(big.Int)
			if _, err := asn1.Unmarshal(ext.Value, &n); err != nil || !ext.Critical {
				t.Errorf("base: critical %v, %v", ext.Critical, err)
			}
			return n.Int64()
		}
	}
	t.Fatal("not a delta")
	return 0
}

func TestDelta(t *testing.T) {
	clock := newClock()
	s := serve(t, newDir(t), localca.Options{Now: clock.Now, DeltaLifetime: time.Hour, ECDSA: true})
	full := func() *x509.RevocationList { return s.list("IOTmidCA", "", clock.Now()) }
	delta := func() *x509.RevocationList {
		t.Helper()
		list := s.list("IOTmidCA", "?delta=true", clock.Now())
		if err := list.CheckSignatureFrom(s.ca.Certificate()); err != nil {
			t.Error(err)
		}
		if life := list.NextUpdate.Sub(list.ThisUpdate); life != time.Hour {
			t.Errorf("delta lives %v, want 1 h", life)
		}
		return list
	}
	var certs []*x509.Certificate
	for i := range 4 {
		name := fmt.Sprint("u", i)
		s.register(name)
		status, text := s.sign(name, newECDSARequest(t, "P-256"))
		certs = append(certs, s.certificate(status, text))
	}
	line := func(i, reason int) string { return fmt.Sprintf("%x:%d", certs[i].SerialNumber, reason) }
	revoke := func(i int, reason string) {
		t.Helper()
		s.must("DELETE", certPath(certs[i])+"?reason="+reason, "", nil)
	}
	check := func(what string, list *x509.RevocationList, base int64, want ...string) {
		t.Helper()
		got := strings.Fields(serials(list))
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if base != 0 && baseOf(t, list) != base {
			t.Errorf("%s: base %d, want %d", what, baseOf(t, list), base)
		}
	}

	revoke(0, "CERTIFICATEHOLD")
	s.must("PUT", "/ca/IOTmidCA/crl", "", nil)
	base := full()
	check("base", base, 0, line(0, 6))
	first := delta()
	check("nothing happened", first, base.Number.Int64())
	if first.Number.Cmp(base.Number) <= 0 {
		t.Errorf("delta %v isn't newer than its base %v", first.Number, base.Number)
	}
	if again := delta(); again.Number.Cmp(first.Number) != 0 {
		t.Errorf("delta %v became %v without need", first.Number, again.Number)
	}
	revoke(1, "KEYCOMPROMISE")
	check("revoked", delta(), base.Number.Int64(), line(1, 1))
	check("all", full(), 0, line(0, 6), line(1, 1))
	// A complete list that was made for a revocation isn't a new base.
	revoke(0, "REMOVEFROMCRL")
	revoke(2, "CERTIFICATEHOLD")
	revoke(2, "SUPERSEDED")
	check("released, held and revoked", delta(), base.Number.Int64(), line(0, 8), line(1, 1), line(2, 4))
	check("all", full(), 0, line(1, 1), line(2, 4))
	revoke(3, "CERTIFICATEHOLD")
	check("held since", full(), 0, line(1, 1), line(2, 4), line(3, 6))
	revoke(3, "REMOVEFROMCRL")
	last := delta()
	check("held and released since", last, base.Number.Int64(), line(0, 8), line(1, 1), line(2, 4), line(3, 8))

	clock.Advance(41 * time.Minute)
	if next := delta(); next.Number.Cmp(last.Number) <= 0 {
		t.Errorf("delta %v with less than a third of its life left wasn't renewed", next.Number)
	}
	clock.Advance(16 * time.Hour)
	renewed := delta()
	check("new base", renewed, full().Number.Int64())
	if baseOf(t, renewed) == base.Number.Int64() {
		t.Error("the base outlived its time")
	}
}

// A CA that had no deltas so far knows what changed since its base.
func TestDeltaLater(t *testing.T) {
	dir := newDir(t)
	ca, err := localca.Open(dir, localca.Options{ECDSA: true})
	if err != nil {
		t.Fatal(err)
	}
	ca.Close()
	s := serve(t, dir, localca.Options{ECDSA: true, DeltaLifetime: time.Hour})
	s.register("a")
	status, text := s.sign("a", newECDSARequest(t, "P-256"))
	cert := s.certificate(status, text)
	s.must("DELETE", certPath(cert), "", nil)
	if got, want := serials(s.list("IOTmidCA", "?delta=true", time.Now())), fmt.Sprintf("%x:0", cert.SerialNumber); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := s.list("IOTmidCA", "?delta=true&update=true", time.Now()); len(got.RevokedCertificateEntries) != 0 {
		t.Errorf("after update: got %q, want nothing", serials(got))
	}
}

func newECDSARequest(t testing.TB, curve string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"mqtt"}}, newECDSAKey(t, curve))
	if err != nil {
		t.Fatal(err)
	}
	return der
}
