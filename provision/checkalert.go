package provision

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
)

// explainAlert resolves what an alert leaves open. First comes what is wrong
// with the client's own certificate and the CAs above it, as that is certain.
func (c *check) explainAlert(alert uint8) (Explanation, bool) {
	for _, f := range faults {
		if f.alert != alert {
			continue
		}
		for i, cert := range c.path {
			words := f.find(c, cert)
			switch {
			case words == "":
			case i == 0:
				return Explanation{"the certificate " + words, f.remedy}, true
			default:
				return Explanation{fmt.Sprintf("the certificate of the client's CA %q %s", cert.Subject, words), f.remedyCA}, true
			}
		}
	}
	list, left := c.list(), c.left()[alert]
	unsent := Explanation{}
	if alert == tlsalert.UnknownCA {
		unsent = c.unsent()
	}
	switch {
	case list.explains(alert) && unsent.Cause != "":
		// Which one it is depends on the broker's cafile.
		return Explanation{list.Cause + "; besides, " + unsent.Cause, list.Remedy + "; " + unsent.Remedy}, true
	case list.explains(alert):
		return list.Explanation, true
	case unsent.Cause != "":
		return unsent, true
	case list.verdict == listGood && left.goodList.Cause != "":
		return left.goodList, true
	}
	return left.noList, left.noList.Cause != ""
}

// faults are what a broker may have against a certificate of the client's
// path, each with its alert (OpenSSL, ssl_x509err2alert). The words are said
// of the certificate.
var faults = []struct {
	alert            uint8
	find             func(*check, *x509.Certificate) (words string)
	remedy, remedyCA string
}{
	{tlsalert.CertificateExpired, (*check).expired, "renew it", remedyCA},
	{tlsalert.BadCertificate, (*check).notYetValid, remedyClocks, remedyClocks},
	{tlsalert.BadCertificate, (*check).weakKey, fmt.Sprintf("make one of at least %d bits", minKeyBits), remedyCA},
	{tlsalert.BadCertificate, (*check).weaklySigned, "have it signed anew with SHA-256", remedyCA},
	{tlsalert.UnsupportedCertificate, (*check).notForClients, "have it issued anew for TLS clients", remedyCA},
	{tlsalert.CertificateUnknown, (*check).unknownExtension, "have it issued anew without", remedyCA},
	{tlsalert.CertificateUnknown, (*check).excludedName, "have it issued with a name that its CAs allow", ""},
	{tlsalert.CertificateUnknown, (*check).notForLists, "", remedyCA},
	{tlsalert.UnknownCA, (*check).notCA, "", remedyCA},
	{tlsalert.UnknownCA, (*check).selfNamed, "have it issued with a name of its own", ""},
	{tlsalert.UnknownCA, (*check).strange, remedyStrange, ""},
	{tlsalert.UnknownCA, (*check).tooDeep, "have it issued by a CA further up", ""},
	{tlsalert.DecryptError, (*check).strange, remedyStrange, ""},
}

const (
	remedyCA      = "have that CA certified anew, and replace its certificate in the client's files and in the broker's cafile"
	remedyStrange = "have it issued by the broker's CA; one that was rebuilt under its name is another CA"
)

func (c *check) expired(cert *x509.Certificate) string {
	if c.now.Before(cert.NotAfter) {
		return ""
	}
	return "has expired, at " + when(cert.NotAfter)
}

func (c *check) notYetValid(cert *x509.Certificate) string {
	if !c.now.Before(cert.NotBefore) {
		return ""
	}
	return "is not valid before " + when(cert.NotBefore)
}

func (c *check) weakKey(cert *x509.Certificate) string {
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() >= minKeyBits {
		return ""
	}
	return fmt.Sprintf("has a key that is too weak: %d bits", key.N.BitLen())
}

func (c *check) weaklySigned(cert *x509.Certificate) string {
	if isSelfIssued(cert) || !isWeak(cert.SignatureAlgorithm) {
		return "" // nobody looks at a root's signature
	}
	return fmt.Sprintf("has a signature that is too weak: %s", cert.SignatureAlgorithm)
}

