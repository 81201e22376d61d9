package localca

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dojot/mqtt-manager-go/crl"
	ejbcareason "github.com/dojot/mqtt-manager-go/ejbca/internal/reason"
)

// cause is the parsed reason of a request.
type cause struct {
	reason crl.Reason
	code   int  // EJBCA's number: -1 for NOTREVOKED
	lifts  bool // it asks for the end of a hold
}

func reasonOf(query url.Values) (cause, error) {
	name := "UNSPECIFIED"
	if query.Has("reason") {
		name = query.Get("reason")
	}
	if name == ejbcareason.NotRevoked {
		return cause{reason: crl.RemoveFromCRL, code: -1, lifts: true}, nil
	}
	r, known := ejbcareason.Parse(name)
	if !known {
		return cause{}, badRequest("invalid revokation reason %s", name)
	}
	return cause{reason: r, code: int(r), lifts: r == crl.RemoveFromCRL}, nil
}

func isTrue(s string) bool { return s == "true" || s == "True" }

// certificateOf reads the issuer's name and the serial of a request's path.
func (ca *CA) certificateOf(args []string) (issuer *authority, serial *big.Int, err error) {
	dn := args[0]
	attrs, err := parseDN(dn)
	if err == nil {
		dn = formatDN(attrs)
	}
	i := slices.IndexFunc(ca.cas, func(a *authority) bool { return a.dn == dn })
	if i < 0 {
		return nil, nil, soapFault("Could not find CA with name null and ID %d", caID(dn))
	}
	hex := args[1]
	if hex == "" || len(hex) > 40 || strings.Trim(hex, "0123456789abcdefABCDEF") != "" {
		return nil, nil, badRequest("invalid serial number %s, hexadecimal digits expected", hex)
	}
	serial, _ = new(big.Int).SetString(hex, 16)
	return ca.cas[i], serial, nil
}

func (a *authority) revocation(tx *bbolt.Tx, serial []byte) (rev revocation, revoked bool, err error) {
	data := a.bucket(tx, bucketRevoked).Get(serial)
	if data == nil {
		return revocation{}, false, nil
	}
	rev, err = decodeRevocation(serial, data)
	return rev, err == nil, err
}

// revokeOne revokes a certificate that isn't revoked for good yet.
func (ca *CA) revokeOne(tx *bbolt.Tx, a *authority, serial []byte, reason crl.Reason) (done bool, err error) {
	old, revoked, err := a.revocation(tx, serial)
	if err != nil || revoked && (old.Reason != crl.CertificateHold || reason == crl.CertificateHold) {
		return false, err
	}
	cert, err := x509.ParseCertificate(a.bucket(tx, bucketCerts).Get(serial))
	if err != nil {
		return false, err
	}
	rev := revocation{Reason: reason, At: ca.now(), NotAfter: cert.NotAfter}
	return true, errors.Join(a.bucket(tx, bucketRevoked).Put(serial, rev.encode()), a.noteChange(tx, serial))
}

// noteChange counts a revocation or the end of one, for the lists.
func (a *authority) noteChange(tx *bbolt.Tx, serial []byte) error {
	b := a.bucket(tx, bucketChanges)
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	return b.Put(binary.BigEndian.AppendUint64(nil, n), serial)
}

// getStatus is GET /ca/<issuer DN>/certificate/<serial>/status.
func (ca *CA) getStatus(_ *http.Request, args []string) (any, error) {
	a, serial, err := ca.certificateOf(args)
	if err != nil {
		return nil, err
	}
	// What EJBCA says of certificates that aren't revoked, known or not: -1 ms.
	reason, at := ejbcareason.NotRevoked, time.UnixMilli(-1)
	err = ca.db.View(func(tx *bbolt.Tx) error {
		rev, revoked, err := a.revocation(tx, serial.Bytes())
		if revoked {
			reason, _ = ejbcareason.Name(rev.Reason)
			at = rev.At
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"status": map[string]string{
		"reason": reason,
		"date":   at.UTC().Format("2006-01-02T15:04:05.000000-07:00"),
	}}, nil
}

// revoke is DELETE /ca/<issuer DN>/certificate/<serial>. The CRL is made when
// somebody asks for it next, see currentList: so a thousand revocations cost one
// signature, and none is reported as failed once it is on disk.
func (ca *CA) revoke(r *http.Request, args []string) (any, error) {
	why, err := reasonOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	a, serial, err := ca.certificateOf(args)
	if err != nil {
		return nil, err
	}
	key := serial.Bytes()
	err = ca.update(r.Context(), func(tx *bbolt.Tx) error {
		if a.bucket(tx, bucketCerts).Get(key) == nil {
			return soapFault("Could not find end entity certificate. Issuer %s, serialNo %x.", args[0], serial)
		}
		old, revoked, err := a.revocation(tx, key)
		if err != nil {
			return err
		}
		held := revoked && old.Reason == crl.CertificateHold
		if why.lifts {
			if !held {
				return soapFault("Not allowed to unrevoke a certificate that is not on hold. Issuer %s, serialNo %x.", args[0], serial)
			}
			return errors.Join(a.bucket(tx, bucketRevoked).Delete(key), a.noteChange(tx, key))
		}
		done, err := ca.revokeOne(tx, a, key, why.reason)
		if err == nil && !done {
			err = soapFault("Certificate is already revoked. Issuer: '%s', serno: %x.", args[0], serial)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	ca.log.Info("certificate revoked", "ca", a.name, "serial", serial.Text(16), "reason", why.reason)
	return answerOK, nil
}
