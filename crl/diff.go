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
// new is not newer, ErrIssuer if it is of another issuer, ErrDelta if one of
// them is a delta, and ErrMalformed if [Parse] would not have read it. The
// lists should have been verified. As with [Verify], it is their Raw fields
// that count.
func Diff(old, new *x509.RevocationList) (Changes, error) {
	c, err := diff(old, new)
	if err != nil {
		return c, fmt.Errorf("comparing CRLs: %w", err)
	}
	return c, nil
}

func diff(old, new *x509.RevocationList) (c Changes, err error) {
	was, err := indexOf(old)
	if err != nil {
		return c, err
	}
	is, err := indexOf(new)
	if err != nil {
		return c, err
	}
	old, new = was.d.head, is.d.head
	if !bytes.Equal(old.RawIssuer, new.RawIssuer) {
		return c, fmt.Errorf("%w: %q (want %q)", ErrIssuer, new.Issuer, old.Issuer)
	}
	if was.d.isDelta() || is.d.isDelta() {
		return c, ErrDelta
	}
	if err := newer(old, new); err != nil {
		return c, err
	}
	for it := range is.items() {
		switch before, known := was.find(it.serial); {
		case !known:
			c.Added = append(c.Added, it.whole())
		case !it.entry().agrees(before):
			c.Changed = append(c.Changed, it.whole())
		}
	}
	for it := range was.items() {
		if _, left := is.find(it.serial); !left {
			c.Removed = append(c.Removed, it.whole())
		}
	}
	return c, nil
}

// agrees says whether two entries say the same of a serial.
func (e Entry) agrees(other Entry) bool {
	return e.Reason == other.Reason && e.RevokedAt.Equal(other.RevokedAt)
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
