package crl

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrDuplicate says that a crlfile has more than one live list of a CA, of
// which a broker chooses one.
var ErrDuplicate = errors.New("more than one CRL of this CA")

// Complete reports whether a crlfile with these lists has, at time now, what a
// broker needs for the clients of all CAs in chain: exactly one list of each
// that passes [Verify], and nothing that a broker would choose in its place.
// Certificates in chain that may not sign others are passed over.
//
// It joins an error for each CA that lacks its list, with the CA's name:
// ErrMissing, ErrDuplicate or what Verify found.
func Complete(lists []*x509.RevocationList, chain []*x509.Certificate, now time.Time) error {
	var errs []error
	for i, ca := range chain {
		if !maySignCertificates(ca) || slices.ContainsFunc(chain[:i], func(c *x509.Certificate) bool { return sameCA(c, ca) }) {
			continue
		}
		err := judge(lists, ca, now)
		if err == nil {
			live := 0
			for _, list := range lists {
				if bytes.Equal(list.RawIssuer, ca.RawSubject) && Verify(list, ca, now) == nil {
					live++
				}
			}
			if live > 1 {
				err = fmt.Errorf("%w: %d", ErrDuplicate, live)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("CA %q: %w", ca.Subject, err))
		}
	}
	return errors.Join(errs...)
}

// maySignCertificates says whether OpenSSL lets cert be the issuer of another.
func maySignCertificates(cert *x509.Certificate) bool {
	if cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return false
	}
	return cert.BasicConstraintsValid && cert.IsCA || cert.Version < 3 && bytes.Equal(cert.RawSubject, cert.RawIssuer)
}

// sameCA says whether two certificates are of one CA, as after a renewal.
func sameCA(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// judge verifies the list by which OpenSSL judges a CA's clients.
func judge(lists []*x509.RevocationList, ca *x509.Certificate, now time.Time) error {
	list, err := choose(lists, ca, nil, now)
	if err != nil {
		return err
	}
	return Verify(list, ca, now)
}

// choose returns the list by which OpenSSL judges a client of the CA; nil is
// any client's. The error is ErrMissing, or ErrDelta where releases differ.
func choose(lists []*x509.RevocationList, ca, client *x509.Certificate, now time.Time) (best *x509.RevocationList, err error) {
	bestRank, ignored := 0, error(nil)
	for _, list := range lists {
		if !bytes.Equal(list.RawIssuer, ca.RawSubject) {
			continue
		}
		if find(list.Extensions, oidDeltaCRLIndicator) != nil && authentic(list, ca) == nil {
			return nil, Verify(list, ca, now) // whatever else there is, it may be preferred
		}
		rank, ok := rank(list, ca, client, now)
		switch {
		case !ok:
			ignored = Verify(list, ca, now)
		case best == nil, rank > bestRank, rank == bestRank && list.ThisUpdate.After(best.ThisUpdate):
			best, bestRank = list, rank
		}
	}
	switch {
	case best != nil:
		return best, nil
	case ignored != nil:
		return nil, fmt.Errorf("%w: %w", ErrMissing, ignored)
	}
	return nil, ErrMissing
}

// rank is how much OpenSSL likes a list that bears the CA's name: criticality
// before scope before dates, and the later thisUpdate among equals (get_crl_sk
// in OpenSSL 3's x509_vfy.c). It looks at the signature only after it has
// chosen, so a forged list can displace a good one. A list that is not ok is
// not considered at all.
func rank(list *x509.RevocationList, ca, client *x509.Certificate, now time.Time) (rank int, ok bool) {
	scope, _ := scopeFor(list, client)
	if scope == ignoredScope || checkAuthorityKeyID(list.Extensions, ca) != nil {
		return 0, false
	}
	if !errors.Is(usable(list), ErrCritical) {
		rank += 4
	}
	if scope == wholeScope {
		rank += 2
	}
	if err := current(list, now); err == nil || errors.Is(err, ErrNoNextUpdate) {
		rank++
	}
	return rank, true
}
