package crl

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// What [Verify] finds wrong with a list. The comments say what a broker that
// loads it does all the same with the clients of that CA, and by which TLS
// alert it refuses them.
var (
	ErrExpired      = errors.New("the CRL has expired")                        // refused, certificate_expired (45)
	ErrNotYetValid  = errors.New("the CRL is not yet valid")                   // refused, bad_certificate (42)
	ErrNoNextUpdate = errors.New("the CRL has no nextUpdate")                  // accepted unless listed, for ever
	ErrIssuer       = errors.New("the CRL is of another issuer")               // refused, unknown_ca (48)
	ErrNotCA        = errors.New("the issuer may not sign CRLs")               // refused
	ErrSignature    = errors.New("the CRL's signature is not the issuer's")    // refused, decrypt_error (51)
	ErrCritical     = errors.New("the CRL has unknown critical content")       // refused, certificate_unknown (46)
	ErrScope        = errors.New("the CRL is not for all client certificates") // unknown_ca (48) or certificate_unknown (46), or an entry is missed
	ErrDelta        = errors.New("the CRL is a delta")                         // see Verify
	ErrBase         = errors.New("the CRLs do not fit together")               // of Merge and VerifyDelta only
	ErrMalformed    = errors.New("the CRL is malformed")                       // mostly refused; Parse would not have read it
)

// Verify reports whether a broker at time now lets in the clients of issuer
// that are not on the list, and only those. It joins all faults, each one of
// the errors above:
//
//   - the issuer's certificate is no CA's, or lacks cRLSign;
//   - the list's issuer is not, byte for byte, the certificate's subject, or
//     the list's authority key identifier names another certificate or key;
//   - the signature is not the issuer's, or its algorithm is not supported;
//   - the list, or an entry, has a critical extension that OpenSSL does not
//     handle: any but the issuing distribution point (RFC 5280, section 5.2.5);
//   - the issuing distribution point says that it is not about all client
//     certificates: only CA or attribute certificates, only some reasons,
//     indirect, or only those that name the same distribution point;
//   - it is a delta, which some releases of OpenSSL take for the complete
//     list, letting in whom its base revokes, and others do not look at;
//   - now is before thisUpdate, at or after nextUpdate, or there is no nextUpdate.
//
// It is the list's Raw field that counts, for entries and extensions alike. A
// list that [Parse] read is never malformed; [x509.ParseRevocationList] reads
// more. Of faults in entries the first of each kind is reported. SHA-1
// signatures are accepted, as OpenSSL does for lists. Verify takes no position
// on the issuer's own validity.
func Verify(list *x509.RevocationList, issuer *x509.Certificate, now time.Time) error {
	return errors.Join(authentic(list, issuer), usable(list), current(list, now))
}

// VerifyDelta is [Verify] for a delta, which a broker can't use but [Merge]
// can. A complete list is [ErrBase].
func VerifyDelta(list *x509.RevocationList, issuer *x509.Certificate, now time.Time) error {
	d, err := readDocument(list.Raw)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !d.isDelta() {
		return fmt.Errorf("%w: a complete list is no delta", ErrBase)
	}
	fault, err := d.readItems(nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	complete := *d.head
	complete.Extensions = slices.DeleteFunc(slices.Clone(complete.Extensions), func(e pkix.Extension) bool { return e.Id.Equal(oidDeltaCRLIndicator) })
	return errors.Join(authentic(d.head, issuer), usableHead(&complete), fault, current(d.head, now))
}

var (
	oidCRLNumber                = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDeltaCRLIndicator        = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidCAIssuers                = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 2} // id-ad-caIssuers
	oidAuthorityKeyID           = asn1.ObjectIdentifier{2, 5, 29, 35}               // never critical: parsing refuses that
)

// authentic says whether issuer made the list.
func authentic(list *x509.RevocationList, issuer *x509.Certificate) error {
	var errs []error
	if err := maySign(issuer); err != nil {
		errs = append(errs, err)
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
		errs = append(errs, fmt.Errorf("%w: %q (want %q)", ErrIssuer, list.Issuer, issuer.Subject))
	} else if err := checkAuthorityKeyID(list.Extensions, issuer); err != nil {
		errs = append(errs, err)
	}
	if err := issuer.CheckSignature(list.SignatureAlgorithm, list.RawTBSRevocationList, list.Signature); err != nil {
		errs = append(errs, fmt.Errorf("%w: issuer %q: %v", ErrSignature, issuer.Subject, err))
	}
	return errors.Join(errs...)
}

