package mosquittotest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is a CA that lives as long as its broker.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// lifetime is longer than any test.
const lifetime = 24 * time.Hour

func newAuthority() (*authority, error) {
	a := &authority{}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "mosquittotest CA"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := a.issue(template)
	if err != nil {
		return nil, err
	}
	a.cert, a.key = cert.Leaf, cert.PrivateKey.(*ecdsa.PrivateKey)
	return a, nil
}

// issue completes the template. Without a certificate of its own, the
// authority makes one.
func (a *authority) issue(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return tls.Certificate{}, err
	}
	// A clock that is a little late must not matter.
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = template.NotBefore.Add(lifetime)
	issuer, signer := a.cert, a.key
	if issuer == nil {
		issuer, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// install writes what the broker needs into dir, and returns the options of a
// TLS listener that names it.
func (a *authority) install(dir string, mode os.FileMode) (string, error) {
	server, err := a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "mosquitto"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return "", err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return "", err
	}
	ca, crt, private := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "mosquitto.crt"), filepath.Join(dir, "mosquitto.key")
	err = errors.Join(
		os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o644),
		os.WriteFile(crt, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate[0]}), 0o644),
		os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), mode),
	)
	return "cafile " + ca + "\ncertfile " + crt + "\nkeyfile " + private +
		"\nrequire_certificate true\nuse_identity_as_username true\n", err
}

// ClientTLS returns the TLS configuration of a client whose certificate, by
// the broker's throw-away CA, has the common name name: that is its user name.
// With an empty name, the client trusts the broker and has no certificate. It
// is an error if the broker was not started with Options.TLS.
func (b *Broker) ClientTLS(name string) (*tls.Config, error) {
	if b.ca == nil {
		return nil, errors.New("the broker was started without TLS")
	}
	roots := x509.NewCertPool()
	roots.AddCert(b.ca.cert)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if name == "" {
		return config, nil
	}
	cert, err := b.ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{cert}
	return config, nil
}
