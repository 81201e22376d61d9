package crl_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

// testCA is a CA that also signs lists that no CA should.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newCA(name string) *testCA {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return certify(name, key, 1)
}

// certify makes a CA certificate; the same key may have several.
func certify(name string, key *ecdsa.PrivateKey, serial int64) *testCA {
	return &testCA{certifyKey(name, key, serial), key}
}

func certifyKey(name string, key crypto.Signer, serial int64) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name, Organization: []string{"EJBCA IOT"}, Country: []string{"SE"}},
		NotBefore:             time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

// The CAs that most tests share: two that issue client certificates, and one
// that has the first one's name and another key.
var (
	midCA     = sync.OnceValue(func() *testCA { return newCA("IOTmidCA") })
	mqttCA    = sync.OnceValue(func() *testCA { return newCA("MQTT") })
	rebuiltCA = sync.OnceValue(func() *testCA { return newCA("IOTmidCA") })
)

// list signs a list that is current for a day from thisUpdate.
func (ca *testCA) list(t testing.TB, number int64, thisUpdate time.Time, revoked ...int64) *x509.RevocationList {
	t.Helper()
	template := &crl.Template{Number: big.NewInt(number), ThisUpdate: thisUpdate, NextUpdate: thisUpdate.Add(24 * time.Hour)}
	for _, serial := range revoked {
		template.Entries = append(template.Entries, crl.Entry{Serial: big.NewInt(serial), RevokedAt: thisUpdate})
	}
	return ca.sign(t, template)
}

func (ca *testCA) sign(t testing.TB, template *crl.Template) *x509.RevocationList {
	t.Helper()
	der, err := crl.Sign(template, ca.cert, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, der)
}

func parse(t testing.TB, data []byte) *x509.RevocationList {
	t.Helper()
	list, err := crl.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// tbsCertList and certList are the structures of RFC 5280, section 5.1, for
// lists that Sign would refuse to make.
type tbsCertList struct {
	Version    int `asn1:"optional,default:0"`
	Signature  pkix.AlgorithmIdentifier
	Issuer     asn1.RawValue
	ThisUpdate time.Time
	NextUpdate time.Time        `asn1:"optional"`
	Revoked    []revoked        `asn1:"optional"`
	Extensions []pkix.Extension `asn1:"tag:0,optional,explicit"`
}

type revoked struct {
	Serial     *big.Int
	Date       time.Time
	Extensions []pkix.Extension `asn1:"optional"`
}

type certList struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

var (
	ecdsaWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	ecdsaWithSHA1   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}

	oidNumber = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidReason = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidDelta  = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIDP    = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidCertIs = asn1.ObjectIdentifier{2, 5, 29, 29}
	oidAKI    = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidNobody = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
)

func ext(id asn1.ObjectIdentifier, critical bool, value string) pkix.Extension {
	return pkix.Extension{Id: id, Critical: critical, Value: []byte(value)}
}

