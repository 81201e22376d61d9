package crl_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func newIndex(t testing.TB, data []byte) *crl.Index {
	t.Helper()
	ix, err := crl.NewIndex(data)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

// sameEntries compares an index with a list that the standard library read.
func sameEntries(t testing.TB, ix *crl.Index, list *x509.RevocationList) {
	t.Helper()
	var want []crl.Entry
	first := make(map[string]crl.Entry)
	for _, e := range list.RevokedCertificateEntries {
		entry := crl.Entry{Serial: e.SerialNumber, RevokedAt: e.RevocationTime, Reason: crl.Reason(e.ReasonCode)}
		want = append(want, entry)
		if _, twice := first[e.SerialNumber.String()]; !twice {
			first[e.SerialNumber.String()] = entry
		}
	}
	same := func(a, b crl.Entry) bool {
		return a.Serial.Cmp(b.Serial) == 0 && a.RevokedAt.Equal(b.RevokedAt) && a.Reason == b.Reason
	}
	got := slices.Collect(ix.All())
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("All (-want +got):\n%s", cmp.Diff(want, got, cmpBig))
	}
	if ix.Len() != len(want) {
		t.Errorf("Len: got %d, want %d", ix.Len(), len(want))
	}
	for _, want := range first {
		got, ok := ix.Lookup(new(big.Int).Set(want.Serial))
		if !ok || !same(got, want) {
			t.Errorf("Lookup %x: got %v, %v, want %v", want.Serial, got, ok, want)
		}
		for _, near := range []int64{1, -1, 1 << 16} {
			other := new(big.Int).Add(want.Serial, big.NewInt(near))
			if _, listed := first[other.String()]; !listed {
				if e, ok := ix.Lookup(other); ok {
					t.Errorf("Lookup %x: got %v, want none", other, e)
				}
			}
		}
	}
}

// oddEntries are those that a reader made for the usual form may get wrong.
func oddEntries() []revoked {
	reason := func(code byte) []pkix.Extension {
		return []pkix.Extension{ext(oidReason, false, "\x0a\x01"+string(rune(code)))}
	}
	long := new(big.Int).Lsh(big.NewInt(3), 1200)
	return []revoked{
		{Serial: big.NewInt(0), Date: t0},
		{Serial: big.NewInt(-1), Date: t0},
		{Serial: big.NewInt(-128), Date: t0},
		{Serial: big.NewInt(-129), Date: t0, Extensions: reason(1)},
		{Serial: big.NewInt(127), Date: t0, Extensions: reason(0)},
		{Serial: big.NewInt(128), Date: t0, Extensions: reason(127)},
		{Serial: big.NewInt(256), Date: t0, Extensions: []pkix.Extension{ext(oidReason, false, "\x0a\x02\x01\x00")}},
		{Serial: big.NewInt(257), Date: t0, Extensions: []pkix.Extension{ext(oidReason, false, "\x0a\x01\xff")}},
		{Serial: new(big.Int).Lsh(big.NewInt(1), 158), Date: t0},
		{Serial: new(big.Int).Lsh(big.NewInt(1), 159), Date: t0},
		{Serial: new(big.Int).Neg(long), Date: t0, Extensions: reason(4)},
		{Serial: long, Date: t0},
		{Serial: big.NewInt(2050), Date: time.Date(2050, 2, 28, 23, 59, 59, 0, time.UTC), Extensions: reason(9)},
		{Serial: big.NewInt(1949), Date: time.Date(1600, 2, 29, 0, 0, 0, 0, time.UTC)},
		{Serial: big.NewInt(1950), Date: time.Date(1952, 2, 29, 0, 0, 0, 0, time.UTC)},
		{Serial: big.NewInt(500), Date: t0, Extensions: append(reason(1), ext(oidNobody, false, "\x05\x00"))},
		{Serial: big.NewInt(501), Date: t0, Extensions: append([]pkix.Extension{ext(oidNobody, false, strings.Repeat("x", 300))}, reason(2)...)},
		{Serial: big.NewInt(66), Date: t0.Add(time.Hour), Extensions: reason(5)},
		{Serial: big.NewInt(66), Date: t0, Extensions: reason(1)}, // again
	}
}

