package provision

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// verdict is what the broker's list in its file means for the client.
type verdict int

const (
	listUnseen verdict = iota // there is none to read
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
	remedyClocks = "compare the clocks of CA, broker and client"
)

func unfit(cause, remedy string, alerts ...uint8) listState {
	return listState{listUnfit, Explanation{cause, remedy}, alerts}
}

// list judges the broker's crlfile as the broker does. A file that is not for
// us to read is as good as none.
func (c *check) list() listState {
	if c.CRLFile == "" {
		return listState{}
	}
	lists, err := readFileOf(c.CRLFile, maxList, parseLists)
	if errors.Is(err, fs.ErrPermission) {
		return listState{}
	}
	if err != nil {
		return unfit(fmt.Sprintf("the broker's revocation list cannot be read: %v", err), remedyList,
			tlsalert.CertificateExpired, tlsalert.BadCertificate, tlsalert.CertificateUnknown, tlsalert.UnknownCA, tlsalert.DecryptError)
	}
	lists = slices.DeleteFunc(lists, func(l *x509.RevocationList) bool { return !bytes.Equal(l.RawIssuer, c.leaf.RawIssuer) })
	if len(lists) == 0 {
		return unfit(fmt.Sprintf("the broker has no revocation list of CA %q in %s, so it refuses all clients of that CA", c.leaf.Issuer, c.CRLFile), remedyList,
			tlsalert.UnknownCA)
	}
	issuer := c.issuer()
	const forged = "the broker's revocation list has the name of CA %q, but not its signature"
	lists = slices.DeleteFunc(lists, func(l *x509.RevocationList) bool { return issuer != nil && ofAnotherKey(l, issuer) })
	if len(lists) == 0 {
		return unfit(fmt.Sprintf(forged, c.leaf.Issuer), remedyList, tlsalert.UnknownCA)
	}
	list := slices.MaxFunc(lists, c.compareLists)
	switch {
	case issuer != nil && issuer.CheckSignature(list.SignatureAlgorithm, list.RawTBSRevocationList, list.Signature) != nil:
		return unfit(fmt.Sprintf(forged, c.leaf.Issuer), remedyList, tlsalert.DecryptError)
	case c.now.After(list.NextUpdate):
		return unfit("the broker's revocation list has expired, at "+when(list.NextUpdate)+", so it refuses every client", remedyList,
			tlsalert.CertificateExpired)
	case c.now.Before(list.ThisUpdate):
		return unfit("the broker's revocation list is from the future: it begins at "+when(list.ThisUpdate), remedyClocks,
			tlsalert.BadCertificate)
	case isCritical(list):
		return unfit("the broker's revocation list has a critical extension that brokers do not know", "have the CA make it without",
			tlsalert.CertificateUnknown)
	case isRevoked(list, c.leaf):
		return listState{listRevokes, Explanation{fmt.Sprintf("the certificate with serial %x is on the broker's revocation list", c.leaf.SerialNumber),
			"get a new one, if the device is to stay"}, []uint8{tlsalert.CertificateRevoked}}
	}
	return listState{verdict: listGood}
}

// parseLists reads a crlfile: whatever else is in there is skipped, and one
// list that cannot be read spoils the file.
func parseLists(data []byte) ([]*x509.RevocationList, error) {
	begins := bytes.Count(data, []byte("-----BEGIN "+typeCRL+"-----"))
	var lists []*x509.RevocationList
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != typeCRL {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 || len(lists) < begins {
		return nil, fmt.Errorf("%d whole PEM blocks of type %q, and %d begun", len(lists), typeCRL, begins)
	}
	return lists, nil
}

// compareLists ranks the lists of one CA as OpenSSL does: current ones before
// others, and of these the newest.
func (c *check) compareLists(a, b *x509.RevocationList) int {
	rank := func(l *x509.RevocationList) int {
		rank := 0
		if !isCritical(l) {
			rank += 2
		}
		if !c.now.Before(l.ThisUpdate) && !c.now.After(l.NextUpdate) {
			rank++
		}
		return rank
	}
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra - rb
	}
	return a.ThisUpdate.Compare(b.ThisUpdate)
}

// ofAnotherKey reports whether the list names a key that is not the CA's.
// OpenSSL overlooks such a list.
func ofAnotherKey(list *x509.RevocationList, ca *x509.Certificate) bool {
	return len(list.AuthorityKeyId) > 0 && len(ca.SubjectKeyId) > 0 && !bytes.Equal(list.AuthorityKeyId, ca.SubjectKeyId)
}

// knownCritical are the extensions of a list that OpenSSL understands: issuing
// distribution point, delta, and the issuer's key (RFC 5280, section 5.2).
var knownCritical = []asn1.ObjectIdentifier{{2, 5, 29, 28}, {2, 5, 29, 27}, {2, 5, 29, 35}}

func isCritical(list *x509.RevocationList) bool {
	for _, e := range list.Extensions {
		if e.Critical && !slices.ContainsFunc(knownCritical, e.Id.Equal) {
			return true
		}
	}
	return false
}
