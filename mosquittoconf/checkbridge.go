package mosquittoconf

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// bridge checks a bridge's material. The broker starts whatever it is.
func (c *checker) bridge(b *holder) {
	if ca := b.last("bridge_cafile"); ca != nil {
		if _, err := c.certificatesOf(ca); err != nil {
			c.trap(ca, "bridge-ca", fmt.Sprintf("bridge_cafile %s: %v: the bridge does not connect", c.path(ca), err), "put the PEM certificate of the server's CA there")
		}
	} else if path := b.last("bridge_capath"); path != nil {
		if hashed, _ := isHashed(c.path(path)); !hashed {
			c.trap(path, "bridge-ca", fmt.Sprintf("bridge_capath %s is no hashed directory: the bridge trusts no server", c.path(path)), "make it one (HashDir, or openssl rehash)")
		}
	}
	cert, key := b.last("bridge_certfile"), b.last("bridge_keyfile")
	if cert == nil || key == nil {
		return // Vet says what becomes of it
	}
	bad := func(d *statement, what any) {
		c.trap(d, "bridge-certificate", fmt.Sprintf("%s %s: %v: the bridge does not connect", d.Key, c.path(d), what), "give the bridge a client certificate and its key")
	}
	chain, err := c.certificatesOf(cert)
	if err != nil {
		bad(cert, err)
		return
	}
	leaf := chain[0]
	switch {
	case c.env.Now.After(leaf.NotAfter):
		bad(cert, "expired at "+show(leaf.NotAfter))
	case c.env.Now.Before(leaf.NotBefore):
		bad(cert, "valid from "+show(leaf.NotBefore))
	case !isFor(leaf, x509.ExtKeyUsageClientAuth):
		bad(cert, "its extended key usage lacks clientAuth: the server answers unsupported certificate, or just hangs up")
	}
	data, err := c.bridgeFile(key)
	if err != nil {
		bad(key, err)
		return
	}
	private, err := parseKey(data)
	if _, unread := errors.AsType[*unreadKeyError](err); unread {
		return
	}
	switch {
	case err != nil:
		bad(key, err)
	case !samePublicKey(private.Public(), leaf.PublicKey):
		bad(key, "it is not that of the certificate")
	}
}

// certificatesOf reads a bridge's certificates.
func (c *checker) certificatesOf(d *statement) ([]*x509.Certificate, error) {
	data, err := c.bridgeFile(d)
	if err != nil {
		return nil, err
	}
	return parseCertificates(data)
}

// bridgeFile returns the content of a file, which the broker must be able to
// read.
func (c *checker) bridgeFile(d *statement) ([]byte, error) {
	path := c.path(d)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it has %d bytes", info.Size())
	}
	if obstacle := c.obstacle(path); obstacle != "" {
		return nil, fmt.Errorf("user %d of the broker cannot read it: %s", c.env.UID, obstacle)
	}
	return os.ReadFile(path)
}
