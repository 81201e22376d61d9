package localca

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/durable"
)

const (
	dbName   = "ca.db"
	dbFormat = "3"
	// lockWait lets a predecessor finish closing; longer than that, the file
	// has another owner.
	lockWait = 2 * time.Second
)

// noClock is before dojot, and after the times that computers begin with when
// nothing has set their clocks.
var noClock = time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)

// The buckets of ca.db.
var (
	bucketMeta     = []byte("meta")     // format
	bucketCAs      = []byte("cas")      // a bucket for each CA, by name
	bucketUsers    = []byte("users")    // user name → entity, as JSON
	bucketOwned    = []byte("owned")    // user name, NUL, serial → name of the CA
	bucketKeys     = []byte("keys")     // SHA-256 of SubjectPublicKeyInfo → user name
	bucketSubjects = []byte("subjects") // subject DN → user name
)

// The buckets of one CA.
var (
	bucketCerts   = []byte("certificates") // serial → DER
	bucketRevoked = []byte("revoked")      // serial → revocation
	bucketChanges = []byte("changes")      // number of the change → serial; its sequence counts them
	bucketLists   = []byte("lists")        // what CRLs were issued, see crl.go
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
	// Tenant is whose device's event made this, if one did.
	Tenant string `json:"tenant,omitempty"`

	stored []byte // what it was read from
}

// revocation is one line of the CRL to be. It is stored in few bytes that are
// quick to read: each CRL reads them all.
type revocation struct {
	Reason   crl.Reason
	At       time.Time // in milliseconds
	NotAfter time.Time // in seconds
}

const revocationSize = 1 + 8 + 8

func (r revocation) encode() []byte {
	b := append(make([]byte, 0, revocationSize), byte(r.Reason))
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixMilli()))
	return binary.BigEndian.AppendUint64(b, uint64(r.NotAfter.Unix()))
}

func decodeRevocation(serial, b []byte) (revocation, error) {
	if len(b) != revocationSize {
		return revocation{}, fmt.Errorf("revocation of %x has %d bytes (want %d)", serial, len(b), revocationSize)
	}
	return revocation{
		Reason:   crl.Reason(b[0]),
		At:       time.UnixMilli(int64(binary.BigEndian.Uint64(b[1:]))).UTC(),
		NotAfter: time.Unix(int64(binary.BigEndian.Uint64(b[9:])), 0).UTC(),
	}, nil
}

// write is one request's part of a transaction. One that refuses must have
// written nothing.
type write func(*bbolt.Tx) error

// refused tells an error that is the request's fault from one that is ours.
func refused(err error) bool {
	var f *fault
	return errors.As(err, &f) || errors.Is(err, errEntityChanged) || errors.Is(err, ErrIdentity)
}

// update runs w in a transaction. It returns when the effect is on disk.
// Requests that come while another transaction is being written share the
// next one, which waits for some of the certificates that are being signed.
func (ca *CA) update(ctx context.Context, w write) error { return ca.writes.Do(ctx, w) }

func (ca *CA) commit(_ context.Context, writes []write) []error {
	errs := make([]error, len(writes))
	var broken error
	err := ca.db.Update(func(tx *bbolt.Tx) error {
		for i, w := range writes {
			errs[i] = w(tx)
			if errs[i] != nil && !refused(errs[i]) {
				broken = errs[i]
				return broken
			}
		}
		return nil
	})
	switch {
	case err == nil:
	case len(writes) > 1 && broken != nil:
		// One request's trouble is not the others'.
		for i, w := range writes {
			errs[i] = ca.db.Update(w)
		}
	default:
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// openDB opens ca.db, which is made, complete with key and certificate, when
// it isn't there.
func openDB(dir string, o Options, passphrase string) (*bbolt.DB, error) {
	path := filepath.Join(dir, dbName)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createDB(path, o, passphrase); err != nil {
			return nil, fmt.Errorf("creating %s: %w", path, err)
		}
	} else if err != nil {
		return nil, err
	} else if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, err
		}
	}
	db, err := openPages(path)
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	// Whoever is still creating one has lost: ours is in place and locked.
	if err := removeNew(dir); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// openPages opens a file that is there.
