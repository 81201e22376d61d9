package ejbca

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca/internal/reason"
)

// Version returns what the CA's software calls itself.
func (c *Client) Version(ctx context.Context) (string, error) {
	var answer struct{ Version string }
	err := c.do(ctx, request{op: "ask the version", method: http.MethodGet, path: []string{"ejbca", "version"}}, &answer)
	return answer.Version, err
}

// CAs returns the names of the CAs.
func (c *Client) CAs(ctx context.Context) ([]string, error) {
	var answer struct{ CAs []struct{ Name string } }
	if err := c.do(ctx, request{op: "list the CAs", method: http.MethodGet, path: []string{"ca"}}, &answer); err != nil {
		return nil, err
	}
	names := make([]string, len(answer.CAs))
	for i, ca := range answer.CAs {
		names[i] = ca.Name
	}
	return names, nil
}

// parseCertificate reads base64 with or without line breaks, and armour where
// a later version should add it.
func parseCertificate(text string) (*x509.Certificate, error) {
	der, err := decodeArmour(text)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func decodeArmour(text string) ([]byte, error) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		return block.Bytes, nil
	}
	if text == "" {
		return nil, errors.New("the answer has no certificate")
	}
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
}

// CRL returns the newest CRL of the CA called ca, as the service has it:
// parsed, not verified, and perhaps stale. EJBCA makes none by itself: see
// [Client.UpdateCRL].
func (c *Client) CRL(ctx context.Context, ca string) (*x509.RevocationList, error) {
	return c.list(ctx, "get the CRL", ca, nil)
}

// FreshCRL has the CA called ca make a new CRL and returns it, in one request.
// EJBCA-REST knows how since 2019-07; that of dojot 0.4 returns the CRL that is
// there, and takes [Client.UpdateCRL] and [Client.CRL] instead. It hands the
// name to a shell: don't let strangers choose it.
func (c *Client) FreshCRL(ctx context.Context, ca string) (*x509.RevocationList, error) {
	return c.list(ctx, "get a new CRL", ca, url.Values{"update": {"true"}})
}

// DeltaCRL returns the CA's newest delta list, parsed, not verified: what has
// changed since the complete list that it names (RFC 5280 section 5.2.4).
// Brokers can't use one. dojot's CAs make none, which EJBCA-REST says by status
// 500, package localca by [ErrNotFound].
func (c *Client) DeltaCRL(ctx context.Context, ca string) (*x509.RevocationList, error) {
	return c.list(ctx, "get the delta CRL", ca, url.Values{"delta": {"true"}})
}

func (c *Client) list(ctx context.Context, what, ca string, query url.Values) (*x509.RevocationList, error) {
	op := fmt.Sprintf("%s of CA %q", what, ca)
	var answer struct{ CRL string }
	if err := c.do(ctx, request{op: op, method: http.MethodGet, path: []string{"ca", ca, "crl"}, query: query, limit: maxCRLAnswer}, &answer); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil { // making sense of a large list takes long
		return nil, fmt.Errorf("ejbca: %s: %w", op, err)
	}
	list, err := crl.Parse([]byte(answer.CRL))
	if err != nil {
		return nil, fmt.Errorf("ejbca: %s: %w", op, err)
	}
	return list, nil
}

// UpdateCRL has the CA called ca make a new CRL, which it doesn't do by
// itself, not even after a revocation.
func (c *Client) UpdateCRL(ctx context.Context, ca string) error {
	return c.do(ctx, request{op: fmt.Sprintf("update the CRL of CA %q", ca), method: http.MethodPut, path: []string{"ca", ca, "crl"}}, nil)
}

// wireCertificate is EJBCA's record of a certificate; its other members are
// never set.
type wireCertificate struct{ CertificateData string }

func (w wireCertificate) parse() (*x509.Certificate, error) {
	return parseCertificate(w.CertificateData)
}

