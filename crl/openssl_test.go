package crl_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/google/go-cmp/cmp"
)

func openssl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: ", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestOpenSSLReadsOurs(t *testing.T) {
	ca := midCA()
	dir := t.TempDir()
	list := ca.sign(t, &crl.Template{
		Number: big.NewInt(48879), Base: big.NewInt(48864),
		ThisUpdate: t0, NextUpdate: time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC),
		Entries: []crl.Entry{
			{Serial: big.NewInt(0x8fa3), RevokedAt: t0, Reason: crl.KeyCompromise},
			{Serial: big.NewInt(0x8fa4), RevokedAt: t0},
		},
	})
	write(t, filepath.Join(dir, "ca.crt"), certPEM(ca.cert.Raw))
	write(t, filepath.Join(dir, "ca.crl"), crl.EncodePEM(list))
	out := openssl(t, dir, "crl", "-in", "ca.crl", "-CAfile", "ca.crt", "-noout", "-text")
	for _, want := range []string{
		"verify OK", "Version 2", "Last Update: Mar  1 12:00:00 2026 GMT", "Next Update: Jan  1 00:00:00 2051 GMT",
		"X509v3 Delta CRL Indicator: critical", "Serial Number: 8FA3", "Serial Number: 8FA4", "Key Compromise", "48879", "48864",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("openssl does not say %q:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "CRL Reason Code"); n != 1 {
		t.Errorf("%d reason codes, want 1: unspecified is left out", n)
	}
}

func TestWeReadOpenSSLs(t *testing.T) {
	dir := t.TempDir()
	config := `[ca]
default_ca = a
[a]
database = index.txt
crlnumber = number
default_md = sha256
default_crl_days = 3
crl_extensions = e
[e]
authorityKeyIdentifier = keyid,issuer:always
`
	for name, content := range map[string]string{
		"ca.cnf":    config,
		"number":    "1000\n",
		"index.txt": "R\t490101000000Z\t260301120000Z,keyCompromise\t8FA3\tunknown\t/CN=8fa3\n",
	} {
		write(t, filepath.Join(dir, name), []byte(content))
	}
	openssl(t, dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
		"-subj", "/C=SE/O=EJBCA IOT/CN=IOTmidCA", "-days", "9")
	openssl(t, dir, "ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.crt", "-out", "ca.crl")
	data, err := os.ReadFile(filepath.Join(dir, "ca.crl"))
	if err != nil {
		t.Fatal(err)
	}
	list := parse(t, data)
	if err := crl.Verify(list, readCert(t, filepath.Join(dir, "ca.crt")), time.Now().Add(time.Second)); err != nil {
		t.Error(err)
	}
	if list.Number.Int64() != 0x1000 || len(list.RevokedCertificateEntries) != 1 {
		t.Errorf("got number %v, %d entries", list.Number, len(list.RevokedCertificateEntries))
	}
	if got := crl.EncodePEM(list); !bytes.Equal(got, data) {
		t.Errorf("got\n%s\nwant\n%s", got, data)
	}
}

// TestOpenSSLAgrees: OpenSSL reads every list that Parse reads. Where Parse
// is stricter, malformedLists says why.
func TestOpenSSLAgrees(t *testing.T) {
	read := func(form string, list []byte) error {
		cmd := exec.CommandContext(t.Context(), "openssl", "crl", "-inform", form, "-noout")
		cmd.Stdin = bytes.NewReader(list)
		out, err := cmd.CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip(err)
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for _, pattern := range []string{"crl_*.pem", "lint/*.pem"} {
		names, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, names, err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := read("PEM", data); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, tc := range malformedLists(t) {
		if err := read("DER", tc.der); (err != nil) != tc.openssl {
			t.Errorf("%s: got %v, want an error: %v", tc.name, err, tc.openssl)
		}
	}
}

// An entry that OpenSSL reads otherwise than we do could let a revoked client
// in.
func TestOpenSSLReadsEntriesAlike(t *testing.T) {
	list := parse(t, midCA().forge(t0, func(l *tbsCertList) { l.Revoked = oddEntries() }))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ca.crl"), crl.EncodePEM(list))
	out := openssl(t, dir, "crl", "-in", "ca.crl", "-noout", "-text")
	var got []string
	for line := range strings.Lines(out) {
		if serial, ok := strings.CutPrefix(strings.TrimSpace(line), "Serial Number: "); ok && !strings.HasSuffix(serial, `\`) { // one on several lines
			got = append(got, serial)
		}
	}
	var want []string
	for e := range newIndex(t, list.Raw).All() {
		if e.Serial.BitLen() > 1000 {
			continue
		}
		serial := fmt.Sprintf("%X", new(big.Int).Abs(e.Serial))
		if len(serial)%2 == 1 {
			serial = "0" + serial
		}
		if e.Serial.Sign() < 0 {
			serial = "-" + serial
		}
		want = append(want, serial)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("serials (-index +openssl):\n%s", diff)
	}
}
