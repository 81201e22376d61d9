package crl

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// document is a CertificateList of RFC 5280, section 5.1, taken apart and
// read strictly, entries excepted: they are walked over where they lie. It
// costs nothing that grows with their number.
type document struct {
	// head is the list as the standard library reads it, without entries.
	// Raw and RawTBSRevocationList are those of the whole list.
	head *x509.RevocationList

	thisUpdate, nextUpdate stamp // nextUpdate may be the zero stamp
	extensions             []extension
	extensionsPresent      bool

	revoked        scanner // contents of revokedCertificates
	revokedPresent bool
}

// maxHead is how many bytes a list may have beside its entries: many times
// what real ones have. A name of a million parts, which the standard library
// reads and formats, takes gigabytes and hours.
const maxHead = 64 << 10

// readDocument reads the outside of a list. der is aliased.
//
// Beyond what the standard library wants, nothing may follow the list, its
// signature, its extensions or the parts of an entry; no extension may be
// there twice; times are to the second and in UTC; the number is one INTEGER
// in the shortest form; and the signature is a whole number of octets. Most
// of that anyone on the way could change without touching what is signed, or
// OpenSSL refuses it. And what anyone could make, as nothing is verified yet,
// is limited to what takes little time: maxHead and maxExtensions.
func readDocument(der []byte) (*document, error) {
	if uint64(len(der)) > math.MaxUint32 {
		return nil, fmt.Errorf("it has %d bytes (want at most %d)", len(der), uint32(math.MaxUint32))
	}
	s := scanner{der, 0, len(der)}
	outer, err := s.want(tagSequence, "CRL")
	if err != nil {
		return nil, err
	}
	if n := s.end - s.at; n > 0 {
		return nil, fmt.Errorf("%d trailing bytes after the list", n)
	}
	tbsAt := outer.at
	tbs, err := outer.want(tagSequence, "tbsCertList")
	if err != nil {
		return nil, err
	}
	algorithmAt := outer.at
	if _, err := outer.want(tagSequence, "signatureAlgorithm"); err != nil {
		return nil, err
	}
	signature, err := outer.want(tagBitString, "signature")
	if err != nil {
		return nil, err
	}
	if err := outer.done("the signature"); err != nil {
		return nil, err
	}
	if b := signature.bytes(); len(b) == 0 || b[0] != 0 {
		return nil, errors.New("the signature is not a whole number of octets")
	}

	d := &document{}
	start := tbs.at
	if err := d.readDates(&tbs); err != nil {
		return nil, err
	}
	before := der[start:tbs.at]
	if d.revokedPresent = tbs.tag() == tagSequence; d.revokedPresent {
		if d.revoked, err = tbs.want(tagSequence, "revokedCertificates"); err != nil {
			return nil, err
		}
	}
	after := tbs.bytes()
	if err := d.readExtensions(&tbs); err != nil {
		return nil, err
	}

	if n := len(der) - (d.revoked.end - d.revoked.at); n > maxHead {
		return nil, fmt.Errorf("it has %d bytes beside its entries (want at most %d)", n, maxHead)
	}

	// What is left without the entries is a list, too, and small.
	var short []byte
	short = append(appendHeader(short, tagSequence, len(before)+len(after)), before...)
	short = append(short, after...)
	short = append(short, der[algorithmAt:]...)
	short = append(appendHeader(nil, tagSequence, len(short)), short...)
	if d.head, err = x509.ParseRevocationList(short); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "x509: "))
	}
	d.head.Raw, d.head.RawTBSRevocationList = der, der[tbsAt:algorithmAt]
	return d, nil
}

// readDates reads tbsCertList as far as nextUpdate.
func (d *document) readDates(tbs *scanner) error {
	if tbs.tag() != tagInteger {
		return errors.New("unsupported crl version 1 (want 2)")
	}
	at := tbs.at
	if version, err := tbs.want(tagInteger, "version"); err != nil {
		return err
	} else if !bytes.Equal(version.bytes(), []byte{1}) {
		return fmt.Errorf("offset %d: unsupported crl version (want 2)", at)
	}
	for _, what := range []string{"signature algorithm", "issuer"} {
		if _, err := tbs.want(tagSequence, what); err != nil {
			return err
		}
	}
	var ok bool
	at = tbs.at
	if d.thisUpdate, ok = tbs.stamp(); !ok {
		return badStamp(at, "thisUpdate")
	}
	if tag := tbs.tag(); tag == tagUTCTime || tag == tagGeneralizedTime {
		at = tbs.at
		if d.nextUpdate, ok = tbs.stamp(); !ok {
			return badStamp(at, "nextUpdate")
		}
	}
	return nil
}

