package crl_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

// exampleCA stands for the CA that both examples have at hand.
func exampleCA() (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	t := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "IOTmidCA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	return cert, key
}

func ExampleSign() {
	ca, key := exampleCA()
	now := time.Now()
	der, err := crl.Sign(&crl.Template{
		Number:     big.NewInt(42),
		ThisUpdate: now,
		NextUpdate: now.Add(24 * time.Hour),
		Entries:    []crl.Entry{{Serial: big.NewInt(0x8fa3), RevokedAt: now, Reason: crl.KeyCompromise}},
	}, ca, key)
	if err != nil {
		log.Fatal(err)
	}

	list, err := crl.Parse(der)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("now:", crl.Verify(list, ca, now))
	fmt.Println("tomorrow expired:", errors.Is(crl.Verify(list, ca, now.Add(24*time.Hour)), crl.ErrExpired))
	for _, e := range list.RevokedCertificateEntries {
		fmt.Printf("%x %v\n", e.SerialNumber, crl.Reason(e.ReasonCode))
	}
	// Output:
	// now: <nil>
	// tomorrow expired: true
	// 8fa3 keyCompromise
}

func ExampleFile_Install() {
	ca, key := exampleCA()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, err := crl.OpenFile(filepath.Join(dir, "ca.crl"), crl.FileOptions{CAs: []*x509.Certificate{ca}})
	if err != nil {
		log.Fatal(err)
	}

	// An attacker who replays list 6 does not bring back what 7 revoked.
	for _, number := range []int64{6, 7, 6} {
		now := time.Now()
		der, err := crl.Sign(&crl.Template{Number: big.NewInt(number), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, ca, key)
		if err != nil {
			log.Fatal(err)
		}
		list, err := crl.Parse(der)
		if err != nil {
			log.Fatal(err)
		}
		changed, err := file.Install(list)
		fmt.Println(number, changed, errors.Is(err, crl.ErrRollback))
	}
	fmt.Println(file.Check(time.Now()))
	// Output:
	// 6 true false
	// 7 true false
	// 6 false true
	// <nil>
}

// A device can't connect, and the broker's log says no more than "certificate
// verify failed".
func ExampleAccepts() {
	ca, key := exampleCA()
	now := time.Now()
	sign := func(number int64, at time.Time) *x509.RevocationList {
		der, err := crl.Sign(&crl.Template{
			Number: big.NewInt(number), ThisUpdate: at, NextUpdate: at.Add(24 * time.Hour),
			Entries: []crl.Entry{{Serial: big.NewInt(0x8fa3), RevokedAt: at, Reason: crl.KeyCompromise}},
		}, ca, key)
		if err != nil {
			log.Fatal(err)
		}
		list, err := crl.Parse(der)
		if err != nil {
			log.Fatal(err)
		}
		return list
	}
	device := func(serial int64) []*x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(serial), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
		}, ca, key.Public(), key)
		if err != nil {
			log.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			log.Fatal(err)
		}
		return []*x509.Certificate{cert}
	}

	cafile := []*x509.Certificate{ca}
	crlfile := []*x509.RevocationList{sign(1, now)}
	fmt.Println(crl.Accepts(crlfile, cafile, device(0x8fa4), now))
	fmt.Println(errors.Is(crl.Accepts(crlfile, cafile, device(0x8fa3), now), crl.ErrRevoked))
	crlfile = []*x509.RevocationList{sign(1, now.Add(-25*time.Hour))}
	fmt.Println(errors.Is(crl.Accepts(crlfile, cafile, device(0x8fa4), now), crl.ErrExpired))
	// Output:
	// <nil>
	// true
	// true
}

func ExampleLint() {
	ca, key := exampleCA()
	now := time.Now()
	der, err := crl.Sign(&crl.Template{
		Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(30 * 24 * time.Hour),
		Entries: []crl.Entry{{Serial: big.NewInt(0x8fa3), RevokedAt: now, Reason: crl.CertificateHold}},
	}, ca, key)
	if err != nil {
		log.Fatal(err)
	}
	list, err := crl.Parse(der)
	if err != nil {
		log.Fatal(err)
	}
	findings, err := crl.Lint(list)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	// Output:
	// advice: valid for 720h0m0s (want at most 240h0m0s) (lifetime, CA/Browser Forum, Baseline Requirements, section 4.9.7)
	// advice: serial 8fa3: the certificate is on hold (reason-hold, CA/Browser Forum, Baseline Requirements, section 4.9.13)
}

// The CA's service is asked first; where a certificate says that its list is
// to be had stands in for it.
func ExampleRefresher() {
	ca, key := exampleCA()
	now := time.Now()
	der, err := crl.Sign(&crl.Template{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(24 * time.Hour)}, ca, key)
	if err != nil {
		log.Fatal(err)
	}
	point := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(der) }))
	defer point.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	file, err := crl.OpenFile(filepath.Join(dir, "ca.crl"), crl.FileOptions{CAs: []*x509.Certificate{ca}})
	if err != nil {
		log.Fatal(err)
	}
	r := &crl.Refresher{
		Source:    &crl.FileSource{Path: filepath.Join(dir, "nobody puts it here.crl")},
		Fallbacks: []crl.Source{&crl.HTTPSource{URL: point.URL}},
		File:      file,
		Installed: func(context.Context, *x509.RevocationList) error {
			fmt.Println("tell the broker")
			return nil
		},
		Notify: func(_ context.Context, e crl.Event) { fmt.Println(e.Kind) },
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = r.Run(ctx)
	// Output:
	// tell the broker
	// failed
	// installed
}
