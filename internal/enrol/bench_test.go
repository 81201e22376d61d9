package enrol_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
	"github.com/dojot/mqtt-manager-go/provision"
)

// The benchmarks enrol devices beside the one thing that cannot be spared, on
// all processors, with nothing else to do: the baseline. They take turns, so
// that both see the same machine.
//
//   - "%keygen" and "%sign" are the rate of devices, as a share of the
//     baseline's.
//   - "%cpu" is the processor time that the baseline takes, as a share of all
//     that a device takes, the CA's work included: what the rate could be if
//     nothing ever waited.
//
// Primes are found by luck, so this means something from some hundred devices
// on: -benchtime 1000x.

// perTurn is how many devices are enrolled before the baseline has its turn.
const perTurn = 100

type effort struct{ wall, cpu time.Duration }

func measure(f func()) effort {
	began, used := time.Now(), processorTime()
	f()
	return effort{time.Since(began), processorTime() - used}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func (e *effort) add(more effort) { e.wall += more.wall; e.cpu += more.cpu }

// compare enrols b.N devices and does the baseline as often.
func compare(b *testing.B, unit string, renewer func(device string) *provision.Renewer, baseline func()) {
	b.Helper()
	var enrolled, bare effort
	for first := 0; first < b.N; first += perTurn {
		run := &enrol.Run{Renewer: renewer}
		for i := first; i < min(first+perTurn, b.N); i++ {
			run.Devices = append(run.Devices, fmt.Sprintf("dev%06d", i))
		}
		enrolled.add(measure(func() {
			if err := run.Do(b.Context()).Err(); err != nil {
				b.Fatal(err)
			}
		}))
		bare.add(measure(func() { onAll(len(run.Devices), baseline) }))
	}
	b.ReportMetric(float64(b.N)/enrolled.wall.Seconds(), "devices/s")
	b.ReportMetric(100*bare.wall.Seconds()/enrolled.wall.Seconds(), unit)
	b.ReportMetric(100*bare.cpu.Seconds()/enrolled.cpu.Seconds(), "%cpu")
	b.ReportMetric(0, "ns/op") // which would be of both
}

// onAll calls f n times, on all processors.
func onAll(n int, f func()) {
	var all sync.WaitGroup
	work := make(chan struct{})
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for range work {
				f()
			}
		})
	}
	for range n {
		work <- struct{}{}
	}
	close(work)
	all.Wait()
}

func makeKey() {
	if _, err := rsa.GenerateKey(rand.Reader, provision.DefaultKeyBits); err != nil {
		panic(err)
	}
}

// BenchmarkRSA enrols at a CA in this process, over HTTP, whose signatures
// take processor time that the keys then lack: with a key of 4096 bits, as
// dojot's CAs have it, some ten times as much as with one of 2048.
func BenchmarkRSA(b *testing.B) {
	for _, bits := range []int{2048, 4096} {
		b.Run(fmt.Sprintf("ca=RSA-%d", bits), func(b *testing.B) {
			issuer := serveCA(b, localca.Options{KeySize: bits})
			dir := b.TempDir()
			shared := &enrol.Shared{CA: issuer("")}
			compare(b, "%keygen", func(device string) *provision.Renewer {
				return &provision.Renewer{
					Identity: &provision.Identity{CommonName: device, Files: provision.DeviceFiles(dir, device, "IOTmidCA")},
					CA:       shared.For(issuer(device)),
				}
			}, makeKey)
		})
	}
}

func serveCA(b *testing.B, options localca.Options) (issuer func(device string) *ejbca.Issuer) {
	b.Helper()
	ca, err := localca.Open(b.TempDir(), options)
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(ca)
	b.Cleanup(func() {
		server.Close()
		if err := ca.Close(); err != nil {
			b.Error(err)
		}
	})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	web := &http.Client{Transport: transport}
	return func(device string) *ejbca.Issuer {
		return &ejbca.Issuer{Client: &ejbca.Client{BaseURL: server.URL, HTTPClient: web}, User: device, Register: true}
	}
}

// signer is a CA with an RSA-2048 key that takes any key, and costs nothing
// but its signatures.
type signer struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0)}
	template.Subject.CommonName = "ca"
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{cert, key}
}

func (s *signer) Chain(context.Context) ([]*x509.Certificate, error) {
	return []*x509.Certificate{s.cert}, nil
}

func (s *signer) Sign(_ context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	if err := csr.CheckSignature(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{Subject: csr.Subject,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: s.cert.NotAfter}, s.cert, csr.PublicKey, s.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return []*x509.Certificate{cert}, err
}

// BenchmarkP256 makes keys that cost next to nothing: the time goes into the
// CA's signatures, and into files.
func BenchmarkP256(b *testing.B) {
	ca, dir := newSigner(b), b.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "dev000000"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour)}
	compare(b, "%sign", func(device string) *provision.Renewer {
		return &provision.Renewer{
			Identity: &provision.Identity{CommonName: device, KeyType: provision.P256, Files: provision.DeviceFiles(dir, device, "ca")},
			CA:       ca,
		}
	}, func() {
		if _, err := x509.CreateCertificate(rand.Reader, leaf, ca.cert, &key.PublicKey, ca.key); err != nil {
			panic(err)
		}
	})
}