// forge signs what mutate makes of an ordinary list with number 7 that is
// current for a day from now and revokes serial 66.
func (ca *testCA) forge(now time.Time, mutate func(*tbsCertList)) []byte {
	aki, err := asn1.Marshal(struct {
		ID []byte `asn1:"tag:0"`
	}{ca.cert.SubjectKeyId})
	if err != nil {
		panic(err)
	}
	tbs := tbsCertList{
		Version:    1,
		Signature:  pkix.AlgorithmIdentifier{Algorithm: ecdsaWithSHA256},
		Issuer:     asn1.RawValue{FullBytes: ca.cert.RawSubject},
		ThisUpdate: now.UTC(),
		NextUpdate: now.UTC().Add(24 * time.Hour),
		Revoked:    []revoked{{Serial: big.NewInt(66), Date: now.UTC()}},
		Extensions: []pkix.Extension{{Id: oidAKI, Value: aki}, ext(oidNumber, false, "\x02\x01\x07")},
	}
	if mutate != nil {
		mutate(&tbs)
	}
	raw, err := asn1.Marshal(tbs)
	if err != nil {
		panic(err)
	}
	hash := crypto.SHA256
	if tbs.Signature.Algorithm.Equal(ecdsaWithSHA1) {
		hash = crypto.SHA1
	}
	h := hash.New()
	h.Write(raw)
	signature, err := ecdsa.SignASN1(rand.Reader, ca.key, h.Sum(nil))
	if err != nil {
		panic(err)
	}
	der, err := asn1.Marshal(certList{
		TBS:       asn1.RawValue{FullBytes: raw},
		Algorithm: tbs.Signature,
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		panic(err)
	}
	return der
}

// flaw is one way in which a list can be wrong, or right and unusual.
type flaw struct {
	name string
	make func(ca, other *testCA, now time.Time) []byte // DER
	want error                                         // of Verify at now; nil: none
	// lenient says that the broker lets in clients that are not on it though
	// Verify refuses the list.
	lenient   bool
	mayRefuse bool // that depends on the release of OpenSSL
}

// with makes a flaw of the signed part.
func with(mutate func(*tbsCertList)) func(ca, other *testCA, now time.Time) []byte {
	return func(ca, _ *testCA, now time.Time) []byte { return ca.forge(now, mutate) }
}

func withExtension(e pkix.Extension) func(ca, other *testCA, now time.Time) []byte {
	return with(func(l *tbsCertList) { l.Extensions = append(l.Extensions, e) })
}

// replaceAKI puts another authority key identifier in place of the right one.
func replaceAKI(value string) func(ca, other *testCA, now time.Time) []byte {
	return with(func(l *tbsCertList) { l.Extensions[0].Value = []byte(value) })
}

var flaws = []flaw{
	{name: "current", make: with(nil)},
	{name: "sha1", make: with(func(l *tbsCertList) { l.Signature.Algorithm = ecdsaWithSHA1 })},
	{name: "no_number", make: with(func(l *tbsCertList) { l.Extensions = l.Extensions[:1] })},
	{name: "no_authority_key_id", make: with(func(l *tbsCertList) { l.Extensions = l.Extensions[1:] })},
	{name: "unknown_extension", make: withExtension(ext(oidNobody, false, "\x05\x00"))},
	{name: "idp_user_certificates", make: withExtension(ext(oidIDP, true, "\x30\x03\x81\x01\xff"))},
	{name: "idp_user_certificates_not_critical", make: withExtension(ext(oidIDP, false, "\x30\x03\x81\x01\xff"))},

	{name: "expired", want: crl.ErrExpired, make: with(func(l *tbsCertList) {
		l.ThisUpdate, l.NextUpdate = l.ThisUpdate.Add(-25*time.Hour), l.NextUpdate.Add(-25*time.Hour)
	})},
	{name: "not_yet_valid", want: crl.ErrNotYetValid, make: with(func(l *tbsCertList) { l.ThisUpdate = l.ThisUpdate.Add(time.Hour) })},
	{name: "no_next_update", want: crl.ErrNoNextUpdate, lenient: true, make: with(func(l *tbsCertList) { l.NextUpdate = time.Time{} })},

	{name: "other_issuer", want: errors.Join(crl.ErrIssuer, crl.ErrSignature), make: func(_, other *testCA, now time.Time) []byte {
		return other.forge(now, nil)
	}},
	{name: "other_key", want: errors.Join(crl.ErrIssuer, crl.ErrSignature), make: func(ca, other *testCA, now time.Time) []byte {
		return other.forge(now, func(l *tbsCertList) { l.Issuer.FullBytes = ca.cert.RawSubject })
	}},
	{name: "other_key_same_identifier", want: crl.ErrSignature, make: func(ca, other *testCA, now time.Time) []byte {
		return (&testCA{ca.cert, other.key}).forge(now, nil)
	}},
	{name: "other_key_id", want: crl.ErrIssuer, make: replaceAKI("\x30\x03\x80\x01\x01")},
	{name: "other_certificate_serial", want: crl.ErrIssuer, make: replaceAKI("\x30\x03\x82\x01\x63")},
	{name: "other_certificate_issuer", want: crl.ErrIssuer, make: replaceAKI("\x30\x06\xa1\x04\xa4\x02\x30\x00")},

	{name: "critical_extension", want: crl.ErrCritical, make: withExtension(ext(oidNobody, true, "\x05\x00"))},
	{name: "critical_number", want: crl.ErrCritical, make: with(func(l *tbsCertList) { l.Extensions[1].Critical = true })},
	{name: "critical_entry", want: crl.ErrCritical, make: with(func(l *tbsCertList) {
		l.Revoked[0].Extensions = []pkix.Extension{ext(oidReason, true, "\x0a\x01\x01")}
	})},

	{name: "idp_ca_certificates", want: crl.ErrScope, make: withExtension(ext(oidIDP, true, "\x30\x03\x82\x01\xff"))},
	{name: "idp_attribute_certificates", want: crl.ErrScope, make: withExtension(ext(oidIDP, true, "\x30\x03\x85\x01\xff"))},
	{name: "idp_some_reasons", want: crl.ErrScope, make: withExtension(ext(oidIDP, true, "\x30\x04\x83\x02\x06\x40"))},
	{name: "idp_indirect", want: crl.ErrScope, make: withExtension(ext(oidIDP, true, "\x30\x03\x84\x01\xff"))},
	{name: "idp_distribution_point", want: crl.ErrScope, make: withExtension(ext(oidIDP, true, "\x30\x0f\xa0\x0d\xa0\x0b\x86\x09http://a/"))},
	{name: "idp_contradictory", want: crl.ErrScope, make: withExtension(ext(oidIDP, true, "\x30\x06\x81\x01\xff\x82\x01\xff"))},
	{name: "idp_not_critical", want: crl.ErrScope, make: withExtension(ext(oidIDP, false, "\x30\x03\x82\x01\xff"))},
	{name: "idp_malformed", want: crl.ErrScope, lenient: true, make: withExtension(ext(oidIDP, true, "\x30\x03\x81"))},
	{name: "entry_of_another_issuer", want: crl.ErrScope, lenient: true, make: with(func(l *tbsCertList) {
		l.Revoked[0].Extensions = []pkix.Extension{ext(oidCertIs, true, "\x30\x04\xa4\x02\x30\x00")}
	})},

	{name: "delta", want: crl.ErrDelta, lenient: true, mayRefuse: true, make: withExtension(ext(oidDelta, true, "\x02\x01\x05"))},
}

// verifyErrors are all that Verify may find.
var verifyErrors = []error{
	crl.ErrExpired, crl.ErrNotYetValid, crl.ErrNoNextUpdate, crl.ErrIssuer, crl.ErrNotCA,
	crl.ErrSignature, crl.ErrCritical, crl.ErrScope, crl.ErrDelta, crl.ErrBase, crl.ErrMalformed,
}

func parseCert(t testing.TB, data []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("no PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// shiftSignature writes the signature as the same bits, one to the left, with
// the last one unused; the standard library shifts them back.
func shiftSignature(raw []byte) []byte {
	var l certList
	if _, err := asn1.Unmarshal(raw, &l); err != nil {
		panic(err)
	}
	shifted := make([]byte, len(l.Signature.Bytes)) // begins with 0x30: no bit is lost
	for i, b := range l.Signature.Bytes {
		shifted[i] = b << 1
		if i+1 < len(shifted) {
			shifted[i] |= l.Signature.Bytes[i+1] >> 7
		}
	}
	l.Signature = asn1.BitString{Bytes: shifted, BitLength: 8*len(shifted) - 1}
	der, err := asn1.Marshal(l)
	if err != nil {
		panic(err)
	}
	return der
}
