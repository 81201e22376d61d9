package ejbca

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

const (
	// maxChain stops at a depth that no real hierarchy has.
	maxChain = 8
	// maxCAs is how many CAs of a service are searched for an issuer, with a
	// request each.
	maxCAs = 1000
)

// Chain returns the certificate of the CA called ca and of those above it,
// the root last. The service hands out single certificates, so for a sub-CA
// its other CAs are searched for the issuers, unless it names more than a
// thousand; one that fails keeps no issuer from being found. A chain that stays
// incomplete is an error. That each certificate is signed by the next is
// checked; whether the root deserves trust isn't.
func (c *Client) Chain(ctx context.Context, ca string) ([]*x509.Certificate, error) {
	first, err := c.caCertificate(ctx, ca)
	if err != nil {
		return nil, err
	}
	chain := []*x509.Certificate{first}
	var above *search
	for last := first; !bytes.Equal(last.RawSubject, last.RawIssuer); last = chain[len(chain)-1] {
		if above == nil {
			if above, err = c.search(ctx, ca); err != nil {
				return nil, err
			}
		}
		if len(chain) == maxChain {
			return nil, fmt.Errorf("ejbca: chain of CA %q has more than %d certificates", ca, maxChain)
		}
		issuer, err := above.issuerOf(ctx, last)
		if err != nil {
			return nil, fmt.Errorf("ejbca: chain of CA %q: %w", ca, err)
		}
		chain = append(chain, issuer)
	}
	return chain, nil
}

// search looks for issuers among the CAs of a service, each of which it asks
// for its certificate once.
type search struct {
	client *Client
	names  []string // of those not asked for yet
	certs  []*x509.Certificate
	fault  error // of the first one that failed
}

// search begins a search among all CAs but one.
func (c *Client) search(ctx context.Context, but string) (*search, error) {
	names, err := c.CAs(ctx)
	if err != nil {
		return nil, err
	}
	if len(names) > maxCAs {
		return nil, fmt.Errorf("ejbca: chain of CA %q: the service names %d CAs (want at most %d)", but, len(names), maxCAs)
	}
	return &search{client: c, names: slices.DeleteFunc(names, func(name string) bool { return name == but })}, nil
}

func (s *search) issuerOf(ctx context.Context, cert *x509.Certificate) (*x509.Certificate, error) {
	for _, ca := range s.certs {
		if isIssuer(ca, cert) {
			return ca, nil
		}
	}
	for len(s.names) > 0 {
		// Most CAs are called as their subjects are.
		i := max(slices.Index(s.names, cert.Issuer.CommonName), 0)
		ca, err := s.client.caCertificate(ctx, s.names[i])
		s.names = slices.Delete(s.names, i, i+1)
		switch {
		case err == nil:
			s.certs = append(s.certs, ca)
			if isIssuer(ca, cert) {
				return ca, nil
			}
		case ctx.Err() != nil || temporary(err) || errors.Is(err, ErrDenied):
			return nil, err // and so would the others
		case s.fault == nil:
			s.fault = err
		}
	}
	err := fmt.Errorf("no CA of the service issued %q", shorten(cert.Subject.String()))
	if s.fault != nil {
		err = fmt.Errorf("%v, unless it is one that failed: %w", err, s.fault)
	}
	return nil, err
}

func isIssuer(ca, cert *x509.Certificate) bool {
	return bytes.Equal(ca.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(ca) == nil
}

func (c *Client) caCertificate(ctx context.Context, ca string) (*x509.Certificate, error) {
	op := fmt.Sprintf("get the certificate of CA %q", ca)
	var answer struct{ Certificate string }
	if err := c.do(ctx, request{op: op, method: http.MethodGet, path: []string{"ca", ca}}, &answer); err != nil {
		return nil, err
	}
	cert, err := parseCertificate(answer.Certificate)
	if err != nil {
		return nil, fmt.Errorf("ejbca: %s: %w", op, err)
	}
	return cert, nil
}
