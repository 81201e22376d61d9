package crl_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

// rawList is a list in pieces of DER. Nil pieces are left out.
type rawList struct {
	algorithm, issuer, this, next []byte
	entries                       []byte // with their SEQUENCE
	extensions                    [][]byte
}

// tlv is an element of DER.
func tlv(tag byte, parts ...[]byte) []byte {
	body := concat(parts...)
	switch n := len(body); {
	case n < 0x80:
		return concat([]byte{tag, byte(n)}, body)
	case n < 0x100:
		return concat([]byte{tag, 0x81, byte(n)}, body)
	default:
		return concat([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body)
	}
}

func seq(parts ...[]byte) []byte { return tlv(0x30, parts...) }
func utc(s string) []byte        { return tlv(0x17, []byte(s)) }
func gen(s string) []byte        { return tlv(0x18, []byte(s)) }

// x is an extension, 2.5.29.n.
func x(n byte, critical bool, value ...byte) []byte {
	var flag []byte
	if critical {
		flag = []byte{1, 1, 0xff}
	}
	return seq([]byte{6, 3, 0x55, 0x1d, n}, flag, tlv(4, value))
}

// accessX is an authority information access extension.
func accessX(critical bool, value []byte) []byte {
	var flag []byte
	if critical {
		flag = []byte{1, 1, 0xff}
	}
	return seq([]byte{6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 1}, flag, tlv(4, value))
}

func access(method byte) []byte {
	return seq(seq([]byte{6, 8, 0x2b, 6, 1, 5, 5, 7, 48, method}, tlv(0x86, []byte("http://ca.example/ca.crt"))))
}

// rev is an entry for a serial of one octet.
func rev(serial byte, extensions ...[]byte) []byte {
	if extensions == nil {
		return seq([]byte{2, 1, serial}, utc("260301120000Z"))
	}
	return seq([]byte{2, 1, serial}, utc("260301120000Z"), seq(extensions...))
}

// lintCases break one rule each, or none.
var lintCases = []struct {
	name   string
	want   string // the rule
	mutate func(*rawList)
}{
	{"good", "", func(*rawList) {}},
	{"good_no_entries", "", func(l *rawList) { l.entries = nil }},
	{"good_delta", "", func(l *rawList) {
		l.extensions = append(l.extensions, x(27, true, 2, 1, 5))
		l.entries = seq(rev(1, x(21, false, 10, 1, 8)))
	}},
	{"good_scope", "", func(l *rawList) { l.extensions = append(l.extensions, x(28, true, 0x30, 3, 0x81, 1, 0xff)) }},
	{"good_indirect", "", func(l *rawList) {
		l.extensions = append(l.extensions, x(28, true, 0x30, 3, 0x84, 1, 0xff))
		l.entries = seq(rev(1), rev(1, x(29, true, seq(tlv(0xa4, seq()))...)))
	}},
	{"good_information_access", "", func(l *rawList) { l.extensions = append(l.extensions, accessX(false, access(2))) }},
	{"good_invalidity_date", "", func(l *rawList) { l.entries = seq(rev(1, x(24, false, gen("20260301115959Z")...))) }},
	{"good_2050", "", func(l *rawList) { l.this, l.next = gen("20500101000000Z"), gen("20500102000000Z") }},

	{"weak_signature", "weak-signature", func(l *rawList) { l.algorithm = seq([]byte{6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1}) }},
	{"issuer_empty", "issuer-empty", func(l *rawList) { l.issuer = seq() }},
	{"this_update_encoding", "this-update-encoding", func(l *rawList) { l.this = gen("20260301120000Z") }},
	{"next_update_missing", "next-update-missing", func(l *rawList) { l.next = nil }},
	{"next_update_encoding", "next-update-encoding", func(l *rawList) { l.next = gen("20260302120000Z") }},
	{"next_update_same", "next-update-order", func(l *rawList) { l.next = l.this }},
	{"next_update_before", "next-update-order", func(l *rawList) { l.next = utc("991231235959Z") }},
	{"lifetime_long", "lifetime", func(l *rawList) { l.next = utc("260311120001Z") }},
	{"lifetime_ten_days", "", func(l *rawList) { l.next = utc("260311120000Z") }},
	{"entries_empty", "entries-empty", func(l *rawList) { l.entries = seq() }},
	{"serial_twice", "serial-twice", func(l *rawList) { l.entries = seq(rev(1), rev(2), rev(1)) }},
	{"extensions_empty", "extensions-empty", func(l *rawList) { l.extensions = [][]byte{} }},
	{"authority_key_id_missing", "authority-key-id-missing", func(l *rawList) { l.extensions = l.extensions[1:] }},
	{"authority_key_id_by_serial", "authority-key-id-missing", func(l *rawList) { l.extensions[0] = x(35, false, 0x30, 3, 0x82, 1, 1) }},
	{"issuer_alt_name_critical", "issuer-alt-name-critical", func(l *rawList) {
		l.extensions = append(l.extensions, x(18, true, seq(tlv(0x82, []byte("ca.example")))...))
	}},
	{"number_missing", "number-missing", func(l *rawList) { l.extensions = l.extensions[:1] }},
	{"number_critical", "number-critical", func(l *rawList) { l.extensions[1] = x(20, true, 2, 1, 7) }},
	{"number_negative", "number-negative", func(l *rawList) { l.extensions[1] = x(20, false, 2, 1, 0xff) }},
	{"number_20_octets", "", func(l *rawList) { l.extensions[1] = x(20, false, tlv(2, bytes.Repeat([]byte{0x7f}, 20))...) }},
	{"number_21_octets", "number-too-long", func(l *rawList) { l.extensions[1] = x(20, false, tlv(2, bytes.Repeat([]byte{0x7f}, 21))...) }},
	{"number_20_octets_and_sign", "number-too-long", func(l *rawList) {
		l.extensions[1] = x(20, false, tlv(2, []byte{0}, bytes.Repeat([]byte{0xff}, 20))...)
	}},
	{"delta_not_critical", "delta-not-critical", func(l *rawList) { l.extensions = append(l.extensions, x(27, false, 2, 1, 5)) }},
	{"delta_to_itself", "delta-base-number", func(l *rawList) { l.extensions = append(l.extensions, x(27, true, 2, 1, 7)) }},
	{"delta_base_negative", "delta-base-number", func(l *rawList) { l.extensions = append(l.extensions, x(27, true, 2, 1, 0xff)) }},
	{"scope_not_critical", "scope-not-critical", func(l *rawList) { l.extensions = append(l.extensions, x(28, false, 0x30, 3, 0x81, 1, 0xff)) }},
	{"scope_malformed", "scope-malformed", func(l *rawList) { l.extensions = append(l.extensions, x(28, true, 0x30, 3, 0x81)) }},
	{"scope_empty", "scope-empty", func(l *rawList) { l.extensions = append(l.extensions, x(28, true, 0x30, 0)) }},
	{"scope_contradictory", "scope-contradictory", func(l *rawList) {
		l.extensions = append(l.extensions, x(28, true, 0x30, 6, 0x81, 1, 0xff, 0x82, 1, 0xff))
	}},
	{"scope_attribute_certificates", "scope-attribute-certificates", func(l *rawList) {
		l.extensions = append(l.extensions, x(28, true, 0x30, 3, 0x85, 1, 0xff))
	}},
	{"freshest_critical", "freshest-critical", func(l *rawList) { l.extensions = append(l.extensions, x(46, true, 0x30, 0)) }},
	{"freshest_in_delta", "freshest-in-delta", func(l *rawList) {
		l.extensions = append(l.extensions, x(27, true, 2, 1, 5), x(46, false, 0x30, 0))
	}},
	{"information_access_critical", "information-access-critical", func(l *rawList) {
		l.extensions = append(l.extensions, accessX(true, access(2)))
	}},
	{"information_access_ocsp", "information-access-methods", func(l *rawList) {
		l.extensions = append(l.extensions, accessX(false, access(1)))
	}},
	{"information_access_empty", "information-access-methods", func(l *rawList) {
		l.extensions = append(l.extensions, accessX(false, seq()))
	}},

	{"serial_zero", "serial-not-positive", func(l *rawList) { l.entries = seq(rev(1), rev(0)) }},
	{"serial_negative", "serial-not-positive", func(l *rawList) { l.entries = seq(rev(0xff)) }},
	{"serial_20_octets", "", func(l *rawList) {
		l.entries = seq(seq(tlv(2, bytes.Repeat([]byte{0x7f}, 20)), utc("260301120000Z")))
	}},
	{"serial_21_octets", "serial-too-long", func(l *rawList) {
		l.entries = seq(seq(tlv(2, bytes.Repeat([]byte{0x7f}, 21)), utc("260301120000Z")))
	}},
	{"revocation_date_encoding", "revocation-date-encoding", func(l *rawList) {
		l.entries = seq(seq([]byte{2, 1, 1}, gen("20260301120000Z")))
	}},
	{"revocation_date_1949", "", func(l *rawList) { l.entries = seq(seq([]byte{2, 1, 1}, gen("19491231235959Z"))) }},
	{"revocation_date_1999", "", func(l *rawList) { l.entries = seq(seq([]byte{2, 1, 1}, utc("991231235959Z"))) }},
	{"revocation_date_future", "revocation-date-future", func(l *rawList) {
		l.entries = seq(seq([]byte{2, 1, 1}, utc("260301120001Z")))
	}},
	{"entry_extensions_empty", "entry-extensions-empty", func(l *rawList) { l.entries = seq(rev(1, nil)) }},
	{"reason_critical", "reason-critical", func(l *rawList) { l.entries = seq(rev(1, x(21, true, 10, 1, 1))) }},
	{"reason_7", "reason-unknown", func(l *rawList) { l.entries = seq(rev(1, x(21, false, 10, 1, 7))) }},
	{"reason_negative", "reason-unknown", func(l *rawList) { l.entries = seq(rev(1, x(21, false, 10, 1, 0xff))) }},
	{"reason_256", "reason-unknown", func(l *rawList) { l.entries = seq(rev(1, x(21, false, 10, 2, 1, 0))) }},
	{"reason_unspecified", "reason-unspecified", func(l *rawList) { l.entries = seq(rev(1, x(21, false, 10, 1, 0))) }},
	{"reason_remove", "reason-remove", func(l *rawList) { l.entries = seq(rev(1, x(21, false, 10, 1, 8))) }},
	{"reason_hold", "reason-hold", func(l *rawList) { l.entries = seq(rev(1, x(21, false, 10, 1, 6))) }},
	{"invalidity_date_critical", "invalidity-date-critical", func(l *rawList) {
		l.entries = seq(rev(1, x(24, true, gen("20260301115959Z")...)))
	}},
	{"invalidity_date_utc_time", "invalidity-date-encoding", func(l *rawList) {
		l.entries = seq(rev(1, x(24, false, utc("260301115959Z")...)))
	}},
	{"invalidity_date_fraction", "invalidity-date-encoding", func(l *rawList) {
		l.entries = seq(rev(1, x(24, false, gen("20260301115959.5Z")...)))
	}},
	{"certificate_issuer_direct", "certificate-issuer-direct", func(l *rawList) {
		l.entries = seq(rev(1, x(29, true, seq(tlv(0xa4, seq()))...)))
	}},
	{"certificate_issuer_not_critical", "certificate-issuer-not-critical", func(l *rawList) {
		l.extensions = append(l.extensions, x(28, true, 0x30, 3, 0x84, 1, 0xff))
		l.entries = seq(rev(1, x(29, false, seq(tlv(0xa4, seq()))...)))
	}},
}

// raw signs what mutate makes of an ordinary list.
func (ca *testCA) raw(mutate func(*rawList)) []byte {
	l := rawList{
		algorithm: seq([]byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}),
		issuer:    ca.cert.RawSubject,
		this:      utc("260301120000Z"),
		next:      utc("260302120000Z"),
		entries:   seq(rev(0x42, x(21, false, 10, 1, 1))),
		extensions: [][]byte{
			x(35, false, seq(tlv(0x80, ca.cert.SubjectKeyId))...),
			x(20, false, 2, 1, 7),
		},
	}
	mutate(&l)
	tbs := seq([]byte{2, 1, 1}, l.algorithm, l.issuer, l.this, l.next, l.entries, tlv(0xa0, seq(l.extensions...)))
	digest := sha256.Sum256(tbs)
	signature, err := ecdsa.SignASN1(rand.Reader, ca.key, digest[:])
	if err != nil {
		panic(err)
	}
	return seq(tbs, l.algorithm, tlv(3, []byte{0}, signature))
}

