package provision

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// maxList bounds a revocation list: one of a million entries has 40 MB.
const maxList = 256 << 20

// findList sets e.list to the newest list that can be had. The function that
// it returns puts it in its file. An error is about the list alone: that
// nobody knows what is revoked, or not for long any more.
func (e *ensuring) findList(ctx context.Context, ca CA) (save func() error, err error) {
	source, ok := ca.(CRLSource)
	if !ok {
		return func() error { return nil }, nil
	}
	list, whyNot := e.askForList(ctx, source)
	if whyNot == nil && e.holdsList(list) {
		e.list = list
		return func() error { e.done(e.Files.CRL, Kept, nil); return nil }, nil
	}
	have, haveErr := e.readList()
	e.list = have
	if whyNot == nil && have != nil && older(list, have) {
		whyNot = errors.New("the CA's list is older than the one there")
	}
	switch {
	case whyNot == nil:
		e.list = list
		return func() error { return e.saveList(list, haveErr) }, nil
	case haveErr == nil:
		return func() error { e.done(e.Files.CRL, Kept, whyNot); return nil }, nil
	}
	return nil, whyNot
}

// askForList returns the CA's list, verified.
func (e *ensuring) askForList(ctx context.Context, source CRLSource) (*x509.RevocationList, error) {
	list, err := source.CRL(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the CA: %w", err)
	}
	if err := e.checkList(list); err != nil {
		return nil, fmt.Errorf("the CA's list: %w", err)
	}
	if len(list.RevokedCertificateEntries) == 0 {
		// A source may leave them unread, as those of package crl do.
		return x509.ParseRevocationList(list.Raw)
	}
	return list, nil
}

// holdsList reports whether list is the one on disk. That need not be parsed
// for it: a long list takes a while, and all devices of a fleet have the same.
func (e *ensuring) holdsList(list *x509.RevocationList) bool {
	der, err := readFileOf(e.Files.CRL, maxList, decodeList)
	return err == nil && bytes.Equal(der, list.Raw)
}

func (e *ensuring) saveList(list *x509.RevocationList, because error) error {
	data := pem.EncodeToMemory(&pem.Block{Type: typeCRL, Bytes: list.Raw})
	if err := e.write(e.Files.CRL, data, e.certMode()); err != nil {
		return err
	}
	e.done(e.Files.CRL, Made, because)
	return nil
}

// readList reads the list on disk. Beside an error, it returns one that has
// merely expired: what that revokes stays revoked.
func (e *ensuring) readList() (*x509.RevocationList, error) {
	if e.Files.CRL == "" {
		return nil, errors.New("none is kept")
	}
	list, err := readFileOf(e.Files.CRL, maxList, parseList)
	if err != nil {
		return nil, err
	}
	err = e.checkList(list)
	if errors.Is(err, errListExpired) {
		return list, err
	}
	if err != nil {
		return nil, err
	}
	return list, nil
}

var errListExpired = errors.New("it has expired")

func (e *ensuring) checkList(list *x509.RevocationList) error {
	if list == nil {
		return errors.New("no list")
	}
	if len(e.chain) == 0 {
		return errors.New("there is no CA to verify it with")
	}
	if err := list.CheckSignatureFrom(e.chain[0]); err != nil {
		return fmt.Errorf("it is not of the CA: %w", err)
	}
	if e.now().Before(list.ThisUpdate) {
		return fmt.Errorf("it begins at %s", when(list.ThisUpdate))
	}
	if !e.now().Before(list.NextUpdate) {
		return fmt.Errorf("%w at %s", errListExpired, when(list.NextUpdate))
	}
	return nil
}

// older compares by number, which grows with each list of a CA (RFC 5280,
// section 5.2.3).
func older(a, b *x509.RevocationList) bool {
	an, bn := a.Number, b.Number
	if an == nil {
		an = new(big.Int)
	}
	if bn == nil {
		bn = new(big.Int)
	}
	if c := an.Cmp(bn); c != 0 {
		return c < 0
	}
	return a.ThisUpdate.Before(b.ThisUpdate)
}

// isRevoked takes a nil list for one of another CA.
func isRevoked(list *x509.RevocationList, cert *x509.Certificate) bool {
	if list == nil || !bytes.Equal(list.RawIssuer, cert.RawIssuer) {
		return false
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			return true
		}
	}
	return false
}
