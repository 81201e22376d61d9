package localca

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/internal/groupcommit"
	"github.com/dojot/mqtt-manager-go/internal/secret"
)

// DefaultName is the name of dojot's CA.
const DefaultName = "IOTmidCA"

// ErrInUse reports that another CA, in this process or another, has the
// folder open.
var ErrInUse = errors.New("in use by another process")

// Options say how a CA is. The zero value is dojot's CA.
type Options struct {
	// Name is the root CA's name in requests and the CN of its certificate.
	// Empty means DefaultName for a new CA, and whatever it is called for one
	// that exists; another name than the existing one's is an error.
	Name string
	// KeySize is the size in bits of a new CA's key: 2048 to 8192 is RSA, 256
	// is ECDSA on P-256. Zero means RSA with 4096. An existing CA keeps its
	// key.
	KeySize int
	// SubCAs are the CAs below the root: [DojotSubCAs], or what [ParseHierarchy]
	// reads from a description. Those that don't exist yet are made. One that
	// exists stays as it is, also when it isn't described any more.
	SubCAs []SubCA
	// PassphraseFile is a file with the passphrase that the keys are encrypted
	// with; a line break at its end doesn't count. Empty means keys that who
	// can read ca.db can use. It can't be changed for a CA that exists.
	PassphraseFile string
	// TokenFile is a file with the token that each request has to carry, as
	// "Authorization: Bearer <token>"; a line break at its end doesn't count.
	// Empty means that none is asked for.
	TokenFile string
	// ECDSA has profile CFREE accept ECDSA keys on P-256, besides RSA.
	ECDSA bool
	// Reset has end entities enrol again that have their certificate or are
	// revoked, as EJBCA-REST of dojot 0.5-alpha did: who knows the password
	// gets any number of certificates.
	Reset bool
	// CRLLifetime is the time from a CRL's thisUpdate to its nextUpdate, at
	// least a minute. Zero means 24 hours.
	CRLLifetime time.Duration
	// DeltaLifetime is the same for delta lists. Zero means that there are
	// none, as with dojot's CAs.
	DeltaLifetime time.Duration
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Logger gets a line for each certificate, revocation and CRL, and for
	// each failure. Nil means none.
	Logger *slog.Logger
}

// CA is an open certificate authority with its sub-CAs, an [http.Handler] safe
// for concurrent use. It starts no goroutines but in [CA.Serve].
type CA struct {
	db            *bbolt.DB
	writes        *groupcommit.Group[write]
	cas           []*authority // the root first
	passwords     passwordHasher
	signing       chan struct{} // holds one for each certificate that is being signed
	token         *secret.Token
	ecdsa         bool
	reset         bool
	crlLifetime   time.Duration
	deltaLifetime time.Duration
	now           func() time.Time
	log           *slog.Logger
}

// Open opens the CA that lives in the folder dir, and makes what is missing:
// the folder, keys and certificates, CRLs that are due. A CA that is open
// already is [ErrInUse]; keys that the passphrase doesn't open are
// [ErrPassphrase].
//
// A CA that isn't valid at the time makes lists, but no certificates, which
// the log says. It may be the clock that is wrong; one that says a year before
// 2017 surely is, and no CA is made by it.
func Open(dir string, o Options) (*CA, error) {
	return open(o, func(o Options, passphrase string) (*bbolt.DB, error) { return openDB(dir, o, passphrase) })
}

// OpenTemporary makes a CA for tests and demonstrations: nothing is left of it
// once it is closed or the process has ended, however that came about, and
// nothing waits for a disk. All else is as with [Open].
func OpenTemporary(o Options) (*CA, error) {
	return open(o, temporaryDB)
}

func open(o Options, openDB func(Options, string) (*bbolt.DB, error)) (*CA, error) {
	wanted := o.Name
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("localca: %w", err)
	}
	passphrase, token, err := o.secrets()
	if err != nil {
		return nil, fmt.Errorf("localca: %w", err)
	}
	ca := &CA{
		ecdsa: o.ECDSA, reset: o.Reset, crlLifetime: o.CRLLifetime, deltaLifetime: o.DeltaLifetime,
		signing: make(chan struct{}, runtime.GOMAXPROCS(0)), now: o.Now, log: o.Logger, token: token,
	}
	ca.writes = groupcommit.New(ca.commit)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // see damage
	if ca.db, err = openDB(o, passphrase); err != nil {
		return nil, fmt.Errorf("localca: %w", err)
	}
	if err := ca.start(wanted, o, passphrase); err != nil {
		return nil, errors.Join(fmt.Errorf("localca: %s: %w", ca.db.Path(), err), ca.db.Close())
	}
	return ca, nil
}

