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
	"path/filepath"
	"slices"
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
	ends        time.Time            // of a certificate that is good, but to be renewed
	key         crypto.Signer
	csr         *x509.CertificateRequest
}

func (e *ensuring) run(ctx context.Context, ca CA) error {
	for _, path := range e.Files.set() {
		if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return &StepError{StepKey, path, err}
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
	for _, f := range []struct{ step, path string }{
		{StepKey, e.Files.Key}, {StepCSR, e.Files.CSR}, {StepCert, e.Files.Cert}, {StepCA, e.Files.CA}, {StepCRL, e.Files.CRL},
	} {
		a := durable.Attr{Owner: (*durable.Owner)(e.Owner)}
		if f.path == e.Files.Key {
			a.Mode = e.keyMode()
		}
		if err := a.Apply(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &StepError{f.step, f.path, err}
		}
	}
	return nil
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
	e.chain = chain
	if readErr == nil && !e.Overwrite && bytes.Equal(encodeCerts(have), encodeCerts(chain)) {
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
	newKey, err := e.ensureKey(ctx, e.Overwrite || errors.Is(why, errRevoked))
	if err != nil {
		return &StepError{StepKey, e.Files.Key, err}
	}
	newCSR, err := e.ensureCSR(newKey != nil)
	if err != nil {
		return &StepError{StepCSR, e.Files.CSR, err}
	}
	if why == nil && !e.Overwrite {
		if err := e.saveChain(); err != nil {
			return &StepError{StepCA, e.Files.CA, err}
		}
		e.done(e.Files.Cert, Kept, nil)
		return nil
	}
	if err := e.sign(ctx, ca, newKey, newCSR); err != nil {
		return &StepError{StepCert, e.Files.Cert, err}
	}
	if e.chainIsNew {
		e.done(e.Files.CA, Made, e.whyNewChain)
	}
	if newKey != nil {
		e.done(e.Files.Key, Made, why)
		e.done(e.Files.CSR, Made, why)
	}
	e.done(e.Files.Cert, Made, why)
	return nil
}

// sign has the certificate made and puts it in service, with the key and the
// request if they are new and replace others, and with the CA's file if that
// is to be another.
func (e *ensuring) sign(ctx context.Context, ca CA, newKey, newCSR []byte) error {
	certs, err := ca.Sign(ctx, e.csr)
	if err != nil {
		return fmt.Errorf("having it signed: %w", err)
	}
	if err := e.checkAnswer(certs); err != nil {
		return fmt.Errorf("the CA's answer is not what was asked for: %w", err)
	}
	if newKey == nil && !e.chainIsNew {
		return e.write(e.Files.Cert, encodeCerts(certs), e.certMode())
	}
	var newChain []byte
	if e.chainIsNew {
		newChain = encodeCerts(e.chain)
	}
	return e.swap(newChain, newKey, newCSR, encodeCerts(certs))
}

// ensureKey sets e.key. It returns the PEM of a new key that must not be
// written yet, because another key is in service.
func (e *ensuring) ensureKey(ctx context.Context, replace bool) (pending []byte, err error) {
	key, readErr := readFile(e.Files.Key, parseKey)
	if readErr == nil && !replace {
		e.key = key
		e.done(e.Files.Key, Kept, nil)
		return nil, nil
	}
	missing := errors.Is(readErr, fs.ErrNotExist)
	if readErr != nil && !missing && !replace {
		// Never destroy unasked what might be the only copy of a key.
		return nil, readErr
	}
	if e.key, err = e.newKey(ctx); err != nil {
		return nil, fmt.Errorf("making it: %w", err)
	}
	if pending, err = encodeKey(e.key); err != nil {
		return nil, err
	}
	if missing {
		if err := e.write(e.Files.Key, pending, e.keyMode()); err != nil {
			return nil, err
		}
		e.done(e.Files.Key, Made, nil)
		return nil, nil
	}
	return pending, nil
}

// ensureCSR sets e.csr. If it is for a key that is not written yet, it must
// not be written either, and its PEM is returned.
func (e *ensuring) ensureCSR(keyIsPending bool) (pending []byte, err error) {
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
		return nil, fmt.Errorf("making it: %w", err)
	}
	pending = pem.EncodeToMemory(&pem.Block{Type: typeCSR, Bytes: e.csr.Raw})
	if keyIsPending {
		return pending, nil
	}
	if err := e.write(e.Files.CSR, pending, e.certMode()); err != nil {
		return nil, err
	}
	e.done(e.Files.CSR, Made, readErr)
	return nil, nil
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

func (e *ensuring) write(path string, data []byte, mode fs.FileMode) error {
	limit := maxFile
	if path == e.Files.CRL {
		limit = maxList
	}
	if len(data) > limit {
		return fmt.Errorf("%d bytes (want at most %d)", len(data), limit)
	}
	if err := e.change(); err != nil {
		return err
	}
	attr := e.attr(mode)
	attr.Temp = e.temp(path)
	return durable.WriteFile(path, data, attr)
}

// temp is where a file is written before it is renamed. Those of the CA others
// may be writing, too.
func (e *ensuring) temp(path string) string {
	if path == e.Files.CA || path == e.Files.CRL {
		return ""
	}
	return path + part
}

func (e *ensuring) attr(mode fs.FileMode) durable.Attr {
	return durable.Attr{Mode: mode, Owner: (*durable.Owner)(e.Owner)}
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