func TestIndex(t *testing.T) {
	ca := midCA()
	many := &crl.Template{Number: big.NewInt(7), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour)}
	for i := range int64(3000) {
		many.Entries = append(many.Entries, crl.Entry{Serial: big.NewInt(i*i + 1), RevokedAt: t0.Add(time.Duration(-i) * time.Hour), Reason: crl.Reason(i % 7)})
	}
	// A few serials for which records have no room, and all dates of UTCTime.
	dates := &crl.Template{Number: big.NewInt(7), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour)}
	day := time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := int64(1); day.Year() < 2050; i++ {
		serial := big.NewInt(i)
		if i%1000 == 0 {
			serial.Lsh(serial, 140)
		}
		dates.Entries = append(dates.Entries, crl.Entry{Serial: serial, RevokedAt: day})
		day = day.Add(24*time.Hour + 61*time.Second)
	}
	for _, tc := range []struct {
		name string
		list *x509.RevocationList
	}{
		{"empty", ca.list(t, 7, t0)},
		{"one", ca.list(t, 7, t0, 66)},
		{"odd", parse(t, ca.forge(t0, func(l *tbsCertList) { l.Revoked = oddEntries() }))},
		{"many", ca.sign(t, many)},
		{"dates", ca.sign(t, dates)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b64 := base64.StdEncoding.EncodeToString(tc.list.Raw)
			for form, data := range map[string][]byte{"DER": tc.list.Raw, "PEM": crl.EncodePEM(tc.list), "base64": []byte(b64)} {
				ix := newIndex(t, data)
				sameEntries(t, ix, tc.list)
				// Byte by byte they would take cmp seconds.
				want, got := *tc.list, *ix.Head()
				if !bytes.Equal(got.Raw, want.Raw) || !bytes.Equal(got.RawTBSRevocationList, want.RawTBSRevocationList) {
					t.Errorf("%s: Head's raw fields differ", form)
				}
				want.RevokedCertificateEntries = nil
				ignore := cmpopts.IgnoreFields(want, "Raw", "RawTBSRevocationList", "RevokedCertificates")
				if diff := cmp.Diff(want, got, cmpBig, ignore); diff != "" {
					t.Errorf("%s: Head (-want +got):\n%s", form, diff)
				}
			}
		})
	}
}

// TestIndexVerify: an index finds what Verify finds in the list, and so does
// Verify in the index's head, which has no entries to look at.
func TestIndexVerify(t *testing.T) {
	ca, other := midCA(), mqttCA()
	for _, tc := range flaws {
		t.Run(tc.name, func(t *testing.T) {
			ix := newIndex(t, tc.make(ca, other, t0))
			sameFaults(t, ix.Verify(ca.cert, t0), tc.want)
			sameFaults(t, crl.Verify(ix.Head(), ca.cert, t0), tc.want)
		})
	}
}

// malformed is a list that Parse and NewIndex refuse.
type malformed struct {
	name, want string // want is in the error
	der        []byte
	standard   bool // the standard library refuses it, too
	openssl    bool // and so does OpenSSL, as soon as it reads it
}

