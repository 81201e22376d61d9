package mosquittoconf

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// listener checks the material of a TLS listener.
func (c *checker) listener(l *holder) {
	certfile, keyfile := l.last("certfile"), l.last("keyfile")
	cafile, capath := l.last("cafile"), l.last("capath")
	pair := certfile != nil && keyfile != nil && (cafile != nil || capath != nil || c.version.atLeast(2, 0, 0))
	if dh := l.last("dhparamfile"); dh != nil && (pair || l.has("psk_hint")) && c.version.atLeast(1, 6, 0) && !c.version.atLeast(2, 1, 0) {
		c.parameters(dh)
	}
	if !pair {
		return // without TLS, they are not read; Vet says so
	}
	require := l.true("require_certificate")
	var cas []*x509.Certificate
	if cafile != nil {
		cas = c.cas(cafile, require)
	}
	if capath != nil && cafile == nil && require {
		c.directory(capath)
	}
	chain := c.certificate(certfile, cas)
	if l.has("tls_engine") {
		c.warn(keyfile, "not-checked", "keyfile is for a tls_engine", "start a broker to see")
	} else {
		c.key(keyfile, chain)
	}
	if ciphers := l.last("ciphers"); ciphers != nil {
		c.ciphers(ciphers, chain)
	}
	if crlfile := l.last("crlfile"); crlfile != nil {
		if !require {
			cas = nil // the lists are loaded, and never asked
		}
		c.lists(crlfile, cas)
	}
}

// parameters checks a file of Diffie-Hellman parameters, which 2.1 chooses
// itself.
func (c *checker) parameters(d *statement) {
	data, ok := c.read(d)
	if !ok {
		return
	}
	var group struct{ P, G *big.Int }
	blocks, err := pemBlocks(data)
	i := slices.IndexFunc(blocks, func(b *pem.Block) bool { return b.Type == "DH PARAMETERS" })
	if err == nil && i < 0 {
		err = errors.New("no DH PARAMETERS in it")
	}
	if err == nil {
		_, err = asn1.Unmarshal(blocks[i].Bytes, &group)
	}
	if err == nil && group.P.BitLen() < minDHBits {
		err = fmt.Errorf("the prime has %d bits (want %d)", group.P.BitLen(), minDHBits)
	}
	if err != nil {
		c.refused(d, "dhparamfile-invalid", fmt.Sprintf("dhparamfile %s: %v", c.path(d), err), "remove the line: TLS 1.3 and elliptic curves need no parameters")
	}
}

// minDHBits is what OpenSSL's security level 2 wants, Debian's default.
const minDHBits = 2048

// certificates returns the certificates of a file, in its order. It reports
// what does not parse; what Go does not read but OpenSSL may is a warning.
func (c *checker) certificates(d *statement) ([]*x509.Certificate, bool) {
	data, ok := c.read(d)
	if !ok {
		return nil, false
	}
	invalid := func(err error) {
		c.refused(d, d.Key+"-invalid", fmt.Sprintf("%s %s: %v", d.Key, c.path(d), err), "replace it by PEM certificates")
	}
	blocks, err := pemBlocks(data)
	if err != nil {
		invalid(err)
		return nil, false
	}
	var certs []*x509.Certificate
	found := false
	for _, b := range blocks {
		if !slices.Contains(certificateLabels, b.Type) {
			continue
		}
		found = true
		cert, err := parseCertificate(b)
		switch {
		case err == nil:
			certs = append(certs, cert)
		case isSequence(b.Bytes):
			c.warn(d, "not-checked", fmt.Sprintf("%s %s: %v", d.Key, c.path(d), err), "look at it with openssl x509 -text")
			if len(certs) == 0 && d.Key == "certfile" {
				return nil, false // what follows is not the broker's own
			}
		default:
			invalid(fmt.Errorf("certificate: %w", err))
			return nil, false
		}
	}
	if !found && d.Key == "cafile" && slices.ContainsFunc(blocks, func(b *pem.Block) bool { return b.Type == "X509 CRL" }) {
		return nil, true // which OpenSSL loads
	}
	if !found {
		invalid(errors.New("no PEM certificate in it"))
		return nil, false
	}
	return certs, true
}

