package crl

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// The tags that a list is made of.
const (
	tagBoolean         = 0x01
	tagInteger         = 0x02
	tagBitString       = 0x03
	tagOctetString     = 0x04
	tagOID             = 0x06
	tagEnumerated      = 0x0a
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSequence        = 0x30
	tagExtensions      = 0xa0 // [0] EXPLICIT
)

// scanner walks over DER in place. It allocates nothing, whatever a length
// says, and its errors name the offset into der.
type scanner struct {
	der []byte
	at  int
	end int
}

// element returns the tag and contents of the next element and moves behind
// it. tag is 0 if it is not whole, not definite, or its length is not in the
// shortest form.
func (s *scanner) element() (tag byte, body scanner) {
	if s.end-s.at >= 2 {
		if n := int(s.der[s.at+1]); n < 0x80 && n <= s.end-s.at-2 {
			tag = s.der[s.at]
			body = scanner{s.der, s.at + 2, s.at + 2 + n}
			s.at = body.end
			return tag, body
		}
	}
	return s.longElement()
}

func (s *scanner) longElement() (tag byte, body scanner) {
	if s.end-s.at < 3 {
		return 0, scanner{}
	}
	octets := int(s.der[s.at+1]) - 0x80 // those of the length
	at := s.at + 2
	if octets < 1 || octets > 4 || octets > s.end-at {
		return 0, scanner{}
	}
	size := uint64(0)
	for _, b := range s.der[at : at+octets] {
		size = size<<8 | uint64(b)
	}
	at += octets
	if size < 0x80 || size>>(8*(octets-1)) == 0 || size > uint64(s.end-at) {
		return 0, scanner{}
	}
	n := int(size)
	tag = s.der[s.at]
	s.at = at + n
	return tag, scanner{s.der, at, s.at}
}

// want returns the contents of the next element, which must have this tag.
func (s *scanner) want(tag byte, what string) (body scanner, err error) {
	at := s.at
	got, body := s.element()
	if got != tag {
		return scanner{}, fmt.Errorf("offset %d: malformed %s (want tag %#02x in DER)", at, what, tag)
	}
	return body, nil
}

func (s *scanner) empty() bool   { return s.at == s.end }
func (s *scanner) bytes() []byte { return s.der[s.at:s.end] }
func (s *scanner) tag() byte {
	if s.empty() {
		return 0
	}
	return s.der[s.at]
}

// done is an error if something is left.
func (s *scanner) done(what string) error {
	if n := s.end - s.at; n > 0 {
		return fmt.Errorf("offset %d: %d trailing bytes after %s", s.at, n, what)
	}
	return nil
}

// isInteger says whether b is an INTEGER's contents in the shortest form.
func isInteger(b []byte) bool {
	switch {
	case len(b) == 0:
		return false
	case len(b) == 1:
		return true
	}
	return (b[0] != 0 || b[1] >= 0x80) && (b[0] != 0xff || b[1] < 0x80)
}

// isOID says whether b is an OBJECT IDENTIFIER's contents, with no number
// above 2³¹, which the standard library does not read.
func isOID(b []byte) bool {
	n := uint64(0)
	for i, c := range b {
		if n == 0 && c == 0x80 && (i == 0 || b[i-1] < 0x80) {
			return false
		}
		if n = n<<7 | uint64(c&0x7f); n > math.MaxInt32 {
			return false
		}
		if c < 0x80 {
			n = 0
		}
	}
	return len(b) > 0 && b[len(b)-1] < 0x80
}

// extension is one of a list or entry. The slices alias the list.
type extension struct {
	id       []byte // contents of the OBJECT IDENTIFIER
	critical bool
	value    []byte
	valueAt  int // its offset
}

func (e *extension) oid() asn1.ObjectIdentifier {
	var id asn1.ObjectIdentifier
	// It has been checked by isOID, and is short if it is anything known.
	_, _ = asn1.Unmarshal(append([]byte{tagOID, byte(len(e.id))}, e.id...), &id)
	return id
}

func (s *scanner) extension() (e extension, err error) {
	at := s.at
	malformed := func() (extension, error) {
		return e, fmt.Errorf("offset %d: malformed extension", at)
	}
	tag, body := s.element()
	if tag != tagSequence {
		return malformed()
	}
	tag, id := body.element()
	if tag != tagOID || !isOID(id.bytes()) {
		return malformed()
	}
	e.id = id.bytes()
	if body.tag() == tagBoolean {
		_, b := body.element()
		if v := b.bytes(); len(v) != 1 || v[0] != 0 && v[0] != 0xff {
			return malformed()
		}
		e.critical = b.bytes()[0] != 0
	}
	tag, value := body.element()
	if tag != tagOctetString || !body.empty() {
		return malformed()
	}
	e.value, e.valueAt = value.bytes(), value.at
	return e, nil
}

// maxExtensions is several times what the RFCs define. Each is compared with
// all others, and there may be room for millions.
const maxExtensions = 64

