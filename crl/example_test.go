package crl_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log"
	"math/big"
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
