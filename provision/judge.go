package provision

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

var errRevoked = errors.New("it has been revoked")

// whyNotCert returns nil if the certificate on disk is good, and otherwise
// what is wrong with it.
func (e *ensuring) whyNotCert() error {
	certs, err := readFile(e.Files.Cert, parseCerts)
	if err != nil {
		return err
	}
	key, err := readFile(e.Files.Key, parseKey)
	if err != nil {
		return err
	}
	leaf := certs[0]
	// First, as a key may be known to others, whatever else is wrong.
	if samePublicKey(leaf.PublicKey, key.Public()) && (isRevoked(e.list, leaf) || isRevoked(e.oldList, leaf)) {
		return errRevoked
	}
	if err := e.checkCert(certs, key.Public()); err != nil {
		return err
	}
	if e.now().Before(e.renewAt(leaf)) {
		return nil
	}
	if end := firstEnd(e.chain); !leaf.NotAfter.Before(end) {
		e.whyKept = fmt.Errorf("it expires at %s, and another would no later, as the CA expires at %s", when(leaf.NotAfter), when(end))
		return nil
	}
	e.ends = leaf.NotAfter
	return fmt.Errorf("it expires at %s", when(leaf.NotAfter))
}

// firstEnd is when the first of some certificates expires.
func firstEnd(certs []*x509.Certificate) time.Time {
	return slices.MinFunc(certs, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}

// renewAt is when a certificate is to be renewed: always the same for the same
// certificate, and spread for those that were issued together.
func (id *Identity) renewAt(leaf *x509.Certificate) time.Time {
	third := leaf.NotAfter.Sub(leaf.NotBefore) / 3
	before := min(id.RenewBefore, 2*third)
	if before <= 0 {
		before = third
	}
	sum := sha256.Sum256(leaf.Raw)
	const steps = 1 << 16
	jitter := before / 10 / steps * time.Duration(binary.BigEndian.Uint16(sum[:]))
	return leaf.NotAfter.Add(-before - jitter)
}

// checkCert judges a certificate against the key, the CA and what was asked.
func (e *ensuring) checkCert(certs []*x509.Certificate, key crypto.PublicKey) error {
	if len(certs) == 0 || slices.Contains(certs, nil) {
		return errors.New("no certificate")
	}
	leaf := certs[0]
	if !samePublicKey(leaf.PublicKey, key) {
		return errors.New("it is for another key")
	}
	// Mosquitto takes the first of several, crypto/x509 the last.
	if names := commonNames(leaf); len(names) != 1 || names[0] != e.CommonName {
		return fmt.Errorf("its common name is %q, not %q", strings.Join(names, ", "), e.CommonName)
	}
	if name := e.missingName(leaf.DNSNames, leaf.IPAddresses); name != "" {
		return fmt.Errorf("it lacks the name %q", name)
	}
	if leaf.IsCA {
		return errors.New("it is a CA certificate")
	}
	if bytes.Equal(leaf.RawSubject, leaf.RawIssuer) {
		return errors.New("its subject is the CA's own, which OpenSSL takes for a self-signed certificate")
	}
	if e.now().Before(leaf.NotBefore) {
		return fmt.Errorf("it is not valid before %s, and this machine's clock says %s", when(leaf.NotBefore), when(e.now()))
	}
	return e.verify(leaf, verifyOptions(certs[1:], e.chain, e.now()))
}

// checkAnswer judges the CA's certificate. If the one on disk is good, but for
// its end, another is worth the change only if it lasts longer.
func (e *ensuring) checkAnswer(certs []*x509.Certificate) error {
	if err := e.checkCert(certs, e.key.Public()); err != nil {
		return err
	}
	leaf := certs[0]
	if isRevoked(e.list, leaf) {
		return errRevoked
	}
	if e.ends.IsZero() || e.Overwrite || leaf.NotAfter.After(e.ends) {
		return nil
	}
	return fmt.Errorf("it ends at %s, no later than the one that is to be renewed", when(leaf.NotAfter))
}

// commonNames are those of the subject, in their order.
func commonNames(cert *x509.Certificate) []string {
	var names []string
	for _, a := range cert.Subject.Names {
		if name, ok := a.Value.(string); ok && a.Type.Equal(oidCommonName) {
			names = append(names, name)
		}
	}
	return names
}

// verify asks for the usages that OpenSSL asks for, in the certificate and the
// CAs above it.
func (id *Identity) verify(leaf *x509.Certificate, options x509.VerifyOptions) error {
	if leaf.KeyUsage != 0 && leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement) == 0 {
		return errors.New("its key usage excludes signatures, so it is of no use for TLS")
	}
	usages := id.Usages
	switch {
	case usages == nil:
		usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case len(usages) == 0:
		usages = options.KeyUsages
	}
	for _, usage := range usages {
		options.KeyUsages = []x509.ExtKeyUsage{usage}
		_, err := leaf.Verify(options)
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.IncompatibleUsage {
			return fmt.Errorf("its extended key usages, or those of its CA, exclude %s", usage)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyOptions are those of a broker. OpenSSL takes any self-signed
// certificate of the CA file as an anchor, and the others as intermediates. A
// CA that is not a root and whose root is not there is an anchor here, so that
// it can be checked at all.
func verifyOptions(intermediates, chain []*x509.Certificate, now time.Time) x509.VerifyOptions {
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, c := range intermediates {
		options.Intermediates.AddCert(c)
	}
	for i, c := range chain {
		if i == len(chain)-1 || bytes.Equal(c.RawSubject, c.RawIssuer) {
			options.Roots.AddCert(c)
		} else {
			options.Intermediates.AddCert(c)
		}
	}
	return options
}