func isWeak(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

// notForClients knows OpenSSL's rules: usages bind CAs, too, and a usage that
// allows any purpose does not count.
func (c *check) notForClients(cert *x509.Certificate) string {
	switch {
	case len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) > 0 && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return "is not for clients: it has an extended key usage without clientAuth"
	case !cert.IsCA && cert.KeyUsage != 0 && cert.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement) == 0:
		return "is not for clients: it has a key usage without digitalSignature"
	}
	return ""
}

func (c *check) unknownExtension(cert *x509.Certificate) string {
	if len(cert.UnhandledCriticalExtensions) == 0 {
		return ""
	}
	return fmt.Sprintf("has a critical extension that brokers do not know: %v", cert.UnhandledCriticalExtensions[0])
}

func (c *check) excludedName(cert *x509.Certificate) string {
	if invalid, ok := c.invalid(cert); ok && invalid.Reason == x509.CANotAuthorizedForThisName {
		return "has a name that a CA above it must not certify: " + invalid.Detail
	}
	return ""
}

func (c *check) tooDeep(cert *x509.Certificate) string {
	if invalid, ok := c.invalid(cert); ok && invalid.Reason == x509.TooManyIntermediates {
		return "is too far below a CA that limits the length of its path"
	}
	return ""
}

// notForLists looks at the issuer alone: brokers ask for no other CA's list.
func (c *check) notForLists(cert *x509.Certificate) string {
	if cert != c.issuer() || cert.KeyUsage == 0 || cert.KeyUsage&x509.KeyUsageCRLSign != 0 {
		return ""
	}
	return "is not for revocation lists: it has a key usage without cRLSign"
}

func (c *check) notCA(cert *x509.Certificate) string {
	if cert == c.leaf {
		return ""
	}
	return notCA(cert)
}

// notCA says why a certificate must not sign others, by the rules that OpenSSL
// and crypto/x509 have in common.
func notCA(cert *x509.Certificate) string {
	switch {
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return "is not that of a CA: it has a key usage without keyCertSign"
	case cert.BasicConstraintsValid && cert.IsCA, cert.Version < 3 && isSelfIssued(cert):
		return ""
	}
	return "is not that of a CA: it lacks CA:TRUE in its basic constraints"
}

// invalid is what crypto/x509 has against the client's certificate.
func (c *check) invalid(cert *x509.Certificate) (x509.CertificateInvalidError, bool) {
	if cert != c.leaf {
		return x509.CertificateInvalidError{}, false
	}
	_, err := c.leaf.Verify(verifyOptions(c.sent, c.chain, c.now))
	return errors.AsType[x509.CertificateInvalidError](err)
}

func (c *check) selfNamed(cert *x509.Certificate) string {
	if cert != c.leaf || !isSelfIssued(cert) {
		return ""
	}
	return fmt.Sprintf("and its CA have the same name, %q, so the broker takes it for self-signed", cert.Subject)
}

// strange looks at signatures alone: what else is wrong has alerts of its own.
func (c *check) strange(cert *x509.Certificate) string {
	last := c.chain[len(c.chain)-1]
	if cert != c.leaf || slices.ContainsFunc(c.path[1:], func(ca *x509.Certificate) bool {
		return ca.Equal(last) || isSelfIssued(ca) && slices.ContainsFunc(c.chain, ca.Equal)
	}) {
		return ""
	}
	return fmt.Sprintf("was issued by %q, which is not the CA in the client's own file either", cert.Issuer)
}

// unsent says that the client does not send its issuer's certificate.
func (c *check) unsent() Explanation {
	issuer := c.issuer()
	if issuer == nil || isSelfIssued(issuer) || slices.ContainsFunc(c.sent, issuer.Equal) {
		return Explanation{}
	}
	return Explanation{
		fmt.Sprintf("the client does not send the intermediate certificate %q, and a broker that has the root alone cannot find it", issuer.Subject),
		"append it to the client's certificate file, or add it to the broker's cafile"}
}