// maySign says whether the certificate is one that may sign lists. Version 1
// certificates, and those without key usage, are not limited.
func maySign(issuer *x509.Certificate) error {
	switch {
	case issuer.Version >= 3 && (!issuer.BasicConstraintsValid || !issuer.IsCA):
		return fmt.Errorf("%w: %q is not a CA", ErrNotCA, issuer.Subject)
	case issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCRLSign == 0:
		return fmt.Errorf("%w: key usage of %q lacks cRLSign", ErrNotCA, issuer.Subject)
	}
	return nil
}

// authorityKeyID is AuthorityKeyIdentifier of RFC 5280, section 4.2.1.1.
type authorityKeyID struct {
	KeyID  []byte        `asn1:"optional,tag:0"`
	Issuer asn1.RawValue `asn1:"optional,tag:1"`
	Serial *big.Int      `asn1:"optional,tag:2"`
}

// checkAuthorityKeyID compares as OpenSSL does: what only one side has is no
// fault.
func checkAuthorityKeyID(exts []pkix.Extension, issuer *x509.Certificate) error {
	ext := find(exts, oidAuthorityKeyID)
	if ext == nil {
		return nil
	}
	var id authorityKeyID
	if err := unmarshal(ext.Value, &id); err != nil {
		return fmt.Errorf("%w: malformed authority key identifier: %v", ErrIssuer, err)
	}
	if len(id.KeyID) > 0 && len(issuer.SubjectKeyId) > 0 && !bytes.Equal(id.KeyID, issuer.SubjectKeyId) {
		return fmt.Errorf("%w: authority key identifier %x (want %x)", ErrIssuer, id.KeyID, issuer.SubjectKeyId)
	}
	if id.Serial != nil && id.Serial.Cmp(issuer.SerialNumber) != 0 {
		return fmt.Errorf("%w: authority certificate serial %x (want %x)", ErrIssuer, id.Serial, issuer.SerialNumber)
	}
	const directoryName = 4
	for names := id.Issuer.Bytes; len(names) > 0; {
		var name asn1.RawValue
		var err error
		if names, err = asn1.Unmarshal(names, &name); err != nil {
			return fmt.Errorf("%w: malformed authority key identifier: %v", ErrIssuer, err)
		}
		if name.Tag == directoryName {
			if !bytes.Equal(name.Bytes, issuer.RawIssuer) {
				return fmt.Errorf("%w: authority certificate issuer is not %q", ErrIssuer, issuer.Issuer)
			}
			break
		}
	}
	return nil
}