func badStamp(at int, what string) error {
	return fmt.Errorf("offset %d: malformed %s (want YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ)", at, what)
}

// readExtensions reads what follows revokedCertificates.
func (d *document) readExtensions(tbs *scanner) error {
	if d.extensionsPresent = tbs.tag() == tagExtensions; d.extensionsPresent {
		wrapped, err := tbs.want(tagExtensions, "extensions")
		if err != nil {
			return err
		}
		inner, err := wrapped.want(tagSequence, "extensions")
		if err != nil {
			return err
		}
		if err := wrapped.done("the extensions"); err != nil {
			return err
		}
		if d.extensions, err = inner.extensions(); err != nil {
			return err
		}
	}
	if err := tbs.done("the extensions"); err != nil {
		return err
	}
	for _, id := range [][]byte{idCRLNumber, idDeltaCRLIndicator} {
		if e := d.extension(id); e != nil {
			v := scanner{e.value, 0, len(e.value)}
			if tag, n := v.element(); tag != tagInteger || !isInteger(n.bytes()) || !v.empty() {
				return fmt.Errorf("offset %d: malformed number in extension %v", e.valueAt, e.oid())
			}
		}
	}
	return nil
}

func (d *document) extension(id []byte) *extension {
	for i := range d.extensions {
		if bytes.Equal(d.extensions[i].id, id) {
			return &d.extensions[i]
		}
	}
	return nil
}

func (d *document) isDelta() bool { return d.extension(idDeltaCRLIndicator) != nil }

// The contents of the OBJECT IDENTIFIERs 2.5.29.x, id-ce of RFC 5280, and of
// 1.3.6.1.5.5.7.1.1, id-pe-authorityInfoAccess.
var (
	idIssuerAltName     = []byte{0x55, 0x1d, 18}
	idCRLNumber         = []byte{0x55, 0x1d, 20}
	idReasonCode        = []byte{0x55, 0x1d, 21}
	idInvalidityDate    = []byte{0x55, 0x1d, 24}
	idDeltaCRLIndicator = []byte{0x55, 0x1d, 27}
	idIDP               = []byte{0x55, 0x1d, 28}
	idCertificateIssuer = []byte{0x55, 0x1d, 29}
	idAuthorityKeyID    = []byte{0x55, 0x1d, 35}
	idFreshestCRL       = []byte{0x55, 0x1d, 46}

	idAuthorityInfoAccess = []byte{0x2b, 6, 1, 5, 5, 7, 1, 1}
)

// item is an entry of a list as it is written. The slices alias the list.
type item struct {
	serial     []byte // contents of the INTEGER
	date       stamp
	extensions scanner // contents of the SEQUENCE OF; nil der if there is none
	reason     int     // of the usual form of extensions, 0 of none, else -1
}

// onlyReason is the DER of extensions that hold a reason code and nothing
// else, as nearly all entries have them, up to the code itself.
var onlyReason = [...]byte{tagSequence, 12, tagSequence, 10, tagOID, 3, 0x55, 0x1d, 21, tagOctetString, 3, tagEnumerated, 1}

// In an entry's usual form the serial begins here, ...
const usualSerial = 4

// ... and these follow it: a UTCTime, and perhaps extensions with a reason.
const (
	usualDate   = 15
	usualReason = len(onlyReason) + 1
)

// usualShape recognizes an entry of the usual form at the beginning of b. n is
// its length, 0 if it is of another form; octets is the length of its serial.
// Serial and date may yet be wrong.
func usualShape(b []byte) (n, octets int) {
	if len(b) < minEntry || b[0] != tagSequence || b[1] < minEntry-2 || b[1] >= 0x80 || len(b) < 2+int(b[1]) || b[2] != tagInteger {
		return 0, 0
	}
	b = b[:2+int(b[1])]
	octets = int(b[3])
	tail := len(b) - usualSerial - octets
	if tail != usualDate && tail != usualDate+usualReason {
		return 0, 0
	}
	date := b[usualSerial+octets:]
	if date[0] != tagUTCTime || date[1] != 13 || date[14] != 'Z' {
		return 0, 0
	}
	if tail > usualDate {
		// As two numbers that overlap, which is faster than as bytes.
		reason, want := date[usualDate:], onlyReason[:]
		if binary.LittleEndian.Uint64(reason) != binary.LittleEndian.Uint64(want) ||
			binary.LittleEndian.Uint64(reason[5:]) != binary.LittleEndian.Uint64(want[5:]) || reason[13] >= 0x80 {
			return 0, 0
		}
	}
	return len(b), octets
}

