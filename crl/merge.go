package crl

import (
	"bytes"
	"crypto/x509"
	"fmt"
)

// Merge combines a complete list with a delta to it, or to an earlier one, as
// RFC 5280, section 5.2.4, says. The result is what the issuer would have to
// sign for a broker to use it: number and dates are the delta's. Entries keep
// the base's order, new ones follow. Of an entry's extensions only the reason
// is kept.
//
// The base should have passed [Verify], dates aside, and the delta
// [VerifyDelta]. The errors are ErrBase if the delta is none, does not come
// after the base, or is to a list that came after it; ErrDelta if the base is
// one; ErrIssuer if issuer or authority key identifier differ; ErrScope if the
// issuing distribution points differ, or say what a [Template] can't;
// ErrCritical and ErrScope for entries, as of Verify; and ErrMalformed.
func Merge(base, delta *x509.RevocationList) (*Template, error) {
	t, err := merge(base, delta)
	if err != nil {
		return nil, fmt.Errorf("merging CRLs: %w", err)
	}
	return t, nil
}

func merge(base, delta *x509.RevocationList) (*Template, error) {
	old, err := indexOf(base)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	changes, err := indexOf(delta)
	if err != nil {
		return nil, fmt.Errorf("delta: %w", err)
	}
	if err := fit(old.d, changes.d); err != nil {
		return nil, err
	}
	for _, ix := range []*Index{old, changes} {
		if ix.fault != nil {
			return nil, ix.fault
		}
	}
	scope, err := changes.d.distributionPoint()
	if err != nil {
		return nil, err
	}

	head := changes.d.head
	t := &Template{Number: head.Number, ThisUpdate: head.ThisUpdate, NextUpdate: head.NextUpdate, DistributionPoint: scope}
	listed := make(map[string]bool) // by the delta, and done
	place := func(it *item) {
		if listed[string(it.serial)] {
			return
		}
		e, ok := changes.find(it.serial)
		if ok {
			listed[string(it.serial)] = true
		} else {
			e = it.entry()
		}
		if ok && e.Reason == RemoveFromCRL {
			return
		}
		e.Serial = integer(it.serial)
		t.Entries = append(t.Entries, e)
	}
	for it := range old.items() {
		place(it)
	}
	for it := range changes.items() {
		place(it)
	}
	return t, nil
}

// fit checks the four conditions "(a)" to "(d)" of RFC 5280, section 5.2.4,
// and that both lists name one key.
func fit(base, delta *document) error {
	b, d := base.head, delta.head
	switch number := delta.base(); {
	case base.isDelta():
		return fmt.Errorf("base: %w", ErrDelta)
	case number == nil:
		return fmt.Errorf("%w: the delta is a complete list", ErrBase)
	case !bytes.Equal(b.RawIssuer, d.RawIssuer):
		return fmt.Errorf("%w: the delta is of %q (want %q)", ErrIssuer, d.Issuer, b.Issuer)
	case !bytes.Equal(b.AuthorityKeyId, d.AuthorityKeyId):
		return fmt.Errorf("%w: the delta names key %x (want %x)", ErrIssuer, d.AuthorityKeyId, b.AuthorityKeyId)
	case !bytes.Equal(base.valueOf(idIDP), delta.valueOf(idIDP)):
		return fmt.Errorf("%w: the issuing distribution points differ", ErrScope)
	case b.Number == nil || d.Number == nil:
		return fmt.Errorf("%w: a number is missing", ErrBase)
	case b.Number.Cmp(number) < 0:
		return fmt.Errorf("%w: the delta is to number %v, the base has number %v", ErrBase, number, b.Number)
	case b.Number.Cmp(d.Number) >= 0:
		return fmt.Errorf("%w: the delta's number %v is not above the base's %v", ErrBase, d.Number, b.Number)
	}
	return nil
}

// valueOf returns an extension's value, nil if it is not there.
func (d *document) valueOf(id []byte) []byte {
	if e := d.extension(id); e != nil {
		return e.value
	}
	return nil
}

// distributionPoint is the scope as a Template has it.
func (d *document) distributionPoint() (*IssuingDistributionPoint, error) {
	idp, err := d.scope()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrScope, err)
	case idp == nil:
		return nil, nil
	case idp.IndirectCRL || idp.OnlyContainsAttributeCerts || idp.OnlySomeReasons.BitLength > 0:
		return nil, fmt.Errorf("%w: it is indirect, or holds only some reasons or attribute certificates", ErrScope)
	}
	p := &IssuingDistributionPoint{OnlyContainsUserCerts: idp.OnlyContainsUserCerts, OnlyContainsCACerts: idp.OnlyContainsCACerts}
	if len(idp.DistributionPoint.FullBytes) == 0 {
		return p, nil
	}
	if p.URLs, err = fullName(idp.DistributionPoint); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrScope, err)
	}
	return p, nil
}