func (ca *CA) start(wanted string, o Options, passphrase string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damage(p)
		}
	}()
	if ca.cas, err = load(ca.db, passphrase); err != nil {
		return err
	}
	root := ca.root()
	if wanted != "" && wanted != root.name {
		return fmt.Errorf("the CA is called %q, not %q", root.name, wanted)
	}
	if ca.passwords, err = newPasswordHasher(root.key); err != nil {
		return err
	}
	if err := ca.makeSubCAs(root, o.SubCAs, o.KeySize, passphrase); err != nil {
		return err
	}
	slices.SortFunc(ca.cas, func(a, b *authority) int {
		return cmp.Or(cmp.Compare(a.depth(), b.depth()), cmp.Compare(a.name, b.name))
	})
	for _, a := range ca.cas {
		a.lists = groupcommit.New(func(_ context.Context, asked []listRequest) []error { return ca.makeLists(a, asked) })
		if _, err := ca.currentList(context.Background(), a, fullList); err != nil {
			return err
		}
		if err := a.checkPeriod(ca.now()); err != nil {
			ca.log.Warn("CA issues no certificates: its time is over, or the clock is wrong, or was when the CA was made", "ca", a.name, "err", err)
		}
	}
	return nil
}

// complete fills in the defaults and checks the rest.
func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.KeySize == 0 {
		o.KeySize = 4096
	}
	if err := checkCA(o.Name, o.KeySize); err != nil {
		return err
	}
	if err := checkSubCAs(o.SubCAs, map[string]bool{o.Name: true}); err != nil {
		return err
	}
	if o.CRLLifetime == 0 {
		o.CRLLifetime = 24 * time.Hour
	}
	if o.CRLLifetime < time.Minute {
		return fmt.Errorf("CRL lifetime %v (want a minute or more)", o.CRLLifetime)
	}
	if o.DeltaLifetime != 0 && (o.DeltaLifetime < time.Minute || o.DeltaLifetime > o.CRLLifetime) {
		return fmt.Errorf("delta CRL lifetime %v (want a minute or more, up to the CRL lifetime of %v)", o.DeltaLifetime, o.CRLLifetime)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// secrets reads those that are in files.
func (o *Options) secrets() (passphrase string, token *secret.Token, err error) {
	if o.PassphraseFile != "" {
		if passphrase, err = secret.ReadFile(o.PassphraseFile); err != nil {
			return "", nil, fmt.Errorf("passphrase: %w", err)
		}
	}
	if o.TokenFile != "" {
		if token, err = secret.ReadToken(o.TokenFile); err != nil {
			return "", nil, fmt.Errorf("token: %w", err)
		}
	}
	return passphrase, token, nil
}

func (ca *CA) root() *authority { return ca.cas[0] }

// byName returns the CA called name, or nil.
func (ca *CA) byName(name string) *authority {
	i := slices.IndexFunc(ca.cas, func(a *authority) bool { return a.name == name })
	if i < 0 {
		return nil
	}
	return ca.cas[i]
}

// Certificate returns the root CA's certificate, which is self-signed. The
// caller must not change it.
func (ca *CA) Certificate() *x509.Certificate { return ca.root().cert }

// Chain returns the certificate of the CA called name and those above it, the
// root last; nil when there is no such CA. The caller must not change them.
func (ca *CA) Chain(name string) []*x509.Certificate {
	var chain []*x509.Certificate
	for a := ca.byName(name); a != nil; a = a.parent {
		chain = append(chain, a.cert)
	}
	return chain
}

// Backup writes a copy of ca.db, as it is now, while requests go on being
// served. While it runs it takes as much room again in the same folder. To
// restore the copy, put it in place of the file of a CA that isn't open. What
// was issued and revoked since is lost then: the next CRL has none of it. Those
// who refuse older CRLs take that one, as its number is the time's. Only if the
// clock was ahead when theirs was made, they refuse it until the time has
// caught up, though theirs expires.
func (ca *CA) Backup(w io.Writer) error {
	var snapshot *os.File
	// While a transaction reads, ca.db can't grow, and everybody waits for who
	// would have it grow. Therefore none lasts as long as w likes.
	err := ca.db.View(func(tx *bbolt.Tx) (err error) {
		if snapshot, err = createNameless(filepath.Dir(ca.db.Path())); err != nil {
			return err
		}
		_, err = tx.WriteTo(snapshot)
		return err
	})
	if snapshot != nil {
		defer snapshot.Close()
	}
	if err != nil {
		return err
	}
	if _, err := snapshot.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w, snapshot)
	return err
}

// Close waits for transactions that are under way and closes the file.
// Requests that come later are answered 503.
func (ca *CA) Close() error { return ca.db.Close() }
