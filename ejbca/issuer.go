package ejbca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

// DefaultCA is the name of the CA that dojot uses for everything.
const DefaultCA = "IOTmidCA"

// Issuer is a CA as one end entity sees it. Client and User are required. It
// is safe for concurrent use as long as its fields stay as they are.
type Issuer struct {
	Client *Client
	// CA is the CA's name. Empty means DefaultCA.
	CA string
	// User is the end entity's name.
	User string
	// Password is the end entity's. It may be empty with Register: then each
	// certificate has its own, random one.
	Password string `json:"-"`
	// Register makes Sign create or edit the end entity first, with subject
	// CN=<User>, so that it may enrol, for the first time or again. It takes
	// the rights of a CA administrator. Without it, somebody else has
	// registered the end entity, for one certificate; asking again with the
	// same key returns that, as long as it has half of its life before it.
	Register bool
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

func (i Issuer) ca() string {
	if i.CA == "" {
		return DefaultCA
	}
	return i.CA
}

// Chain returns the CA's certificate and those above it, the root last.
func (i *Issuer) Chain(ctx context.Context) ([]*x509.Certificate, error) {
	return i.Client.Chain(ctx, i.ca())
}

// Sign has a certificate made for the key of csr. It returns that, checked to
// be signed by the CA, and the certificates of intermediate CAs, if any,
// without the root: what a TLS peer is shown.
func (i *Issuer) Sign(ctx context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	// The chain first: once signed, the end entity is used up, and nothing
	// that can fail should follow.
	chain, err := i.Chain(ctx)
	if err != nil {
		return nil, err
	}
	leaf, err := i.Enrol(ctx, csr)
	if err != nil {
		return nil, err
	}
	if err := leaf.CheckSignatureFrom(chain[0]); err != nil {
		return nil, fmt.Errorf("ejbca: sign for %q: the certificate isn't signed by CA %q: %w", i.User, i.ca(), err)
	}
	return append([]*x509.Certificate{leaf}, chain[:len(chain)-1]...), nil
}

// Enrol is Sign for those who know the chain already, a thousand end entities
// of one CA, and check for themselves that the CA signed the certificate.
func (i *Issuer) Enrol(ctx context.Context, csr *x509.CertificateRequest) (*x509.Certificate, error) {
	password := i.Password
	if i.Register {
		if password == "" {
			password = rand.Text()
		}
		if err := i.Client.PutUser(ctx, &User{Name: i.User, Password: password, CA: i.ca()}); err != nil {
			return nil, err
		}
	}
	leaf, err := i.Client.Sign(ctx, i.User, password, csr)
	if errors.Is(err, ErrGenerated) {
		if issued := i.issued(ctx, csr); issued != nil {
			return issued, nil
		}
	}
	return leaf, err
}

// issued returns the certificate that was made for a request before, when the
// answer was lost on its way or in a crash: without Register, the end entity
// gets no other. It is nil if there is none that is worth having, or if the
// service can't say.
func (i *Issuer) issued(ctx context.Context, csr *x509.CertificateRequest) *x509.Certificate {
	certs, err := i.Client.Certificates(ctx, i.User, false)
	if err != nil {
		return nil
	}
	for _, cert := range certs {
		left := cert.NotAfter.Sub(i.now())
		if hasKey(cert, csr) && hasNames(cert, csr) && left > cert.NotAfter.Sub(cert.NotBefore)/2 {
			return cert
		}
	}
	return nil
}

func hasNames(cert *x509.Certificate, csr *x509.CertificateRequest) bool {
	for _, name := range csr.DNSNames {
		if !slices.Contains(cert.DNSNames, name) {
			return false
		}
	}
	for _, ip := range csr.IPAddresses {
		if !slices.ContainsFunc(cert.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

func (i *Issuer) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}

// CRL returns a CRL of the CA with more than a third of its lifetime left: the
// one that is there, or else a new one, which EJBCA makes only when asked. It
// is parsed, not verified. When a new one can't be made, or isn't what the
// service then returns, it is the one that is there; one that is over is an
// error.
func (i *Issuer) CRL(ctx context.Context) (*x509.RevocationList, error) {
	list, err := i.Client.CRL(ctx, i.ca())
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrDenied) || errors.Is(err, ErrNotFound) || ctx.Err() != nil {
		return nil, err
	}
	// Other errors include the service's way of saying that no CRL was made
	// yet.
	if err == nil && list.NextUpdate.Sub(i.now()) > list.NextUpdate.Sub(list.ThisUpdate)/3 {
		return list, nil
	}
	fresh, freshErr := i.FreshCRL(ctx)
	if freshErr == nil && (err != nil || !isOlder(fresh, list) && i.now().Before(fresh.NextUpdate)) {
		list, err = fresh, nil
	}
	if err == nil && !i.now().Before(list.NextUpdate) {
		err = fmt.Errorf("ejbca: get the CRL of CA %q: what the service has is over since %v", i.ca(), list.NextUpdate)
	}
	if err != nil {
		return nil, errors.Join(err, freshErr)
	}
	return list, nil
}

// isOlder compares by number, where there is one, as RFC 5280, section 5.2.3,
// has it.
func isOlder(a, b *x509.RevocationList) bool {
	if a.Number != nil && b.Number != nil {
		return a.Number.Cmp(b.Number) < 0
	}
	return a.ThisUpdate.Before(b.ThisUpdate)
}

// FreshCRL has the CA make a new CRL and returns it: after a revocation, one
// that shows it.
func (i *Issuer) FreshCRL(ctx context.Context) (*x509.RevocationList, error) {
	if err := i.Client.UpdateCRL(ctx, i.ca()); err != nil {
		return nil, err
	}
	return i.Client.CRL(ctx, i.ca())
}

// String describes the issuer without the password.
func (i Issuer) String() string { return fmt.Sprintf("CA %q for user %q", i.ca(), i.User) }

// Format prints what String returns, whatever the verb.
func (i Issuer) Format(f fmt.State, _ rune) { io.WriteString(f, i.String()) }

// LogValue is the issuer without the password.
func (i Issuer) LogValue() slog.Value { return slog.StringValue(i.String()) }
