package mosquittoconf

import (
	"bytes"
	"crypto/sha1" // OpenSSL's choice for the names of files; nothing rests on its strength
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// NameHash returns the eight hexadecimal digits by which OpenSSL looks up a
// name in a hashed directory: that of a certificate's subject, or of a
// revocation list's issuer. The name is the DER of an X.509 Name, such as
// RawSubject of a certificate.
//
// It is the hash of OpenSSL 1.0 and later, over a canonical form in which
// letter case, string type and white space make no difference. What OpenSSL
// cannot read is an error; what only crypto/x509 refuses is not.
func NameHash(name []byte) (string, error) {
	canonical, err := canonicalName(name)
	if err != nil {
		return "", err
	}
	sum := sha1.Sum(canonical)
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sum[:])), nil
}

// canonicalName returns the canonical encodings of the RDNs, one after the
// other, without the SEQUENCE that encloses them.
func canonicalName(name []byte) ([]byte, error) {
	rdns, err := elements(name, asn1.TagSequence)
	if err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	var out []byte
	for _, rdn := range rdns {
		attributes, err := elements(rdn.FullBytes, asn1.TagSet)
		if err != nil {
			return nil, fmt.Errorf("name: RDN: %w", err)
		}
		var canonical [][]byte
		for _, a := range attributes {
			c, err := canonicalAttribute(a.FullBytes)
			if err != nil {
				return nil, fmt.Errorf("name: %w", err)
			}
			canonical = append(canonical, c)
		}
		if len(canonical) == 0 {
			continue // OpenSSL knows only attributes, and which RDN they share
		}
		slices.SortFunc(canonical, bytes.Compare)
		out = append(out, encode(asn1.TagSet, bytes.Join(canonical, nil))...)
	}
	return out, nil
}

func canonicalAttribute(der []byte) ([]byte, error) {
	parts, err := elements(der, asn1.TagSequence)
	if err != nil || len(parts) != 2 || parts[0].Tag != asn1.TagOID || parts[0].Class != asn1.ClassUniversal {
		return nil, errors.New("attribute is not a type and a value")
	}
	value, err := canonicalValue(parts[1])
	if err != nil {
		return nil, fmt.Errorf("attribute %x: %w", parts[0].Bytes, err)
	}
	return encode(asn1.TagSequence, append(bytes.Clone(parts[0].FullBytes), value...)), nil
}

// The string types that encoding/asn1 does not name.
const (
	tagUniversalString = 28
	tagVisibleString   = 26
	tagVideotexString  = 21
	tagGraphicString   = 25
)

func canonicalValue(v asn1.RawValue) ([]byte, error) {
	if v.Class != asn1.ClassUniversal {
		return nil, fmt.Errorf("value of class %d, which OpenSSL does not read", v.Class)
	}
	text := v.Bytes
	switch v.Tag {
	case asn1.TagUTF8String:
		if !utf8.Valid(text) {
			return nil, errors.New("UTF8String that is not UTF-8")
		}
	case asn1.TagPrintableString, asn1.TagT61String, asn1.TagIA5String:
		var latin []byte
		for _, b := range text {
			latin = utf8.AppendRune(latin, rune(b))
		}
		text = latin
	case asn1.TagBMPString, tagUniversalString:
		var err error
		if text, err = wideToUTF8(text, v.Tag); err != nil {
			return nil, err
		}
	case asn1.TagOctetString, asn1.TagUTCTime, asn1.TagGeneralizedTime, asn1.TagGeneralString,
		tagVisibleString, tagVideotexString, tagGraphicString,
		asn1.TagBoolean, asn1.TagInteger, asn1.TagNull, asn1.TagOID, asn1.TagSet:
		return nil, fmt.Errorf("value of ASN.1 type %d, which OpenSSL does not read", v.Tag)
	default:
		return v.FullBytes, nil
	}
	return encode(asn1.TagUTF8String, fold(text)), nil
}

// wideToUTF8 reads the two or four bytes that each character has.
func wideToUTF8(wide []byte, tag int) ([]byte, error) {
	width, name := 2, "BMPString"
	if tag == tagUniversalString {
		width, name = 4, "UniversalString"
	}
	if len(wide)%width != 0 {
		return nil, fmt.Errorf("%s of %d bytes", name, len(wide))
	}
	var out []byte
	for c := range slices.Chunk(wide, width) {
		var n uint32
		for _, b := range c {
			n = n<<8 | uint32(b)
		}
		if n > utf8.MaxRune || utf16.IsSurrogate(rune(n)) {
			return nil, fmt.Errorf("%s with %#x, which is no character", name, n)
		}
		out = utf8.AppendRune(out, rune(n))
	}
	return out, nil
}

// fold trims white space, makes each inner run of it one space, and lowers
// letters; all of ASCII only.
func fold(text []byte) []byte {
	fields := bytes.FieldsFunc(text, func(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' })
	out := bytes.Join(fields, []byte(" "))
	for i, b := range out {
		if 'A' <= b && b <= 'Z' {
			out[i] = b + 'a' - 'A'
		}
	}
	return out
}

// elements returns what the one constructed value of that tag in der holds.
func elements(der []byte, tag int) ([]asn1.RawValue, error) {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(der, &outer)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 || outer.Class != asn1.ClassUniversal || outer.Tag != tag || !outer.IsCompound {
		return nil, fmt.Errorf("want one ASN.1 value of type %d", tag)
	}
	return sequence(outer.Bytes)
}

func sequence(content []byte) ([]asn1.RawValue, error) {
	var all []asn1.RawValue
	for len(content) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(content, &v)
		if err != nil {
			return nil, err
		}
		all, content = append(all, v), rest
	}
	return all, nil
}

func encode(tag int, content []byte) []byte {
	compound := tag == asn1.TagSet || tag == asn1.TagSequence
	der, err := asn1.Marshal(asn1.RawValue{Tag: tag, IsCompound: compound, Bytes: content})
	if err != nil {
		panic(err) // a raw value of a known tag can always be encoded
	}
	return der
}

var errNoName = errors.New("neither a certificate nor a revocation list")

// nameOf returns the name under which a certificate (its subject) or a
// revocation list (its issuer) is looked up.
func nameOf(der []byte, list bool) ([]byte, error) {
	signed, err := elements(der, asn1.TagSequence)
	if err != nil || len(signed) != 3 {
		return nil, errNoName
	}
	fields, err := elements(signed[0].FullBytes, asn1.TagSequence)
	if err != nil {
		return nil, errNoName
	}
	// A certificate: [version], serial, signature, issuer, validity, subject.
	// A list: version or not, signature, issuer.
	at := 4
	versioned := len(fields) > 0 && fields[0].Class == asn1.ClassContextSpecific
	if list {
		at = 1
		versioned = len(fields) > 0 && fields[0].Class == asn1.ClassUniversal && fields[0].Tag == asn1.TagInteger
	}
	if versioned {
		at++
	}
	if at >= len(fields) {
		return nil, errNoName
	}
	return fields[at].FullBytes, nil
}

// isList tells a revocation list from a certificate, both in DER: without its
// [version], a certificate has its validity where a list has a time.
func isList(der []byte) bool {
	signed, err := elements(der, asn1.TagSequence)
	if err != nil || len(signed) != 3 {
		return false
	}
	fields, err := elements(signed[0].FullBytes, asn1.TagSequence)
	if err != nil || len(fields) < 4 || fields[0].Class != asn1.ClassUniversal {
		return false
	}
	return fields[0].Tag == asn1.TagSequence || fields[3].Tag != asn1.TagSequence
}
