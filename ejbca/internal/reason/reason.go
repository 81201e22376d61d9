// Package reason holds the names by which EJBCA and its REST service call the
// revocation reasons of RFC 5280 section 5.3.1.
package reason

import (
	"maps"
	"slices"
	"strings"

	"github.com/dojot/mqtt-manager-go/crl"
)

// NotRevoked is EJBCA's name for "no reason": as an answer, the certificate
// stands; as a request, lift its hold.
const NotRevoked = "NOTREVOKED"

// Mostly RFC 5280's words in upper case, but not all: EJBCA says "PRIVILEGES".
var names = map[crl.Reason]string{
	crl.Unspecified:          "UNSPECIFIED",
	crl.KeyCompromise:        "KEYCOMPROMISE",
	crl.CACompromise:         "CACOMPROMISE",
	crl.AffiliationChanged:   "AFFILIATIONCHANGED",
	crl.Superseded:           "SUPERSEDED",
	crl.CessationOfOperation: "CESSATIONOFOPERATION",
	crl.CertificateHold:      "CERTIFICATEHOLD",
	crl.RemoveFromCRL:        "REMOVEFROMCRL",
	crl.PrivilegeWithdrawn:   "PRIVILEGESWITHDRAWN",
	crl.AACompromise:         "AACOMPROMISE",
}

// Name returns EJBCA's name for r.
func Name(r crl.Reason) (name string, ok bool) {
	name, ok = names[r]
	return name, ok
}

// Parse returns the reason that EJBCA calls name. Upper case only, as there;
// [NotRevoked] is not a reason.
func Parse(name string) (r crl.Reason, ok bool) {
	for r, n := range names {
		if n == name {
			return r, true
		}
	}
	return 0, false
}

// Known lists all names, for messages.
func Known() string {
	return strings.Join(slices.Sorted(maps.Values(names)), ", ")
}
