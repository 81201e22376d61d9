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

	chain []*x509.Certificate
	list  *x509.RevocationList // verified, of chain[0]; nil if there is none
	key   crypto.Signer
	csr   *x509.CertificateRequest
}

func (e *ensuring) run(ctx context.Context, ca CA) error {
	if err := os.MkdirAll(filepath.Dir(e.Files.Key), 0o755); err != nil {
		return &StepError{StepKey, e.Files.Key, err}
	}
	if err := e.takeUp(); err != nil {
		return &StepError{StepCert, e.Files.Cert, err}
	}
	if err := e.ensureChain(ctx, ca); err != nil {
		return &StepError{StepCA, e.Files.CA, err}
	}
	saveList, listErr := e.findList(ctx, ca)
	if err := e.ensurePair(ctx, ca); err != nil {
		return err
	}
	if e.Files.CRL == "" {
		return nil
	}
	if listErr == nil {
		listErr = saveList()
	}
	if listErr != nil {
		return &StepError{StepCRL, e.Files.CRL, listErr}
	}
	return nil
}

// ensureChain compares the CA's file with the CA: one that was built anew
// signs certificates that the old file does not verify.
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
	if len(chain) == 0 || chain[0] == nil || !chain[0].IsCA {
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

// ensurePair sees to key, request and certificate.
func (e *ensuring) ensurePair(ctx context.Context, ca CA) error {
	why := e.whyNotCert()
	newKey, err := e.ensureKey(e.Overwrite || errors.Is(why, errRevoked))
	if err != nil {
		return &StepError{StepKey, e.Files.Key, err}
	}
	newCSR, err := e.ensureCSR(newKey != nil)
	if err != nil {
		return &StepError{StepCSR, e.Files.CSR, err}
	}
	if why == nil && !e.Overwrite {
		e.done(e.Files.Cert, Kept, nil)
		return nil
	}
	if err := e.sign(ctx, ca, newKey, newCSR); err != nil {
		return &StepError{StepCert, e.Files.Cert, err}
	}
	if newKey != nil {
		e.done(e.Files.Key, Made, why)
		e.done(e.Files.CSR, Made, why)
	}
	e.done(e.Files.Cert, Made, why)
	return nil
}

// sign has the certificate made and puts it in service, with the key and the
// request if they are new and replace others.
func (e *ensuring) sign(ctx context.Context, ca CA, newKey, newCSR []byte) error {
	certs, err := ca.Sign(ctx, e.csr)
	if err != nil {
		return fmt.Errorf("having it signed: %w", err)
	}
	if err := e.checkCert(certs, e.key.Public()); err != nil {
		return fmt.Errorf("the CA's answer is not what was asked for: %w", err)
	}
	if newKey == nil {
		return e.write(e.Files.Cert, encodeCerts(certs), 0o644)
	}
	return e.swap(newKey, newCSR, encodeCerts(certs))
}

// ensureKey sets e.key. It returns the PEM of a new key that must not be
// written yet, because another key is in service.
func (e *ensuring) ensureKey(replace bool) (pending []byte, err error) {
	key, readErr := readFile(e.Files.Key, parseKey)
	if readErr == nil && !replace {
		e.key = key
		if err := e.closeKey(); err != nil {
			return nil, err
		}
		e.done(e.Files.Key, Kept, nil)
		return nil, nil
	}
	missing := errors.Is(readErr, fs.ErrNotExist)
	if readErr != nil && !missing && !replace {
		// Never destroy unasked what might be the only copy of a key.
		return nil, readErr
	}
	if e.key, err = e.newKey(); err != nil {
		return nil, fmt.Errorf("making it: %w", err)
	}
	if pending, err = encodeKey(e.key); err != nil {
		return nil, err
	}
	if missing {
		if err := e.write(e.Files.Key, pending, 0o600); err != nil {
			return nil, err
		}
		e.done(e.Files.Key, Made, nil)
		return nil, nil
	}
	return pending, nil
}

// closeKey mends a key that others may read, whoever made it.
func (e *ensuring) closeKey() error {
	info, err := os.Stat(e.Files.Key)
	if err != nil || info.Mode().Perm() == 0o600 {
		return err
	}
	return os.Chmod(e.Files.Key, 0o600)
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
	if err := e.write(e.Files.CSR, pending, 0o644); err != nil {
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
		_, err := e.readList()
		e.planned(e.Files.CRL, err)
	}
	return nil
}

func (e *ensuring) planned(path string, why error) {
	if why == nil && !e.Overwrite {
		e.done(path, Kept, nil)
		return
	}
	e.done(path, Made, why)
}

func (e *ensuring) write(path string, data []byte, mode fs.FileMode) error {
	if err := e.change(); err != nil {
		return err
	}
	return durable.WriteFile(path, data, e.attr(mode))
}

// change announces the first change.
func (e *ensuring) change() error {
	if e.changed || e.changing == nil {
		return nil
	}
	e.changed = true
	return e.changing()
}

func (e *ensuring) attr(mode fs.FileMode) durable.Attr {
	return durable.Attr{Mode: mode, Owner: (*durable.Owner)(e.Owner)}
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