// cas returns the CAs of a cafile.
func (c *checker) cas(d *statement, require bool) []*x509.Certificate {
	certs, ok := c.certificates(d)
	if !ok {
		return nil
	}
	certs = slices.DeleteFunc(certs, func(cert *x509.Certificate) bool { return !isCA(cert) })
	if len(certs) == 0 && require {
		c.trap(d, "ca-none", fmt.Sprintf("cafile %s holds no certificate of a CA: every client is refused", c.path(d)),
			"put the certificate of the CA there, not one that it has issued")
	}
	for _, ca := range certs {
		if c.env.Now.After(ca.NotAfter) {
			c.warn(d, "ca-expired", fmt.Sprintf("CA %q in %s expired at %s: its clients are refused", ca.Subject, c.path(d), show(ca.NotAfter)),
				"replace it by the CA's current certificate")
		}
	}
	return certs
}

// isCA takes version 1 certificates as OpenSSL does: CAs if they are
// self-issued.
func isCA(cert *x509.Certificate) bool {
	return cert.IsCA || cert.Version == 1 && bytes.Equal(cert.RawSubject, cert.RawIssuer)
}

// certificate checks the broker's certificate and returns its chain, the
// broker's own first.
func (c *checker) certificate(d *statement, cas []*x509.Certificate) []*x509.Certificate {
	chain, ok := c.certificates(d)
	if !ok || len(chain) == 0 {
		return nil
	}
	leaf, path, now := chain[0], c.path(d), c.env.Now
	switch {
	case now.After(leaf.NotAfter):
		c.trap(d, "certificate-expired", fmt.Sprintf("the certificate in %s expired at %s: clients refuse the broker", path, show(leaf.NotAfter)), "renew it")
	case now.Before(leaf.NotBefore):
		c.trap(d, "certificate-not-yet-valid", fmt.Sprintf("the certificate in %s is valid from %s: clients refuse the broker", path, show(leaf.NotBefore)), "check the clocks of this machine and of the CA")
	}
	if left := leaf.NotAfter.Sub(now); left > 0 && left < leaf.NotAfter.Sub(leaf.NotBefore)/soon {
		c.warn(d, "certificate-expires-soon", fmt.Sprintf("the certificate in %s expires at %s", path, show(leaf.NotAfter)), "renew it")
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		c.warn(d, "certificate-without-names", fmt.Sprintf("the certificate in %s has no name of a host: many clients refuse the broker", path), namesRemedy)
	} else {
		c.served = append(c.served, served{d, leaf})
	}
	if !forServers(leaf) {
		c.trap(d, "certificate-not-for-servers", fmt.Sprintf("the extended key usage of the certificate in %s lacks serverAuth: clients refuse the broker", path), "have it issued with serverAuth, or without extended key usage")
	}
	if len(cas) == 0 || now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return chain
	}
	// The broker completes its chain from cafile, and some clients trust
	// an intermediate CA alone.
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, ca := range cas {
		options.Roots.AddCert(ca)
	}
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Verify(options); err != nil {
		c.warn(d, "chain-unverified", fmt.Sprintf("the certificate in %s is not of a CA in cafile: %v", path, err),
			"check that the clients trust its CA, and that certfile holds the intermediate CAs")
	}
	return chain
}

const namesRemedy = "have it issued with the names that clients connect to as subject alternative names"

// names judges the certificates by the names that clients connect to. With
// several listeners, each may be for some of them.
func (c *checker) names() {
	if len(c.served) == 0 {
		return
	}
	has := func(s served) func(name string) bool {
		return func(name string) bool { return s.leaf.VerifyHostname(name) == nil }
	}
	some := false
	for _, s := range c.served {
		switch {
		case len(c.env.Names) == 0:
		case slices.ContainsFunc(c.env.Names, has(s)):
			some = true
		default:
			c.trap(s.certfile, "certificate-name", fmt.Sprintf("the certificate in %s has none of the names that clients connect to, but %s: they refuse the broker", c.path(s.certfile), namesOf(s.leaf)), namesRemedy)
		}
		for _, name := range s.leaf.DNSNames {
			if _, err := netip.ParseAddr(name); err == nil {
				c.warn(s.certfile, "certificate-name", fmt.Sprintf("the certificate in %s has the address %s as the name of a host: clients that connect to it refuse the broker", c.path(s.certfile), name), "have it issued with the address as an IP address")
			}
		}
	}
	for _, name := range c.env.Names {
		if some && !slices.ContainsFunc(c.served, func(s served) bool { return has(s)(name) }) {
			first := c.served[0]
			c.trap(first.certfile, "certificate-name", fmt.Sprintf("the certificate in %s lacks the name %.80q and has %s: clients that connect to it refuse the broker", c.path(first.certfile), name, namesOf(first.leaf)), namesRemedy)
		}
	}
}

