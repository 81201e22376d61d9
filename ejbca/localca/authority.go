package localca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/internal/groupcommit"
)

// rootLifetime outlives the devices' certificates by years. See the package
// comment.
const rootLifetime = 10 * 365 * 24 * time.Hour

// authority is one CA.
type authority struct {
	name   string
	dn     string // as EJBCA writes it
	parent *authority
	key    crypto.Signer
	cert   *x509.Certificate
	lists  *groupcommit.Group[listRequest]
}

func (a *authority) depth() int {
	n := 0
	for p := a.parent; p != nil; p = p.parent {
		n++
	}
	return n
}

// checkPeriod refuses to sign for a CA when it, or one above it, isn't valid.
func (a *authority) checkPeriod(now time.Time) error {
	for ; a != nil; a = a.parent {
		switch {
		case now.Before(a.cert.NotBefore):
			return fmt.Errorf("CA with name %s is not valid before %s", a.name, a.cert.NotBefore.Format(time.RFC3339))
		case !now.Before(a.cert.NotAfter):
			return fmt.Errorf("CA with name %s has expired", a.name)
		}
	}
	return nil
}

// signatureAlgorithm always hashes with SHA-256.
func (a *authority) signatureAlgorithm() x509.SignatureAlgorithm {
	if _, ok := a.key.(*ecdsa.PrivateKey); ok {
		return x509.ECDSAWithSHA256
	}
	return x509.SHA256WithRSA
}

func checkCA(name string, keySize int) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("name of the CA: %w", err)
	}
	if keySize != p256Bits && (keySize < minKeyBits || keySize > maxKeyBits) {
		return fmt.Errorf("key size %d (want %d to %d for RSA, or %d for ECDSA)", keySize, minKeyBits, maxKeyBits, p256Bits)
	}
	return nil
}

// newAuthority makes a key and a certificate, signed by parent or, if that is
// nil, by the key itself.
func newAuthority(name string, dn []attribute, parent *authority, keySize int, lifetime time.Duration, now time.Time) (*authority, error) {
	a := &authority{name: name, dn: formatDN(dn), parent: parent}
	var err error
	if a.key, err = newKey(keySize); err != nil {
		return nil, err
	}
	subject, err := encodeDN(dn)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(a.key.Public())
	if err != nil {
		return nil, err
	}
	notBefore := now.UTC().Truncate(time.Second).Add(-backdate)
	template := &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            subject,
		NotBefore:             notBefore,
		NotAfter:              notBefore.Add(lifetime),
		SignatureAlgorithm:    a.signatureAlgorithm(),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          keyID(spki),
	}
	issuer, issuerKey := template, a.key
	if parent != nil {
		issuer, issuerKey = parent.cert, parent.key
		template.SignatureAlgorithm = parent.signatureAlgorithm()
		if err := parent.checkPeriod(now); err != nil {
			return nil, err
		}
		if template.NotAfter.After(parent.cert.NotAfter) {
			template.NotAfter = parent.cert.NotAfter
		}
	} else {
		template.AuthorityKeyId = template.SubjectKeyId
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, a.key.Public(), issuerKey)
	if err != nil {
		return nil, err
	}
	a.cert, err = x509.ParseCertificate(der)
	return a, err
}

func newKey(bits int) (crypto.Signer, error) {
	if bits == p256Bits {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

// rootDN has the root's name in the original's terms.
func rootDN(name string) []attribute {
	return []attribute{{"CN", name}, {"O", "EJBCA IOT"}, {"C", "SE"}}
}

// newSerial returns 127 random bits: positive, and beyond guessing
// (CA/Browser Forum baseline requirements 7.1 ask for 64).
func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 127)
	for {
		n, err := rand.Int(rand.Reader, limit)
		if err != nil || n.BitLen() > 64 {
			return n, err
		}
	}
}

// keyID is the key identifier of RFC 7093 section 2 (1): the first 160 bits
// of the SHA-256 of the public key's bits. It is nil for what isn't a
// SubjectPublicKeyInfo, which the callers' can't be.
func keyID(spki []byte) []byte {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		return nil
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20]
}

