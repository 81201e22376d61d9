package provision

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"net"
	"time"
)

// CA is what provision asks of a certificate authority. *ejbca.Issuer is one.
// A CA that is a [CRLSource], too, is asked for its revocation list.
type CA interface {
	// Chain returns the CA's certificate, followed by those above it if it is
	// not a root.
	Chain(ctx context.Context) ([]*x509.Certificate, error)
	// Sign returns the certificate for a request, followed by intermediates
	// that a peer needs and does not have, if any.
	Sign(ctx context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error)
}

// CRLSource is a CA that says which of its certificates are revoked.
type CRLSource interface {
	// CRL returns the CA's newest complete list, parsed. It is verified here,
	// and its Raw field is what counts, as in package crl.
	CRL(ctx context.Context) (*x509.RevocationList, error)
}

// An Identity is a key and a certificate for it, in files.
type Identity struct {
	CommonName string   // at most 64 characters; Mosquitto takes it as the user name
	DNSNames   []string // alternative names; a broker needs the names that clients connect to
	IPs        []net.IP // alternative addresses
	KeyType    KeyType  // of a new key; the zero KeyType is RSA
	KeyBits    int      // RSA key length, 2048 to 8192; 0 means 2048
	Files      Files

	// Usages are the extended key usages that the certificate must not
	// exclude; nil means TLS client. A certificate without the extension
	// excludes none.
	Usages []x509.ExtKeyUsage

	// Overwrite makes everything anew. What is there stays in place until the
	// new certificate is at hand.
	Overwrite bool
	// RenewBefore is how long before its end a certificate is renewed, at
	// most two thirds of its lifetime. 0 means when a third is left. Either is
	// up to a tenth longer, by a number drawn from the certificate, so that a
	// fleet that was issued in one go does not come back in one go.
	RenewBefore time.Duration
	// Owner owns the files; nil is this process's user and group, and leaves
	// files that are there as they are.
	Owner *Owner
	// KeyMode and CertMode are the permissions of the key, and of all other
	// files when they are made. 0 means 0600 and 0644.
	KeyMode, CertMode fs.FileMode

	// Report, if not nil, is told of each step when it is done.
	Report func(Step)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Owner is the numeric owner and group of a file.
type Owner struct{ UID, GID int }

// A Step is what Ensure did about one file.
type Step struct {
	Path   string
	Action Action
	// Reason is, for a file that was Made in place of another, what was wrong
	// with that; for one that was Kept although the CA could not be asked, its
	// answer not be used, or nothing better be had, why. Otherwise it is empty.
	Reason string
}

// Action is what became of a file.
type Action string

const (
	Kept Action = "kept"
	Made Action = "made"
)

// A StepError says at which of its steps Ensure failed, and about which file.
type StepError struct {
	Step string // "CA certificate", "key", "request", "certificate" or "revocation list"
	Path string
	Err  error
}

func (e *StepError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s: %v", e.Step, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Step, e.Path, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// The steps, as StepError names them.
const (
	StepCA   = "CA certificate"
	StepKey  = "key"
	StepCSR  = "request"
	StepCert = "certificate"
	StepCRL  = "revocation list"
)

// Ensure brings the files into order and returns what it did about CA chain,
// key, request, certificate and revocation list. It is idempotent. What is
// missing, expired, about to expire, revoked, for another key or name or of
// another CA is made anew; a key only if there is none, its certificate was
// revoked, whatever else is wrong with it, or Overwrite says so. What a CA
// revoked before it was built anew is known only as long as its certificate and
// list are in their files, which identities may share.
//
// Nothing that is in service changes before the new certificate has been
// checked: it must carry the key, the names, the usages and a current validity,
// and chain to the CA. On error, the files are what they were, except that a
// CA chain or a key that was missing, and a request that was or did not fit,
// may now be there, for the next call to use. A key that is to replace another
// is kept for it, too, with the suffix .next, unless that finds that the old one
// is to stay: the CA may have signed it.
//
// Key and certificate change as a set, and with them the CA's file, if the CA
// was built anew. What is new is written beside the old first, and renamed when
// it is complete and durable. A crash between the renames is taken up by the
// next call, and until then by [TLSConfig], which knows the suffix. If one of
// the renames cannot be done, because a file is immutable, say, or a mount
// point, those before it are undone, and the next call tries again. A renewal
// keeps the key and is a single rename. Only one Ensure may work on the same
// key, request and certificate at a time.
//
// A certificate that lasts as long as its CA is not renewed, as no other would
// last longer.
//
// If the CA does not answer and what is there is good, it stays, without
// error, and so does a good revocation list when the CA's own is not of that
// CA, older, expired or from the future; the steps say so. The list comes last,
// and is kept fresh even if the certificate cannot be renewed. If the only
// error is that it cannot be had, the rest is in order, and the first
// *StepError in the error is one of StepCRL.
func (id *Identity) Ensure(ctx context.Context, ca CA) ([]Step, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	e := &ensuring{Identity: id}
	err := e.run(ctx, ca)
	return e.steps, err
}

// Plan returns what Ensure would do if it were called now, judging by the
// files alone: the CA is not asked, and nothing changes.
func (id *Identity) Plan() ([]Step, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	e := &ensuring{Identity: id}
	err := e.plan()
	return e.steps, err
}

func (id *Identity) keyMode() fs.FileMode  { return cmp.Or(id.KeyMode, 0o600) }
func (id *Identity) certMode() fs.FileMode { return cmp.Or(id.CertMode, 0o644) }

func (id *Identity) now() time.Time {
	if id.Now != nil {
		return id.Now()
	}
	return time.Now()
}