// usable says whether a broker can judge every client certificate by the
// list, whatever its dates.
func usable(list *x509.RevocationList) error {
	d, err := readDocument(list.Raw)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	fault, err := d.readItems(nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return errors.Join(usableHead(list), fault)
}

func usableHead(list *x509.RevocationList) error {
	var errs []error
	for _, ext := range list.Extensions {
		switch {
		case ext.Id.Equal(oidDeltaCRLIndicator):
			errs = append(errs, fmt.Errorf("%w: a broker may take it for the complete list", ErrDelta))
		case ext.Id.Equal(oidIssuingDistributionPoint):
			// OpenSSL heeds it even where it is not critical.
			if _, err := scopeOf(list); err != nil {
				errs = append(errs, fmt.Errorf("%w: %w", ErrScope, err))
			}
		case ext.Critical:
			errs = append(errs, fmt.Errorf("%w: extension %v", ErrCritical, ext.Id))
		}
	}
	return errors.Join(errs...)
}

// entryFaults are the first of each kind in a list's entries.
type entryFaults struct{ scope, critical error }

func (f *entryFaults) add(it *item, exts []extension) {
	for _, ext := range exts {
		switch ofOthers := bytes.Equal(ext.id, idCertificateIssuer); {
		case ofOthers && f.scope == nil:
			f.scope = fmt.Errorf("%w: the entry for serial %s is of another issuer", ErrScope, hex(it.serial))
		case !ofOthers && ext.critical && f.critical == nil:
			f.critical = fmt.Errorf("%w: extension %v in the entry for serial %s", ErrCritical, ext.oid(), hex(it.serial))
		}
	}
}

// issuingDistributionPoint is IssuingDistributionPoint of RFC 5280, section
// 5.2.5.
type issuingDistributionPoint struct {
	DistributionPoint          asn1.RawValue  `asn1:"optional,tag:0"`
	OnlyContainsUserCerts      bool           `asn1:"optional,tag:1"`
	OnlyContainsCACerts        bool           `asn1:"optional,tag:2"`
	OnlySomeReasons            asn1.BitString `asn1:"optional,tag:3"`
	IndirectCRL                bool           `asn1:"optional,tag:4"`
	OnlyContainsAttributeCerts bool           `asn1:"optional,tag:5"`
}

// kinds is how many kinds of certificates it says are the only ones.
func (idp *issuingDistributionPoint) kinds() int {
	n := 0
	for _, only := range []bool{idp.OnlyContainsUserCerts, idp.OnlyContainsCACerts, idp.OnlyContainsAttributeCerts} {
		if only {
			n++
		}
	}
	return n
}

// scope is what OpenSSL makes of a list's issuing distribution point.
type scope int

const (
	wholeScope   scope = iota // it judges every client by the list
	partialScope              // it prefers another list, and lets nobody in by this one
	ignoredScope              // it does as if the list were not there
)

// scopeOf is the scope for any client that is no CA.
func scopeOf(list *x509.RevocationList) (scope, error) { return scopeFor(list, nil) }

// scopeFor is the scope for one client, nil is any that is no CA.
func scopeFor(list *x509.RevocationList, client *x509.Certificate) (scope, error) {
	ext := find(list.Extensions, oidIssuingDistributionPoint)
	if ext == nil {
		return wholeScope, nil
	}
	var idp issuingDistributionPoint
	if err := unmarshal(ext.Value, &idp); err != nil {
		// OpenSSL does as if there were no such extension.
		return wholeScope, fmt.Errorf("malformed issuing distribution point: %w", err)
	}
	isCA := client != nil && client.IsCA
	switch {
	case idp.IndirectCRL:
		return ignoredScope, errors.New("it is indirect")
	case idp.OnlySomeReasons.BitLength > 0:
		return ignoredScope, errors.New("it holds only some reasons")
	case idp.kinds() > 1:
		return ignoredScope, errors.New("its issuing distribution point contradicts itself")
	case idp.OnlyContainsCACerts && !isCA:
		return partialScope, errors.New("it holds only CA certificates")
	case idp.OnlyContainsUserCerts && isCA:
		return partialScope, errors.New("it holds no CA certificates")
	case idp.OnlyContainsAttributeCerts:
		return partialScope, errors.New("it holds only attribute certificates")
	case len(idp.DistributionPoint.FullBytes) > 0:
		urls, _ := fullName(idp.DistributionPoint)
		if client == nil || !slices.ContainsFunc(urls, func(url string) bool { return slices.Contains(client.CRLDistributionPoints, url) }) {
			return partialScope, errors.New("it holds only certificates that name its distribution point")
		}
	}
	return wholeScope, nil
}

// fullName returns the URLs that a DistributionPointName consists of, and an
// error if there is anything else.
func fullName(point asn1.RawValue) (urls []string, err error) {
	var full asn1.RawValue
	if err := unmarshal(point.Bytes, &full); err != nil || full.Class != asn1.ClassContextSpecific || full.Tag != 0 {
		return nil, errors.New("its distribution point has no full name")
	}
	const uri = 6
	for names := full.Bytes; len(names) > 0; {
		var name asn1.RawValue
		if names, err = asn1.Unmarshal(names, &name); err != nil || name.Class != asn1.ClassContextSpecific || name.Tag != uri {
			return urls, errors.New("its distribution point is not named by URLs alone")
		}
		urls = append(urls, string(name.Bytes))
	}
	return urls, nil
}

// current says whether the list is valid at now, with OpenSSL's boundaries:
// thisUpdate is in, nextUpdate is out.
func current(list *x509.RevocationList, now time.Time) error {
	switch {
	case now.Before(list.ThisUpdate):
		return fmt.Errorf("%w: thisUpdate is %v, now is %v", ErrNotYetValid, show(list.ThisUpdate), show(now))
	case list.NextUpdate.IsZero():
		return ErrNoNextUpdate
	case !now.Before(list.NextUpdate):
		return fmt.Errorf("%w: nextUpdate was %v, now is %v", ErrExpired, show(list.NextUpdate), show(now))
	}
	return nil
}

func find(exts []pkix.Extension, id asn1.ObjectIdentifier) *pkix.Extension {
	for i := range exts {
		if exts[i].Id.Equal(id) {
			return &exts[i]
		}
	}
	return nil
}

// unmarshal is asn1.Unmarshal of all of der.
func unmarshal(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d trailing bytes", len(rest))
	}
	return err
}
