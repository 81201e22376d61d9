package crl_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

// standardTemplate is what t is for x509.CreateRevocationList.
func standardTemplate(t *crl.Template) *x509.RevocationList {
	list := &x509.RevocationList{Number: t.Number, ThisUpdate: t.ThisUpdate, NextUpdate: t.NextUpdate}
	for _, e := range t.Entries {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: e.Serial, RevocationTime: e.RevokedAt, ReasonCode: int(e.Reason),
		})
	}
	extra := func(id asn1.ObjectIdentifier, value []byte) {
		list.ExtraExtensions = append(list.ExtraExtensions, pkix.Extension{Id: id, Critical: true, Value: value})
	}
	if t.Base != nil {
		value, err := asn1.Marshal(t.Base)
		if err != nil {
			panic(err)
		}
		extra(oidDelta, value)
	}
	if p := t.DistributionPoint; p != nil {
		type name struct {
			FullName []asn1.RawValue `asn1:"optional,tag:0"`
		}
		var full name
		for _, url := range p.URLs {
			full.FullName = append(full.FullName, asn1.RawValue{Class: 2, Tag: 6, Bytes: []byte(url)})
		}
		value, err := asn1.Marshal(struct {
			Point name `asn1:"optional,tag:0"`
			User  bool `asn1:"optional,tag:1"`
			CA    bool `asn1:"optional,tag:2"`
		}{full, p.OnlyContainsUserCerts, p.OnlyContainsCACerts})
		if err != nil {
			panic(err)
		}
		extra(oidIDP, value)
	}
	return list
}

// TestSignEqualsStandardLibrary: with a key that signs the same way each
// time, Sign and x509.CreateRevocationList make the same list.
func TestSignEqualsStandardLibrary(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	shift := func(bits uint, add int64) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits)
		return n.Add(n, big.NewInt(add))
	}
	entries := []crl.Entry{
		{Serial: big.NewInt(1), RevokedAt: t0},
		{Serial: big.NewInt(127), RevokedAt: t0.Add(time.Millisecond), Reason: crl.KeyCompromise},
		{Serial: big.NewInt(128), RevokedAt: t0.In(time.FixedZone("BRT", -3*3600)), Reason: crl.AACompromise},
		{Serial: big.NewInt(255), RevokedAt: time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Serial: big.NewInt(256), RevokedAt: time.Date(1949, 12, 31, 23, 59, 59, 0, time.UTC)},
		{Serial: big.NewInt(257), RevokedAt: time.Date(2049, 12, 31, 23, 59, 59, 999, time.UTC)},
		{Serial: shift(63, 0), RevokedAt: time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), Reason: crl.CertificateHold},
		{Serial: shift(64, -1), RevokedAt: t0, Reason: crl.Superseded},
		{Serial: shift(159, -1), RevokedAt: t0, Reason: crl.PrivilegeWithdrawn},
	}
	many := make([]crl.Entry, 3000) // three octets of length
	for i := range many {
		many[i] = crl.Entry{Serial: big.NewInt(int64(i + 1)), RevokedAt: t0.Add(time.Duration(i) * time.Hour)}
	}
	long := time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		t    crl.Template
	}{
		{"empty", crl.Template{}},
		{"one", crl.Template{Entries: entries[:1]}},
		{"all sorts", crl.Template{Entries: entries, NextUpdate: long}},
		{"many", crl.Template{Entries: many, Number: shift(159, -1)}},
		{"delta", crl.Template{Number: big.NewInt(128), Base: big.NewInt(127), Entries: []crl.Entry{{Serial: big.NewInt(1), RevokedAt: t0, Reason: crl.RemoveFromCRL}}}},
		{"scope", crl.Template{DistributionPoint: &crl.IssuingDistributionPoint{OnlyContainsUserCerts: true}}},
		{"URL", crl.Template{DistributionPoint: &crl.IssuingDistributionPoint{URLs: []string{"http://ca.example/1.crl", "ldap://ca.example/"}, OnlyContainsCACerts: true}}},
		{"scope of a delta", crl.Template{Base: big.NewInt(0), DistributionPoint: &crl.IssuingDistributionPoint{URLs: []string{"http://ca.example/1.crl"}}}},
	} {
		for _, key := range []crypto.Signer{rsaKey, edKey} {
			t.Run(tc.name, func(t *testing.T) {
				template := tc.t
				template.ThisUpdate = t0.Add(time.Millisecond)
				if template.NextUpdate.IsZero() {
					template.NextUpdate = t0.Add(time.Hour).In(time.FixedZone("BRT", -3*3600))
				}
				if template.Number == nil {
					template.Number = big.NewInt(5)
				}
				issuer := certifyKey("IOTmidCA", key, 1)
				got, err := crl.Sign(&template, issuer, key)
				if err != nil {
					t.Fatal(err)
				}
				want, err := x509.CreateRevocationList(rand.Reader, standardTemplate(&template), issuer, key)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("got\n%x\nwant\n%x", got, want)
				}
			})
		}
	}
}

// ECDSA's signatures differ each time, but what is signed does not, and each
// curve has its hash.
func TestSignECDSA(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		t.Run(curve.Params().Name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			ca := certify("IOTmidCA", key, 1)
			template := &crl.Template{Number: big.NewInt(5), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour)}
			got := ca.sign(t, template)
			der, err := x509.CreateRevocationList(rand.Reader, standardTemplate(template), ca.cert, key)
			if err != nil {
				t.Fatal(err)
			}
			if want := parse(t, der); !bytes.Equal(got.RawTBSRevocationList, want.RawTBSRevocationList) {
				t.Errorf("got\n%x\nwant\n%x", got.RawTBSRevocationList, want.RawTBSRevocationList)
			}
		})
	}
}

// countingKey counts how often it signs.
type countingKey struct {
	*ecdsa.PrivateKey
	signed int
}

func (k *countingKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.signed++
	return k.PrivateKey.Sign(random, digest, opts)
}

// A key that signs something else, as a broken token might, is found out.
func TestSignVerifies(t *testing.T) {
	ca := midCA()
	template := &crl.Template{Number: big.NewInt(7), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour)}
	if _, err := crl.Sign(template, ca.cert, brokenKey{ca.key}); !errors.Is(err, crl.ErrSignature) {
		t.Errorf("got %v, want ErrSignature", err)
	}
}

type brokenKey struct{ *ecdsa.PrivateKey }

func (k brokenKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	digest = bytes.Clone(digest)
	digest[0] ^= 1
	return k.PrivateKey.Sign(random, digest, opts)
}
