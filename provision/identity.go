package provision

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

// CA is what provision asks of a certificate authority. *ejbca.Issuer is one.
type CA interface {
	// Chain returns the CA's certificate, followed by those above it if it is
	// not a root.
	Chain(ctx context.Context) ([]*x509.Certificate, error)
	// Sign returns the certificate for a request, followed by intermediates
	// that a peer needs and does not have, if any.
	Sign(ctx context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error)
}

// An Identity is a key and a certificate for it, in files.
type Identity struct {
	CommonName string   // at most 64 characters; Mosquitto takes it as the user name
	DNSNames   []string // alternative names; a broker needs the names that clients connect to
	IPs        []net.IP // alternative addresses
	KeyBits    int      // RSA key length, 2048 to 8192; 0 means 2048
	Files      Files

	// Overwrite makes everything anew. What is there stays in place until the
	// new certificate is at hand.
	Overwrite bool
	// RenewBefore is how long before its end a certificate is renewed.
	// 0 means when a third of its lifetime is left.
	RenewBefore time.Duration
	// Owner owns the files; nil is this process's user and group.
	Owner *Owner

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
	Reason string // for Made: why, if something was there before
}

// Action is what became of a file.
type Action string

const (
	Kept Action = "kept"
	Made Action = "made"
)

// Ensure brings the files into order and returns what it did, in order: CA
// chain, key, request, certificate. It is idempotent.
//
// Nothing that is in service changes before the new certificate has been
// checked: it must carry the key, the names and a current validity, and chain
// to the CA. On error, the files are what they were, except that a CA chain,
// a key or a request that was missing may now be there, for the next call to
// use. A renewal keeps the key, so that a crash never leaves a certificate
// beside another key; with Overwrite, that takes two renames, and a crash
// between them is mended by the next call.
//
// If the CA does not answer and what is there is good, it stays, without
// error.
func (id *Identity) Ensure(ctx context.Context, ca CA) ([]Step, error) {
	if err := id.validate(); err != nil {
		return nil, err
	}
	e := &ensuring{Identity: id, now: time.Now()}
	if id.Now != nil {
		e.now = id.Now()
	}
	err := e.run(ctx, ca)
	return e.steps, err
}

// ensuring is one run of Ensure.
type ensuring struct {
	*Identity
	now   time.Time
	steps []Step

	chain []*x509.Certificate
	key   crypto.Signer
	csr   *x509.CertificateRequest
}

func (e *ensuring) run(ctx context.Context, ca CA) error {
	if err := os.MkdirAll(filepath.Dir(e.Files.Key), 0o755); err != nil {
		return err
	}
	if err := e.ensureChain(ctx, ca); err != nil {
		return err
	}
	why := e.whyNotCert()
	newKey, err := e.ensureKey()
	if err != nil {
		return err
	}
	newCSR, err := e.ensureCSR()
	if err != nil {
		return err
	}
	if why == nil && !e.Overwrite {
		e.done(e.Files.Cert, Kept, nil)
		return nil
	}
	certs, err := ca.Sign(ctx, e.csr)
	if err != nil {
		return fmt.Errorf("having the certificate signed: %w", err)
	}
	if err := e.checkCert(certs, e.key.Public()); err != nil {
		return fmt.Errorf("the CA's answer is not the certificate asked for: %w", err)
	}
	// Only now may files in service change: key first, as its certificate is
	// worth nothing without it.
	if newKey != nil {
		if err := e.write(e.Files.Key, newKey, 0o600); err != nil {
			return err
		}
	}
	if newCSR != nil {
		if err := e.write(e.Files.CSR, newCSR, 0o644); err != nil {
			return err
		}
	}
	if err := e.write(e.Files.Cert, encodeCerts(certs), 0o644); err != nil {
		return err
	}
	e.done(e.Files.Cert, Made, why)
	return nil
}

// ensureChain compares the CA's file with the CA: one that was built anew
// signs certificates that the old file does not verify.
func (e *ensuring) ensureChain(ctx context.Context, ca CA) error {
	have, readErr := readFile(e.Files.CA, parseCerts)
	chain, err := ca.Chain(ctx)
	if err != nil {
		e.chain = have
		if readErr == nil && !e.Overwrite && e.whyNotCert() == nil {
			e.done(e.Files.CA, Kept, nil)
			return nil
		}
		return fmt.Errorf("asking for the CA's certificate: %w", err)
	}
	if len(chain) == 0 || !chain[0].IsCA {
		return errors.New("the CA's answer has no CA certificate")
	}
	e.chain = chain
	if readErr == nil && !e.Overwrite && bytes.Equal(encodeCerts(have), encodeCerts(chain)) {
		e.done(e.Files.CA, Kept, nil)
		return nil
	}
	if readErr == nil && !e.Overwrite {
		readErr = errors.New("the CA has another certificate now")
	}
	if err := e.write(e.Files.CA, encodeCerts(chain), 0o644); err != nil {
		return err
	}
	e.done(e.Files.CA, Made, readErr)
	return nil
}

