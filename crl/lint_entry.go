package crl

import (
	"bytes"
	"fmt"
)

// entryRules are about every entry.
var entryRules = [...]rule[*entryFacts]{
	{"serial-not-positive", rfc5280 + "4.1.2.2", Violation, serialNotPositive},
	{"serial-too-long", rfc5280 + "4.1.2.2", Violation, serialTooLong},
	{"revocation-date-encoding", rfc5280 + "5.1.2.6", Violation, revocationDateEncoding},
	{"revocation-date-future", rfc5280 + "5.1.2.6", Advice, revocationDateFuture},
	{"reason-unknown", rfc5280 + "5.3.1", Violation, reasonUnknown},
	{"reason-unspecified", rfc5280 + "5.3.1", Advice, reasonUnspecified},
	{"reason-remove", rfc5280 + "5.3.1", Violation, reasonRemove},
	{"reason-hold", webBR + "4.9.13", Advice, reasonHold},
}

// entryExtensionRules are about entries with more than a reason.
var entryExtensionRules = [...]rule[*entryFacts]{
	{"entry-extensions-empty", rfc5280 + "5.1", Violation, entryExtensionsEmpty},
	{"reason-critical", rfc5280 + "5.3.1", Violation, reasonCritical},
	{"invalidity-date-critical", rfc5280 + "5.3.2", Violation, invalidityDateCritical},
	{"invalidity-date-encoding", rfc5280 + "5.3.2", Violation, invalidityDateEncoding},
	{"certificate-issuer-direct", rfc5280 + "5.3.3", Violation, certificateIssuerDirect},
	{"certificate-issuer-not-critical", rfc5280 + "5.3.3", Violation, certificateIssuerNotCritical},
}

// entryFacts is an entry with all that the rules want to know.
type entryFacts struct {
	item
	list  *document
	delta bool // the list is one

	code       int  // of the reason
	withReason bool // there is one
	exts       []extension
}

func (e *entryFacts) read() {
	e.code, e.withReason, e.exts = e.reason, e.extensions.der != nil, nil
	if e.reason < 0 {
		e.code, e.exts, _ = e.details()
		e.withReason = e.find(idReasonCode) != nil
	}
}

// find returns an extension that is not a reason code in its usual form.
func (e *entryFacts) find(id []byte) *extension {
	for i := range e.exts {
		if bytes.Equal(e.exts[i].id, id) {
			return &e.exts[i]
		}
	}
	return nil
}

// "The serial number MUST be a positive integer assigned by the CA to each
// certificate."
func serialNotPositive(e *entryFacts) string {
	if e.serial[0] >= 0x80 || len(e.serial) == 1 && e.serial[0] == 0 {
		return "the serial is not positive"
	}
	return ""
}

// "Conforming CAs MUST NOT use serialNumber values longer than 20 octets."
func serialTooLong(e *entryFacts) string {
	if len(e.serial) > 20 {
		return "the serial is longer than 20 octets"
	}
	return ""
}

// "The time for revocationDate MUST be expressed as described in Section
// 5.1.2.4."
func revocationDateEncoding(e *entryFacts) string {
	if e.date.tag == tagUTCTime {
		return ""
	}
	return e.date.encoding("revocationDate")
}

// "The date on which the revocation occurred is specified", and the list knows
// of it. A broker does not look.
func revocationDateFuture(e *entryFacts) string {
	if e.date.after(e.list.thisUpdate) {
		return fmt.Sprintf("revocationDate %s is after thisUpdate %s", e.date.text, e.list.thisUpdate.text)
	}
	return ""
}

// "Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension"
func entryExtensionsEmpty(e *entryFacts) string {
	if e.extensions.der != nil && e.extensions.empty() {
		return "crlEntryExtensions is there, and empty"
	}
	return ""
}

// "The reasonCode is a non-critical CRL entry extension …"
func reasonCritical(e *entryFacts) string {
	if x := e.find(idReasonCode); x != nil && x.critical {
		return "the reason code is critical"
	}
	return ""
}

// "CRLReason ::= ENUMERATED { … -- value 7 is not used … }"
func reasonUnknown(e *entryFacts) string {
	if !Reason(e.code).valid() {
		return fmt.Sprintf("unknown reason code %d", e.code)
	}
	return ""
}

// "the reason code CRL entry extension SHOULD be absent instead of using the
// unspecified (0) reasonCode value."
func reasonUnspecified(e *entryFacts) string {
	if e.withReason && Reason(e.code) == Unspecified {
		return "the reason is there, and unspecified"
	}
	return ""
}

// "The removeFromCRL (8) reasonCode value may only appear in delta CRLs …"
func reasonRemove(e *entryFacts) string {
	if Reason(e.code) == RemoveFromCRL && !e.delta {
		return "the reason is removeFromCRL, which only a delta may hold"
	}
	return ""
}

// Of lists of the public web: "The Repository MUST NOT include entries that
// indicate that a Certificate is suspended." A private CA may.
func reasonHold(e *entryFacts) string {
	if Reason(e.code) == CertificateHold {
		return "the certificate is on hold"
	}
	return ""
}

// "The invalidity date is a non-critical CRL entry extension …"
func invalidityDateCritical(e *entryFacts) string {
	if x := e.find(idInvalidityDate); x != nil && x.critical {
		return "the invalidity date is critical"
	}
	return ""
}

// "The GeneralizedTime values included in this field MUST be expressed in
// Greenwich Mean Time (Zulu), and MUST be specified and interpreted as
// defined in Section 4.1.2.5.2."
func invalidityDateEncoding(e *entryFacts) string {
	x := e.find(idInvalidityDate)
	if x == nil {
		return ""
	}
	s := scanner{x.value, 0, len(x.value)}
	if t, ok := s.stamp(); !ok || t.tag != tagGeneralizedTime || !s.empty() {
		return "the invalidity date is not a GeneralizedTime YYYYMMDDHHMMSSZ"
	}
	return ""
}

// The certificate issuer is of "an entry in an indirect CRL, that is, a CRL
// that has the indirectCRL indicator set".
func certificateIssuerDirect(e *entryFacts) string {
	if e.find(idCertificateIssuer) == nil {
		return ""
	}
	if idp, err := e.list.scope(); err != nil || idp == nil || !idp.IndirectCRL {
		return "the entry names a certificate issuer in a list that is not indirect"
	}
	return ""
}

// "CRL issuers MUST mark this extension as critical …"
func certificateIssuerNotCritical(e *entryFacts) string {
	if x := e.find(idCertificateIssuer); x != nil && !x.critical {
		return "the certificate issuer is not critical"
	}
	return ""
}
