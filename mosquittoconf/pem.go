package mosquittoconf

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// certificateLabels are those that OpenSSL reads as certificates.
var certificateLabels = []string{"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"}

// pemBlocks returns the blocks of data. Text between them is skipped, but a
// block that cannot be decoded is an error, as it is for OpenSSL; encoding/pem
// would skip it.
func pemBlocks(data []byte) ([]*pem.Block, error) {
	begin := []byte("-----BEGIN ")
	want := bytes.Count(data, append([]byte("\n"), begin...))
	if bytes.HasPrefix(data, begin) {
		want++
	}
	var blocks []*pem.Block
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	if len(blocks) != want {
		return nil, fmt.Errorf("%d of %d PEM blocks cannot be decoded", want-len(blocks), want)
	}
	return blocks, nil
}

// parseCertificates returns the certificates of a PEM file, at least one.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	blocks, err := pemBlocks(data)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, b := range blocks {
		if !slices.Contains(certificateLabels, b.Type) {
			continue
		}
		cert, err := parseCertificate(b)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no PEM certificate in it")
	}
	return certs, nil
}

func parseCertificate(b *pem.Block) (*x509.Certificate, error) {
	der := b.Bytes
	if b.Type == "TRUSTED CERTIFICATE" {
		der = firstValue(der)
	}
	return x509.ParseCertificate(der)
}

// firstValue returns the certificate that a TRUSTED CERTIFICATE begins with;
// OpenSSL's notes on what to trust it for follow.
func firstValue(der []byte) []byte {
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return der
	}
	return v.FullBytes
}

// isSequence reports whether der is one well-formed ASN.1 SEQUENCE. What it
// holds may be beyond the standard library and not beyond OpenSSL: other
// curves, other algorithms.
func isSequence(der []byte) bool {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	return err == nil && len(rest) == 0 && v.IsCompound && v.Tag == asn1.TagSequence
}

var errEncrypted = errors.New("the private key is encrypted")

// unreadKeyError is a key that OpenSSL may know. It says nothing of the key.
type unreadKeyError struct{ label string }

func (e *unreadKeyError) Error() string { return fmt.Sprintf("%s of an unknown kind", e.label) }

// parseKey returns the first private key of a PEM file. Its errors say nothing
// of the key.
func parseKey(data []byte) (crypto.Signer, error) {
	blocks, err := pemBlocks(data)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(blocks, func(b *pem.Block) bool {
		return b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY")
	})
	if i < 0 {
		return nil, errors.New("no PEM private key in it")
	}
	b := blocks[i]
	if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errEncrypted
	}
	var key any
	switch b.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	if signer, ok := key.(crypto.Signer); ok && err == nil {
		return signer, nil
	}
	if isSequence(b.Bytes) {
		return nil, &unreadKeyError{b.Type}
	}
	return nil, fmt.Errorf("%s is not DER", b.Type)
}