// ensureKey sets e.key. It returns the PEM of a new key that must not be
// written yet, because another key is in service.
func (e *ensuring) ensureKey() (pending []byte, err error) {
	key, readErr := readFile(e.Files.Key, parseKey)
	if readErr == nil && !e.Overwrite {
		e.key = key
		// A key that others may read is mended, whoever made it.
		if err := os.Chmod(e.Files.Key, 0o600); err != nil {
			return nil, err
		}
		e.done(e.Files.Key, Kept, nil)
		return nil, nil
	}
	e.key, err = e.newKey()
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	pending, err = encodeKey(e.key)
	if err != nil {
		return nil, err
	}
	missing := errors.Is(readErr, fs.ErrNotExist)
	if e.Overwrite && !missing {
		e.done(e.Files.Key, Made, nil)
		return pending, nil
	}
	if !missing {
		// Never destroy unasked what might be the only copy of a key.
		return nil, readErr
	}
	if err := e.write(e.Files.Key, pending, 0o600); err != nil {
		return nil, err
	}
	e.done(e.Files.Key, Made, nil)
	return nil, nil
}

// ensureCSR sets e.csr. It returns the PEM of a new request that must not be
// written yet, because it belongs to a key that is not written either.
func (e *ensuring) ensureCSR() (pending []byte, err error) {
	csr, readErr := readFile(e.Files.CSR, parseCSR)
	if readErr == nil && !e.Overwrite && e.fitsCSR(csr, e.key) {
		e.csr = csr
		e.done(e.Files.CSR, Kept, nil)
		return nil, nil
	}
	if readErr == nil && !e.Overwrite {
		readErr = errors.New("it is for another key or name")
	}
	e.csr, err = e.newCSR(e.key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	pending = pem.EncodeToMemory(&pem.Block{Type: typeCSR, Bytes: e.csr.Raw})
	if !e.Overwrite {
		if err := e.write(e.Files.CSR, pending, 0o644); err != nil {
			return nil, err
		}
		pending = nil
	}
	e.done(e.Files.CSR, Made, readErr)
	return pending, nil
}

// whyNotCert returns nil if the certificate on disk is good, and otherwise
// what is wrong with it.
func (e *ensuring) whyNotCert() error {
	certs, err := readFile(e.Files.Cert, parseCerts)
	if err != nil {
		return err
	}
	key, err := readFile(e.Files.Key, parseKey)
	if err != nil {
		return err
	}
	if err := e.checkCert(certs, key.Public()); err != nil {
		return err
	}
	leaf := certs[0]
	before := e.RenewBefore
	if before == 0 {
		before = leaf.NotAfter.Sub(leaf.NotBefore) / 3
	}
	if left := leaf.NotAfter.Sub(e.now); left < before {
		return fmt.Errorf("it expires at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkCert judges a certificate against the key, the CA and what was asked.
func (e *ensuring) checkCert(certs []*x509.Certificate, key crypto.PublicKey) error {
	if len(certs) == 0 {
		return errors.New("no certificate")
	}
	leaf := certs[0]
	if !samePublicKey(leaf.PublicKey, key) {
		return errors.New("it is for another key")
	}
	if leaf.Subject.CommonName != e.CommonName {
		return fmt.Errorf("its common name is %q, not %q", leaf.Subject.CommonName, e.CommonName)
	}
	if name := e.missingName(leaf.DNSNames, leaf.IPAddresses); name != "" {
		return fmt.Errorf("it lacks the name %q", name)
	}
	if leaf.IsCA {
		return errors.New("it is a CA certificate")
	}
	if bytes.Equal(leaf.RawSubject, leaf.RawIssuer) {
		return errors.New("its subject is the CA's own, which OpenSSL takes for a self-signed certificate")
	}
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   e.now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, c := range certs[1:] {
		options.Intermediates.AddCert(c)
	}
	// OpenSSL takes any self-signed certificate of the CA file as an anchor,
	// and the others as intermediates. A CA that is not a root and whose root
	// is not there is an anchor here, so that it can be checked at all.
	for i, c := range e.chain {
		if i == len(e.chain)-1 || bytes.Equal(c.RawSubject, c.RawIssuer) {
			options.Roots.AddCert(c)
		} else {
			options.Intermediates.AddCert(c)
		}
	}
	if _, err := leaf.Verify(options); err != nil {
		return err
	}
	return nil
}

func (e *ensuring) write(path string, data []byte, mode fs.FileMode) error {
	return durable.WriteFile(path, data, durable.Attr{Mode: mode, Owner: (*durable.Owner)(e.Owner)})
}

func (e *ensuring) done(path string, action Action, reason error) {
	step := Step{Path: path, Action: action}
	if reason != nil && !errors.Is(reason, fs.ErrNotExist) {
		step.Reason = reason.Error()
	}
	e.steps = append(e.steps, step)
	if e.Report != nil {
		e.Report(step)
	}
}

// maxFile bounds what is read; a PEM chain of a dozen certificates is a few
// tens of kilobytes.
const maxFile = 1 << 20

// readFile parses a file; errors name it.
func readFile[T any](path string, parse func([]byte) (T, error)) (T, error) {
	var zero T
	info, err := os.Stat(path)
	if err != nil {
		return zero, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return zero, fmt.Errorf("%s: want a file of at most %d bytes", path, maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return zero, err
	}
	v, err := parse(data)
	if err != nil {
		return zero, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}