// namesOf are the names in a certificate, not all if there are many.
func namesOf(cert *x509.Certificate) string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	const enough = 5
	if len(names) > enough {
		names = append(names[:enough], "…")
	}
	return fmt.Sprintf("%.300q", names)
}

func forServers(cert *x509.Certificate) bool { return isFor(cert, x509.ExtKeyUsageServerAuth) }

func isFor(cert *x509.Certificate, usage x509.ExtKeyUsage) bool {
	if len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(cert.ExtKeyUsage, usage) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// soon is the part of its lifetime that a certificate has left when it is time
// to say so.
const soon = 10

// directory checks a hashed directory of CAs.
func (c *checker) directory(d *statement) {
	path := c.path(d)
	hashed, err := isHashed(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.warn(d, "not-checked", fmt.Sprintf("%s: %v", d.Key, err), "check as a user who may read it")
	case err != nil:
		c.trap(d, "file-missing", fmt.Sprintf("%s %s is no folder: every client is refused", d.Key, path), "correct the path")
	case !hashed:
		c.trap(d, "capath-unhashed", fmt.Sprintf("%s %s has no entry by the hash of a name: every client is refused", d.Key, path), "make it a hashed directory (HashDir, or openssl rehash)")
	}
}

// isHashed reports whether a folder has an entry by the hash of a name.
func isHashed(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return hashName.MatchString(e.Name()) }), err
}

// ciphers judges a list in which each entry names how the server proves who it
// is, if that is all another way than the key has.
func (c *checker) ciphers(d *statement, chain []*x509.Certificate) {
	if len(chain) == 0 {
		return
	}
	var other string
	switch chain[0].PublicKeyAlgorithm {
	case x509.RSA:
		other = "ECDSA-"
	case x509.ECDSA:
		other = "RSA-"
	default:
		return
	}
	for name := range strings.SplitSeq(d.Value, ":") {
		if !strings.Contains(name, other) {
			return
		}
	}
	c.trap(d, "ciphers-unfit", fmt.Sprintf("no cipher of %.60q goes with the %s key: clients need TLS 1.3", d.Value, chain[0].PublicKeyAlgorithm), "remove the line")
}

// key checks the broker's private key against its certificate.
func (c *checker) key(d *statement, chain []*x509.Certificate) {
	data, ok := c.read(d)
	if !ok {
		return
	}
	path := c.path(d)
	if info, err := os.Stat(path); err == nil && info.Mode()&0o004 != 0 {
		c.warn(d, "key-exposed", fmt.Sprintf("everybody on this machine may read the private key %s (mode %#o)", path, info.Mode().Perm()), "chmod o= "+path)
	}
	key, err := parseKey(data)
	var notRead *unreadKeyError
	switch {
	case errors.Is(err, errEncrypted):
		c.refused(d, "key-encrypted", fmt.Sprintf("keyfile %s: %v: the broker would ask for its password at a terminal", path, err), "store it without a password, with mode 0600")
	case errors.As(err, &notRead):
		c.warn(d, "not-checked", fmt.Sprintf("keyfile %s: %v", path, err), "look at it with openssl pkey -text -noout")
	case err != nil:
		c.refused(d, "keyfile-invalid", fmt.Sprintf("keyfile %s: %v", path, err), "replace it by a PEM private key")
	case len(chain) > 0 && !samePublicKey(key.Public(), chain[0].PublicKey):
		c.refused(d, "key-mismatch", fmt.Sprintf("the private key %s is not that of the certificate: every handshake fails", path),
			"use the key with which the certificate was requested, or request a new one")
	}
}

func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

func show(t time.Time) string { return t.UTC().Format(time.RFC3339) }