// left returns, by alert, the causes that are left when nothing is wrong with
// the client's certificate: noList if the broker's list is not there to be
// read, or is not what the alert is about, and goodList if the one in the file
// is good.
func (c *check) left() map[uint8]struct{ noList, goodList Explanation } {
	valid := "the certificate is valid until " + when(c.leaf.NotAfter)
	return map[uint8]struct{ noList, goodList Explanation }{
		tlsalert.HandshakeFailure: {noList: unusable},
		tlsalert.ProtocolVersion:  {noList: unusable},
		tlsalert.CertificateExpired: {
			Explanation{valid + ", so the broker's revocation list has expired, and every client is refused; or the CA in the broker's cafile has, or the broker's clock is ahead",
				"install a current list and have the broker read it (SIGHUP)"},
			Explanation{valid + ", and the revocation list in the broker's file is good, so the broker works by an older list, or the CA in its cafile has expired, or its clock is ahead",
				"have the broker read the list (SIGHUP); look into its cafile"}},
		tlsalert.BadCertificate: {
			Explanation{"the certificate's dates, key and signature are fine, so the broker's revocation list is from the future: the broker's clock is behind the CA's",
				"compare the clocks of broker and CA"},
			Explanation{"the certificate's dates, key and signature are fine, and so is the revocation list in the broker's file: the broker works by another list, or its clock is behind the CA's",
				"have the broker read the list (SIGHUP), and compare the clocks of broker and CA"}},
		tlsalert.CertificateRevoked: {
			goodList: Explanation{"the certificate was revoked by the list that the broker works by; the one in its file does not revoke it",
				"have the broker read the list (SIGHUP)"}},
		tlsalert.CertificateUnknown: {
			goodList: Explanation{"the certificate's extensions are fine, and so is the revocation list in the broker's file, so the broker has not read the list yet",
				"have the broker read the list (SIGHUP)"}},
		tlsalert.UnknownCA: {
			Explanation{"the certificate is of the CA in the client's file, so the broker has another CA, or no revocation list of this one that it can use",
				"compare cafile with the client's CA file, and see that crlfile has a list of that CA, for all its certificates"},
			Explanation{"the certificate is of the CA in the client's file, and the broker's file has a good revocation list of it, so the broker has another CA, or has not read the list yet",
				"compare cafile with the client's CA file, and have the broker read its files (SIGHUP)"}},
		tlsalert.DecryptError: {
			Explanation{"the certificate is signed by the CA in the client's file, so the broker's revocation list is not, or the broker has another CA of that name",
				"install the list of that CA at the broker, and compare cafile with the client's CA file"},
			Explanation{"the certificate and the revocation list in the broker's file are signed by the CA in the client's file, so the broker has another CA of that name, or has not read the list yet",
				"compare cafile with the client's CA file, and have the broker read its files (SIGHUP)"}},
	}
}

// unusable is neither for want of the client's certificate nor of its version
// of TLS, as the one was sent and both versions tried.
var unusable = Explanation{"the broker has no certificate that it can use: its key is of another certificate or cannot be read by it, or it wants ciphers that the client does not have",
	"see that certfile and keyfile belong together and that the broker's user can read them, and have it read them again (SIGHUP)"}

// pathOf is a certificate, its issuer, and what is above, as far as cas have
// it: their names and keys fit, whatever else may be wrong.
func pathOf(leaf *x509.Certificate, cas []*x509.Certificate) []*x509.Certificate {
	path := []*x509.Certificate{leaf}
	for i := 0; i < len(path); i++ {
		for _, ca := range cas {
			if isIssuer(ca, path[i]) && !slices.ContainsFunc(path, ca.Equal) {
				path = append(path, ca)
			}
		}
	}
	return path
}

func isIssuer(ca, cert *x509.Certificate) bool {
	if !bytes.Equal(ca.RawSubject, cert.RawIssuer) {
		return false
	}
	err := ca.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
	// MD5 is not even looked at; the name has to do.
	return err == nil || errors.As(err, new(x509.InsecureAlgorithmError))
}

func isSelfIssued(cert *x509.Certificate) bool { return bytes.Equal(cert.RawSubject, cert.RawIssuer) }

// issuer is the CA that signed the client's certificate, or nil if the client
// does not have it.
func (c *check) issuer() *x509.Certificate {
	if len(c.path) == 1 {
		return nil
	}
	return c.path[1]
}
