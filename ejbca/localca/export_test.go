package localca

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/crl"
)

// Root returns the root's key and certificate, for comparisons with what the
// standard library does with them.
func Root(t testing.TB, ca *CA) (crypto.Signer, *x509.Certificate) {
	t.Helper()
	return ca.root().key, ca.root().cert
}

// Commits returns how many transactions have changed the CA's file.
func Commits(t testing.TB, ca *CA) (n int) {
	t.Helper()
	err := ca.db.View(func(tx *bbolt.Tx) error {
		n = tx.ID()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// newCSR is a request for the name mqtt, with an ECDSA key.
func newCSR(t testing.TB) *x509.CertificateRequest {
	t.Helper()
	key, err := newKey(p256Bits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"mqtt"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// Fill stores n certificates of as many users, the first of them revoked, as
// if the root had issued them. Only their signatures are wrong.
func Fill(t testing.TB, ca *CA, n, revoked int) {
	t.Helper()
	csr := newCSR(t)
	root, now := ca.root(), ca.now()
	e := entity{
		Username: "admin:00000000", SubjectDN: "CN=admin:00000000", Status: statusGenerated, CAName: root.name,
		CertProfile: profileCertificate, EntityProfile: profileEntity, TokenType: tokenUserGenerated,
	}
	e.Password = ca.passwords.hash("secret")
	cert, err := root.certify(e, csr, now)
	if err != nil {
		t.Fatal(err)
	}
	serialAt := bytes.Index(cert.der, cert.serial.Bytes())
	ca.db.NoSync = true
	defer func() { ca.db.NoSync = false }()
	const batch = 20_000
	for begin := 0; begin < n; begin += batch {
		err := ca.db.Update(func(tx *bbolt.Tx) error {
			for i := begin; i < min(begin+batch, n); i++ {
				// In order, which fills the file quickly.
				serial := cert.serial.Bytes()
				binary.BigEndian.PutUint32(serial, 0x40000000+uint32(i))
				raw := slices.Clone(cert.der)
				copy(raw[serialAt:], serial)
				e.Username = fmt.Sprintf("admin:%08x", i)
				e.SubjectDN = "CN=" + e.Username
				hash := keyHash(csr)
				binary.BigEndian.PutUint32(hash, uint32(i))
				for _, put := range []struct {
					b          *bbolt.Bucket
					key, value []byte
				}{
					{root.bucket(tx, bucketCerts), serial, raw},
					{tx.Bucket(bucketOwned), ownedKey(e.Username, serial), []byte(root.name)},
					{tx.Bucket(bucketKeys), hash, []byte(e.Username)},
					{tx.Bucket(bucketSubjects), []byte(e.SubjectDN), []byte(e.Username)},
				} {
					put.b.FillPercent = 0.9
					if err := put.b.Put(put.key, put.value); err != nil {
						return err
					}
				}
				if err := putJSON(tx.Bucket(bucketUsers), []byte(e.Username), e); err != nil {
					return err
				}
				if i < revoked {
					rev := revocation{Reason: crl.Superseded, At: now, NotAfter: now.Add(time.Hour)}
					if err := root.bucket(tx, bucketRevoked).Put(serial, rev.encode()); err != nil {
						return err
					}
					if err := root.noteChange(tx, serial); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := ca.db.Sync(); err != nil {
		t.Fatal(err)
	}
}
