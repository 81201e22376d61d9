package crl

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// listFacts is what the rules about a list look at.
type listFacts struct {
	*document
	index *Index
}

// listRules are about the list as a whole.
var listRules = []rule[listFacts]{
	{"weak-signature", webBR + "7.1.3.2", Advice, weakSignature},
	{"issuer-empty", rfc5280 + "5.1.2.3", Violation, issuerEmpty},
	{"this-update-encoding", rfc5280 + "5.1.2.4", Violation, thisUpdateEncoding},
	{"next-update-missing", rfc5280 + "5.1.2.5", Violation, nextUpdateMissing},
	{"next-update-encoding", rfc5280 + "5.1.2.5", Violation, nextUpdateEncoding},
	{"next-update-order", rfc5280 + "5.1.2.5", Violation, nextUpdateOrder},
	{"lifetime", webBR + "4.9.7", Advice, lifetime},
	{"entries-empty", rfc5280 + "5.1.2.6", Violation, entriesEmpty},
	{"serial-twice", rfc5280 + "5.1.2.6", Violation, serialTwice},
	{"extensions-empty", rfc5280 + "5.1.2.7", Violation, extensionsEmpty},
	{"authority-key-id-missing", rfc5280 + "5.2.1", Violation, authorityKeyIDMissing},
	{"issuer-alt-name-critical", rfc5280 + "5.2.2", Advice, issuerAltNameCritical},
	{"number-missing", rfc5280 + "5.2.3", Violation, numberMissing},
	{"number-critical", rfc5280 + "5.2.3", Violation, numberCritical},
	{"number-negative", rfc5280 + "5.2.3", Violation, numberNegative},
	{"number-too-long", rfc5280 + "5.2.3", Violation, numberTooLong},
	{"delta-not-critical", rfc5280 + "5.2.4", Violation, deltaNotCritical},
	{"delta-base-number", rfc5280 + "5.2.4", Violation, deltaBaseNumber},
	{"scope-not-critical", rfc5280 + "5.2.5", Violation, scopeNotCritical},
	{"scope-malformed", rfc5280 + "5.2.5", Violation, scopeMalformed},
	{"scope-empty", rfc5280 + "5.2.5", Violation, scopeEmpty},
	{"scope-contradictory", rfc5280 + "5.2.5", Violation, scopeContradictory},
	{"scope-attribute-certificates", rfc5280 + "5.2.5", Violation, scopeAttributeCertificates},
	{"freshest-critical", rfc5280 + "5.2.6", Violation, freshestCritical},
	{"freshest-in-delta", rfc5280 + "5.2.6", Violation, freshestInDelta},
	{"information-access-critical", rfc5280 + "5.2.7", Violation, informationAccessCritical},
	{"information-access-methods", rfc5280 + "5.2.7", Violation, informationAccessMethods},
}

// Of signatures by CAs of the public web, "SHA-1 … MUST NOT be used".
// OpenSSL, and so a broker, accepts it for lists.
func weakSignature(l listFacts) string {
	switch a := l.head.SignatureAlgorithm; a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return fmt.Sprintf("signed by %v", a)
	}
	return ""
}

// "The issuer field MUST contain a non-empty X.500 distinguished name (DN)."
func issuerEmpty(l listFacts) string {
	if bytes.Equal(l.head.RawIssuer, []byte{tagSequence, 0}) {
		return "the issuer's name is empty"
	}
	return ""
}

// "CRL issuers conforming to this profile MUST encode thisUpdate as UTCTime
// for dates through the year 2049."
func thisUpdateEncoding(l listFacts) string { return l.thisUpdate.encoding("thisUpdate") }

// "Conforming CRL issuers MUST include the nextUpdate field in all CRLs."
func nextUpdateMissing(l listFacts) string {
	if l.nextUpdate.text == nil {
		return "nextUpdate is missing"
	}
	return ""
}

// "CRL issuers conforming to this profile MUST encode nextUpdate as UTCTime
// for dates through the year 2049."
func nextUpdateEncoding(l listFacts) string { return l.nextUpdate.encoding("nextUpdate") }

