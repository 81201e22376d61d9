package crl

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What [Accepts] finds, beside the errors of [Verify] and ErrMissing, which
// are about the list. The comments say by which TLS alert a broker refuses the
// client.
var (
	ErrNoCertificate          = errors.New("the client has no certificate")              // handshake_failure (40), TLS 1.3: certificate_required (116)
	ErrRevoked                = errors.New("the certificate is revoked")                 // certificate_revoked (44)
	ErrUntrusted              = errors.New("the certificate is of no trusted CA")        // unknown_ca (48)
	ErrForged                 = errors.New("the certificate is not signed by its CA")    // decrypt_error (51)
	ErrCertificateExpired     = errors.New("the certificate has expired")                // certificate_expired (45)
	ErrCertificateNotYetValid = errors.New("the certificate is not yet valid")           // bad_certificate (42)
	ErrPurpose                = errors.New("the certificate is not for TLS clients")     // unsupported_certificate (43)
	ErrWeak                   = errors.New("the certificate's key or signature is weak") // bad_certificate (42)
	ErrUnsupported            = errors.New("the certificate has unknown critical parts") // certificate_unknown (46)
)

// Accepts reports what a broker does at time now with a TLS client that
// presents a certificate, followed by those of intermediate CAs, if any. cas
// is the broker's cafile, lists its crlfile; require_certificate is on. Nil:
// it lets the client in. An error says why it does not; the comments of the
// errors say by which alert. The first reason is the one, in OpenSSL's order,
// but of the list all faults are joined.
//
// The answer is that of brokers with OpenSSL 3 at security level 2, Debian's
// default, as [Verify]'s is not: a list without nextUpdate, or with entries of
// another issuer, lets in who is not on it. Where releases of OpenSSL differ,
// as about deltas, the answer is an error. Name constraints and certificate
// policies are not looked at, nor is that a client may resume a session.
func Accepts(lists []*x509.RevocationList, cas, client []*x509.Certificate, now time.Time) error {
	if len(client) == 0 {
		return ErrNoCertificate
	}
	chain, err := chainOf(cas, client, now)
	if err != nil {
		return err
	}
	for i, cert := range chain {
		if err := fitsAt(cert, i, chain); err != nil {
			return err
		}
	}
	for i, cert := range chain {
		if err := strong(cert, i == len(chain)-1); err != nil {
			return err
		}
	}
	// A client that is a root itself is its own CA.
	if err := NotRevoked(lists, chain[min(1, len(chain)-1)], chain[0], now); err != nil {
		return err
	}
	for i, cert := range slices.Backward(chain) { // from the root, as OpenSSL goes
		if i < len(chain)-1 {
			if err := chain[i+1].CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
				return fmt.Errorf("%w: %q by %q: %v", ErrForged, cert.Subject, cert.Issuer, err)
			}
		}
		switch {
		case now.Before(cert.NotBefore):
			return fmt.Errorf("%w: %q: notBefore is %v, now is %v", ErrCertificateNotYetValid, cert.Subject, show(cert.NotBefore), show(now))
		case now.After(cert.NotAfter):
			return fmt.Errorf("%w: %q: notAfter was %v, now is %v", ErrCertificateExpired, cert.Subject, show(cert.NotAfter), show(now))
		}
	}
	return nil
}

// maxChain is more than any real chain has.
const maxChain = 10

// chainOf builds the chain from the client's certificate to a root in cas. It
// looks among the trusted ones first, and looks at names and key identifiers
// only, as OpenSSL does.
func chainOf(cas, client []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	chain := client[:1:1]
	for {
		cert := chain[len(chain)-1]
		if bytes.Equal(cert.RawSubject, cert.RawIssuer) {
			if !slices.ContainsFunc(cas, cert.Equal) {
				return nil, fmt.Errorf("%w: %q signed itself and is not in the cafile", ErrUntrusted, cert.Subject)
			}
			return chain, nil
		}
		next := issuerOf(cert, cas, now)
		if next == nil {
			next = issuerOf(cert, client[1:], now)
		}
		if next == nil || len(chain) == maxChain {
			return nil, fmt.Errorf("%w: no certificate of %q, which signed %q", ErrUntrusted, cert.Issuer, cert.Subject)
		}
		chain = append(chain, next)
	}
}

// issuerOf returns the certificate among some that may have signed cert, one
// that is valid now if there is a choice.
func issuerOf(cert *x509.Certificate, some []*x509.Certificate, now time.Time) (issuer *x509.Certificate) {
	for _, c := range some {
		switch {
		case !bytes.Equal(c.RawSubject, cert.RawIssuer),
			checkAuthorityKeyID(cert.Extensions, c) != nil,
			c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		case !now.Before(c.NotBefore) && !now.After(c.NotAfter):
			return c
		case issuer == nil:
			issuer = c
		}
	}
	return issuer
}

