package localca_test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

// A CA with a million certificates and 100,000 of them revoked: how long it
// takes to open, and to make its CRL and have it on disk, against crl.Sign of
// the same entries. Metric "x-Sign" is to be below 2, open below 1e9 ns.
func BenchmarkMillionCertificates(b *testing.B) {
	dir := b.TempDir()
	open := func() *localca.CA {
		ca, err := localca.Open(dir, localca.Options{KeySize: 2048, ECDSA: true})
		if err != nil {
			b.Fatal(err)
		}
		return ca
	}
	ca := open()
	localca.Fill(b, ca, 1_000_000, 100_000)
	ask := func(method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		if ca.ServeHTTP(w, httptest.NewRequest(method, "/ca/IOTmidCA/crl", nil)); w.Code != 200 {
			b.Fatal(w.Body)
		}
		return w
	}
	ask("PUT")
	if err := ca.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if err := open().Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	ca = open()
	defer ca.Close()
	var answer struct{ CRL string }
	if err := json.Unmarshal(ask("GET").Body.Bytes(), &answer); err != nil {
		b.Fatal(err)
	}
	list, err := crl.Parse([]byte(answer.CRL))
	if err != nil {
		b.Fatal(err)
	}
	if n := len(list.RevokedCertificateEntries); n != 100_000 {
		b.Fatalf("CRL has %d entries", n)
	}

	// Both in turn, so that other work on the machine slows both.
	b.Run("CRL", func(b *testing.B) {
		template := &crl.Template{Number: list.Number, ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate}
		for _, e := range list.RevokedCertificateEntries {
			template.Entries = append(template.Entries, crl.Entry{Serial: e.SerialNumber, RevokedAt: e.RevocationTime, Reason: crl.Reason(e.ReasonCode)})
		}
		key, root := localca.Root(b, ca)
		var ours, bare time.Duration
		b.ResetTimer()
		for b.Loop() {
			start := time.Now()
			ask("PUT")
			ours += time.Since(start)
			start = time.Now()
			if _, err := crl.Sign(template, root, key); err != nil {
				b.Fatal(err)
			}
			bare += time.Since(start)
		}
		b.ReportMetric(ours.Seconds()*1e3/float64(b.N), "ms/CRL")
		b.ReportMetric(bare.Seconds()*1e3/float64(b.N), "ms/Sign")
		b.ReportMetric(float64(ours)/float64(bare), "x-Sign")
	})
}
