package crl_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata again, with new keys")

var cmpBig = cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })

func TestParseReason(t *testing.T) {
	for code := range 12 {
		r := crl.Reason(code)
		got, err := crl.ParseReason(strings.ToUpper(r.String()))
		if code == 7 || code == 11 {
			if err == nil || !strings.HasPrefix(r.String(), "Reason(") {
				t.Errorf("%d: got %v, %v, want no such reason", code, r, err)
			}
		} else if got != r || err != nil {
			t.Errorf("%v: got %v, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "key compromise", "1", "Reason(7)", "keyCompromise "} {
		if got, err := crl.ParseReason(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
	if got := crl.AACompromise.String(); got != "aACompromise" {
		t.Errorf("got %q, want the spelling of RFC 5280", got)
	}
}

func TestSign(t *testing.T) {
	ca := midCA()
	long := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 159), big.NewInt(1))
	template := &crl.Template{
		Number:     big.NewInt(255),
		ThisUpdate: t0.Add(999 * time.Millisecond),
		NextUpdate: time.Date(2051, 1, 1, 0, 0, 0, 0, time.FixedZone("BRT", -3*3600)),
		Entries: []crl.Entry{
			{Serial: long, RevokedAt: t0.Add(-time.Hour), Reason: crl.KeyCompromise},
			{Serial: big.NewInt(1), RevokedAt: t0},
		},
	}
	list := ca.sign(t, template)
	if err := crl.Verify(list, ca.cert, t0); err != nil {
		t.Error(err)
	}
	if list.Number.Int64() != 255 || !list.ThisUpdate.Equal(t0) || !list.NextUpdate.Equal(template.NextUpdate) {
		t.Errorf("got number %v, %v to %v", list.Number, list.ThisUpdate, list.NextUpdate)
	}
	changes, err := crl.Diff(ca.list(t, 1, t0.Add(-time.Hour)), list)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(template.Entries, changes.Added, cmpBig); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if n := len(list.RevokedCertificateEntries[1].Extensions); n != 0 {
		t.Errorf("an unspecified reason is written: %d extensions", n)
	}
}

func TestSignDelta(t *testing.T) {
	ca := midCA()
	list := ca.sign(t, &crl.Template{
		Number: big.NewInt(9), Base: big.NewInt(8), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour),
		Entries: []crl.Entry{{Serial: big.NewInt(1), RevokedAt: t0, Reason: crl.RemoveFromCRL}},
	})
	if err := crl.Verify(list, ca.cert, t0); !errors.Is(err, crl.ErrDelta) {
		t.Errorf("got %v, want ErrDelta", err)
	}
}

func TestSignRefuses(t *testing.T) {
	ca := midCA()
	notCA, noKeyID := *ca.cert, *ca.cert
	notCA.IsCA = false
	noKeyID.SubjectKeyId = nil
	entry := func(e crl.Entry) func(*crl.Template) {
		return func(t *crl.Template) { t.Entries = []crl.Entry{e} }
	}
	for _, tc := range []struct {
		name   string
		mutate func(*crl.Template)
		issuer *x509.Certificate
		want   string
	}{
		{"no number", func(t *crl.Template) { t.Number = nil }, nil, "number is missing"},
		{"negative number", func(t *crl.Template) { t.Number = big.NewInt(-1) }, nil, "negative"},
		{"number too long", func(t *crl.Template) { t.Number = new(big.Int).Lsh(big.NewInt(1), 159) }, nil, "20 octets"},
		{"no thisUpdate", func(t *crl.Template) { t.ThisUpdate = time.Time{} }, nil, "thisUpdate"},
		{"no nextUpdate", func(t *crl.Template) { t.NextUpdate = time.Time{} }, nil, "nextUpdate"},
		{"same second", func(t *crl.Template) { t.NextUpdate = t.ThisUpdate.Add(time.Millisecond) }, nil, "not after"},
		{"base not below number", func(t *crl.Template) { t.Base = t.Number }, nil, "base CRL number"},
		{"no serial", entry(crl.Entry{RevokedAt: t0}), nil, "serial is missing"},
		{"serial zero", entry(crl.Entry{Serial: new(big.Int), RevokedAt: t0}), nil, "not positive"},
		{"serial too long", entry(crl.Entry{Serial: new(big.Int).Lsh(big.NewInt(1), 159), RevokedAt: t0}), nil, "20 octets"},
		{"no date", entry(crl.Entry{Serial: big.NewInt(0xab)}), nil, "serial ab has no revocation date"},
		{"reason 7", entry(crl.Entry{Serial: big.NewInt(1), RevokedAt: t0, Reason: 7}), nil, "reason code 7"},
		{"removal in a complete list", entry(crl.Entry{Serial: big.NewInt(1), RevokedAt: t0, Reason: crl.RemoveFromCRL}), nil, "only a delta"},
		{"serial twice", func(t *crl.Template) {
			e := crl.Entry{Serial: big.NewInt(1), RevokedAt: t0}
			t.Entries = []crl.Entry{e, e}
		}, nil, "serial 1 is there twice"},
		{"key of another CA", nil, mqttCA().cert, "not that of the issuer"},
		{"not a CA", nil, &notCA, crl.ErrNotCA.Error()},
		{"no subject key identifier", nil, &noKeyID, "subject key identifier"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			template := &crl.Template{Number: big.NewInt(1), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour)}
			if tc.mutate != nil {
				tc.mutate(template)
			}
			issuer := ca.cert
			if tc.issuer != nil {
				issuer = tc.issuer
			}
			der, err := crl.Sign(template, issuer, ca.key)
			if err == nil || !strings.Contains(err.Error(), tc.want) || der != nil {
				t.Errorf("got %d bytes, %v, want an error with %q", len(der), err, tc.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	list := midCA().list(t, 1, t0, 66)
	b64 := base64.StdEncoding.EncodeToString(list.Raw)
	wrapped := strings.Join(chunks(b64, 76), "\r\n") + "\r\n"
	armoured := string(crl.EncodePEM(list))
	repeat := func(mutate func(*tbsCertList)) string { return string(midCA().forge(t0, mutate)) }
	for _, tc := range []struct {
		name, data, want string // want is in the error; "" for none
	}{
		{"DER", string(list.Raw), ""},
		{"PEM", armoured, ""},
		{"PEM with white space around", "\n \t" + armoured + "\r\n\n", ""},
		{"base64", b64, ""},
		{"base64 in lines", wrapped, ""},
		{"base64 with white space around", "\n" + b64 + " \n", ""},

		{"nothing", "", "empty"},
		{"white space", " \n", "empty"},
		{"DER and a byte", string(list.Raw) + "\n", "1 trailing bytes after the list"},
		{"DER and an element inside", string(appendElement(list.Raw)), "2 trailing bytes after the signature"},
		{"signature shifted", string(shiftSignature(list.Raw)), "whole number of octets"},
		{"DER cut off", string(list.Raw[:len(list.Raw)-1]), "offset 0: malformed CRL"},
		{"certificate", string(midCA().cert.Raw), "crl"},
		{"two blocks", armoured + armoured, "a second PEM block"},
		{"text before the block", "Version 2\n" + armoured, `"Version 2" outside`},
		{"text after the block", armoured + "x", `"x" outside`},
		{"other label", strings.ReplaceAll(armoured, "X509 CRL", "CRL"), `labelled "CRL" (want "X509 CRL")`},
		{"no END", armoured[:len(armoured)-30], "END"},
		{"base64 and more", b64 + "!", "neither DER nor PEM nor base64"},
		{"base64 twice", b64 + b64, ""}, // see below
		{"base64 of nothing much", "AAAA", "offset 0: malformed CRL"},
		{"JSON", `{"CRL":"` + b64 + `"}`, "neither DER"},
		{"extension twice", repeat(func(l *tbsCertList) {
			l.Extensions = append(l.Extensions, ext(oidNobody, false, "a"), ext(oidNobody, false, "a"))
		}), "extension 1.3.6.1.4.1.99999.1 is there twice"},
		{"number twice", repeat(func(l *tbsCertList) { l.Extensions = append(l.Extensions, l.Extensions[1]) }), "extension 2.5.29.20 is there twice"},
		{"entry extension twice", repeat(func(l *tbsCertList) {
			e := ext(oidReason, false, "\x0a\x01\x01")
			l.Revoked[0].Extensions = append(l.Revoked[0].Extensions, e, e)
		}), "extension 2.5.29.21 is there twice"},
		{"version 1", repeat(func(l *tbsCertList) { l.Version, l.Extensions = 0, nil }), "unsupported crl version"},
		{"critical authority key identifier", repeat(func(l *tbsCertList) { l.Extensions[0].Critical = true }), "incorrectly marked critical"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "base64 twice" {
				// Padding, or the length inside, gives it away.
				if _, err := crl.Parse([]byte(tc.data)); err == nil {
					t.Error("got no error")
				}
				return
			}
			got, err := crl.Parse([]byte(tc.data))
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want == "" && !bytes.Equal(got.Raw, list.Raw):
				t.Error("got another list")
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// What an unsigned list can hold is not worth more than a moment's work.
func TestParseLimits(t *testing.T) {
	extensions := func(n int) []pkix.Extension {
		var exts []pkix.Extension
		for i := range n {
			exts = append(exts, ext(asn1.ObjectIdentifier{1, 3, i}, false, ""))
		}
		return exts
	}
	ofList := func(n int) []byte {
		return midCA().forge(t0, func(l *tbsCertList) { l.Extensions = extensions(n) })
	}
	ofEntry := func(n int) []byte {
		return midCA().forge(t0, func(l *tbsCertList) { l.Revoked[0].Extensions = extensions(n) })
	}
	withValue := func(n int) []byte {
		return midCA().forge(t0, func(l *tbsCertList) {
			l.Extensions = append(l.Extensions, ext(oidNobody, false, strings.Repeat("x", n)))
		})
	}
	withIssuer := func(n int) []byte {
		return midCA().forge(t0, func(l *tbsCertList) {
			var name pkix.RDNSequence
			for range n {
				name = append(name, pkix.RelativeDistinguishedNameSET{{Type: oidNobody, Value: "a"}})
			}
			l.Issuer.FullBytes, _ = asn1.Marshal(name)
		})
	}
	for _, tc := range []struct {
		name string
		der  []byte
		want string // in the error; "" for none
	}{
		{"64 extensions", ofList(64), ""},
		{"65 extensions", ofList(65), "more than 64 extensions"},
		{"64 extensions of an entry", ofEntry(64), ""},
		{"65 extensions of an entry", ofEntry(65), "entry for serial 42: offset"},
		{"large extension", withValue(60 << 10), ""},
		{"larger extension", withValue(64 << 10), "bytes beside its entries (want at most 65536)"},
		{"issuer of many parts", withIssuer(10_000), "bytes beside its entries (want at most 65536)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := crl.Parse(tc.der)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func chunks(s string, n int) []string {
	var out []string
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return append(out, s)
}

func TestParseAll(t *testing.T) {
	for _, tc := range crlfiles(midCA().list(t, 1, t0), mqttCA().list(t, 1, t0)) {
		t.Run(tc.name, func(t *testing.T) {
			lists, err := crl.ParseAll(tc.data)
			if len(lists) != tc.want || (err == nil) != (tc.want > 0) {
				t.Errorf("got %d lists, %v, want %d", len(lists), err, tc.want)
			}
		})
	}
}

// TestEncodePEM covers all lengths of a last line. Wrapping by hand gets one
// of 16 wrong: no rest after the last full line.
func TestEncodePEM(t *testing.T) {
	full := 0
	for n := range int64(50) {
		serials := make([]int64, n)
		for i := range serials {
			serials[i] = 1000 + int64(i)
		}
		list := midCA().list(t, 1, t0, serials...)
		if base64.StdEncoding.EncodedLen(len(list.Raw))%64 == 0 {
			full++
		}
		lists, err := crl.ParseAll(crl.EncodePEM(list, list))
		if err != nil || len(lists) != 2 || !bytes.Equal(lists[1].Raw, list.Raw) {
			t.Errorf("%d entries: got %d lists, %v", n, len(lists), err)
		}
	}
	if full == 0 {
		t.Error("no list fills its last line: the test does not test")
	}
}

// TestVerify reads the lists in testdata, made by TestVerify -update.
func TestVerify(t *testing.T) {
	path := func(name string) string { return filepath.Join("testdata", name+".pem") }
	if *update {
		ca, other := newCA("IOTmidCA"), newCA("MQTT")
		write(t, path("issuer"), certPEM(ca.cert.Raw))
		for _, f := range flaws {
			write(t, path("crl_"+f.name), crl.EncodePEM(parse(t, f.make(ca, other, t0))))
		}
	}
	issuer := readCert(t, path("issuer"))
	for _, tc := range flaws {
		t.Run(tc.name, func(t *testing.T) {
			data, err := os.ReadFile(path("crl_" + tc.name))
			if err != nil {
				t.Fatal(err)
			}
			got := crl.Verify(parse(t, data), issuer, t0)
			sameFaults(t, got, tc.want)
		})
	}
}

// sameFaults compares which of Verify's errors are in got and in want.
func sameFaults(t *testing.T, got, want error) {
	t.Helper()
	if (got == nil) != (want == nil) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, e := range verifyErrors {
		if errors.Is(got, e) != errors.Is(want, e) {
			t.Errorf("got %v, want %v; they differ in %q", got, want, e)
		}
	}
}

func readCert(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseCert(t, data)
}

func TestVerifyDates(t *testing.T) {
	ca := midCA()
	list := ca.list(t, 1, t0)
	for _, tc := range []struct {
		name string
		now  time.Time
		want error
	}{
		{"just before thisUpdate", t0.Add(-time.Nanosecond), crl.ErrNotYetValid},
		{"at thisUpdate", t0, nil},
		{"just before nextUpdate", t0.Add(24*time.Hour - time.Nanosecond), nil},
		{"at nextUpdate", t0.Add(24 * time.Hour), crl.ErrExpired},
	} {
		t.Run(tc.name, func(t *testing.T) { sameFaults(t, crl.Verify(list, ca.cert, tc.now), tc.want) })
	}
}

// A serial may be as long as a list, messages about it may not.
func TestVerifyLongSerial(t *testing.T) {
	list := parse(t, midCA().forge(t0, func(l *tbsCertList) {
		l.Revoked[0].Serial = new(big.Int).Lsh(big.NewInt(0x42), 1<<23)
		l.Revoked[0].Extensions = []pkix.Extension{ext(oidNobody, true, ""), ext(oidCertIs, true, "")}
	}))
	err := crl.Verify(list, midCA().cert, t0)
	sameFaults(t, err, errors.Join(crl.ErrCritical, crl.ErrScope))
	if text := err.Error(); len(text) > 1000 || strings.Count(text, "serial 420000") != 2 {
		t.Errorf("got %d bytes: %.200q", len(text), text)
	}
}

func TestVerifyIssuer(t *testing.T) {
	ca := midCA()
	list := ca.list(t, 1, t0)
	for _, tc := range []struct {
		name   string
		mutate func(*x509.Certificate)
		want   error
	}{
		{"as it is", func(*x509.Certificate) {}, nil},
		{"no key usage", func(c *x509.Certificate) { c.KeyUsage = 0 }, nil},
		{"version 1", func(c *x509.Certificate) { c.Version, c.BasicConstraintsValid, c.IsCA = 1, false, false }, nil},
		{"no subject key identifier", func(c *x509.Certificate) { c.SubjectKeyId = nil }, nil},
		{"not a CA", func(c *x509.Certificate) { c.IsCA = false }, crl.ErrNotCA},
		{"no basic constraints", func(c *x509.Certificate) { c.BasicConstraintsValid = false }, crl.ErrNotCA},
		{"key usage without cRLSign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }, crl.ErrNotCA},
		{"same name, other encoding", func(c *x509.Certificate) {
			// PrintableString to UTF8String.
			c.RawSubject = bytes.Replace(c.RawSubject, []byte("\x13\x08IOT"), []byte("\x0c\x08IOT"), 1)
		}, crl.ErrIssuer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			issuer := *ca.cert
			tc.mutate(&issuer)
			sameFaults(t, crl.Verify(list, &issuer, t0), tc.want)
		})
	}
}

func TestVerifyJoinsFaults(t *testing.T) {
	issuer := *midCA().cert
	issuer.IsCA = false
	list := parse(t, rebuiltCA().forge(t0, func(l *tbsCertList) {
		l.Extensions = append(l.Extensions, ext(oidNobody, true, ""), ext(oidDelta, true, "\x02\x01\x05"), ext(oidIDP, true, "\x30\x03\x82\x01\xff"))
	}))
	sameFaults(t, crl.Verify(list, &issuer, t0.Add(48*time.Hour)),
		errors.Join(crl.ErrNotCA, crl.ErrIssuer, crl.ErrSignature, crl.ErrCritical, crl.ErrDelta, crl.ErrScope, crl.ErrExpired))
}

func TestVerifySignatureCovers(t *testing.T) {
	ca := midCA()
	list := ca.list(t, 1, t0, 66)
	raw := bytes.Replace(list.Raw, []byte{2, 1, 66}, []byte{2, 1, 67}, 1)
	sameFaults(t, crl.Verify(parse(t, raw), ca.cert, t0), crl.ErrSignature)
}

func TestDiff(t *testing.T) {
	ca := midCA()
	entry := func(serial int64, at time.Time, reason crl.Reason) crl.Entry {
		return crl.Entry{Serial: big.NewInt(serial), RevokedAt: at, Reason: reason}
	}
	sign := func(number int64, at time.Time, entries ...crl.Entry) *x509.RevocationList {
		return ca.sign(t, &crl.Template{Number: big.NewInt(number), ThisUpdate: at, NextUpdate: at.Add(time.Hour), Entries: entries})
	}
	old := sign(5, t0, entry(1, t0, 0), entry(2, t0, crl.CertificateHold), entry(3, t0, 0), entry(4, t0, 0))
	later := t0.Add(time.Minute)
	got, err := crl.Diff(old, sign(6, later, entry(5, later, 0), entry(4, later, 0), entry(2, t0, crl.KeyCompromise), entry(1, t0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	want := crl.Changes{
		Added:   []crl.Entry{entry(5, later, 0)},
		Removed: []crl.Entry{entry(3, t0, 0)},
		Changed: []crl.Entry{entry(4, later, 0), entry(2, t0, crl.KeyCompromise)},
	}
	if diff := cmp.Diff(want, got, cmpBig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	unnumbered := func(at time.Time) *x509.RevocationList {
		return parse(t, ca.forge(at, func(l *tbsCertList) { l.Extensions = l.Extensions[:1] }))
	}
	delta := ca.sign(t, &crl.Template{Number: big.NewInt(6), Base: big.NewInt(5), ThisUpdate: later, NextUpdate: later.Add(time.Hour)})
	for _, tc := range []struct {
		name     string
		old, new *x509.RevocationList
		want     error
	}{
		{"newer in the same second", old, sign(6, t0), nil},
		{"itself", old, old, crl.ErrRollback},
		{"same number", old, sign(5, later), crl.ErrRollback},
		{"lower number", old, sign(4, later), crl.ErrRollback},
		{"thisUpdate goes back", old, sign(6, t0.Add(-time.Second)), crl.ErrRollback},
		{"number lost", old, unnumbered(later), crl.ErrRollback},
		{"number gained", unnumbered(t0), sign(1, later), nil},
		{"number gained in the same second", unnumbered(t0), sign(1, t0), crl.ErrRollback},
		{"no numbers", unnumbered(t0), unnumbered(later), nil},
		{"no numbers, same second", unnumbered(t0), unnumbered(t0), crl.ErrRollback},
		{"other issuer", old, mqttCA().list(t, 6, later), crl.ErrIssuer},
		{"delta", old, delta, crl.ErrDelta},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := crl.Diff(tc.old, tc.new); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}
