package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// verdict is what the broker's list in its file means for the client.
type verdict int

const (
	listUnseen verdict = iota // there is none that could be judged
	listGood
	listRevokes
	listUnfit // it refuses every client of that CA
)

// listState is what is to be said of the list in the file: for listUnfit, what
// the matter is and which alerts a broker that works by it sends.
type listState struct {
	verdict verdict
	Explanation
	alerts []uint8
}

// explains reports whether a broker with that list sends that alert.
func (l listState) explains(alert uint8) bool { return slices.Contains(l.alerts, alert) }

const (
	remedyList   = "install a current list of that CA, and have the broker read it (SIGHUP)"
	remedyWhole  = "have the CA make one for all its certificates, without an issuing distribution point, and have the broker read that (SIGHUP)"
	remedyClocks = "compare the clocks of CA, broker and client"
)

func unfit(cause, remedy string, alerts ...uint8) listState {
	return listState{listUnfit, Explanation{cause, remedy}, alerts}
}

// list judges the broker's crlfile as the broker does. A file that is not for
// us to read is as good as none, and so is the list of a CA that the client
// does not have.
func (c *check) list() listState {
	issuer := c.issuer()
	if c.CRLFile == "" || issuer == nil {
		return listState{}
	}
	lists, err := readFileOf(c.CRLFile, maxList, crl.ParseAll)
	if errors.Is(err, fs.ErrPermission) {
		return listState{}
	}
	if err != nil {
		return unfit(fmt.Sprintf("the broker's revocation list cannot be read: %v", err), remedyList,
			tlsalert.CertificateExpired, tlsalert.BadCertificate, tlsalert.CertificateUnknown, tlsalert.UnknownCA, tlsalert.DecryptError)
	}
	err = crl.NotRevoked(lists, issuer, c.leaf, c.now)
	if err == nil {
		return listState{verdict: listGood}
	}
	missing := errors.Is(err, crl.ErrMissing)
	details := " (" + strings.ReplaceAll(err.Error(), "\n", "; ") + ")"
	const forged = "the broker's revocation list has the name of CA %q, but not its signature"
	switch { // in the order in which OpenSSL looks for faults
	case errors.Is(err, crl.ErrRevoked):
		return listState{listRevokes, Explanation{fmt.Sprintf("the certificate with serial %x is on the broker's revocation list", c.leaf.SerialNumber),
			"get a new one, if the device is to stay"}, []uint8{tlsalert.CertificateRevoked}}
	case errors.Is(err, crl.ErrDelta):
		return listState{} // what becomes of it depends on the release of OpenSSL
	case errors.Is(err, crl.ErrScope):
		alert := uint8(tlsalert.CertificateUnknown)
		if missing {
			alert = tlsalert.UnknownCA
		}
		return unfit("the broker's revocation list does not cover the client's certificate, so it refuses the client"+details, remedyWhole,
			alert)
	case missing && errors.Is(err, crl.ErrIssuer):
		return unfit(fmt.Sprintf(forged, issuer.Subject), remedyList, tlsalert.UnknownCA)
	case missing:
		return unfit(fmt.Sprintf("the broker has no revocation list of CA %q in %s, so it refuses all clients of that CA", issuer.Subject, c.CRLFile), remedyList,
			tlsalert.UnknownCA)
	case errors.Is(err, crl.ErrExpired):
		return unfit("the broker's revocation list has expired, so it refuses every client"+details, remedyList,
			tlsalert.CertificateExpired)
	case errors.Is(err, crl.ErrNotYetValid):
		return unfit("the broker's revocation list is from the future"+details, remedyClocks,
			tlsalert.BadCertificate)
	case errors.Is(err, crl.ErrSignature):
		return unfit(fmt.Sprintf(forged, issuer.Subject), remedyList, tlsalert.DecryptError)
	case errors.Is(err, crl.ErrCritical):
		return unfit("the broker's revocation list has a critical extension that brokers do not know"+details, "have the CA make it without",
			tlsalert.CertificateUnknown)
	}
	return listState{}
}