// extensions reads the contents of a SEQUENCE OF Extension. None may be there
// twice: RFC 5280, section 4.2, forbids it for certificates, and no two
// readers agree on what it means.
func (s scanner) extensions() ([]extension, error) {
	var all []extension
	for !s.empty() {
		at := s.at
		if len(all) == maxExtensions {
			return nil, fmt.Errorf("offset %d: more than %d extensions", at, maxExtensions)
		}
		e, err := s.extension()
		if err != nil {
			return nil, err
		}
		for _, earlier := range all {
			if bytes.Equal(e.id, earlier.id) {
				return nil, fmt.Errorf("offset %d: extension %v is there twice", at, e.oid())
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// stamp is a Time of RFC 5280, section 4.1.2.5, as it is written.
type stamp struct {
	tag  byte
	text []byte
}

// stamp reads a UTCTime YYMMDDHHMMSSZ or a GeneralizedTime YYYYMMDDHHMMSSZ,
// the only forms that the RFC allows and that OpenSSL compares. ok is false
// for anything else, and for a day or hour that does not exist.
func (s *scanner) stamp() (t stamp, ok bool) {
	tag, body := s.element()
	b := body.bytes()
	switch {
	case tag == tagUTCTime && len(b) == 13 && b[12] == 'Z':
		return stamp{tag, b}, isDate(b)
	case tag == tagGeneralizedTime && len(b) == 15 && b[14] == 'Z':
		// The year's last two digits decide on leap days but for centuries.
		t = stamp{tag, b}
		return t, isDigit(b[0]) && isDigit(b[1]) && isDate(b[2:]) && t.time().Day() == int(b[6]-'0')*10+int(b[7]-'0')
	}
	return stamp{}, false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isDate says whether b begins with YYMMDDHHMMSS, and that is a date. It takes
// eight digits at a time, as dates are a good part of the work on a large
// list.
func isDate(b []byte) bool {
	date, ok := digitPairs(b[:8])
	clock, also := digitPairs(b[4:12]) // day and hour again
	if !ok || !also {
		return false
	}
	year, month, day, hour := date&0xff, date>>16&0xff, date>>32&0xff, date>>48
	minute, second := clock>>32&0xff, clock>>48
	if month-1 >= 12 || hour >= 24 || minute >= 60 || second >= 60 {
		return false
	}
	days := uint64(daysIn[month])
	if month == 2 && year%4 == 0 {
		days++
	}
	return day-1 < days
}

const daysIn = "\x00\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"

// digitPairs turns eight ASCII digits into four numbers, in 16 bits each, the
// first one lowest.
func digitPairs(b []byte) (pairs uint64, ok bool) {
	x := binary.LittleEndian.Uint64(b) ^ 0x3030303030303030
	// A byte above 9 has its top bit set, or gets it by adding 0x76.
	if (x|(x+0x7676767676767676))&0x8080808080808080 != 0 {
		return 0, false
	}
	return inPairs(x), true
}

// inPairs turns eight digits into four numbers likewise.
func inPairs(digits uint64) uint64 { return (digits*10 + digits>>8) & 0x00ff00ff00ff00ff }

// time is what a stamp that was read means.
func (t stamp) time() time.Time {
	b := t.text
	pair := func(i int) int { return int(b[i]-'0')*10 + int(b[i+1]-'0') }
	year := pair(0)
	if t.tag == tagGeneralizedTime {
		year = year*100 + pair(2)
		b = b[2:]
	} else if year += 1900; year < 1950 {
		year += 100
	}
	return time.Date(year, time.Month(pair(2)), pair(4), pair(6), pair(8), pair(10), 0, time.UTC)
}

// after says whether t is later than u.
func (t stamp) after(u stamp) bool {
	// Within a century the digits are in order.
	if t.tag == tagUTCTime && u.tag == tagUTCTime && (t.text[0] >= '5') == (u.text[0] >= '5') {
		return bytes.Compare(t.text, u.text) > 0
	}
	return t.time().After(u.time())
}

// packDate puts the twelve digits of a UTCTime into six octets, the day's in
// their lower halves and the time's in the upper ones.
func packDate(b []byte) uint64 {
	return binary.LittleEndian.Uint64(b)&sixDigits | binary.LittleEndian.Uint64(b[4:])>>16&sixDigits<<4
}

const sixDigits = 0x0f0f0f0f0f0f

// unpackDate is what a packed date that isDate has accepted means. time.Date
// takes as long as all the rest of a lookup.
func unpackDate(packed uint64) time.Time {
	date, clock := inPairs(packed&sixDigits), inPairs(packed>>4&sixDigits)
	month, day := date>>16&0xff, date>>32
	year := (date&0xff + 50) % 100 // since 1950
	if month <= 2 || year%4 != 2 {
		day--
	}
	days := 365*year + (year+1)/4 + uint64(daysBefore[month]) + day
	seconds := (days*24+clock&0xff)*3600 + clock>>16&0xff*60 + clock>>32
	return time.Unix(start1950+int64(seconds), 0).UTC()
}

// start1950 is 1950-01-01T00:00:00Z.
const start1950 = -631152000

// daysBefore is how many days there are before a month.
var daysBefore = [...]uint16{0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334}
