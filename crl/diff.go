package crl

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
)

// ErrRollback says that a list is not newer than the one it should replace:
// installing it could bring revoked certificates back to life.
var ErrRollback = errors.New("the CRL is not newer")

// Changes is what a new list says that an old one did not.
type Changes struct {
	Added   []Entry // in the new list only, in its order
	Removed []Entry // in the old list only: expired, or no longer on hold
	Changed []Entry // as they are in the new list: reason or date differ
}

// Diff compares two complete lists of one issuer. It returns ErrRollback if
// new is not newer, ErrIssuer if it is of another issuer, and ErrDelta if
// one of them is a delta. The lists should have been verified.
func Diff(old, new *x509.RevocationList) (Changes, error) {
	var c Changes
	if !bytes.Equal(old.RawIssuer, new.RawIssuer) {
		return c, fmt.Errorf("comparing CRLs: %w: %q (want %q)", ErrIssuer, new.Issuer, old.Issuer)
	}
	for _, l := range []*x509.RevocationList{old, new} {
		if find(l.Extensions, oidDeltaCRLIndicator) != nil {
			return c, fmt.Errorf("comparing CRLs: %w", ErrDelta)
		}
	}
	if err := newer(old, new); err != nil {
		return c, fmt.Errorf("comparing CRLs: %w", err)
	}
	before := make(map[string]*x509.RevocationListEntry, len(old.RevokedCertificateEntries))
	for i := range old.RevokedCertificateEntries {
		e := &old.RevokedCertificateEntries[i]
		before[string(e.SerialNumber.Bytes())] = e
	}
	for i := range new.RevokedCertificateEntries {
		e := &new.RevokedCertificateEntries[i]
		serial := string(e.SerialNumber.Bytes())
		was, known := before[serial]
		switch {
		case !known:
			c.Added = append(c.Added, entryOf(e))
		case was.ReasonCode != e.ReasonCode || !was.RevocationTime.Equal(e.RevocationTime):
			c.Changed = append(c.Changed, entryOf(e))
		}
		delete(before, serial)
	}
	for i := range old.RevokedCertificateEntries {
		e := &old.RevokedCertificateEntries[i]
		if _, left := before[string(e.SerialNumber.Bytes())]; left {
			c.Removed = append(c.Removed, entryOf(e))
		}
	}
	return c, nil
}

func entryOf(e *x509.RevocationListEntry) Entry {
	return Entry{Serial: e.SerialNumber, RevokedAt: e.RevocationTime, Reason: Reason(e.ReasonCode)}
}

// newer returns ErrRollback unless new may follow old: its number is greater
// (RFC 5280, section 5.2.3) and thisUpdate does not go back. Lists without
// numbers must have a later thisUpdate.
func newer(old, new *x509.RevocationList) error {
	switch {
	case new.ThisUpdate.Before(old.ThisUpdate):
		return fmt.Errorf("%w: thisUpdate goes back from %v to %v", ErrRollback, show(old.ThisUpdate), show(new.ThisUpdate))
	case old.Number != nil && new.Number == nil:
		return fmt.Errorf("%w: it has no number, after number %v", ErrRollback, old.Number)
	case old.Number != nil && new.Number.Cmp(old.Number) <= 0:
		return fmt.Errorf("%w: number %v after number %v", ErrRollback, new.Number, old.Number)
	case old.Number == nil && !new.ThisUpdate.After(old.ThisUpdate):
		return fmt.Errorf("%w: thisUpdate is %v in both", ErrRollback, show(new.ThisUpdate))
	}
	return nil
}
