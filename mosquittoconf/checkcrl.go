package mosquittoconf

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

// lists checks a crlfile; cas are the CAs whose lists it needs.
func (c *checker) lists(d *statement, cas []*x509.Certificate) {
	data, ok := c.read(d)
	if !ok {
		return
	}
	path := c.path(d)
	lists, err := crl.ParseAll(data)
	if err != nil {
		c.refused(d, "crlfile-invalid",
			fmt.Sprintf("crlfile %s: %v: a broker that reloads it checks no revocation (2.0) or ends (2.1)", path, err),
			"replace it by the CAs' lists, in PEM")
		return
	}
	if len(lists) > 1 && !c.version.atLeast(1, 6, 8) {
		c.refused(d, "crlfile-invalid", fmt.Sprintf("crlfile %s holds %d lists, and up to 1.6.7 there can be one", path, len(lists)), "keep one, or upgrade the broker")
		return
	}
	missing := make(map[*x509.Certificate]bool)
	for _, ca := range cas {
		err := crl.Complete(lists, []*x509.Certificate{ca}, c.env.Now)
		closes := slices.ContainsFunc(closing, func(e error) bool { return errors.Is(err, e) })
		switch {
		case err == nil, errors.Is(err, crl.ErrDuplicate): // a broker goes by the newest
			if best := longest(lists, ca, c.env.Now); best != nil && best.NextUpdate.Sub(c.env.Now) < best.NextUpdate.Sub(best.ThisUpdate)/soon {
				c.warn(d, "crl-expires-soon", fmt.Sprintf("crlfile %s, list of CA %q expires at %s: then every client of that CA is refused", path, ca.Subject, show(best.NextUpdate)), "fetch the CA's current list, and have the broker reload it")
			}
		case errors.Is(err, crl.ErrMissing):
			missing[ca] = true
		case errors.Is(err, crl.ErrExpired) && !closes:
			c.warn(d, "crl-expired", fmt.Sprintf("crlfile %s, %v: every client of that CA is refused", path, err), "fetch the CA's current list")
		case errors.Is(err, crl.ErrNoNextUpdate) && !closes:
			c.warn(d, "crl-unusable", fmt.Sprintf("crlfile %s, %v: the broker takes it for good for ever", path, err), "fetch the CA's current list")
		default:
			c.trap(d, "crl-unusable", fmt.Sprintf("crlfile %s, %v: clients of that CA are refused", path, err), "fetch the CA's current list, and remove this one")
		}
	}
	if len(cas) > 0 && len(missing) == len(cas) {
		c.trap(d, "crl-foreign", fmt.Sprintf("crlfile %s holds no list of a CA in cafile: every client is refused", path), "add the CAs' lists")
		return
	}
	for _, ca := range cas {
		if missing[ca] {
			c.warn(d, "crl-missing", fmt.Sprintf("crlfile %s holds no list of CA %q: every client of that CA is refused", path, ca.Subject),
				"add the CA's list, unless it issues no client certificates")
		}
	}
}

// closing are the faults of a list with which a broker refuses its CA's clients.
var closing = []error{crl.ErrNotCA, crl.ErrIssuer, crl.ErrSignature, crl.ErrCritical, crl.ErrScope, crl.ErrDelta, crl.ErrNotYetValid}

// longest returns the list of ca that is good for longest.
func longest(lists []*x509.RevocationList, ca *x509.Certificate, now time.Time) (best *x509.RevocationList) {
	for _, list := range lists {
		if crl.Verify(list, ca, now) == nil && (best == nil || list.NextUpdate.After(best.NextUpdate)) {
			best = list
		}
	}
	return best
}
