package provision

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A FieldError says which field of an Identity cannot be used, and why.
type FieldError struct {
	Field string
	Value string
	Want  string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s %q: want %s", e.Field, e.Value, e.Want)
}

// maxCommonName is RFC 5280's upper bound ub-common-name.
const maxCommonName = 64

// Validate returns a *FieldError about the first field that cannot be used, as
// Ensure and Plan do before they look at anything else.
func (id *Identity) Validate() error {
	if err := id.Files.validate(); err != nil {
		return err
	}
	if cn := id.CommonName; cn == "" || utf8.RuneCountInString(cn) > maxCommonName || !utf8.ValidString(cn) ||
		strings.ContainsFunc(cn, unicode.IsControl) || strings.TrimSpace(cn) != cn {
		return &FieldError{"common name", cn, "1 to 64 characters, none of them a control character, no blank at either end"}
	}
	// Separators are for paths, and Mosquitto refuses the messages of clients
	// whose names have wildcards in them.
	if strings.ContainsAny(id.CommonName, `/\+#`) {
		return &FieldError{"common name", id.CommonName, "none of / \\ + #, which are special in file names and topics"}
	}
	for _, name := range id.DNSNames {
		if !isHostName(name) {
			return &FieldError{"DNS name", name, "letters, digits, hyphens and dots, and no IP address"}
		}
	}
	for _, ip := range id.IPs {
		if len(ip) != net.IPv4len && len(ip) != net.IPv6len {
			return &FieldError{"IP address", ip.String(), "an IPv4 or IPv6 address"}
		}
	}
	return id.validateKey()
}

// isHostName accepts what RFC 1123 calls a host name, and underscores, which
// container networks use.
func isHostName(name string) bool {
	if name == "" || len(name) > 253 || net.ParseIP(name) != nil {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimPrefix(name, "*."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

var (
	oidCommonName       = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
)

// newCSR makes the request that dojot's programs make: subject CN alone, key
// usage digitalSignature, nonRepudiation and keyEncipherment, no CA, and the
// alternative names. An ECDSA key cannot encipher (RFC 8813, section 3).
func (id *Identity) newCSR(key crypto.Signer) (*x509.CertificateRequest, error) {
	bits := asn1.BitString{Bytes: []byte{0b1110_0000}, BitLength: 3}
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		bits = asn1.BitString{Bytes: []byte{0b1100_0000}, BitLength: 2}
	}
	usage, err := asn1.Marshal(bits)
	if err != nil {
		return nil, err
	}
	noCA, err := asn1.Marshal(struct{}{})
	if err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: id.CommonName},
		DNSNames:    id.DNSNames,
		IPAddresses: id.IPs,
		ExtraExtensions: []pkix.Extension{
			{Id: oidKeyUsage, Value: usage},
			{Id: oidBasicConstraints, Value: noCA},
		},
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificateRequest(der)
}

// fitsCSR reports whether a request on disk is still the one to make.
func (id *Identity) fitsCSR(csr *x509.CertificateRequest, key crypto.Signer) bool {
	return csr.CheckSignature() == nil && samePublicKey(csr.PublicKey, key.Public()) &&
		csr.Subject.CommonName == id.CommonName &&
		id.missingName(csr.DNSNames, csr.IPAddresses) == "" &&
		len(csr.DNSNames) == len(id.DNSNames) && len(csr.IPAddresses) == len(id.IPs)
}

// missingName returns a wanted alternative name that is not among those given.
func (id *Identity) missingName(dns []string, ips []net.IP) string {
	for _, name := range id.DNSNames {
		if !slices.ContainsFunc(dns, func(have string) bool { return strings.EqualFold(have, name) }) {
			return name
		}
	}
	for _, ip := range id.IPs {
		if !slices.ContainsFunc(ips, ip.Equal) {
			return ip.String()
		}
	}
	return ""
}

func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