// TestLint reads the lists in testdata/lint, made by TestLint -update.
func TestLint(t *testing.T) {
	path := func(name string) string { return filepath.Join("testdata", "lint", name+".pem") }
	if *update {
		ca := newCA("IOTmidCA")
		for _, tc := range lintCases {
			write(t, path(tc.name), crl.EncodePEM(&x509.RevocationList{Raw: ca.raw(tc.mutate)}))
		}
	}
	for _, tc := range lintCases {
		t.Run(tc.name, func(t *testing.T) {
			data, err := os.ReadFile(path(tc.name))
			if err != nil {
				t.Fatal(err)
			}
			findings, err := crl.Lint(parse(t, data))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, f.Rule)
				if f.Source == "" || f.Message == "" || !strings.Contains(f.String(), f.Severity.String()+": "+f.Message) {
					t.Errorf("incomplete: %v", f)
				}
			}
			want := []string{tc.want}
			switch tc.want {
			case "":
				want = nil
			case "extensions-empty": // so that what is required is missing
				want = append(want, "authority-key-id-missing", "number-missing")
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %q", findings, want)
			}
		})
	}
}

func TestLintCounts(t *testing.T) {
	der := midCA().raw(func(l *rawList) { l.entries = seq(rev(1), rev(0x80), rev(2), rev(0x81), rev(0x82)) })
	findings, err := crl.Lint(parse(t, der))
	if err != nil || len(findings) != 1 || findings[0].Message != "serial -80: the serial is not positive, and 2 more" {
		t.Errorf("got %v, %v", findings, err)
	}
}

