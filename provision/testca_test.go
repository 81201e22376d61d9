package provision_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"
)

// testCA is a CA that signs what a real one would not: keys on P-256, any
// subject, any dates. It keeps a list of what is revoked.
type testCA struct {
	cert  *x509.Certificate
	key   crypto.Signer
	above []*x509.Certificate // the CAs above it, the root last

	// edit, if not nil, changes each certificate before it is signed.
	edit func(*x509.Certificate)
	// editList, likewise.
	editList func(*x509.RevocationList)

	mu      sync.Mutex
	signed  int
	revoked []x509.RevocationListEntry
	number  int64
}

func newTestCA(t testing.TB, name string) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &testCA{key: key}
	ca.cert = ca.issue(t, caTemplate(name), nil, key.Public())
	return ca
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// sub returns a CA below ca.
func (ca *testCA) sub(t testing.TB, name string) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{key: key, cert: ca.issue(t, caTemplate(name), nil, key.Public()),
		above: append([]*x509.Certificate{ca.cert}, ca.above...)}
}

func (ca *testCA) issue(t testing.TB, c *x509.Certificate, edit func(*x509.Certificate), key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	cert, err := ca.certify(c, edit, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (ca *testCA) certify(c *x509.Certificate, edit func(*x509.Certificate), key crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, err
	}
	c.SerialNumber = serial
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(30*24*time.Hour)
	if c.IsCA {
		c.NotAfter = c.NotBefore.AddDate(10, 0, 0)
	}
	if edit != nil {
		edit(c)
	}
	parent := ca.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, ca.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (ca *testCA) Chain(context.Context) ([]*x509.Certificate, error) {
	return append([]*x509.Certificate{ca.cert}, ca.above...), nil
}

func (ca *testCA) Sign(_ context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	ca.mu.Lock()
	ca.signed++
	ca.mu.Unlock()
	cert, err := ca.certify(&x509.Certificate{
		Subject: csr.Subject, DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}, ca.edit, csr.PublicKey)
	if err != nil {
		return nil, err
	}
	certs := []*x509.Certificate{cert}
	if len(ca.above) > 0 {
		certs = append(certs, ca.cert)
	}
	return certs, nil
}

func (ca *testCA) revoke(cert *x509.Certificate) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.revoked = append(ca.revoked, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
}

func (ca *testCA) CRL(context.Context) (*x509.RevocationList, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.number++
	list := &x509.RevocationList{
		Number: big.NewInt(ca.number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: ca.revoked,
	}
	if ca.editList != nil {
		ca.editList(list)
	}
	issuer := *ca.cert
	issuer.KeyUsage |= x509.KeyUsageCRLSign // else crypto/x509 makes no list
	der, err := x509.CreateRevocationList(rand.Reader, list, &issuer, ca.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseRevocationList(der)
}

func encodeCRL(list *x509.RevocationList) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list.Raw}))
}
