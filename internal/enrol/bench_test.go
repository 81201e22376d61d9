package enrol_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
	"github.com/dojot/mqtt-manager-go/provision"
)

// onAll calls f n times, on all processors.
func onAll(n int, f func()) time.Duration {
	began := time.Now()
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
	return time.Since(began)
}

func bulk(b *testing.B, run *enrol.Run) time.Duration {
	b.Helper()
	for i := range b.N {
		run.Devices = append(run.Devices, fmt.Sprintf("dev%06d", i))
	}
	began := time.Now()
	report := run.Do(b.Context())
	took := time.Since(began)
	if err := report.Err(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/took.Seconds(), "devices/s")
	return took
}

// The time goes into making keys: "%keygen" is the share of the rate at which
// the machine makes RSA-2048 keys and does nothing else. It means something
// from some hundred devices on, as primes are found by luck: -benchtime 1000x.
func BenchmarkRSA(b *testing.B) {
	ca, err := localca.Open(b.TempDir(), localca.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer ca.Close()
	server := httptest.NewServer(ca)
	defer server.Close()
	issuer := func(device string) *ejbca.Issuer {
		return &ejbca.Issuer{Client: &ejbca.Client{BaseURL: server.URL}, User: device, Register: true}
	}
	dir := b.TempDir()
	shared := &enrol.Shared{CA: issuer("")}
	b.ResetTimer()
	took := bulk(b, &enrol.Run{Renewer: func(device string) *provision.Renewer {
		return &provision.Renewer{
			Identity: &provision.Identity{CommonName: device, Files: provision.DeviceFiles(dir, device, "IOTmidCA")},
			CA:       shared.For(issuer(device)),
		}
	}})
	b.StopTimer()
	bare := onAll(b.N, func() {
		if _, err := rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	})
	b.ReportMetric(100*bare.Seconds()/took.Seconds(), "%keygen")
}

// signer is a CA with an RSA-2048 key, as dojot's are, that takes keys on
// P-256, which the profile CFREE does not.
type signer struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func (s *signer) Chain(context.Context) ([]*x509.Certificate, error) {
	return []*x509.Certificate{s.cert}, nil
}

func (s *signer) Sign(_ context.Context, csr *x509.CertificateRequest) ([]*x509.Certificate, error) {
	if err := csr.CheckSignature(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{Subject: csr.Subject,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour)}, s.cert, csr.PublicKey, s.key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return []*x509.Certificate{cert}, err
}

// With keys that cost nothing, "%sign" is the share of the rate at which such
// a CA signs on this machine and does nothing else.
func BenchmarkP256(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour)}
	template.Subject.CommonName = "ca"
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	ca := &signer{key: key}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	b.ResetTimer()
	took := bulk(b, &enrol.Run{Parallel: 16, Renewer: func(device string) *provision.Renewer {
		return &provision.Renewer{
			Identity: &provision.Identity{CommonName: device, KeyType: provision.P256, Files: provision.DeviceFiles(dir, device, "ca")},
			CA:       ca,
		}
	}})
	b.StopTimer()
	leaf, err := provision.DeviceFiles(dir, "dev000000", "ca").Leaf()
	if err != nil {
		b.Fatal(err)
	}
	bare := onAll(b.N, func() {
		if _, err := x509.CreateCertificate(rand.Reader, leaf, ca.cert, leaf.PublicKey, key); err != nil {
			panic(err)
		}
	})
	b.ReportMetric(100*bare.Seconds()/took.Seconds(), "%sign")
}