// usualItem is usualShape of entries that are right. What it does not know
// item reads, or finds wrong; a large list's time goes by here.
func usualItem(b []byte) (n, octets int) {
	if n, octets = usualShape(b); n == 0 || !isInteger(b[usualSerial:usualSerial+octets]) || !isDate(b[usualSerial+octets+2:]) {
		return 0, 0
	}
	return n, octets
}

// usual moves behind an entry of the usual form.
func (s *scanner) usual(it *item, n, octets int) {
	dateAt := s.at + usualSerial + octets
	it.serial = s.der[s.at+usualSerial : dateAt]
	it.date = stamp{tagUTCTime, s.der[dateAt+2 : dateAt+usualDate]}
	s.at += n
	it.extensions, it.reason = scanner{}, 0
	if dateAt+usualDate < s.at {
		it.extensions = scanner{s.der, dateAt + usualDate + 2, s.at}
		it.reason = int(s.der[s.at-1])
	}
}

// again reads the next entry, which has been read before, so that nothing can
// be wrong with it.
func (s *scanner) again(it *item) {
	if n, octets := usualShape(s.der[s.at:s.end]); n > 0 {
		s.usual(it, n, octets)
		return
	}
	_ = s.item(it)
}

// item reads the next entry. Its serial and date are checked; its extensions
// are not if reason is -1: that is up to details.
func (s *scanner) item(it *item) error {
	at := s.at
	if n, octets := usualItem(s.der[at:s.end]); n > 0 {
		s.usual(it, n, octets)
		return nil
	}
	*it = item{}
	tag, body := s.element()
	if tag != tagSequence {
		return fmt.Errorf("offset %d: malformed entry", at)
	}
	tag, serial := body.element()
	if it.serial = serial.bytes(); tag != tagInteger || !isInteger(it.serial) {
		return fmt.Errorf("offset %d: malformed serial number (want an INTEGER in its shortest form)", at)
	}
	var ok bool
	if it.date, ok = body.stamp(); !ok {
		return badStamp(at, "revocation date of entry")
	}
	if body.empty() {
		return nil
	}
	it.reason = -1
	if tag, it.extensions = body.element(); tag != tagSequence {
		return fmt.Errorf("offset %d: malformed extensions of entry", at)
	}
	return body.done("the entry's extensions")
}

// readItems reads every entry, and returns what keeps a broker from judging by
// the list, the first fault of each kind. visit, unless nil, is told each
// entry's offset and serial, and the serial's length again if the entry is of
// the usual form, else 0.
func (d *document) readItems(visit func(at, octets int, serial []byte)) (fault, err error) {
	var faults entryFaults
	s := d.revoked
	for !s.empty() {
		if n, octets := usualItem(s.bytes()); n > 0 {
			if visit != nil {
				visit(s.at, octets, s.der[s.at+usualSerial:s.at+usualSerial+octets])
			}
			s.at += n
			continue
		}
		at := s.at
		var it item
		if err := s.item(&it); err != nil {
			return nil, err
		}
		_, exts, err := it.details()
		if err != nil {
			return nil, fmt.Errorf("entry for serial %s: %w", hex(it.serial), err)
		}
		faults.add(&it, exts)
		if visit != nil {
			visit(at, 0, it.serial)
		}
	}
	return errors.Join(faults.scope, faults.critical), nil
}

// details reads an entry's extensions: its reason, 0 if it has none, and
// whatever else is there.
func (it *item) details() (reason int, exts []extension, err error) {
	if it.extensions.der == nil {
		return 0, nil, nil
	}
	if exts, err = it.extensions.extensions(); err != nil {
		return 0, nil, err
	}
	for _, e := range exts {
		if !bytes.Equal(e.id, idReasonCode) {
			continue
		}
		v := scanner{e.value, 0, len(e.value)}
		tag, code := v.element()
		b := code.bytes()
		if tag != tagEnumerated || !isInteger(b) || len(b) > 4 || !v.empty() {
			return 0, nil, fmt.Errorf("offset %d: malformed reason code", e.valueAt)
		}
		reason = int(int8(b[0]))
		for _, c := range b[1:] {
			reason = reason<<8 | int(c)
		}
	}
	return reason, exts, nil
}

// appendHeader appends the identifier and length octets of an element.
func appendHeader(b []byte, tag byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(b, tag, byte(n))
	case n < 1<<8:
		return append(b, tag, 0x81, byte(n))
	case n < 1<<16:
		return append(b, tag, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		return append(b, tag, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, tag, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