// Certificate returns the certificate that issuer gave this serial. That it is
// that one is checked.
//
// EJBCA-REST since 2019-01 can't put the certificate that it finds into JSON
// and answers 500.
func (c *Client) Certificate(ctx context.Context, issuer *x509.Certificate, serial *big.Int) (*x509.Certificate, error) {
	op := fmt.Sprintf("get certificate %x", serial)
	path, err := certificatePath(issuer, serial)
	if err != nil {
		return nil, fmt.Errorf("ejbca: %s: %w", op, err)
	}
	var answer struct{ Certificate wireCertificate }
	if err := c.do(ctx, request{op: op, method: http.MethodGet, path: path}, &answer); err != nil {
		return nil, err
	}
	cert, err := answer.Certificate.parse()
	if err == nil && cert.SerialNumber.Cmp(serial) != 0 {
		err = fmt.Errorf("the answer is certificate %x", cert.SerialNumber)
	}
	if err == nil {
		err = cert.CheckSignatureFrom(issuer)
	}
	if err != nil {
		return nil, fmt.Errorf("ejbca: %s: %w", op, err)
	}
	return cert, nil
}

// Status is whether a certificate is revoked.
type Status struct {
	Revoked bool
	Reason  crl.Reason // when revoked
	At      time.Time  // when revoked
}

// Status returns the status of the certificate that issuer gave this serial.
// The service says of a serial that it never issued that it isn't revoked.
func (c *Client) Status(ctx context.Context, issuer *x509.Certificate, serial *big.Int) (Status, error) {
	op := fmt.Sprintf("ask the status of certificate %x", serial)
	path, err := certificatePath(issuer, serial)
	if err != nil {
		return Status{}, fmt.Errorf("ejbca: %s: %w", op, err)
	}
	var answer struct {
		Status struct {
			Reason string
			Date   time.Time
		}
	}
	if err := c.do(ctx, request{op: op, method: http.MethodGet, path: append(path, "status")}, &answer); err != nil {
		return Status{}, err
	}
	if answer.Status.Reason == reason.NotRevoked {
		return Status{}, nil
	}
	why, known := reason.Parse(answer.Status.Reason)
	if !known {
		return Status{}, fmt.Errorf("ejbca: %s: unknown reason %q (want %s or one of %s)", op, shorten(answer.Status.Reason), reason.NotRevoked, reason.Known())
	}
	return Status{Revoked: true, Reason: why, At: answer.Status.Date}, nil
}

// Revoke revokes the certificate that issuer gave this serial. One on hold
// ([crl.CertificateHold]) may be revoked for good, or released by
// [crl.RemoveFromCRL]; any other that is revoked is [ErrRevoked]. EJBCA shows
// the revocation in a CRL only after [Client.UpdateCRL].
func (c *Client) Revoke(ctx context.Context, issuer *x509.Certificate, serial *big.Int, why crl.Reason) error {
	op := fmt.Sprintf("revoke certificate %x", serial)
	path, err := certificatePath(issuer, serial)
	if err != nil {
		return fmt.Errorf("ejbca: %s: %w", op, err)
	}
	query, err := reasonQuery(why)
	if err != nil {
		return fmt.Errorf("ejbca: %s: %w", op, err)
	}
	return c.do(ctx, request{op: op, method: http.MethodDelete, path: path, query: query}, nil)
}

// certificatePath names a certificate. Where the paths of CAs have a CA's
// name, here EJBCA wants the issuer's distinguished name, which it hashes to
// find the CA.
func certificatePath(issuer *x509.Certificate, serial *big.Int) ([]string, error) {
	if serial == nil || serial.Sign() <= 0 {
		return nil, fmt.Errorf("serial %v isn't positive", serial)
	}
	if issuer == nil {
		return nil, errors.New("no issuer")
	}
	return []string{"ca", issuer.Subject.String(), "certificate", serial.Text(16)}, nil
}

func reasonQuery(why crl.Reason) (url.Values, error) {
	name, known := reason.Name(why)
	if !known {
		return nil, fmt.Errorf("unknown reason %v (want one of %s)", why, reason.Known())
	}
	return url.Values{"reason": {name}}, nil
}
