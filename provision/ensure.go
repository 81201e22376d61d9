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
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

// ensuring is one run of Ensure.
type ensuring struct {
	*Identity
	steps []Step

	// changing is called once, before the first change of a file that others
	// use. Nil does nothing.
	changing func() error
	changed  bool

	chain       []*x509.Certificate
	chainIsNew  bool                 // its file has yet to be written
	whyNewChain error                // what is wrong with the file that is there
	list        *x509.RevocationList // verified, of chain[0]; nil if there is none
	oldList     *x509.RevocationList // of the CA in the file, if that was built anew since
	ends        time.Time            // of a certificate that is good, but to be renewed
	whyKept     error                // what is wrong with a certificate that cannot be bettered
	key         crypto.Signer
	csr         *x509.CertificateRequest
	pending     bool // key and request are beside those in service
}

func (e *ensuring) run(ctx context.Context, ca CA) error {
	for _, path := range e.Files.set() {
		if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return &StepError{StepKey, path, err}
		}
		// Seen now, before the CA signs in vain.
		if info, err := os.Lstat(path); err == nil && info.IsDir() {
			return &StepError{e.stepOf(path), path, &fs.PathError{Op: "replace", Path: path, Err: syscall.EISDIR}}
		}
	}
	if err := e.takeUp(); err != nil {
		return &StepError{StepCert, e.Files.Cert, err}
	}
	if err := e.settle(); err != nil {
		return err
	}
	if err := e.ensureChain(ctx, ca); err != nil {
		return &StepError{StepCA, e.Files.CA, err}
	}
	saveList, listErr := e.findList(ctx, ca)
	err := e.ensurePair(ctx, ca)
	if e.Files.CRL == "" || err != nil && e.chainIsNew { // whose list does not fit what is in service
		return err
	}
	if listErr == nil {
		listErr = saveList()
	}
	if listErr != nil {
		listErr = &StepError{StepCRL, e.Files.CRL, listErr}
	}
	return errors.Join(err, listErr)
}

// settle gives the files that are there their owner, and the key its mode:
// whoever made it, others may not read it.
func (e *ensuring) settle() error {
	for _, path := range append(e.Files.set(), e.Files.CRL) {
		a := durable.Attr{Owner: (*durable.Owner)(e.Owner)}
		if path == e.Files.Key {
			a.Mode = e.keyMode()
		}
		if err := a.Apply(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &StepError{e.stepOf(path), path, err}
		}
	}
	return nil
}

func (e *ensuring) stepOf(path string) string {
	switch path {
	case e.Files.CA:
		return StepCA
	case e.Files.Key:
		return StepKey
	case e.Files.CSR:
		return StepCSR
	case e.Files.Cert:
		return StepCert
	}
	return StepCRL
}

// ensureChain compares the CA's file with the CA: one that was built anew
// signs certificates that the old file does not verify. A file that is there
// is in service with the certificate, and changes with it.
func (e *ensuring) ensureChain(ctx context.Context, ca CA) error {
	have, readErr := readFile(e.Files.CA, parseCerts)
	chain, err := ca.Chain(ctx)
	if err != nil {
		err = fmt.Errorf("asking the CA: %w", err)
		e.chain = have
		if readErr == nil && !e.Overwrite && e.whyNotCert() == nil {
			e.done(e.Files.CA, Kept, err)
			return nil
		}
		return err
	}
	if len(chain) == 0 || slices.Contains(chain, nil) || !chain[0].IsCA {
		return errors.New("the CA's answer has no CA certificate")
	}
	if !e.now().Before(chain[0].NotAfter) {
		return fmt.Errorf("the CA's certificate has expired, at %s", when(chain[0].NotAfter))
	}
	same := readErr == nil && bytes.Equal(encodeCerts(have), encodeCerts(chain))
	if readErr == nil && !same {
		e.chain = have
		e.oldList, _ = e.readList()
	}
	e.chain = chain
	if same && !e.Overwrite {
		e.done(e.Files.CA, Kept, nil)
		return nil
	}
	if readErr == nil && !e.Overwrite {
		readErr = errors.New("the CA has another certificate now")
	}
	e.chainIsNew, e.whyNewChain = true, readErr
	if errors.Is(readErr, fs.ErrNotExist) {
		return e.saveChain()
	}
	return nil
}

