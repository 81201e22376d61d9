package crl_test

import (
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	ca := midCA()
	entry := func(serial int64, at time.Time, reason crl.Reason) crl.Entry {
		return crl.Entry{Serial: big.NewInt(serial), RevokedAt: at, Reason: reason}
	}
	scope := &crl.IssuingDistributionPoint{URLs: []string{"http://ca.example/1.crl", "http://ca.example/2.crl"}, OnlyContainsUserCerts: true}
	later := t0.Add(time.Hour)
	base := ca.sign(t, &crl.Template{
		Number: big.NewInt(5), ThisUpdate: t0, NextUpdate: t0.Add(24 * time.Hour), DistributionPoint: scope,
		Entries: []crl.Entry{entry(1, t0, 0), entry(2, t0, crl.CertificateHold), entry(3, t0, crl.CertificateHold), entry(4, t0, 0)},
	})
	delta := ca.sign(t, &crl.Template{
		Number: big.NewInt(8), Base: big.NewInt(4), ThisUpdate: later, NextUpdate: later.Add(24 * time.Hour), DistributionPoint: scope,
		Entries: []crl.Entry{
			entry(6, later, crl.Superseded), entry(3, later, crl.RemoveFromCRL), entry(2, later, crl.KeyCompromise),
			entry(5, later, 0), entry(9, later, crl.RemoveFromCRL), // put on hold and released in between
		},
	})
	got, err := crl.Merge(base, delta)
	if err != nil {
		t.Fatal(err)
	}
	want := &crl.Template{
		Number: big.NewInt(8), ThisUpdate: later, NextUpdate: later.Add(24 * time.Hour), DistributionPoint: scope,
		Entries: []crl.Entry{entry(1, t0, 0), entry(2, later, crl.KeyCompromise), entry(4, t0, 0), entry(6, later, crl.Superseded), entry(5, later, 0)},
	}
	if diff := cmp.Diff(want, got, cmpBig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The issuer can sign it, and it follows the base.
	if _, err := crl.Diff(base, ca.sign(t, got)); err != nil {
		t.Error(err)
	}
}

// TestMergeRefuses has one list for each condition that is not met.
func TestMergeRefuses(t *testing.T) {
	ca := midCA()
	list := func(ca *testCA, number, base int64, p *crl.IssuingDistributionPoint) *x509.RevocationList {
		template := &crl.Template{Number: big.NewInt(number), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour), DistributionPoint: p}
		if base >= 0 {
			template.Base = big.NewInt(base)
		}
		return ca.sign(t, template)
	}
	raw := func(mutate func(*rawList)) *x509.RevocationList { return parse(t, ca.raw(mutate)) }
	users, cas := &crl.IssuingDistributionPoint{OnlyContainsUserCerts: true}, &crl.IssuingDistributionPoint{OnlyContainsCACerts: true}
	indirect := func(l *rawList) { l.extensions = append(l.extensions, x(28, true, 0x30, 3, 0x84, 1, 0xff)) }
	indirectDelta := func(l *rawList) {
		indirect(l)
		l.extensions[1] = x(20, false, 2, 1, 8)
		l.extensions = append(l.extensions, x(27, true, 2, 1, 5))
	}
	for _, tc := range []struct {
		name        string
		base, delta *x509.RevocationList
		want        error
	}{
		{"fits", list(ca, 5, -1, users), list(ca, 6, 5, users), nil},
		{"base later than the delta's", list(ca, 5, -1, nil), list(ca, 6, 0, nil), nil},
		{"two complete lists", list(ca, 5, -1, nil), list(ca, 6, -1, nil), crl.ErrBase},
		{"two deltas", list(ca, 5, 4, nil), list(ca, 6, 4, nil), crl.ErrDelta},
		{"to a later base", list(ca, 5, -1, nil), list(ca, 8, 6, nil), crl.ErrBase},
		{"same number", list(ca, 6, -1, nil), list(ca, 6, 5, nil), crl.ErrBase},
		{"older than the base", list(ca, 7, -1, nil), list(ca, 6, 5, nil), crl.ErrBase},
		{"base without number", raw(func(l *rawList) { l.extensions = l.extensions[:1] }), list(ca, 6, 5, nil), crl.ErrBase},
		{"other issuer", list(ca, 5, -1, nil), list(mqttCA(), 6, 5, nil), crl.ErrIssuer},
		{"other key", list(ca, 5, -1, nil), list(rebuiltCA(), 6, 5, nil), crl.ErrIssuer},
		{"other scope", list(ca, 5, -1, users), list(ca, 6, 5, cas), crl.ErrScope},
		{"no scope", list(ca, 5, -1, users), list(ca, 6, 5, nil), crl.ErrScope},
		{"indirect", raw(indirect), raw(indirectDelta), crl.ErrScope},
		{"critical entry", raw(func(l *rawList) { l.entries = seq(rev(1, x(21, true, 10, 1, 1))) }), list(ca, 8, 5, nil), crl.ErrCritical},
		{"malformed", &x509.RevocationList{Raw: appendElement(list(ca, 5, -1, nil).Raw)}, list(ca, 6, 5, nil), crl.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := crl.Merge(tc.base, tc.delta)
			if !errors.Is(err, tc.want) || (got == nil) != (tc.want != nil) {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestVerifyDelta(t *testing.T) {
	ca := midCA()
	delta := func(mutate func(*rawList)) []byte {
		return ca.raw(func(l *rawList) {
			l.extensions = append(l.extensions, x(27, true, 2, 1, 5))
			mutate(l)
		})
	}
	for _, tc := range []struct {
		name string
		der  []byte
		now  time.Time
		want error
	}{
		{"good", delta(func(*rawList) {}), t0, nil},
		{"complete", ca.raw(func(*rawList) {}), t0, crl.ErrBase},
		{"expired", delta(func(*rawList) {}), t0.Add(24 * time.Hour), crl.ErrExpired},
		{"scope", delta(func(l *rawList) { l.extensions = append(l.extensions, x(28, true, 0x30, 3, 0x82, 1, 0xff)) }), t0, crl.ErrScope},
		{"critical", delta(func(l *rawList) { l.extensions[1] = x(20, true, 2, 1, 7) }), t0, crl.ErrCritical},
		{"critical entry", delta(func(l *rawList) { l.entries = seq(rev(1, x(21, true, 10, 1, 1))) }), t0, crl.ErrCritical},
		{"malformed", appendElement(delta(func(*rawList) {})), t0, crl.ErrMalformed},
		{"other issuer", mqttCA().raw(func(l *rawList) { l.extensions = append(l.extensions, x(27, true, 2, 1, 5)) }), t0, errors.Join(crl.ErrIssuer, crl.ErrSignature)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sameFaults(t, crl.VerifyDelta(&x509.RevocationList{Raw: tc.der}, ca.cert, tc.now), tc.want)
		})
	}
}
