package localca

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/durable"
)

const (
	dbName   = "ca.db"
	dbFormat = "1"
	// lockWait lets a predecessor finish closing; longer than that, the file
	// has another owner.
	lockWait = 2 * time.Second
	// rootLifetime outlives the devices' certificates by years. See the
	// package comment.
	rootLifetime = 10 * 365 * 24 * time.Hour
)

// The buckets of ca.db.
var (
	bucketMeta     = []byte("meta")         // format, name, key (PKCS#8), certificate (DER)
	bucketUsers    = []byte("users")        // user name → entity, as JSON
	bucketCerts    = []byte("certificates") // serial → DER
	bucketOwned    = []byte("owned")        // user name, NUL, serial → nothing
	bucketKeys     = []byte("keys")         // SHA-256 of SubjectPublicKeyInfo → user name
	bucketSubjects = []byte("subjects")     // subject DN → user name
	bucketRevoked  = []byte("revoked")      // serial → revocation, as JSON; its sequence counts changes
	bucketCRL      = []byte("crl")          // "full" → issuedCRL, as JSON
)

// entity is what POST /user stores. The members with wire names are
// shown by GET /user as they are.
type entity struct {
	Username       string   `json:"username"`
	SubjectDN      string   `json:"subjectDN"`
	Status         int      `json:"status"`
	TokenType      string   `json:"tokenType"`
	CAName         string   `json:"caName"`
	CertProfile    string   `json:"certificateProfileName"`
	EntityProfile  string   `json:"endEntityProfileName"`
	ClearPwd       bool     `json:"clearPwd"`
	KeyRecoverable bool     `json:"keyRecoverable"`
	SendNotify     bool     `json:"sendNotification"`
	Password       passHash `json:"passwordHash"`
}

// revocation is one line of the CRL to be.
type revocation struct {
	Reason   crl.Reason `json:"reason"`
	At       time.Time  `json:"at"`
	NotAfter time.Time  `json:"notAfter"`
}

// issuedCRL is the newest CRL and what it covers.
type issuedCRL struct {
	Number     uint64    `json:"number"`
	Changes    uint64    `json:"changes"` // bucketRevoked's sequence when it was made
	ThisUpdate time.Time `json:"thisUpdate"`
	NextUpdate time.Time `json:"nextUpdate"`
	DER        []byte    `json:"der"`
}

// openDB opens ca.db, which is made, complete with key and certificate, when
// it isn't there.
func openDB(dir string, o Options) (*bbolt.DB, error) {
	path := filepath.Join(dir, dbName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createDB(path, o); err != nil {
			return nil, fmt.Errorf("creating %s: %w", path, err)
		}
	} else if err != nil {
		return nil, err
	} else if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, err
		}
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	// Whoever is still creating one has lost: ours is in place and locked.
	stale, _ := filepath.Glob(filepath.Join(dir, dbName+".new-*"))
	for _, s := range stale {
		os.Remove(s)
	}
	return db, nil
}

// createDB makes the file under another name and links it into place, so that
// ca.db is never there by halves and never replaces another. When two
// processes create it, the second finds the first one's.
func createDB(path string, o Options) (err error) {
	key, cert, err := newRoot(o)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), dbName+".new-*") // 0600
	if err != nil {
		return err
	}
	tmp.Close()
	defer os.Remove(tmp.Name())
	db, err := bbolt.Open(tmp.Name(), 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketUsers, bucketCerts, bucketOwned, bucketKeys, bucketSubjects, bucketRevoked, bucketCRL} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(
			meta.Put([]byte("format"), []byte(dbFormat)),
			meta.Put([]byte("name"), []byte(o.Name)),
			meta.Put([]byte("key"), pkcs8),
			meta.Put([]byte("certificate"), cert),
		)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Stat(path); statErr != nil {
			return err
		}
	}
	return durable.SyncDir(filepath.Dir(path))
}

// newRoot makes the CA's key and its self-signed certificate.
func newRoot(o Options) (*rsa.PrivateKey, []byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, o.KeySize)
	if err != nil {
		return nil, nil, err
	}
	subject, err := encodeDN(rootDN(o.Name))
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	ski := keyID(&key.PublicKey)
	notBefore := o.Now().UTC().Truncate(time.Second).Add(-backdate)
	template := &x509.Certificate{
		SerialNumber:          serial,
		RawSubject:            subject,
		NotBefore:             notBefore,
		NotAfter:              notBefore.Add(rootLifetime),
		SignatureAlgorithm:    x509.SHA256WithRSA,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          ski,
		AuthorityKeyId:        ski,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return key, der, err
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
// of the SHA-256 of the public key's bits.
func keyID(pub *rsa.PublicKey) []byte {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(pub))
	return sum[:20]
}

// load reads the CA's own data out of the file and checks that it belongs
// together.
func load(db *bbolt.DB) (name string, key *rsa.PrivateKey, cert *x509.Certificate, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return errors.New("not a CA's file")
		}
		if f := meta.Get([]byte("format")); string(f) != dbFormat {
			return fmt.Errorf("format %q is unknown (want %q)", f, dbFormat)
		}
		name = string(meta.Get([]byte("name")))
		// A copy: a certificate shares its bytes with what it was parsed from,
		// and those of the file may move after the transaction.
		cert, err = x509.ParseCertificate(bytes.Clone(meta.Get([]byte("certificate"))))
		if err != nil {
			return fmt.Errorf("its certificate: %w", err)
		}
		k, err := x509.ParsePKCS8PrivateKey(meta.Get([]byte("key")))
		if err != nil {
			return errors.New("its key is damaged")
		}
		rsaKey, ok := k.(*rsa.PrivateKey)
		if !ok || !rsaKey.PublicKey.Equal(cert.PublicKey) {
			return errors.New("its key isn't that of its certificate")
		}
		key = rsaKey
		return nil
	})
	return name, key, cert, err
}

func getEntity(tx *bbolt.Tx, user string) (e entity, found bool, err error) {
	data := tx.Bucket(bucketUsers).Get([]byte(user))
	if data == nil {
		return entity{}, false, nil
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return entity{}, false, fmt.Errorf("user %q: %w", user, err)
	}
	return e, true, nil
}

func putJSON(b *bbolt.Bucket, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, data)
}

// ownedKey is a user's name and the certificate's serial; names hold no NUL.
func ownedKey(user string, serial []byte) []byte {
	return append(append([]byte(user), 0), serial...)
}

// serialsOf returns the serials of all certificates of a user.
func serialsOf(tx *bbolt.Tx, user string) [][]byte {
	var serials [][]byte
	prefix := ownedKey(user, nil)
	c := tx.Bucket(bucketOwned).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		serials = append(serials, bytes.Clone(k[len(prefix):]))
	}
	return serials
}