// saveChain writes the CA's file, unless it is fine as it is.
func (e *ensuring) saveChain() error {
	if !e.chainIsNew {
		return nil
	}
	if err := e.write(e.Files.CA, encodeCerts(e.chain), e.certMode()); err != nil {
		return err
	}
	e.done(e.Files.CA, Made, e.whyNewChain)
	e.chainIsNew = false
	return nil
}

// ensurePair sees to key, request and certificate.
func (e *ensuring) ensurePair(ctx context.Context, ca CA) error {
	why := e.whyNotCert()
	if err := e.ensureKey(ctx, e.Overwrite || errors.Is(why, errRevoked)); err != nil {
		return &StepError{StepKey, e.Files.Key, err}
	}
	if err := e.ensureCSR(); err != nil {
		return &StepError{StepCSR, e.Files.CSR, err}
	}
	if why == nil && !e.Overwrite {
		if err := e.saveChain(); err != nil {
			return &StepError{StepCA, e.Files.CA, err}
		}
		e.done(e.Files.Cert, Kept, e.whyKept)
		return nil
	}
	if err := e.sign(ctx, ca); err != nil {
		return &StepError{StepCert, e.Files.Cert, err}
	}
	if e.chainIsNew {
		e.done(e.Files.CA, Made, e.whyNewChain)
	}
	if e.pending {
		e.done(e.Files.Key, Made, why)
		e.done(e.Files.CSR, Made, why)
	}
	e.done(e.Files.Cert, Made, why)
	return nil
}

// sign has the certificate made and puts it in service, with the key and the
// request if they are pending, and with the CA's file if that is to be another.
func (e *ensuring) sign(ctx context.Context, ca CA) error {
	certs, err := ca.Sign(ctx, e.csr)
	if err != nil {
		return fmt.Errorf("having it signed: %w", err)
	}
	if err := e.checkAnswer(certs); err != nil {
		return fmt.Errorf("the CA's answer is not what was asked for: %w", err)
	}
	if !e.pending && !e.chainIsNew {
		return e.write(e.Files.Cert, encodeCerts(certs), e.certMode())
	}
	var newChain []byte
	if e.chainIsNew {
		newChain = encodeCerts(e.chain)
	}
	return e.swap(newChain, encodeCerts(certs))
}

// ensureKey sets e.key. A new key is pending while another is in service. It
// is on disk all the same before it is signed: a device of dojot's gets one
// certificate, and if this call is interrupted the next one needs the key to
// it.
func (e *ensuring) ensureKey(ctx context.Context, replace bool) error {
	key, readErr := readFile(e.Files.Key, parseKey)
	missing := errors.Is(readErr, fs.ErrNotExist)
	switch {
	case readErr == nil && !replace:
		e.key = key
		e.done(e.Files.Key, Kept, nil)
		return e.discardPending()
	case readErr != nil && !missing && !replace:
		// Never destroy unasked what might be the only copy of a key.
		return readErr
	}
	next := e.Files.nextOf(e.Files.Key)
	pending, err := readFile(next, parseKey)
	switch {
	case isUnreadable(err):
		return err // it may have been signed
	case err == nil && !missing && e.isNewKey(pending) && (readErr != nil || !samePublicKey(pending.Public(), key.Public())):
		e.key, e.pending = pending, true // of a call that was interrupted
		return e.attr(next, e.keyMode()).Apply(next)
	}
	if e.key, err = e.newKey(ctx); err != nil {
		return fmt.Errorf("making it: %w", err)
	}
	encoded, err := encodeKey(e.key)
	if err != nil {
		return err
	}
	if !missing {
		e.pending = true
		return e.writeNext(e.Files.Key, encoded, e.keyMode())
	}
	if err := e.write(e.Files.Key, encoded, e.keyMode()); err != nil {
		return err
	}
	e.done(e.Files.Key, Made, nil)
	return e.discardPending()
}

