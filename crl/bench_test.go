package crl_test

import (
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

// large returns a list of 100,000 entries with reasons and long serials, as
// a CA that never forgets has them.
func large(b *testing.B) *x509.RevocationList {
	t := &crl.Template{Number: big.NewInt(1), ThisUpdate: t0, NextUpdate: t0.Add(24 * time.Hour)}
	base := new(big.Int).Lsh(big.NewInt(1), 100)
	for i := range int64(100_000) {
		t.Entries = append(t.Entries, crl.Entry{Serial: new(big.Int).Add(base, big.NewInt(i)), RevokedAt: t0, Reason: crl.Superseded})
	}
	return midCA().sign(b, t)
}

func BenchmarkParse(b *testing.B) {
	der := large(b).Raw
	b.Run("this package", func(b *testing.B) {
		b.SetBytes(int64(len(der)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := crl.Parse(der); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("crypto x509", func(b *testing.B) {
		b.SetBytes(int64(len(der)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := x509.ParseRevocationList(der); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("PEM", func(b *testing.B) {
		data := crl.EncodePEM(parse(b, der))
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := crl.ParseAll(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	list := large(b)
	b.SetBytes(int64(len(list.Raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := crl.Verify(list, midCA().cert, t0); err != nil {
			b.Fatal(err)
		}
	}
}