// encoding is a fault if a GeneralizedTime should be a UTCTime.
func (t stamp) encoding(what string) string {
	if t.tag == tagGeneralizedTime {
		if isUTCTime(t.time().Year()) {
			return fmt.Sprintf("%s is a GeneralizedTime, %s (want a UTCTime through 2049)", what, t.text)
		}
	}
	return ""
}

// nextUpdate "indicates the date by which the next CRL will be issued", after
// "the issue date of this CRL".
func nextUpdateOrder(l listFacts) string {
	if l.nextUpdate.text != nil && !l.nextUpdate.after(l.thisUpdate) {
		return fmt.Sprintf("nextUpdate %s is not after thisUpdate %s", l.nextUpdate.text, l.thisUpdate.text)
	}
	return ""
}

// maxLifetime is how long a list may be valid by the rules of the public web
// for "CRLs covering Subscriber Certificates: at most ten days after the
// thisUpdate".
const maxLifetime = 10 * 24 * time.Hour

func lifetime(l listFacts) string {
	if l.nextUpdate.text == nil {
		return ""
	}
	if life := l.nextUpdate.time().Sub(l.thisUpdate.time()); life > maxLifetime {
		return fmt.Sprintf("valid for %v (want at most %v)", life, maxLifetime)
	}
	return ""
}

// "When there are no revoked certificates, the revoked certificates list MUST
// be absent."
func entriesEmpty(l listFacts) string {
	if l.revokedPresent && l.revoked.empty() {
		return "revokedCertificates is there, and empty"
	}
	return ""
}

// "Certificates revoked by the CA are uniquely identified by the certificate
// serial number." In an indirect list the issuer belongs to it.
func serialTwice(l listFacts) string {
	if idp, err := l.scope(); err == nil && idp != nil && idp.IndirectCRL {
		return ""
	}
	if serial := l.index.twice(); serial != nil {
		return fmt.Sprintf("serial %s is there twice", hex(serial))
	}
	return ""
}

// "If present, this field is a sequence of one or more CRL extensions."
func extensionsEmpty(l listFacts) string {
	if l.extensionsPresent && len(l.extensions) == 0 {
		return "crlExtensions is there, and empty"
	}
	return ""
}

// "Conforming CRL issuers MUST use the key identifier method, and MUST
// include this extension in all CRLs issued."
func authorityKeyIDMissing(l listFacts) string {
	e := l.extension(idAuthorityKeyID)
	if e == nil {
		return "the authority key identifier is missing"
	}
	var id authorityKeyID
	if err := unmarshal(e.value, &id); err != nil || len(id.KeyID) == 0 {
		return "the authority key identifier has no key identifier"
	}
	return ""
}

// "Conforming CRL issuers SHOULD mark the issuerAltName extension as
// non-critical."
func issuerAltNameCritical(l listFacts) string {
	if e := l.extension(idIssuerAltName); e != nil && e.critical {
		return "the issuer's alternative name is critical"
	}
	return ""
}

// "CRL issuers conforming to this profile MUST include this extension in all
// CRLs …"
func numberMissing(l listFacts) string {
	if l.extension(idCRLNumber) == nil {
		return "the CRL number is missing"
	}
	return ""
}

// "… and MUST mark this extension as non-critical."
func numberCritical(l listFacts) string {
	if e := l.extension(idCRLNumber); e != nil && e.critical {
		return "the CRL number is critical"
	}
	return ""
}

// "CRLNumber ::= INTEGER (0..MAX)"
func numberNegative(l listFacts) string {
	if n := l.head.Number; n != nil && n.Sign() < 0 {
		return fmt.Sprintf("CRL number %v is negative", n)
	}
	return ""
}

// "Conforming CRL issuers MUST NOT use CRLNumber values longer than 20
// octets."
func numberTooLong(l listFacts) string {
	if n := l.head.Number; n != nil && n.BitLen() > maxSerialBits {
		return fmt.Sprintf("CRL number %x is longer than 20 octets", n)
	}
	return ""
}

// "When a conforming CRL issuer generates a delta CRL, the delta CRL MUST
// include a critical delta CRL indicator extension."
func deltaNotCritical(l listFacts) string {
	if e := l.extension(idDeltaCRLIndicator); e != nil && !e.critical {
		return "the delta CRL indicator is not critical"
	}
	return ""
}

