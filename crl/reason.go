package crl

import (
	"fmt"
	"strings"
)

// Reason says why a certificate was revoked: a CRLReason of RFC 5280,
// section 5.3.1. The zero Reason is Unspecified.
type Reason int

// The reasons and codes of RFC 5280; 7 is not used.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	CACompromise         Reason = 2
	AffiliationChanged   Reason = 3
	Superseded           Reason = 4
	CessationOfOperation Reason = 5
	CertificateHold      Reason = 6
	RemoveFromCRL        Reason = 8 // in deltas only: the certificate is no longer revoked
	PrivilegeWithdrawn   Reason = 9
	AACompromise         Reason = 10
)

// reasonNames is indexed by code.
var reasonNames = [...]string{
	"unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded",
	"cessationOfOperation", "certificateHold", "", "removeFromCRL", "privilegeWithdrawn", "aACompromise",
}

func (r Reason) valid() bool {
	return r >= 0 && int(r) < len(reasonNames) && reasonNames[r] != ""
}

// String returns the name that RFC 5280 gives the reason, such as
// "keyCompromise", or "Reason(7)" for a code that it does not define.
func (r Reason) String() string {
	if !r.valid() {
		return fmt.Sprintf("Reason(%d)", int(r))
	}
	return reasonNames[r]
}

// ParseReason returns the reason with a name of RFC 5280, in any case:
// "keyCompromise" and "KEYCOMPROMISE" alike.
func ParseReason(s string) (Reason, error) {
	var names []string
	for code, name := range reasonNames {
		if name == "" {
			continue
		}
		if strings.EqualFold(s, name) {
			return Reason(code), nil
		}
		names = append(names, name)
	}
	return 0, fmt.Errorf("unknown revocation reason %q (want one of %s)", s, strings.Join(names, ", "))
}
