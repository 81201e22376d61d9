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

// exampleCA stands for the CA that the examples have at hand.
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

// exampleList stands for a list that the CA has published, current for a day.
func exampleList(ca *x509.Certificate, key *ecdsa.PrivateKey, number int64, thisUpdate time.Time, entries ...crl.Entry) *x509.RevocationList {
	der, err := crl.Sign(&crl.Template{
		Number: big.NewInt(number), ThisUpdate: thisUpdate, NextUpdate: thisUpdate.Add(24 * time.Hour), Entries: entries,
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
		changed, err := file.Install(exampleList(ca, key, number, time.Now()))
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
	stolen := crl.Entry{Serial: big.NewInt(0x8fa3), RevokedAt: now, Reason: crl.KeyCompromise}
	crlfile := []*x509.RevocationList{exampleList(ca, key, 1, now, stolen)}
	fmt.Println(crl.Accepts(crlfile, cafile, device(0x8fa4), now))
	fmt.Println(errors.Is(crl.Accepts(crlfile, cafile, device(0x8fa3), now), crl.ErrRevoked))
	crlfile = []*x509.RevocationList{exampleList(ca, key, 1, now.Add(-25*time.Hour))}
	fmt.Println(errors.Is(crl.Accepts(crlfile, cafile, device(0x8fa4), now), crl.ErrExpired))
	// Output:
	// <nil>
	// true
	// true
}

func ExampleLint() {
	ca, key := exampleCA()
	noon := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	list := exampleList(ca, key, 1, noon,
		crl.Entry{Serial: big.NewInt(0x8fa3), RevokedAt: noon.Add(time.Hour)},
		crl.Entry{Serial: big.NewInt(0x8fa4), RevokedAt: noon, Reason: crl.CertificateHold})
	findings, err := crl.Lint(list)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	// Output:
	// advice: serial 8fa3: revocationDate 260301130000Z is after thisUpdate 260301120000Z (revocation-date-future, RFC 5280, section 5.1.2.6)
	// advice: serial 8fa4: the certificate is on hold (reason-hold, CA/Browser Forum, Baseline Requirements, section 4.9.13)
}

// The CA's service is asked first; where a certificate says that its list is
// to be had stands in for it.
func ExampleRefresher() {
	ca, key := exampleCA()
	list := exampleList(ca, key, 1, time.Now())
	point := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(list.Raw) }))
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
	}
	ctx, stop := context.WithCancel(context.Background())
	r.Notify = func(_ context.Context, e crl.Event) {
		fmt.Println(e.Kind)
		if e.Kind == crl.EventInstalled {
			stop() // else Run goes on
		}
	}
	fmt.Println(r.Run(ctx))
	// Output:
	// tell the broker
	// failed
	// installed
	// context canceled
}
