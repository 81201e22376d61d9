package localca_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

const (
	// signClients is how many devices enrol at a time.
	signClients = 16
	// signBatch is how many certificates are made before it is the other's
	// turn, so that other work on the machine slows both.
	signBatch = 16 * signClients
)

// Signing for 16 clients over HTTP, each certificate on disk before it is
// answered, against the bare x509.CreateCertificate with the same CA key, from
// as many goroutines. Clients and server share the machine. Metric "%bare" is
// to be 90 or more for the default key, RSA with 4096 bits; "%bare-cpu" compares
// the processors' time, which says more on a machine that is busy otherwise.
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
			server := httptest.NewServer(ca)
			defer server.Close()
			client := &ejbca.Client{BaseURL: server.URL, HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: signClients}}}
			var bare, served cost
			made := 0
			for b.Loop() {
				b.StopTimer()
				users, requests := newDevices(b, ca, made)
				made += signBatch
				b.StartTimer()
				bare.add(b, func(i int) error { return signBare(b, ca, requests[i]) })
				served.add(b, func(i int) error {
					_, err := client.Sign(b.Context(), users[i], "secret", requests[i])
					return err
				})
			}
			b.ReportMetric(float64(made)/bare.wall.Seconds(), "bare/s")
			b.ReportMetric(float64(made)/served.wall.Seconds(), "served/s")
			b.ReportMetric(100*bare.wall.Seconds()/served.wall.Seconds(), "%bare")
			b.ReportMetric(100*bare.cpu.Seconds()/served.cpu.Seconds(), "%bare-cpu")
		})
	}
}

// cost is what calls took.
type cost struct{ wall, cpu time.Duration }

// add makes a batch of calls from 16 goroutines.
func (c *cost) add(b *testing.B, f func(i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	start, cpu := time.Now(), cpuTime(b)
	for range signClients {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < signBatch; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c.wall += time.Since(start)
	c.cpu += cpuTime(b) - cpu
}

// cpuTime is what this process used, of all processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func signBare(b *testing.B, ca *localca.CA, csr *x509.CertificateRequest) error {
	key, root := localca.Root(b, ca)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "admin:5c6512"},
		NotBefore:    time.Now(),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     csr.DNSNames,
	}
	_, err := x509.CreateCertificate(rand.Reader, template, root, csr.PublicKey, key)
	return err
}

// newDevices registers a batch of users and makes their requests. Devices have
// ECDSA keys here, which are quicker to make than RSA's and slower to check.
func newDevices(b *testing.B, ca *localca.CA, first int) (users []string, requests []*x509.CertificateRequest) {
	for i := range signBatch {
		user := fmt.Sprintf("admin:%x", first+i)
		r := httptest.NewRequest("POST", "/user", strings.NewReader(asJSON(map[string]string{"username": user, "password": "secret"})))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if ca.ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Body)
		}
		csr, err := x509.ParseCertificateRequest(newECDSARequest(b, "P-256"))
		if err != nil {
			b.Fatal(err)
		}
		users, requests = append(users, user), append(requests, csr)
	}
	return users, requests
}