// malformedLists says why each is malformed where others read it.
func malformedLists(t testing.TB) []malformed {
	ca := midCA()
	good := ca.list(t, 1, t0, 66).Raw
	entry := func(e revoked) []byte { return ca.forge(t0, func(l *tbsCertList) { l.Revoked = []revoked{e} }) }
	swap := func(der []byte, old, new string) []byte {
		if len(old) != len(new) {
			panic("lengths would differ")
		}
		return replace(der, old, new)
	}
	const date = "\x17\x0d260301120000Z"
	return []malformed{
		// OpenSSL reads these times and fails when it compares them.
		{"offset for Z", "offset 76: malformed thisUpdate", ca.forge(t0.In(time.FixedZone("", 3600)), func(l *tbsCertList) { l.ThisUpdate = t0.In(time.FixedZone("", 3600)) }), false, false},
		{"no Z", "malformed revocation date", swap(good, "\x42"+date, "\x42\x17\x0d260301120000X"), true, false},
		{"February 29", "malformed thisUpdate", swap(good, "260301", "260229"), true, false},
		{"February 29 of 2100", "malformed revocation date", replace(entry(revoked{Serial: big.NewInt(1), Date: time.Date(2100, 2, 28, 0, 0, 0, 0, time.UTC)}), "21000228", "21000229"), true, false},
		{"hour 24", "malformed thisUpdate", swap(good, "260301120000", "260301240000"), true, false},
		{"minute 60", "malformed thisUpdate", swap(good, "260301120000", "260301126000"), true, false},
		{"second 60", "malformed thisUpdate", swap(good, "260301120000", "260301120060"), true, false},
		{"month 0", "malformed thisUpdate", swap(good, "260301120000", "260001120000"), true, false},
		{"month 13", "malformed thisUpdate", swap(good, "260301120000", "261301120000"), true, false},
		{"day 0", "malformed thisUpdate", swap(good, "260301120000", "260300120000"), true, false},
		{"letter in a date", "malformed thisUpdate", swap(good, "260301120000", "2603o1120000"), true, false},
		{"colon in a date", "malformed thisUpdate", swap(good, "260301120000", "26030:120000"), true, false},
		// Which of two readings of a number a reader takes is nobody's business.
		{"serial in two octets for one", "malformed serial number", replace(entry(revoked{Serial: big.NewInt(128), Date: t0}), "\x02\x02\x00\x80", "\x02\x02\x00\x7f"), true, true},
		{"serial without octets", "malformed", replace(good, "\x30\x12\x02\x01\x42", "\x30\x12\x02\x00\x42"), true, true},
		{"number and more", "malformed number in extension 2.5.29.20", ca.forge(t0, func(l *tbsCertList) { l.Extensions[1].Value = []byte("\x02\x01\x07\x05\x00") }), false, false},
		{"number in two octets for one", "malformed number", ca.forge(t0, func(l *tbsCertList) { l.Extensions[1].Value = []byte("\x02\x02\x00\x07") }), true, false},
		{"delta without a number", "malformed number in extension 2.5.29.27", ca.forge(t0, func(l *tbsCertList) { l.Extensions = append(l.Extensions, ext(oidDelta, true, "\x05\x00")) }), false, false},
		{"reason and more", "malformed reason code", entry(revoked{Serial: big.NewInt(1), Date: t0, Extensions: []pkix.Extension{ext(oidReason, false, "\x0a\x01\x01\x05\x00")}}), false, false},
		{"reason of five octets", "malformed reason code", entry(revoked{Serial: big.NewInt(1), Date: t0, Extensions: []pkix.Extension{ext(oidReason, false, "\x0a\x05\x01\x01\x01\x01\x01")}}), strconv.IntSize == 32, false},
		{"reason as INTEGER", "malformed reason code", entry(revoked{Serial: big.NewInt(1), Date: t0, Extensions: []pkix.Extension{ext(oidReason, false, "\x02\x01\x01")}}), true, false},
		// Nobody signed what follows where nothing should, or lies between the
		// bits of the signature.
		{"element after the signature", "2 trailing bytes after the signature", appendElement(good), false, true},
		{"byte after the list", "1 trailing bytes after the list", concat(good, []byte{0}), false, false},
		{"signature shifted", "whole number of octets", shiftSignature(good), false, false},
		{"length in two octets for one", "malformed", replace(good, "\x30\x12\x02\x01\x42", "\x30\x81\x02\x01\x42"), true, true},
		{"entry with nothing in it", "malformed serial number", replace(good, "\x30\x12\x02\x01\x42", "\x30\x00\x02\x01\x42"), true, true},
		{"indefinite length", "malformed", replace(good, "\x30\x12\x02\x01\x42", "\x30\x80\x02\x01\x42"), true, true},
	}
}