// fitsAt checks the extensions of the certificate at a place in the chain.
func fitsAt(cert *x509.Certificate, place int, chain []*x509.Certificate) error {
	if len(cert.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("%w: %q: extension %v", ErrUnsupported, cert.Subject, cert.UnhandledCriticalExtensions)
	}
	if place > 0 && !maySignCertificates(cert) {
		return fmt.Errorf("%w: %q is not a CA", ErrUntrusted, cert.Subject)
	}
	if usages := len(cert.ExtKeyUsage) + len(cert.UnknownExtKeyUsage); usages > 0 && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return fmt.Errorf("%w: extended key usage of %q lacks clientAuth", ErrPurpose, cert.Subject)
	}
	if place == 0 {
		if cert.KeyUsage != 0 && cert.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement) == 0 {
			return fmt.Errorf("%w: key usage of %q lacks digitalSignature", ErrPurpose, cert.Subject)
		}
		return nil
	}
	below := 0 // intermediates, but those that a CA issued to itself
	for _, c := range chain[1:place] {
		if !bytes.Equal(c.RawSubject, c.RawIssuer) {
			below++
		}
	}
	if cert.BasicConstraintsValid && (cert.MaxPathLen > 0 || cert.MaxPathLenZero) && below > cert.MaxPathLen {
		return fmt.Errorf("%w: %q allows %d intermediate CAs below it, and there are %d", ErrUntrusted, cert.Subject, cert.MaxPathLen, below)
	}
	return nil
}

// strong checks what OpenSSL's security level 2 wants: 112 bits of security,
// of keys and of all signatures but that of the last certificate, which is
// trusted as it is.
func strong(cert *x509.Certificate, last bool) error {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return fmt.Errorf("%w: %q has an RSA key of %d bits (want 2048)", ErrWeak, cert.Subject, key.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 224 {
			return fmt.Errorf("%w: %q has an EC key of %d bits (want 224)", ErrWeak, cert.Subject, key.Curve.Params().BitSize)
		}
	}
	if last {
		return nil
	}
	switch a := cert.SignatureAlgorithm; a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return fmt.Errorf("%w: %q is signed by %v", ErrWeak, cert.Subject, a)
	}
	return nil
}

// NotRevoked is the part of [Accepts] that asks the lists: it reports what they
// make a broker do with a client of that CA, whatever it has against the
// certificates. [ErrRevoked] comes alone, from a list that has no fault.
//
// The list asked is the one that OpenSSL chooses. Only the client's own
// certificate is looked up there, those of CAs are not.
func NotRevoked(lists []*x509.RevocationList, ca, client *x509.Certificate, now time.Time) error {
	list, err := choose(lists, ca, client, now)
	if err != nil {
		return fmt.Errorf("CA %q: %w", ca.Subject, err)
	}
	ix, err := indexOf(list)
	if err != nil {
		return fmt.Errorf("CA %q: %w", ca.Subject, err)
	}
	var errs []error
	errs = append(errs, authentic(list, ca))
	if err := current(list, now); !errors.Is(err, ErrNoNextUpdate) {
		errs = append(errs, err)
	}
	if scope, err := scopeFor(list, client); scope != wholeScope {
		errs = append(errs, fmt.Errorf("%w: %w", ErrScope, err))
	}
	if err := errors.Join(usableHead(list), ix.fault); errors.Is(err, ErrCritical) {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("CA %q: %w", ca.Subject, err)
	}
	if e, listed := ix.Lookup(client.SerialNumber); listed && e.Reason != RemoveFromCRL && !ix.ofOthers(client) {
		return fmt.Errorf("%w: %q, serial %x, since %v, %v", ErrRevoked, client.Subject, client.SerialNumber, show(e.RevokedAt), e.Reason)
	}
	return nil
}

// ofOthers says whether the client's serial is on the list only as that of
// another issuer's certificate: where an entry names an issuer, it and those
// after it are about that one's certificates (RFC 5280, section 5.3.3).
func (ix *Index) ofOthers(client *x509.Certificate) bool {
	if !errors.Is(ix.fault, ErrScope) {
		return false
	}
	key := appendInteger(nil, client.SerialNumber)
	others := false
	for it := range ix.items() {
		if _, exts, _ := it.details(); exts != nil {
			for _, e := range exts {
				if bytes.Equal(e.id, idCertificateIssuer) {
					others = !bytes.Contains(e.value, client.RawIssuer)
				}
			}
		}
		if !others && bytes.Equal(it.serial, key) {
			return false
		}
	}
	return true
}