// The keys in an authority's bucket, which also holds the buckets of its
// certificates and lists.
var (
	keyCert   = []byte("certificate") // DER
	keyKey    = []byte("key")         // PKCS#8, perhaps encrypted
	keyParent = []byte("parent")      // the name of the CA above, or nothing
)

// bucket returns one of the authority's own buckets.
func (a *authority) bucket(tx *bbolt.Tx, name []byte) *bbolt.Bucket {
	return tx.Bucket(bucketCAs).Bucket([]byte(a.name)).Bucket(name)
}

// storeAuthority stores a CA that is new.
func storeAuthority(tx *bbolt.Tx, a *authority, passphrase string) error {
	key, err := marshalKey(a.key, passphrase)
	if err != nil {
		return err
	}
	b, err := tx.Bucket(bucketCAs).CreateBucket([]byte(a.name))
	if err != nil {
		return err
	}
	for _, name := range [][]byte{bucketCerts, bucketRevoked, bucketChanges, bucketLists} {
		if _, err := b.CreateBucket(name); err != nil {
			return err
		}
	}
	parent := ""
	if a.parent != nil {
		parent = a.parent.name
	}
	return errors.Join(b.Put(keyCert, a.cert.Raw), b.Put(keyKey, key), b.Put(keyParent, []byte(parent)))
}

// load reads the CAs out of the file, the root first, and checks that what
// makes each of them belongs together.
func load(db *bbolt.DB, passphrase string) ([]*authority, error) {
	type stored struct {
		name, parent string
		cert, key    []byte
	}
	var all []stored
	err := db.View(func(tx *bbolt.Tx) error {
		meta, cas := tx.Bucket(bucketMeta), tx.Bucket(bucketCAs)
		if meta == nil {
			return errors.New("not a CA's file")
		}
		if f := meta.Get([]byte("format")); string(f) != dbFormat {
			return fmt.Errorf("format %q is unknown (want %q)", f, dbFormat)
		}
		return cas.ForEachBucket(func(name []byte) error {
			b := cas.Bucket(name)
			// Copies: the file's bytes may move after the transaction.
			all = append(all, stored{string(name), string(b.Get(keyParent)), bytes.Clone(b.Get(keyCert)), bytes.Clone(b.Get(keyKey))})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var cas []*authority
	var below func(parent *authority) error
	below = func(parent *authority) error {
		parentName := ""
		if parent != nil {
			parentName = parent.name
		}
		for _, s := range all {
			if s.parent != parentName || len(cas) == len(all) {
				continue
			}
			a, err := readAuthority(s.name, s.cert, s.key, parent, passphrase)
			if err != nil {
				return fmt.Errorf("CA %q: %w", s.name, err)
			}
			cas = append(cas, a)
			if err := below(a); err != nil {
				return err
			}
		}
		return nil
	}
	if err := below(nil); err != nil {
		return nil, err
	}
	if len(cas) == 0 || len(cas) != len(all) || slices.ContainsFunc(cas[1:], func(a *authority) bool { return a.parent == nil }) {
		return nil, errors.New("its CAs aren't one hierarchy")
	}
	return cas, nil
}

func readAuthority(name string, cert, key []byte, parent *authority, passphrase string) (*authority, error) {
	a := &authority{name: name, parent: parent}
	var err error
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	if a.key, err = parseKey(key, passphrase); err != nil {
		return nil, err
	}
	if pub, ok := a.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(a.cert.PublicKey) {
		return nil, errors.New("its key isn't that of its certificate")
	}
	if parent != nil {
		if err := a.cert.CheckSignatureFrom(parent.cert); err != nil {
			return nil, fmt.Errorf("its certificate isn't from CA %q: %w", parent.name, err)
		}
		a.dn = formatDN([]attribute{{"CN", name}})
	} else {
		a.dn = formatDN(rootDN(name))
	}
	return a, nil
}