// ensureCSR sets e.csr, which is pending if the key is.
func (e *ensuring) ensureCSR() error {
	path := e.Files.CSR
	if e.pending {
		path = e.Files.nextOf(path)
	}
	csr, readErr := readFile(path, parseCSR)
	if readErr == nil && (!e.Overwrite || e.pending) && e.fitsCSR(csr, e.key) {
		e.csr = csr
		if e.pending {
			return e.attr(path, e.certMode()).Apply(path)
		}
		e.done(e.Files.CSR, Kept, nil)
		return nil
	}
	if readErr == nil && !e.Overwrite {
		readErr = errors.New("it is for another key or name")
	}
	var err error
	if e.csr, err = e.newCSR(e.key); err != nil {
		return fmt.Errorf("making it: %w", err)
	}
	encoded := pem.EncodeToMemory(&pem.Block{Type: typeCSR, Bytes: e.csr.Raw})
	if e.pending {
		return e.writeNext(e.Files.CSR, encoded, e.certMode())
	}
	if err := e.write(path, encoded, e.certMode()); err != nil {
		return err
	}
	e.done(path, Made, readErr)
	return nil
}

func (e *ensuring) plan() error {
	var caErr error
	e.chain, caErr = readFile(e.Files.CA, parseCerts)
	e.planned(e.Files.CA, caErr)
	if len(e.chain) > 0 {
		e.list, _ = e.readList()
	}
	why := e.whyNotCert()
	key, keyErr := readFile(e.Files.Key, parseKey)
	switch {
	case errors.Is(why, errRevoked):
		keyErr = why
	case keyErr != nil && !errors.Is(keyErr, fs.ErrNotExist) && !e.Overwrite:
		return &StepError{StepKey, e.Files.Key, keyErr}
	}
	e.planned(e.Files.Key, keyErr)
	csr, csrErr := readFile(e.Files.CSR, parseCSR)
	if csrErr == nil && (keyErr != nil || !e.fitsCSR(csr, key)) {
		csrErr = errors.New("it is for another key or name")
	}
	e.planned(e.Files.CSR, csrErr)
	e.planned(e.Files.Cert, why)
	if e.Files.CRL != "" {
		// Overwrite or not, it is the CA's.
		_, listErr := e.readList()
		e.done(e.Files.CRL, actionFor(listErr), listErr)
	}
	return nil
}

func (e *ensuring) planned(path string, why error) {
	if e.Overwrite {
		e.done(path, Made, why)
		return
	}
	e.done(path, actionFor(why), why)
}

func actionFor(why error) Action {
	if why == nil {
		return Kept
	}
	return Made
}

// write replaces a file that others use.
func (e *ensuring) write(path string, data []byte, mode fs.FileMode) error {
	if err := e.checkSize(path, data); err != nil {
		return err
	}
	if err := e.change(); err != nil {
		return err
	}
	return durable.WriteFile(path, data, e.attr(path, mode))
}

// writeNext writes what is to replace a file.
func (e *ensuring) writeNext(path string, data []byte, mode fs.FileMode) error {
	if err := e.checkSize(path, data); err != nil {
		return err
	}
	next := e.Files.nextOf(path)
	return durable.WriteFile(next, data, e.attr(next, mode))
}

// checkSize refuses what could not be read again.
func (e *ensuring) checkSize(path string, data []byte) error {
	limit := maxFile
	if path == e.Files.CRL {
		limit = maxList
	}
	if len(data) > limit {
		return fmt.Errorf("%d bytes (want at most %d)", len(data), limit)
	}
	return nil
}

// attr is what a file is to look like. Those of the CA others may be writing,
// too.
func (e *ensuring) attr(path string, mode fs.FileMode) durable.Attr {
	a := durable.Attr{Mode: mode, Owner: (*durable.Owner)(e.Owner)}
	if path != e.Files.CA && path != e.Files.CRL {
		a.Temp = path + part
	}
	return a
}

// change announces the first change.
func (e *ensuring) change() error {
	if e.changed || e.changing == nil {
		return nil
	}
	e.changed = true
	return e.changing()
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
