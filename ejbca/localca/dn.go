package localca

import (
	"cmp"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// attribute is one part of a distinguished name, with the type in upper case.
type attribute struct{ typ, value string }

// attributeTypes are the attributes that EJBCA-REST's profiles and CAs use, in
// EJBCA's "LDAP order", which is also the order of encoding.
var attributeTypes = []struct {
	typ string
	oid asn1.ObjectIdentifier
}{
	{"CN", asn1.ObjectIdentifier{2, 5, 4, 3}},
	{"OU", asn1.ObjectIdentifier{2, 5, 4, 11}},
	{"O", asn1.ObjectIdentifier{2, 5, 4, 10}},
	{"L", asn1.ObjectIdentifier{2, 5, 4, 7}},
	{"ST", asn1.ObjectIdentifier{2, 5, 4, 8}},
	{"C", asn1.ObjectIdentifier{2, 5, 4, 6}},
}

func rank(typ string) int {
	for i, t := range attributeTypes {
		if t.typ == typ {
			return i
		}
	}
	return -1
}

// parseDN reads a name such as "CN=admin:5c6512" or "c=SE, o=EJBCA IOT,
// cn=IOTmidCA", in any order, with RFC 4514's backslash escapes.
func parseDN(s string) ([]attribute, error) {
	var dn []attribute
	for rest := s; ; {
		typ, after, found := strings.Cut(rest, "=")
		typ = strings.ToUpper(strings.TrimSpace(typ))
		if !found || rank(typ) < 0 {
			return nil, fmt.Errorf("unknown attribute %q in %q (want CN=…, OU, O, L, ST or C)", typ, s)
		}
		value, after, more, err := cutValue(after)
		if err != nil {
			return nil, fmt.Errorf("%w in %q", err, s)
		}
		dn = append(dn, attribute{typ, value})
		if !more {
			slices.SortStableFunc(dn, func(a, b attribute) int { return cmp.Compare(rank(a.typ), rank(b.typ)) })
			return dn, nil
		}
		rest = after
	}
}

const specials = `,+"\<>;=#`

// cutValue reads a value up to the comma that ends it.
func cutValue(s string) (value, after string, more bool, err error) {
	s = strings.TrimLeft(s, " ")
	var b strings.Builder
	keep := 0 // what is before this stays when trailing blanks go: escaped ones do
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ',':
			return trimTail(b.String(), keep), s[i+1:], true, nil
		case c == '\\':
			i++
			if i == len(s) || !strings.ContainsRune(specials+" ", rune(s[i])) {
				return "", "", false, errors.New(`a backslash that escapes nothing`)
			}
			b.WriteByte(s[i])
			keep = b.Len()
		case c == '+' || c == '"':
			return "", "", false, fmt.Errorf("%q, which only stands escaped", c)
		default:
			b.WriteByte(c)
		}
	}
	return trimTail(b.String(), keep), "", false, nil
}

func trimTail(s string, keep int) string {
	return s[:keep] + strings.TrimRight(s[keep:], " ")
}

// formatDN writes the name in the form that EJBCA shows and hashes.
func formatDN(dn []attribute) string {
	parts := make([]string, len(dn))
	for i, a := range dn {
		parts[i] = a.typ + "=" + escapeValue(a.value)
	}
	return strings.Join(parts, ",")
}

func escapeValue(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		edge := v[i] == ' ' && (i == 0 || i == len(v)-1)
		if edge || strings.IndexByte(`,+"\<>;`, v[i]) >= 0 || (v[i] == '#' && i == 0) {
			b.WriteByte('\\')
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// encodeDN returns the DER of the name.
func encodeDN(dn []attribute) ([]byte, error) {
	var seq pkix.RDNSequence
	for _, a := range dn {
		oid := attributeTypes[rank(a.typ)].oid
		seq = append(seq, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: a.value}})
	}
	return asn1.Marshal(seq)
}

// caID is EJBCA's number of a CA: Java's String.hashCode of its name.
func caID(dn string) int32 {
	var h int32
	for _, u := range utf16.Encode([]rune(dn)) {
		h = 31*h + int32(u)
	}
	return h
}
