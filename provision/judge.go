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
	if err := e.checkCert(certs, key.Public()); err != nil {
		return err
	}
	leaf := certs[0]
	if e.list != nil && isRevoked(e.list, leaf) {
		return errRevoked
	}
	if !e.now().Before(e.renewAt(leaf)) {
		return fmt.Errorf("it expires at %s", when(leaf.NotAfter))
	}
	return nil
}

// renewAt is when a certificate is to be renewed: always the same for the same
// certificate, and spread for those that were issued together.
func (id *Identity) renewAt(leaf *x509.Certificate) time.Time {
	before := id.RenewBefore
	if before <= 0 {
		before = leaf.NotAfter.Sub(leaf.NotBefore) / 3
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
	if leaf.Subject.CommonName != e.CommonName {
		return fmt.Errorf("its common name is %q, not %q", leaf.Subject.CommonName, e.CommonName)
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
	if err := e.checkUsages(leaf); err != nil {
		return err
	}
	_, err := leaf.Verify(verifyOptions(certs[1:], e.chain, e.now()))
	return err
}

func (id *Identity) checkUsages(leaf *x509.Certificate) error {
	if len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 ||
		slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	wanted := id.Usages
	if wanted == nil {
		wanted = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, usage := range wanted {
		if !slices.Contains(leaf.ExtKeyUsage, usage) {
			return fmt.Errorf("its extended key usages exclude %s", usage)
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
