package localca_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

// signClients is how many devices enrol at a time.
const signClients = 16

// Signing for 16 clients over HTTP, each certificate on disk before it is
// answered, against the bare x509.CreateCertificate with the same CA key, from
// as many goroutines. Clients and server share the machine. Metric "%bare" is
// to be 90 or more for the default key; "%bare-cpu" compares the CPU time of a
// certificate, which other work on the machine disturbs less.
func BenchmarkSigningAgainstCreateCertificate(b *testing.B) {
	for _, key := range []struct {
		name string
		bits int
	}{{"RSA-4096", 4096}, {"RSA-2048", 2048}, {"P-256", 256}} {
		b.Run(key.name, func(b *testing.B) {
			ca, err := localca.Open(b.TempDir(), localca.Options{KeySize: key.bits, ECDSA: true})
			if err != nil {
				b.Fatal(err)
			}
			defer ca.Close()
			var bare, served speed
			b.Run("bare", func(b *testing.B) { bare = benchmarkBare(b, ca) })
			b.Run("HTTP", func(b *testing.B) {
				served = benchmarkHTTP(b, ca)
				b.ReportMetric(100*served.rate/bare.rate, "%bare")
				b.ReportMetric(100*bare.cpu/served.cpu, "%bare-cpu")
			})
		})
	}
}

// speed is certificates a second, and CPU seconds a certificate.
type speed struct{ rate, cpu float64 }

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// parallel spreads b.N calls over 16 goroutines.
func parallel(b *testing.B, f func(i int) error) speed {
	var next atomic.Int64
	b.SetParallelism((signClients + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	before := cpuSeconds(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := f(int(next.Add(1) - 1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	s := speed{float64(b.N) / b.Elapsed().Seconds(), (cpuSeconds(b) - before) / float64(b.N)}
	b.ReportMetric(s.rate, "certs/s")
	return s
}

func benchmarkBare(b *testing.B, ca *localca.CA) speed {
	key, root := localca.Root(b, ca)
	device := newECDSAKey(b, "P-256")
	return parallel(b, func(i int) error {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 1),
			Subject:      pkix.Name{CommonName: "admin:5c6512"},
			NotBefore:    time.Now(),
			NotAfter:     time.Now().Add(time.Hour),
			DNSNames:     []string{"mqtt"},
		}
		_, err := x509.CreateCertificate(rand.Reader, template, root, device.Public(), key)
		return err
	})
}

func benchmarkHTTP(b *testing.B, ca *localca.CA) speed {
	server := httptest.NewServer(ca)
	defer server.Close()
	client := &ejbca.Client{BaseURL: server.URL, HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: signClients}}}

	var err error
	users := make([]string, b.N)
	requests := make([]*x509.CertificateRequest, b.N)
	prefix := fmt.Sprint("admin:", time.Now().UnixNano(), "-")
	for i := range users {
		users[i] = fmt.Sprint(prefix, i)
		r := httptest.NewRequest("POST", "/user", strings.NewReader(asJSON(map[string]string{"username": users[i], "password": "secret"})))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if ca.ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Body)
		}
		if requests[i], err = x509.ParseCertificateRequest(newECDSARequest(b, "P-256")); err != nil {
			b.Fatal(err)
		}
	}
	return parallel(b, func(i int) error {
		_, err := client.Sign(b.Context(), users[i], "secret", requests[i])
		return err
	})
}
