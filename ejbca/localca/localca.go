package localca

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/internal/groupcommit"
)

// DefaultName is the name of dojot's CA.
const DefaultName = "IOTmidCA"

// ErrInUse reports that another CA, in this process or another, has the
// folder open.
var ErrInUse = errors.New("in use by another process")

// Options say how a CA is. The zero value is dojot's CA.
type Options struct {
	// Name is the CA's name in requests and the CN of its certificate.
	// Empty means DefaultName for a new CA, and whatever it is called for one
	// that exists; another name than the existing one's is an error.
	Name string
	// KeySize is the size of a new CA's RSA key in bits, 2048 to 8192.
	// Zero means 4096. An existing CA keeps its key.
	KeySize int
	// CRLLifetime is the time from a CRL's thisUpdate to its nextUpdate, at
	// least a minute. Zero means 24 hours.
	CRLLifetime time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Logger gets a line for each certificate, revocation and CRL, and for
	// each failure. Nil means none.
	Logger *slog.Logger
}

// CA is an open certificate authority, an [http.Handler] safe for concurrent
// use. It starts no goroutines.
type CA struct {
	name        string
	dn          string // as EJBCA writes it
	key         *rsa.PrivateKey
	cert        *x509.Certificate
	db          *bbolt.DB
	crlLifetime time.Duration
	now         func() time.Time
	log         *slog.Logger
	crlMaker    *groupcommit.Group[struct{}]
}

// Open opens the CA that lives in the folder dir, and makes the folder, a key
// and a certificate when there is none. It makes a CRL if that is due. A CA
// that is open already is [ErrInUse].
func Open(dir string, o Options) (*CA, error) {
	wanted := o.Name
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("localca: %w", err)
	}
	db, err := openDB(dir, o)
	if err != nil {
		return nil, fmt.Errorf("localca: %w", err)
	}
	ca := &CA{db: db, crlLifetime: o.CRLLifetime, now: o.Now, log: o.Logger}
	if err := ca.start(wanted); err != nil {
		return nil, errors.Join(fmt.Errorf("localca: %s: %w", filepath.Join(dir, dbName), err), db.Close())
	}
	return ca, nil
}

func (ca *CA) start(wanted string) (err error) {
	ca.name, ca.key, ca.cert, err = load(ca.db)
	if err != nil {
		return err
	}
	if wanted != "" && wanted != ca.name {
		return fmt.Errorf("the CA is called %q, not %q", ca.name, wanted)
	}
	ca.dn = formatDN(rootDN(ca.name))
	ca.crlMaker = groupcommit.New(ca.makeCRL)
	_, err = ca.currentCRL(context.Background())
	return err
}

// complete fills in the defaults and checks the rest.
func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if err := checkName(o.Name); err != nil {
		return fmt.Errorf("name of the CA: %w", err)
	}
	if o.KeySize == 0 {
		o.KeySize = 4096
	}
	if o.KeySize < minKeyBits || o.KeySize > maxKeyBits {
		return fmt.Errorf("key size %d (want %d to %d)", o.KeySize, minKeyBits, maxKeyBits)
	}
	if o.CRLLifetime == 0 {
		o.CRLLifetime = 24 * time.Hour
	}
	if o.CRLLifetime < time.Minute {
		return fmt.Errorf("CRL lifetime %v (want a minute or more)", o.CRLLifetime)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Certificate returns the CA's certificate, which is self-signed. The caller
// must not change it.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Close waits for transactions that are under way and closes the file.
// Requests that come later are answered 503.
func (ca *CA) Close() error { return ca.db.Close() }
