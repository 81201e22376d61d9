package crl

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that signingAlgorithm names
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Entry is one revoked certificate.
type Entry struct {
	Serial    *big.Int
	RevokedAt time.Time
	Reason    Reason // Unspecified leaves the reasonCode extension out, as RFC 5280 wants
}

// Template is the content of a list to sign. Times are kept to the second.
type Template struct {
	// Number is the CRL number: it must grow with every list of an issuer,
	// deltas included, and fit 20 octets.
	Number *big.Int

	ThisUpdate, NextUpdate time.Time

	// Entries are written in this order; none may occur twice.
	Entries []Entry

	// Base makes the list a delta: it holds the changes since the complete
	// list with this number. Nil is a complete list. Brokers take a delta
	// for a complete list, so [Verify] refuses one.
	Base *big.Int

	// DistributionPoint limits the list's scope. Nil, for brokers the right
	// choice, is all certificates of the issuer.
	DistributionPoint *IssuingDistributionPoint
}

// IssuingDistributionPoint says which certificates a list is about (RFC 5280,
// section 5.2.5). At least one field must be set, and at most one of the two
// kinds of certificates. Brokers use a list for clients only if
// OnlyContainsUserCerts is all that is set; [Verify] refuses the others.
type IssuingDistributionPoint struct {
	// URLs are where the list is to be had; it is about certificates whose
	// cRLDistributionPoints names one of them.
	URLs []string

	OnlyContainsUserCerts bool
	OnlyContainsCACerts   bool
}

// Sign returns the DER of the list that t describes, signed by the issuer's
// key. The issuer needs the cRLSign key usage and a subject key identifier.
//
// A list that breaks a rule of RFC 5280 (see [Lint]) is never signed: it is
// made with a throw-away key first, and checked. The list with the issuer's
// signature is read and verified again before it is returned.
//
// The hash is SHA-256, or with a P-384 or P-521 key SHA-384 or SHA-512. RSA
// signatures are PKCS #1 v1.5. For all that a Template can say the result is,
// but for ECDSA's random numbers, the same that [x509.CreateRevocationList]
// makes of it, and arrives sooner if the list is large.
func Sign(t *Template, issuer *x509.Certificate, key crypto.Signer) (der []byte, err error) {
	der, err = sign(t, issuer, key)
	if err != nil {
		return nil, fmt.Errorf("signing CRL: %w", err)
	}
	return der, nil
}

