package provision

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// explainBroker knows what crypto/x509 has against the certificate that the
// broker shows, and the CAs above it. trusted are the client's CAs, nil if they
// are not known.
func explainBroker(err error, trusted []*x509.Certificate) (e Explanation, ok bool) {
	var path brokerPath
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(unverified.UnverifiedCertificates) > 0 {
		shown := unverified.UnverifiedCertificates
		path = pathOf(shown[0], slices.Concat(shown[1:], trusted))
	}
	var (
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &host):
		return Explanation{
			fmt.Sprintf("the broker's certificate is not for %q", host.Host),
			"connect by a name that it carries" + names(host.Certificate) + ", or have it issued with this one"}, true
	case errors.As(err, &authority):
		return path.explainStranger(authority, trusted), true
	case errors.As(err, new(x509.UnhandledCriticalExtension)):
		return path.blame(path, unhandled, "have it issued anew without")
	case errors.As(err, &invalid):
		return path.explainInvalid(invalid)
	}
	return Explanation{}, false
}

// brokerPath is the broker's certificate and those of the CAs above it, as far
// as the broker shows them or the client has them.
type brokerPath []*x509.Certificate

// blame explains the first of some certificates of the path about which find
// has words. The remedy is for the broker's own.
func (p brokerPath) blame(certs []*x509.Certificate, find func(*x509.Certificate) (words string), remedy string) (e Explanation, ok bool) {
	for _, cert := range certs {
		if words := find(cert); words != "" {
			whose, remedy := p.whose(cert, remedy)
			return Explanation{whose + " " + words, remedy}, true
		}
	}
	return Explanation{}, false
}

// whose tells the broker's own certificate, for which the remedy is, from those
// of the CAs above.
func (p brokerPath) whose(cert *x509.Certificate, remedy string) (string, string) {
	if len(p) == 0 || p[0].Equal(cert) {
		return "the broker's certificate", remedy + ", and have the broker read it (SIGHUP)"
	}
	return fmt.Sprintf("the certificate of CA %q, above the broker's,", cert.Subject),
		"have that CA certified anew, and replace its certificate in the client's CA file and the broker's certfile"
}

func (p brokerPath) explainInvalid(invalid x509.CertificateInvalidError) (e Explanation, ok bool) {
	switch invalid.Reason {
	case x509.Expired:
		return p.explainDates(invalid), true
	case x509.IncompatibleUsage:
		return p.blame(p, notForServers, "have it issued anew for TLS servers")
	case x509.CANotAuthorizedForThisName:
		return Explanation{
			"the broker's certificate has a name that a CA above it must not certify: " + invalid.Detail,
			"have it issued with names that its CAs allow"}, true
	case x509.TooManyIntermediates:
		return Explanation{
			fmt.Sprintf("the broker's certificate is too far below CA %q, which limits the length of its path", invalid.Cert.Subject),
			"have it issued by a CA further up"}, true
	}
	return Explanation{}, false
}

func (p brokerPath) explainDates(invalid x509.CertificateInvalidError) Explanation {
	whose, renew := p.whose(invalid.Cert, "renew it")
	if strings.Contains(invalid.Detail, " is before ") {
		return Explanation{whose + " is not valid at this time, but from " + when(invalid.Cert.NotBefore) + " on",
			"compare the clocks of client and CA"}
	}
	return Explanation{whose + " is not valid at this time: it expired at " + when(invalid.Cert.NotAfter),
		renew + "; if it is newer, compare the clocks"}
}

func unhandled(cert *x509.Certificate) string {
	if len(cert.UnhandledCriticalExtensions) == 0 {
		return ""
	}
	return fmt.Sprintf("has a critical extension that this client does not know: %v", cert.UnhandledCriticalExtensions[0])
}

func notForServers(cert *x509.Certificate) string {
	if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 ||
		slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return ""
	}
	return "is not for servers: it has an extended key usage without serverAuth"
}

// explainStranger compares what the broker shows with the CA of the client.
func (p brokerPath) explainStranger(err x509.UnknownAuthorityError, trusted []*x509.Certificate) Explanation {
	if err.Cert != nil && isWeak(err.Cert.SignatureAlgorithm) {
		return Explanation{
			fmt.Sprintf("the certificate of the broker, or of a CA above it, %q, has a signature that is too weak: %s", err.Cert.Subject, err.Cert.SignatureAlgorithm),
			"have it signed anew with SHA-256"}
	}
	if len(p) > 0 {
		if e, ok := p.blame(p[1:], notCA, ""); ok {
			return e
		}
	}
	if len(p) == 0 || trusted == nil {
		return Explanation{
			"the broker's certificate is not of the CA that the client trusts",
			"get the CA's certificate anew; if the CA was rebuilt, the client's own certificate too"}
	}
	leaf, top := p[0], p[len(p)-1]
	switch {
	case slices.ContainsFunc(trusted, func(ca *x509.Certificate) bool { return bytes.Equal(ca.RawSubject, leaf.RawIssuer) }):
		return Explanation{
			fmt.Sprintf("the broker's certificate is of a CA that is called %q, like the client's, and has another key: the CA was rebuilt", leaf.Issuer),
			"get the CA's certificate anew, and the client's own certificate too"}
	case isSelfIssued(top):
		return Explanation{
			fmt.Sprintf("the broker's certificate is of CA %q, which the client does not trust", top.Subject),
			"give the client that CA's certificate, if it is the right one"}
	}
	return Explanation{
		fmt.Sprintf("the broker's certificate leads to %q, which the broker does not send and the client does not have: an intermediate is missing, or the CA is another", top.Issuer),
		"append the intermediate to the broker's certfile, or give the client the right CA"}
}

func names(cert *x509.Certificate) string {
	var all []string
	all = append(all, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return " (it carries none)"
	}
	return " (" + strings.Join(all, ", ") + ")"
}
