package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/internal/enrol"
	"github.com/dojot/mqtt-manager-go/provision"
)

// One that cannot be written is one device's failure, and in the report.
func TestP12Failures(t *testing.T) {
	r := newRig(t)
	if out, err := r.run(t.Context(), "a,b,c,d"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(r.certs, "a.p12"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(r.certs, "b.p12"), 0o600); err != nil { // which nobody ever writes
		t.Fatal(err)
	}
	out, err := r.run(t.Context(), "a,b,c,d,e", "--p12-password-file", filepath.Join(r.dir, "p12pw"), "--report", filepath.Join(r.dir, "report.json"))
	if err == nil || status(err) != exitHook || !strings.Contains(out, "1 made, 2 kept, 2 failed") {
		t.Errorf("got %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report enrol.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	for i, want := range []enrol.Status{enrol.Failed, enrol.Failed, enrol.Kept, enrol.Kept, enrol.Made} {
		d := report.Devices[i]
		if d.Status != want || strings.Contains(d.Error, d.Device+".p12 is not a regular file") != (want == enrol.Failed) {
			t.Errorf("%s: %s, %s", d.Device, d.Status, d.Error)
		}
		if info, err := os.Lstat(filepath.Join(r.certs, d.Device+".p12")); err != nil || info.Mode().IsRegular() != (want != enrol.Failed) {
			t.Errorf("%s.p12: %v, %v", d.Device, info, err)
		}
	}
}

// Others must not read one that is there.
func TestP12IsClosed(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.certs, "24f6.p12")
	for range 2 {
		if out, err := r.run(t.Context(), "24f6", "--p12-password-file", filepath.Join(r.dir, "p12pw")); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A root that was certified anew replaces the old one there, too.
func TestP12HasTheNewRoot(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certify := func(name string, parent *x509.Certificate) *x509.Certificate {
		t.Helper()
		template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IsCA: name != "device", BasicConstraintsValid: true}
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	files := provision.DeviceFiles(dir, "device", "ca")
	save := func(path, kind string, ders ...[]byte) {
		t.Helper()
		var text bytes.Buffer
		for _, der := range ders {
			pem.Encode(&text, &pem.Block{Type: kind, Bytes: der})
		}
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	root := certify("root", nil)
	ca := certify("ca", root)
	save(files.Key, "PRIVATE KEY", der)
	save(files.Cert, "CERTIFICATE", certify("device", ca).Raw, ca.Raw)
	path := filepath.Join(dir, "device.p12")
	for _, root := range []*x509.Certificate{root, certify("root", nil)} {
		save(files.CA, "CERTIFICATE", ca.Raw, root.Raw)
		if err := saveP12(path, secret, files, durable.Attr{}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, _, cas, err := pkcs12.DecodeChain(data, secret)
		if err != nil || len(cas) != 2 || !cas[0].Equal(ca) || !cas[1].Equal(root) {
			t.Errorf("%d CAs, %v, want the one there is now", len(cas), err)
		}
	}
}