func sign(t *Template, issuer *x509.Certificate, key crypto.Signer) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(issuer.PublicKey) {
		return nil, fmt.Errorf("the key is not that of the issuer %q", issuer.Subject)
	}
	if err := maySign(issuer); err != nil {
		return nil, err
	}
	if len(issuer.SubjectKeyId) == 0 {
		return nil, fmt.Errorf("the certificate of the issuer %q has no subject key identifier", issuer.Subject)
	}
	list, err := t.encode(issuer)
	if err != nil {
		return nil, err
	}

	throwAway, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	draft, err := list.sign(throwAway, noDigest)
	if err != nil {
		return nil, err
	}
	ix, err := newIndex(draft)
	if err != nil {
		return nil, fmt.Errorf("checking it: %w", err)
	}
	var errs []error
	for _, f := range ix.lint() {
		if f.Severity == Violation {
			errs = append(errs, errors.New(f.String()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	der, err := list.sign(key, digest)
	if err != nil {
		return nil, err
	}
	// But for algorithm and signature it is the draft.
	d, err := readDocument(der)
	if err == nil {
		err = authentic(d.head, issuer)
	}
	if err != nil {
		return nil, fmt.Errorf("checking it: %w", err)
	}
	return der, nil
}

// check finds what the list could not say, or says though it is not so. What
// RFC 5280 says of the result is left to the rules of Lint.
func (t *Template) check() error {
	this, next := t.ThisUpdate.Truncate(time.Second), t.NextUpdate.Truncate(time.Second)
	switch {
	case t.Number == nil:
		return errors.New("the CRL number is missing")
	case t.ThisUpdate.IsZero():
		return errors.New("thisUpdate is missing")
	case !hasFourDigits(this) || !hasFourDigits(next):
		return fmt.Errorf("thisUpdate %v or nextUpdate %v: the year has not four digits", show(this), show(next))
	case !next.After(this):
		return fmt.Errorf("nextUpdate %v is not after thisUpdate %v", show(t.NextUpdate), show(t.ThisUpdate))
	case t.Base != nil && (t.Base.Sign() < 0 || t.Base.Cmp(t.Number) >= 0):
		return fmt.Errorf("base CRL number %v is not below the CRL number %v", t.Base, t.Number)
	}
	for i := range t.Entries {
		if err := t.Entries[i].check(); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	if p := t.DistributionPoint; p != nil {
		for _, url := range p.URLs {
			// An IA5String, and nothing that ends it elsewhere.
			if url == "" || strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return fmt.Errorf("distribution point %q is no URL (want printable ASCII)", url)
			}
		}
	}
	return nil
}

func (e *Entry) check() error {
	switch {
	case e.Serial == nil:
		return errors.New("the serial is missing")
	case e.Serial.Sign() <= 0:
		return fmt.Errorf("serial %v is not positive", e.Serial)
	case e.Serial.BitLen() > maxSerialBits:
		return fmt.Errorf("serial %x is longer than 20 octets", e.Serial)
	case e.RevokedAt.IsZero():
		return fmt.Errorf("serial %x has no revocation date", e.Serial)
	case !hasFourDigits(e.RevokedAt):
		return fmt.Errorf("serial %x: the year of the revocation date %v has not four digits", e.Serial, show(e.RevokedAt))
	case e.Reason < 0 || e.Reason > 127:
		return fmt.Errorf("serial %x has unknown reason code %d", e.Serial, int(e.Reason))
	}
	return nil
}

func hasFourDigits(t time.Time) bool {
	year := t.UTC().Year()
	return 0 <= year && year <= 9999
}

// RFC 5280, section 4.1.2.2, limits serials to 20 octets, in which DER needs a
// bit for the sign.
const (
	maxSerialOctets = 20
	maxSerialBits   = 8*maxSerialOctets - 1
)

// unsigned is what gets signed: tbsCertList of RFC 5280, section 5.1, but for
// the algorithm, which depends on the key.
type unsigned struct {
	issuer []byte
	dates  []byte // thisUpdate and nextUpdate

	// buf has revokedCertificates and the extensions from at on, with room
	// before and behind for what else there is, so that large lists are
	// written once.
	buf []byte
	at  int
}

func (t *Template) encode(issuer *x509.Certificate) (*unsigned, error) {
	var extensions []pkix.Extension
	for _, e := range []struct {
		id       asn1.ObjectIdentifier
		critical bool
		value    any
		present  bool
	}{
		{oidAuthorityKeyID, false, authorityKeyID{KeyID: issuer.SubjectKeyId}, true},
		{oidCRLNumber, false, t.Number, true},
		{oidDeltaCRLIndicator, true, t.Base, t.Base != nil},
		{oidIssuingDistributionPoint, true, t.DistributionPoint.value(), t.DistributionPoint != nil},
	} {
		if !e.present {
			continue
		}
		der, err := asn1.Marshal(e.value)
		if err != nil {
			return nil, fmt.Errorf("extension %v: %w", e.id, err)
		}
		extensions = append(extensions, pkix.Extension{Id: e.id, Critical: e.critical, Value: der})
	}
	der, err := asn1.MarshalWithParams(extensions, "tag:0,explicit")
	if err != nil {
		return nil, err
	}
	u := &unsigned{issuer: issuer.RawSubject, dates: appendTime(appendTime(nil, t.ThisUpdate.UTC()), t.NextUpdate.UTC())}

	entries := 0
	for i := range t.Entries {
		entries += t.Entries[i].size()
	}
	const algorithms, signature = 100, 1 << 10 // roomy
	room := 3*maxHeader + len(u.issuer) + len(u.dates) + algorithms
	u.at = room
	u.buf = make([]byte, room, room+entries+len(der)+signature+algorithms)
	if entries > 0 {
		for i := range t.Entries {
			u.buf = t.Entries[i].append(u.buf)
		}
		u.at = putBefore(u.buf, room, appendHeader(nil, tagSequence, entries))
	}
	u.buf = append(u.buf, der...)
	return u, nil
}

// putBefore copies part into b where it ends at end, and returns where it
// begins.
func putBefore(b []byte, end int, part []byte) (begin int) {
	begin = end - len(part)
	copy(b[begin:end], part)
	return begin
}

func (p *IssuingDistributionPoint) value() issuingDistributionPoint {
	if p == nil {
		return issuingDistributionPoint{}
	}
	v := issuingDistributionPoint{OnlyContainsUserCerts: p.OnlyContainsUserCerts, OnlyContainsCACerts: p.OnlyContainsCACerts}
	if len(p.URLs) > 0 {
		const fullName, uri = 0xa0, 0x86 // both in implicit tagging
		var names []byte
		for _, url := range p.URLs {
			names = append(appendHeader(names, uri, len(url)), url...)
		}
		v.DistributionPoint = asn1.RawValue{
			Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true,
			Bytes: append(appendHeader(nil, fullName, len(names)), names...),
		}
	}
	return v
}

// digest hashes what gets signed.
func digest(hash crypto.Hash, message []byte) []byte {
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// noDigest stands in for digest in a draft, whose signature nobody verifies:
// to hash a list of a million entries takes longer than to check it.
func noDigest(hash crypto.Hash, _ []byte) []byte { return make([]byte, hash.Size()) }

// sign completes the list with the key's algorithm and signature. The result
// is overwritten by the next call.
func (u *unsigned) sign(key crypto.Signer, digest func(crypto.Hash, []byte) []byte) ([]byte, error) {
	hash, identifier, err := signingAlgorithm(key.Public())
	if err != nil {
		return nil, err
	}
	algorithm, err := asn1.Marshal(identifier)
	if err != nil {
		return nil, err
	}
	version := []byte{tagInteger, 1, 1} // that is 2
	head := slices.Concat(version, algorithm, u.issuer, u.dates)
	begin := putBefore(u.buf, u.at, head)
	begin = putBefore(u.buf, begin, appendHeader(nil, tagSequence, len(u.buf)-begin))

	message := u.buf[begin:]
	if hash != 0 {
		message = digest(hash, message)
	}
	signature, err := key.Sign(rand.Reader, message, hash)
	if err != nil {
		return nil, err
	}
	der := append(u.buf, algorithm...)
	der = append(appendHeader(der, tagBitString, 1+len(signature)), 0)
	der = append(der, signature...)
	begin = putBefore(der, begin, appendHeader(nil, tagSequence, len(der)-begin))
	return der[begin:], nil
}

// signingAlgorithm is how a key signs: RFC 4055, section 5, for RSA, with its
// NULL; RFC 5758, section 3.2, for ECDSA; RFC 8410, section 3, for Ed25519,
// which hashes by itself.
func signingAlgorithm(pub crypto.PublicKey) (crypto.Hash, pkix.AlgorithmIdentifier, error) {
	var (
		hash crypto.Hash
		id   pkix.AlgorithmIdentifier
	)
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		hash, id.Algorithm, id.Parameters = crypto.SHA256, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, asn1.NullRawValue
	case ed25519.PublicKey:
		id.Algorithm = asn1.ObjectIdentifier{1, 3, 101, 112}
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P224(), elliptic.P256():
			hash, id.Algorithm = crypto.SHA256, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
		case elliptic.P384():
			hash, id.Algorithm = crypto.SHA384, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
		case elliptic.P521():
			hash, id.Algorithm = crypto.SHA512, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
		default:
			return 0, id, errors.New("unsupported elliptic curve (want P-224, P-256, P-384 or P-521)")
		}
	default:
		return 0, id, fmt.Errorf("unsupported key type %T (want RSA, ECDSA or Ed25519)", pub)
	}
	return hash, id, nil
}

// maxHeader is the most that appendHeader appends.
const maxHeader = 6

// size is the length of the entry's DER.
func (e *Entry) size() int {
	n := usualSerial + e.Serial.BitLen()/8 + 1 + usualDate
	if !isUTCTime(e.RevokedAt.UTC().Year()) {
		n += len("20") // of the year
	}
	if e.Reason != Unspecified {
		n += usualReason
	}
	return n
}

// append appends the entry's DER, whose serial check has found to be short and
// not negative. encoding/asn1 would take most of a large list's time for this.
func (e *Entry) append(b []byte) []byte {
	at := len(b)
	b = append(b, tagSequence, 0, tagInteger, 0)
	b = appendInteger(b, e.Serial)
	b[at+3] = byte(len(b) - at - 4)
	b = appendTime(b, e.RevokedAt.UTC())
	if e.Reason != Unspecified {
		b = append(append(b, onlyReason[:]...), byte(e.Reason))
	}
	b[at+1] = byte(len(b) - at - 2)
	return b
}

// appendTime appends t as a Time of RFC 5280, section 5.1.2.6: a UTCTime
// through 2049.
func appendTime(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	pair := func(n int) { b = append(b, '0'+byte(n/10), '0'+byte(n%10)) }
	if isUTCTime(year) {
		b = append(b, tagUTCTime, 13)
	} else {
		b = append(b, tagGeneralizedTime, 15)
		pair(year / 100)
	}
	pair(year % 100)
	pair(int(month))
	pair(day)
	pair(hour)
	pair(minute)
	pair(second)
	return append(b, 'Z')
}

func isUTCTime(year int) bool { return 1950 <= year && year < 2050 }

// show is how the package's messages print a time.
func show(t time.Time) string { return t.UTC().Format(time.RFC3339) }