func TestLintMalformed(t *testing.T) {
	for _, der := range [][]byte{nil, appendElement(midCA().list(t, 1, t0).Raw)} {
		if _, err := crl.Lint(&x509.RevocationList{Raw: der}); !errors.Is(err, crl.ErrMalformed) {
			t.Errorf("got %v, want ErrMalformed", err)
		}
	}
}

// What Sign makes breaks no rule, and a template that would is refused before
// the issuer's key is asked.
func TestSignLints(t *testing.T) {
	ca := midCA()
	list := ca.sign(t, &crl.Template{
		Number: big.NewInt(7), Base: big.NewInt(5), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour),
		Entries:           []crl.Entry{{Serial: big.NewInt(1), RevokedAt: t0, Reason: crl.RemoveFromCRL}, {Serial: big.NewInt(2), RevokedAt: t0}},
		DistributionPoint: &crl.IssuingDistributionPoint{URLs: []string{"http://ca.example/1.crl"}},
	})
	if findings, err := crl.Lint(list); findings != nil || err != nil {
		t.Errorf("got %v, %v", findings, err)
	}
	key := &countingKey{PrivateKey: ca.key}
	_, err := crl.Sign(&crl.Template{
		Number: big.NewInt(7), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour),
		Entries:           []crl.Entry{{Serial: big.NewInt(1), RevokedAt: t0}, {Serial: big.NewInt(1), RevokedAt: t0}},
		DistributionPoint: &crl.IssuingDistributionPoint{},
	}, ca.cert, key)
	if err == nil || !strings.Contains(err.Error(), "serial-twice") || !strings.Contains(err.Error(), "scope-empty") {
		t.Errorf("got %v, want both faults", err)
	}
	if key.signed != 0 {
		t.Errorf("the key signed %d times", key.signed)
	}
}