func TestMalformed(t *testing.T) {
	for _, tc := range malformedLists(t) {
		t.Run(tc.name, func(t *testing.T) {
			_, err := crl.NewIndex(tc.der)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewIndex: got %v, want an error with %q", err, tc.want)
			}
			if _, again := crl.Parse(tc.der); again == nil || strings.TrimPrefix(again.Error(), "parsing") != strings.TrimPrefix(err.Error(), "indexing") {
				t.Errorf("Parse: got %v, NewIndex: %v", again, err)
			}
			list, err := x509.ParseRevocationList(tc.der)
			if (err != nil) != tc.standard {
				t.Errorf("ParseRevocationList: %v, want an error: %v", err, tc.standard)
			}
			if err == nil {
				list.Raw = tc.der
				sameFaults(t, crl.Verify(list, midCA().cert, t0), crl.ErrMalformed)
			}
		})
	}
}

// A list whose lengths promise more than is there, or whose entries are
// smaller than can be, does not make NewIndex allocate for them.
func TestIndexAllocatesLittle(t *testing.T) {
	const size = 1 << 20
	good := midCA().list(t, 1, t0, 66).Raw
	i := bytes.Index(good, []byte("\x30\x14\x30\x12\x02\x01\x42"))
	if i < 0 {
		t.Fatal("no entry in the list")
	}
	tbs, err := x509.ParseRevocationList(good)
	if err != nil {
		t.Fatal(err)
	}
	tbsAt := bytes.Index(good, tbs.RawTBSRevocationList)
	head, tail := good[tbsAt+3:i], good[tbsAt+len(tbs.RawTBSRevocationList):]
	valid := good[i+2 : i+2+20]
	for name, entries := range map[string][]byte{
		"small entries": concat(valid, bytes.Repeat([]byte("\x30\x03\x02\x01\x42"), size/5)),
		"empty entries": bytes.Repeat([]byte{0x30, 0}, size/2),
		"one huge":      concat([]byte{0x30, 0x83, 0x0f, 0xff, 0xfb}, make([]byte, size-5)),
		"length beyond": concat([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, make([]byte, size-6)),
	} {
		body := concat(head, element(0x30, entries))
		data := element(0x30, concat(element(0x30, body), tail))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := crl.NewIndex(data)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > size {
			t.Errorf("%s: allocated %d bytes for %d", name, got, size)
		}
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// element is DER with three octets of length.
func element(tag byte, body []byte) []byte {
	n := len(body)
	return concat([]byte{tag, 0x83, byte(n >> 16), byte(n >> 8), byte(n)}, body)
}

func TestLookupDoesNotAllocate(t *testing.T) {
	serial := new(big.Int).Lsh(big.NewInt(1), 158)
	ix := newIndex(t, midCA().sign(t, &crl.Template{
		Number: big.NewInt(7), ThisUpdate: t0, NextUpdate: t0.Add(time.Hour),
		Entries: []crl.Entry{{Serial: serial, RevokedAt: t0, Reason: crl.KeyCompromise}},
	}).Raw)
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := ix.Lookup(serial); !ok {
			t.Error("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestIndexConcurrently(t *testing.T) {
	list := midCA().list(t, 7, t0, 1, 2, 3, 4, 5)
	ix := newIndex(t, list.Raw)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for serial := range int64(10) {
				if _, ok := ix.Lookup(big.NewInt(serial)); ok != (serial >= 1 && serial <= 5) {
					t.Errorf("%d: got %v", serial, ok)
				}
			}
			sameEntries(t, ix, list)
			if err := ix.Verify(midCA().cert, t0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func ExampleIndex() {
	ca, key := exampleCA()
	now := time.Now()
	der, err := crl.Sign(&crl.Template{
		Number: big.NewInt(42), ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour),
		Entries: []crl.Entry{{Serial: big.NewInt(0x8fa3), RevokedAt: now, Reason: crl.KeyCompromise}},
	}, ca, key)
	if err != nil {
		panic(err)
	}

	ix, err := crl.NewIndex(der)
	if err != nil {
		panic(err)
	}
	fmt.Println(ix.Verify(ca, now))
	e, revoked := ix.Lookup(big.NewInt(0x8fa3))
	fmt.Println(revoked, e.Reason)
	_, revoked = ix.Lookup(big.NewInt(0x8fa4))
	fmt.Println(revoked)
	// Output:
	// <nil>
	// true keyCompromise
	// false
}
