package crl

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
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
}

// Sign returns the DER of the list that t describes, signed by the issuer's
// key. The issuer needs the cRLSign key usage and a subject key identifier.
// What is returned has been parsed and verified again.
func Sign(t *Template, issuer *x509.Certificate, key crypto.Signer) (der []byte, err error) {
	list, err := t.revocationList()
	if err != nil {
		return nil, fmt.Errorf("signing CRL: %w", err)
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(issuer.PublicKey) {
		return nil, fmt.Errorf("signing CRL: the key is not that of the issuer %q", issuer.Subject)
	}
	der, err = x509.CreateRevocationList(rand.Reader, list, issuer, key)
	if err != nil {
		return nil, fmt.Errorf("signing CRL: %w", err)
	}
	signed, err := parseDER(der)
	if err != nil {
		return nil, fmt.Errorf("signing CRL: reading it back: %w", err)
	}
	if err := errors.Join(authentic(signed, issuer), usable(signed)); err != nil && (t.Base == nil || !errors.Is(err, ErrDelta)) {
		return nil, fmt.Errorf("signing CRL: checking it: %w", err)
	}
	return der, nil
}

// revocationList checks t and turns it into the standard library's template.
func (t *Template) revocationList() (*x509.RevocationList, error) {
	list := &x509.RevocationList{
		Number:                    t.Number,
		ThisUpdate:                t.ThisUpdate.Truncate(time.Second),
		NextUpdate:                t.NextUpdate.Truncate(time.Second),
		RevokedCertificateEntries: make([]x509.RevocationListEntry, len(t.Entries)),
	}
	switch {
	case t.Number == nil:
		return nil, errors.New("the CRL number is missing")
	case t.Number.Sign() < 0:
		return nil, fmt.Errorf("CRL number %v is negative", t.Number)
	case t.ThisUpdate.IsZero():
		return nil, errors.New("thisUpdate is missing")
	case !list.NextUpdate.After(list.ThisUpdate):
		return nil, fmt.Errorf("nextUpdate %v is not after thisUpdate %v", show(t.NextUpdate), show(t.ThisUpdate))
	}
	if t.Base != nil {
		if t.Base.Sign() < 0 || t.Base.Cmp(t.Number) >= 0 {
			return nil, fmt.Errorf("base CRL number %v is not below the CRL number %v", t.Base, t.Number)
		}
		value, err := asn1.Marshal(t.Base)
		if err != nil {
			return nil, err
		}
		list.ExtraExtensions = []pkix.Extension{{Id: oidDeltaCRLIndicator, Critical: true, Value: value}}
	}
	seen := make(map[string]struct{}, len(t.Entries))
	for i, e := range t.Entries {
		if err := e.check(t.Base != nil); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		serial := string(e.Serial.Bytes())
		if _, twice := seen[serial]; twice {
			return nil, fmt.Errorf("entry %d: serial %x is there twice", i, e.Serial)
		}
		seen[serial] = struct{}{}
		list.RevokedCertificateEntries[i] = x509.RevocationListEntry{
			SerialNumber:   e.Serial,
			RevocationTime: e.RevokedAt.Truncate(time.Second),
			ReasonCode:     int(e.Reason),
		}
	}
	return list, nil
}

// maxSerialBits keeps a serial within the 20 octets of RFC 5280, section
// 4.1.2.2, with the sign bit that DER needs.
const maxSerialBits = 20*8 - 1

func (e Entry) check(delta bool) error {
	switch {
	case e.Serial == nil || e.Serial.Sign() <= 0:
		return fmt.Errorf("serial %v is not positive", e.Serial)
	case e.Serial.BitLen() > maxSerialBits:
		return fmt.Errorf("serial %x is longer than 20 octets", e.Serial)
	case e.RevokedAt.IsZero():
		return fmt.Errorf("serial %x has no revocation date", e.Serial)
	case !e.Reason.valid():
		return fmt.Errorf("serial %x has unknown reason code %d", e.Serial, int(e.Reason))
	case e.Reason == RemoveFromCRL && !delta:
		return fmt.Errorf("serial %x has reason %v, which only a delta may hold", e.Serial, e.Reason)
	}
	return nil
}

// show is how the package's messages print a time.
func show(t time.Time) string { return t.UTC().Format(time.RFC3339) }