// "BaseCRLNumber ::= CRLNumber", and "the CRL number of the complete CRL is
// less than the CRL number of the delta CRL".
func deltaBaseNumber(l listFacts) string {
	base := l.base()
	if base == nil {
		return ""
	}
	if base.Sign() < 0 || base.BitLen() > maxSerialBits || l.head.Number != nil && base.Cmp(l.head.Number) >= 0 {
		return fmt.Sprintf("base CRL number %v is not within 0 and the CRL number %v", base, l.head.Number)
	}
	return ""
}

// base is the number of the list that a delta is to, nil if it is no delta.
func (d *document) base() *big.Int {
	e := d.extension(idDeltaCRLIndicator)
	if e == nil {
		return nil
	}
	s := scanner{e.value, 0, len(e.value)}
	_, n := s.element() // checked by readExtensions
	return integer(n.bytes())
}

// "The issuing distribution point is a critical CRL extension …"
func scopeNotCritical(l listFacts) string {
	if e := l.extension(idIDP); e != nil && !e.critical {
		return "the issuing distribution point is not critical"
	}
	return ""
}

// scope reads the issuing distribution point, nil if there is none.
func (d *document) scope() (*issuingDistributionPoint, error) {
	e := d.extension(idIDP)
	if e == nil {
		return nil, nil
	}
	idp := new(issuingDistributionPoint)
	return idp, unmarshal(e.value, idp)
}

// "IssuingDistributionPoint ::= SEQUENCE { … }"
func scopeMalformed(l listFacts) string {
	if _, err := l.scope(); err != nil {
		return fmt.Sprintf("malformed issuing distribution point: %v", err)
	}
	return ""
}

// "Conforming CRLs issuers MUST NOT issue CRLs where the DER encoding of the
// issuing distribution point extension is an empty sequence."
func scopeEmpty(l listFacts) string {
	if e := l.extension(idIDP); e != nil && bytes.Equal(e.value, []byte{tagSequence, 0}) {
		return "the issuing distribution point is empty"
	}
	return ""
}

// "at most one of onlyContainsUserCerts, onlyContainsCACerts, and
// onlyContainsAttributeCerts may be set to TRUE."
func scopeContradictory(l listFacts) string {
	if idp, err := l.scope(); err == nil && idp != nil && idp.kinds() > 1 {
		return "the issuing distribution point contradicts itself"
	}
	return ""
}

// "Conforming CRLs issuers MUST set the onlyContainsAttributeCerts boolean to
// FALSE."
func scopeAttributeCertificates(l listFacts) string {
	if idp, err := l.scope(); err == nil && idp != nil && idp.OnlyContainsAttributeCerts {
		return "it is about attribute certificates only"
	}
	return ""
}

// "Conforming CRL issuers MUST mark this extension as non-critical."
func freshestCritical(l listFacts) string {
	if e := l.extension(idFreshestCRL); e != nil && e.critical {
		return "the freshest CRL extension is critical"
	}
	return ""
}

// "This extension MUST NOT appear in delta CRLs."
func freshestInDelta(l listFacts) string {
	if l.extension(idFreshestCRL) != nil && l.isDelta() {
		return "a delta names where deltas are"
	}
	return ""
}

// "This CRL extension MUST be marked as non-critical."
func informationAccessCritical(l listFacts) string {
	if e := l.extension(idAuthorityInfoAccess); e != nil && e.critical {
		return "the authority information access extension is critical"
	}
	return ""
}

// "Access method types other than id-ad-caIssuers MUST NOT be included", and
// one of these must be.
func informationAccessMethods(l listFacts) string {
	e := l.extension(idAuthorityInfoAccess)
	if e == nil {
		return ""
	}
	var access []struct {
		Method   asn1.ObjectIdentifier
		Location asn1.RawValue
	}
	if err := unmarshal(e.value, &access); err != nil || len(access) == 0 {
		return "authority information access names no method"
	}
	for _, a := range access {
		if !a.Method.Equal(oidCAIssuers) {
			return fmt.Sprintf("authority information access by method %v (want %v, caIssuers)", a.Method, oidCAIssuers)
		}
	}
	return ""
}
