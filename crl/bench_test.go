package crl_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

// millionTemplate has the entries of a CA that never forgets: serials of
// eight octets, as EJBCA gives them, in no order, each with a date and a
// reason.
func millionTemplate() *crl.Template {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	t := &crl.Template{Number: big.NewInt(7), ThisUpdate: t0, NextUpdate: t0.Add(24 * time.Hour), Entries: make([]crl.Entry, 1_000_000)}
	for i := range t.Entries {
		t.Entries[i] = crl.Entry{
			Serial:    new(big.Int).SetUint64(1<<62 | random.Uint64()>>2),
			RevokedAt: t0.Add(-time.Duration(random.Int64N(1e7)) * time.Second),
			Reason:    crl.Superseded,
		}
	}
	return t
}

// million is kept as DER only, so that the garbage collector has little to do
// for it.
var million = sync.OnceValue(func() []byte {
	der, err := crl.Sign(millionTemplate(), midCA().cert, midCA().key)
	if err != nil {
		panic(err)
	}
	return der
})

// BenchmarkReadMillion backs the figures of Index: to parse, verify and index
// a list takes a fraction of what the standard library takes, a small
// multiple of hashing the same bytes, and little memory beside the DER.
func BenchmarkReadMillion(b *testing.B) {
	der, issuer := million(), midCA().cert
	run := func(name string, read func()) {
		b.Run(name, func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			n := 0
			for b.Loop() {
				read()
				n++
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/1e6, "ns/entry")
			// The input is counted, too.
			b.ReportMetric(1+float64(after.TotalAlloc-before.TotalAlloc)/float64(n)/float64(len(der)), "memory/DER")
		})
	}
	run("NewIndex and Verify", func() {
		ix, err := crl.NewIndex(der)
		if err != nil {
			b.Fatal(err)
		}
		if err := ix.Verify(issuer, t0); err != nil {
			b.Fatal(err)
		}
	})
	run("NewIndex", func() {
		if _, err := crl.NewIndex(der); err != nil {
			b.Fatal(err)
		}
	})
	run("SHA-256", func() { sha256.Sum256(der) })
	run("ParseRevocationList and CheckSignatureFrom and map", func() {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			b.Fatal(err)
		}
		if err := list.CheckSignatureFrom(issuer); err != nil {
			b.Fatal(err)
		}
		entries := entryMap(list)
		runtime.KeepAlive(entries)
	})
	if path, err := exec.LookPath("openssl"); err == nil {
		dir := b.TempDir()
		write(b, filepath.Join(dir, "ca.crt"), certPEM(issuer.Raw))
		write(b, filepath.Join(dir, "ca.crl"), der)
		run("openssl crl -verify", func() {
			cmd := exec.CommandContext(b.Context(), path, "crl", "-inform", "DER", "-in", "ca.crl", "-CAfile", "ca.crt", "-verify", "-noout")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("verify OK")) {
				b.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// BenchmarkLookup backs "under 100 ns, 0 allocations", on a list of a million.
// What is far apart has to be fetched from memory, once from an index and
// several times from a map of the standard library's entries. The processor
// begins a lookup before the last one has ended; "in turn" is without that.
func BenchmarkLookup(b *testing.B) {
	ix, err := crl.NewIndex(million())
	if err != nil {
		b.Fatal(err)
	}
	few, present, absent := make([]*big.Int, 16), make([]*big.Int, 1<<16), make([]*big.Int, 1<<16)
	entries := millionTemplate().Entries
	for i := range present {
		present[i] = new(big.Int).Set(entries[mathrand.N(len(entries))].Serial)
		absent[i] = new(big.Int).SetUint64(mathrand.Uint64())
	}
	copy(few, present)
	entries = nil
	run := func(name string, serials []*big.Int, want bool, lookup func(*big.Int) (next int, ok bool)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				next, ok := lookup(serials[i])
				if ok != want {
					b.Fatal("wrong answer")
				}
				i = (i + next) % len(serials)
			}
		})
	}
	index := func(serial *big.Int) (int, bool) { _, ok := ix.Lookup(serial); return 1, ok }
	// No reason is 100 or more, but only an answer tells.
	inTurn := func(serial *big.Int) (int, bool) {
		e, ok := ix.Lookup(serial)
		return 1 + int(e.Reason)/100, ok
	}
	run("absent", absent, false, index)
	run("present", few, true, index)
	run("present, far apart", present, true, index)
	run("present, far apart, in turn", present, true, inTurn)

	list, err := x509.ParseRevocationList(million())
	if err != nil {
		b.Fatal(err)
	}
	listed := entryMap(list)
	inMap := func(serial *big.Int) (int, bool) { _, ok := listed[string(serial.Bytes())]; return 1, ok }
	run("map, absent", absent, false, inMap)
	run("map, present", few, true, inMap)
	run("map, present, far apart", present, true, inMap)
}

func entryMap(list *x509.RevocationList) map[string]*x509.RevocationListEntry {
	entries := make(map[string]*x509.RevocationListEntry, len(list.RevokedCertificateEntries))
	for i := range list.RevokedCertificateEntries {
		e := &list.RevokedCertificateEntries[i]
		entries[string(e.SerialNumber.Bytes())] = e
	}
	return entries
}

// BenchmarkSignMillion backs "at least 10 times faster than
// x509.CreateRevocationList"; TestSignEqualsStandardLibrary says that the
// result is the same.
func BenchmarkSignMillion(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	issuer := certifyKey("IOTmidCA", key, 1)
	template := millionTemplate()
	b.Run("Sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := crl.Sign(template, issuer, key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("CreateRevocationList", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := x509.CreateRevocationList(rand.Reader, standardTemplate(template), issuer, key); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFileMillion shows that a large crlfile is installed and checked
// without the standard library's cost of parsing its entries.
func BenchmarkFileMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "ca.crl")
	list := newIndex(b, million()).Head()
	f := openFile(b, path, t0, midCA())
	if _, err := f.Install(list); err != nil {
		b.Fatal(err)
	}
	b.Run("Install", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := os.Remove(path); err != nil {
				b.Fatal(err)
			}
			if _, err := f.Install(list); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := f.Check(t0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ParseAll", func(b *testing.B) {
		b.ReportAllocs()
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := crl.ParseAll(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