func openPages(path string) (db *bbolt.DB, err error) {
	if err := checkSize(path); err != nil {
		return nil, err
	}
	var file *os.File
	defer func() {
		if p := recover(); p != nil {
			// bbolt leaves it mapped then, which would hold the lock.
			db, err = nil, errors.Join(damage(p), syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
		}
	}()
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode fs.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
}

// checkSize refuses a file that lacks its end. bbolt doesn't look for it, and
// whoever comes upon what is missing, perhaps much later, ends the process.
func checkSize(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() == 0 { // bbolt would fill it
		return damage("0 bytes")
	}
	// Opened to read only, it reads nothing yet but how large it has to be.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if info, err = os.Stat(path); err == nil && info.Size() < tx.Size() {
			err = damage(fmt.Sprintf("%d bytes (want %d or more)", info.Size(), tx.Size()))
		}
		return err
	})
	return errors.Join(err, db.Close())
}

// damage is what is wrong with ca.db. Of a page that isn't what it should be,
// bbolt tells by a panic, or follows it to where no memory is, and nothing but
// reading the whole file would find it before. Open makes an error of that,
// since it may be anybody's file that it is given; later, a panic stays one.
func damage(what any) error { return fmt.Errorf("damaged: %v", what) }

// newPrefix begins the names of files that are to be ca.db.
const newPrefix = dbName + ".new-"

// removeNew removes those that a crash left behind: they hold private keys.
func removeNew(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newPrefix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// createDB makes the file under another name and links it into place, so that
// ca.db is never there by halves and never replaces another. When two
// processes create it, the second finds the first one's.
func createDB(path string, o Options, passphrase string) error {
	if now := o.Now(); now.Before(noClock) {
		return fmt.Errorf("the clock says %s: the CA would be over before it is of use", now.UTC().Format(time.RFC3339))
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), newPrefix+"*") // 0600
	if err != nil {
		return err
	}
	tmp.Close()
	defer os.Remove(tmp.Name())
	db, err := bbolt.Open(tmp.Name(), 0o600, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(initDB(db, o, passphrase), db.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Stat(path); statErr != nil {
			return err
		}
	}
	return durable.SyncDir(filepath.Dir(path))
}

// createNameless makes a file that has lost its name before anything is in it,
// so that nothing is left of it, whatever happens.
func createNameless(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, newPrefix+"*") // 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// temporaryDB makes one in a file without a name.
func temporaryDB(o Options, passphrase string) (*bbolt.DB, error) {
	file, err := createNameless(os.TempDir())
	if err != nil {
		return nil, err
	}
	db, err := bbolt.Open(file.Name(), 0o600, &bbolt.Options{
		FreelistType: bbolt.FreelistMapType, NoSync: true, NoGrowSync: true,
		OpenFile: func(string, int, fs.FileMode) (*os.File, error) { return file, nil },
	})
	if err != nil {
		return nil, err
	}
	if err := initDB(db, o, passphrase); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// initDB stores a new CA.
func initDB(db *bbolt.DB, o Options, passphrase string) error {
	root, err := newAuthority(o.Name, rootDN(o.Name), nil, o.KeySize, rootLifetime, o.Now())
	if err != nil {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketCAs, bucketUsers, bucketOwned, bucketKeys, bucketSubjects} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := storeAuthority(tx, root, passphrase); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put([]byte("format"), []byte(dbFormat))
	})
}

func getEntity(tx *bbolt.Tx, user string) (e entity, found bool, err error) {
	data := tx.Bucket(bucketUsers).Get([]byte(user))
	if data == nil {
		return entity{}, false, nil
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return entity{}, false, fmt.Errorf("user %q: %w", user, err)
	}
	e.stored = bytes.Clone(data)
	return e, true, nil
}

func putJSON(b *bbolt.Bucket, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, data)
}

// getJSON leaves v as it is when there is no such key.
func getJSON(b *bbolt.Bucket, key []byte, v any) error {
	data := b.Get(key)
	if data == nil {
		return nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("record %q: %w", key, err)
	}
	return nil
}

// ownedKey is a user's name and the certificate's serial; names hold no NUL.
func ownedKey(user string, serial []byte) []byte {
	return append(append([]byte(user), 0), serial...)
}

// owned is a certificate that belongs to a user.
type owned struct {
	issuer *authority
	serial []byte
}

// ownedBy returns all certificates of a user.
func (ca *CA) ownedBy(tx *bbolt.Tx, user string) ([]owned, error) {
	var all []owned
	prefix := ownedKey(user, nil)
	c := tx.Bucket(bucketOwned).Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		issuer := ca.byName(string(v))
		if issuer == nil {
			return nil, fmt.Errorf("user %q has a certificate of CA %q, which isn't there", user, v)
		}
		all = append(all, owned{issuer, bytes.Clone(k[len(prefix):])})
	}
	return all, nil
}
