package mosquittoconf_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/google/go-cmp/cmp"
)

func ExampleNameHash() {
	name, err := asn1.Marshal(pkix.Name{CommonName: "Fleet  CA"}.ToRDNSequence())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mosquittoconf.NameHash(name))
	// Output: 6982fe8b <nil>
}

func openssl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("openssl", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// attribute is a type and value of a name, in DER.
func attribute(oid string, tag int, value []byte) []byte {
	v, _ := asn1.Marshal(asn1.RawValue{Tag: tag, Bytes: value})
	return wrap(asn1.TagSequence, []byte(oid), v)
}

func wrap(tag int, parts ...[]byte) []byte {
	der, _ := asn1.Marshal(asn1.RawValue{Tag: tag, IsCompound: true, Bytes: bytes.Join(parts, nil)})
	return der
}

const (
	oidCN    = "\x06\x03\x55\x04\x03"
	oidO     = "\x06\x03\x55\x04\x0a"
	oidEmail = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"
)

// oddNames are in DER; those with an error OpenSSL does not read.
var oddNames = []struct {
	name, wantErr string
	der           []byte
}{
	{name: "empty", der: wrap(16)},
	{name: "printable", der: wrap(16, wrap(17, attribute(oidCN, 19, []byte("Fleet CA"))))},
	{name: "spaces and case", der: wrap(16, wrap(17, attribute(oidCN, 12, []byte(" \tFLEET \v\n ca\r\f"))))},
	{name: "only spaces", der: wrap(16, wrap(17, attribute(oidCN, 12, []byte("   "))))},
	{name: "no text", der: wrap(16, wrap(17, attribute(oidCN, 12, nil)))},
	{name: "capitals beyond ASCII", der: wrap(16, wrap(17, attribute(oidCN, 12, []byte("ÄÖÜ K"))))},
	{name: "no-break space", der: wrap(16, wrap(17, attribute(oidCN, 12, []byte("\u00a0a\u2003b\u00a0"))))},
	{name: "NUL", der: wrap(16, wrap(17, attribute(oidCN, 12, []byte("a\x00B"))))},
	{name: "T61", der: wrap(16, wrap(17, attribute(oidCN, 20, []byte("M\xfcnchen"))))},
	{name: "IA5", der: wrap(16, wrap(17, attribute(oidEmail, 22, []byte("CA@Example.ORG"))))},
	{name: "IA5 of eight bits", der: wrap(16, wrap(17, attribute(oidEmail, 22, []byte("\xc4\xa4@example.org"))))},
	{name: "printable with what is not", der: wrap(16, wrap(17, attribute(oidCN, 19, []byte("a_b*@\xe9"))))},
	{name: "BMP", der: wrap(16, wrap(17, attribute(oidCN, 30, []byte("\x00A\x01\x52\x00 \x00 \x00B"))))},
	{name: "universal", der: wrap(16, wrap(17, attribute(oidCN, 28, []byte("\x00\x00\x00A\x00\x01\xf6\x00"))))},
	{name: "numeric", der: wrap(16, wrap(17, attribute(oidCN, 18, []byte("12  34 "))))},
	{name: "bits", der: wrap(16, wrap(17, attribute(oidCN, 3, []byte{0, 0xc0, 0x1d})))},
	{name: "two RDNs", der: wrap(16, wrap(17, attribute(oidO, 19, []byte("dojot"))), wrap(17, attribute(oidCN, 12, []byte("CA"))))},
	{name: "two in an RDN", der: wrap(16, wrap(17, attribute(oidO, 19, []byte("dojot")), attribute(oidCN, 12, []byte("CA"))))},
	{name: "two of a type in an RDN", der: wrap(16, wrap(17, attribute(oidCN, 12, []byte("b")), attribute(oidCN, 19, []byte("A")), attribute(oidCN, 12, []byte("  aa"))))},
	{name: "long", der: wrap(16, wrap(17, attribute(oidO, 12, bytes.Repeat([]byte("Long "), 1000))))},
	{name: "unknown type", der: wrap(16, wrap(17, attribute("\x06\x05\x2a\x03\x04\x05\x06", 12, []byte("X"))))},
	{name: "broken UTF-8", der: wrap(16, wrap(17, attribute(oidCN, 12, []byte("a\xff")))), wantErr: "not UTF-8"},
	{name: "odd BMP", der: wrap(16, wrap(17, attribute(oidCN, 30, []byte("\x00A\x01")))), wantErr: "BMPString of 3 bytes"},
	{name: "surrogate", der: wrap(16, wrap(17, attribute(oidCN, 30, []byte("\xd8\x3d\xde\x00")))), wantErr: "BMPString with 0xd83d"},
	{name: "beyond Unicode", der: wrap(16, wrap(17, attribute(oidCN, 28, []byte("\x00\x11\x00\x00")))), wantErr: "UniversalString with 0x110000"},
	{name: "visible", der: wrap(16, wrap(17, attribute(oidCN, 26, []byte("a")))), wantErr: "ASN.1 type 26"},
	{name: "general", der: wrap(16, wrap(17, attribute(oidCN, 27, []byte("a")))), wantErr: "ASN.1 type 27"},
	{name: "octets", der: wrap(16, wrap(17, attribute(oidCN, 4, []byte("a")))), wantErr: "ASN.1 type 4"},
	{name: "context-specific", der: wrap(16, wrap(17, wrap(16, []byte(oidCN), []byte("\x80\x01a")))), wantErr: "class 2"},
}

// dirOfNames holds a certificate for each name, in files 000.pem, 001.pem, …
func dirOfNames(t *testing.T, names [][]byte) string {
	t.Helper()
	ca := issue(t, named("test CA"), nil)
	dir := t.TempDir()
	for i, name := range names {
		writeFile(t, dir, fmt.Sprintf("%03d.pem", i), certFor(t, ca, name))
	}
	return dir
}

// certFor is a certificate with the subject name, which need not be one: the
// standard library would refuse some of them.
func certFor(t *testing.T, ca *identity, name []byte) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)),
		RawSubject:   name,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func writeFile(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func hashDir(t *testing.T, dir string) ([]mosquittoconf.HashEntry, []*mosquittoconf.HashError) {
	t.Helper()
	entries, skipped, err := mosquittoconf.HashDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries, skipped
}

// links are the links of a folder, sorted, each as prefix and target: which of
// those with one name has which number differs by who made them. Numbers must
// have no gap.
func links(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	numbers := make(map[string][]string)
	for _, e := range readDir(t, dir) {
		if e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		prefix := regexp.MustCompile(`[0-9]+$`).ReplaceAllString(e.Name(), "")
		numbers[prefix] = append(numbers[prefix], e.Name())
		all = append(all, prefix+" "+target)
	}
	for prefix, names := range numbers {
		for n := range names {
			if want := fmt.Sprint(prefix, n); !slices.Contains(names, want) {
				t.Errorf("%s: got %v without %s", dir, names, want)
			}
		}
	}
	slices.Sort(all)
	return all
}

func readDir(t *testing.T, dir string) []fs.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestNameHashOfOddNames(t *testing.T) {
	var readable [][]byte
	for _, tt := range oddNames {
		_, err := mosquittoconf.NameHash(tt.der)
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: got error %v, want one with %q", tt.name, err, tt.wantErr)
		}
		readable = append(readable, tt.der)
	}
	dir := dirOfNames(t, readable)
	other := copyDir(t, dir)
	_, skipped := hashDir(t, dir)
	rehash(t, other)
	if diff := cmp.Diff(links(t, other), links(t, dir)); diff != "" {
		t.Errorf("(-openssl +ours):\n%s\n%v", diff, skipped)
	}
	var refused int
	for _, tt := range oddNames {
		if tt.wantErr != "" {
			refused++
		}
	}
	if len(skipped) != refused {
		t.Errorf("left out %v, want %d", skipped, refused)
	}
}

// rehash runs OpenSSL's, which fails when it leaves out a file.
func rehash(t testing.TB, dir string) {
	t.Helper()
	out, err := exec.Command("openssl", "rehash", dir).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip(err)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestNameHashOfRandomNames(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	tags := []int{12, 12, 12, 19, 20, 22, 30, 28, 18, 3}
	alphabet := []string{"a", "B", " ", "\t", "\n", "é", "Σ", "\u00a0", "0", "-", "\x01", "😀"}
	var names [][]byte
	for range 300 {
		var rdns [][]byte
		for range r.IntN(4) {
			var attributes [][]byte
			for range 1 + r.IntN(3) {
				var text string
				for range r.IntN(12) {
					text += alphabet[r.IntN(len(alphabet))]
				}
				value := []byte(text)
				tag := tags[r.IntN(len(tags))]
				switch tag {
				case 30:
					value = value[:len(value)&^1]
				case 28:
					value = bytes.Repeat([]byte{0, 0, 4, 'x'}, r.IntN(4))
				case 3:
					value = append([]byte{0}, value...)
				}
				attributes = append(attributes, attribute([]string{oidCN, oidO, oidEmail}[r.IntN(3)], tag, value))
			}
			slices.SortFunc(attributes, bytes.Compare)
			rdns = append(rdns, wrap(17, attributes...))
		}
		names = append(names, wrap(16, rdns...))
	}
	dir := dirOfNames(t, names)
	other := copyDir(t, dir)
	hashDir(t, dir)
	rehash(t, other)
	if diff := cmp.Diff(links(t, other), links(t, dir)); diff != "" {
		t.Errorf("(-openssl +ours):\n%s", diff)
	}
}

const systemCAs = "/usr/share/ca-certificates/mozilla"

func TestHashDirOfSystemCAs(t *testing.T) {
	if _, err := os.Stat(systemCAs); err != nil {
		t.Skip(err)
	}
	ours, theirs := copyDir(t, systemCAs), copyDir(t, systemCAs)
	_, skipped := hashDir(t, ours)
	rehash(t, theirs)
	if diff := cmp.Diff(links(t, theirs), links(t, ours)); diff != "" || len(skipped) > 0 {
		t.Errorf("(-openssl +ours):\n%s\nleft out %v", diff, skipped)
	}

	// The same of one file that holds them all.
	var bundle []byte
	for _, e := range readDir(t, systemCAs) {
		data, err := os.ReadFile(filepath.Join(systemCAs, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, data...)
	}
	dir := t.TempDir()
	writeFile(t, dir, "bundle.crt", bundle)
	entries, skipped := hashDir(t, dir)
	if len(entries) != len(links(t, ours)) || len(skipped) > 0 {
		t.Errorf("of a bundle: got %d entries, want %d; left out %v", len(entries), len(links(t, ours)), skipped)
	}
	openssl(t, "verify", "-no-CAfile", "-no-CAstore", "-CApath", dir, filepath.Join(systemCAs, "ISRG_Root_X1.crt"))
}

// store is a folder of what a fleet has: two CAs of one name, and their lists.
func store(t *testing.T) (dir string, cas []*identity) {
	t.Helper()
	dir = t.TempDir()
	for i := range 2 {
		ca := issue(t, x509.Certificate{Subject: pkix.Name{CommonName: "fleet CA"}, SubjectKeyId: []byte{byte(i)}}, nil)
		cas = append(cas, ca)
		writeFile(t, dir, fmt.Sprintf("ca%d.crt", i), ca.certPEM())
		writeFile(t, dir, fmt.Sprintf("ca%d.crl", i), ca.crlPEM(t, time.Now().Add(time.Hour)))
	}
	return dir, cas
}

func TestHashDirCollisions(t *testing.T) {
	dir, cas := store(t)
	other := copyDir(t, dir)
	entries, skipped := hashDir(t, dir)
	rehash(t, other)
	if diff := cmp.Diff(links(t, other), links(t, dir)); diff != "" || len(entries) != 4 || len(skipped) > 0 {
		t.Fatalf("(-openssl +ours):\n%s\n%v, left out %v", diff, entries, skipped)
	}
	for i, ca := range cas {
		leaf := issue(t, named(fmt.Sprintf("device%d", i), x509.ExtKeyUsageClientAuth), ca)
		writeFile(t, dir, "leaf", leaf.certPEM())
		openssl(t, "verify", "-no-CAfile", "-no-CAstore", "-CApath", dir, "-crl_check", filepath.Join(dir, "leaf"))
	}
}

var hashed = regexp.MustCompile(`^[0-9a-f]{8}\.r?[0-9]+$`)

// listing is what a folder holds, by name: the target of a link, or the last
// of a file's first line.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var s strings.Builder
	for _, e := range readDir(t, dir) {
		if !hashed.MatchString(e.Name()) {
			continue
		}
		what, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			data, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(string(data), "\n")
			what = strings.TrimPrefix(line, "# from ")
		}
		fmt.Fprintf(&s, "%s %s\n", e.Name()[8:], what)
	}
	return s.String()
}

func TestHashDirEdits(t *testing.T) {
	dir, cas := store(t)
	expect := func(when, want string) {
		t.Helper()
		if _, skipped := hashDir(t, dir); len(skipped) > 0 {
			t.Errorf("%s: left out %v", when, skipped)
		}
		if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	remove := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect("at first", ".0 ca0.crt\n.1 ca1.crt\n.r0 ca0.crl\n.r1 ca1.crl\n")
	before, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	expect("again", ".0 ca0.crt\n.1 ca1.crt\n.r0 ca0.crl\n.r1 ca1.crl\n")
	if after, err := os.Stat(dir); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the folder was written again: %v", err)
	}
	// A file that sorts in front does not take a number that is in use.
	third := issue(t, x509.Certificate{Subject: pkix.Name{CommonName: "Fleet  ca"}}, nil)
	writeFile(t, dir, "aaa.pem", third.certPEM())
	expect("third CA", ".0 ca0.crt\n.1 ca1.crt\n.2 aaa.pem\n.r0 ca0.crl\n.r1 ca1.crl\n")
	remove("ca0.crt", "ca0.crl")
	expect("first CA gone", ".0 aaa.pem\n.1 ca1.crt\n.r0 ca1.crl\n")
	remove("ca1.crt", "ca1.crl", "aaa.pem")
	expect("all gone", "")

	writeFile(t, dir, "bundle.crt", append(append(cas[0].certPEM(), cas[0].crlPEM(t, time.Now())...), cas[1].certPEM()...))
	writeFile(t, dir, "der.CRT", third.cert.Raw)
	expect("bundle", ".0 \"bundle.crt\"\n.1 \"bundle.crt\"\n.2 \"der.CRT\"\n.r0 \"bundle.crt\"\n")
	// A file that somebody else has put there stays, in front of which a
	// gap is closed.
	prefix := readDir(t, dir)[0].Name()[:8]
	writeFile(t, dir, prefix+".7", third.certPEM())
	remove("bundle.crt")
	writeFile(t, dir, prefix+".9", []byte("# from nobody\n"))
	expect("files of others", ".0 -----BEGIN CERTIFICATE-----\n.1 nobody\n.2 \"der.CRT\"\n")
}

func TestHashDirLeavesOut(t *testing.T) {
	dir, cas := store(t)
	writeFile(t, dir, "zcopy.pem", cas[0].certPEM())
	writeFile(t, dir, "empty.pem", nil)
	writeFile(t, dir, "key.pem", cas[0].keyPEM(t))
	writeFile(t, dir, "broken.pem", cas[0].certPEM()[:100])
	writeFile(t, dir, "sequence.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0}}))
	writeFile(t, dir, "readme.txt", []byte("hello"))
	if err := os.Mkdir(filepath.Join(dir, "folder.crt"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "lost.crl")); err != nil {
		t.Fatal(err)
	}
	entries, skipped := hashDir(t, dir)
	if len(entries) != 4 {
		t.Errorf("got %v, want 4", entries)
	}
	var got []string
	for _, s := range skipped {
		got = append(got, s.File)
		if s.File == "zcopy.pem" && !errors.Is(s, mosquittoconf.ErrDuplicate) {
			t.Errorf("got %v, want ErrDuplicate", s)
		}
		if s.File == "lost.crl" && !errors.Is(s, fs.ErrNotExist) {
			t.Errorf("got %v, want fs.ErrNotExist", s)
		}
	}
	want := []string{"broken.pem", "empty.pem", "folder.crt", "key.pem", "lost.crl", "sequence.pem", "zcopy.pem"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	if _, _, err := mosquittoconf.HashDir(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: got error %v", err)
	}
}

// revoking is a list of the CA id.
func (id *identity) revoking(t *testing.T, number int64, revoked ...*x509.Certificate) *x509.RevocationList {
	t.Helper()
	template := &x509.RevocationList{
		Number:     big.NewInt(number),
		ThisUpdate: time.Now().Add(-time.Hour).Add(time.Duration(number) * time.Second),
		NextUpdate: time.Now().Add(time.Hour),
	}
	for _, cert := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, id.cert, id.key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A device is revoked, and refused, and nobody signals the broker.
func TestRevocationWithoutSignal(t *testing.T) {
	m := newMaterial(t)
	second := issue(t, named("device2", x509.ExtKeyUsageClientAuth), m.ca)
	if err := os.Mkdir(m.path("cas"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.write(t, "cas/ca.pem", m.ca.certPEM())
	hashDir(t, m.path("cas"))
	add := func(list *x509.RevocationList, want string) {
		t.Helper()
		got, err := mosquittoconf.AddCRL(m.path("cas"), list)
		if err != nil || !strings.HasSuffix(got, want) {
			t.Fatalf("got %q, %v, want %s", got, err, want)
		}
	}
	first := m.ca.revoking(t, 1)
	add(first, ".r0")
	add(first, ".r0")
	b := start(t, mosquittotest.Options{Dir: m.dir, Conf: `capath cas
certfile mosquitto.crt
keyfile mosquitto.key
crlfile ca.crl
require_certificate true
use_identity_as_username true
`})
	expect := func(when string, id *identity, alert uint8) {
		t.Helper()
		code, err := m.connack(b.Addr(), id)
		got, refused := tlsalert.Received(err)
		if alert == 0 && (err != nil || code != 0) || alert != 0 && (!refused || got != alert) {
			t.Errorf("%s, %s: got CONNACK %d, %v, want alert %d", when, id.cert.Subject, code, err, alert)
		}
	}
	expect("before", m.client, 0)
	expect("before", second, 0)
	add(m.ca.revoking(t, 2, m.client.cert), ".r1")
	expect("revoked", m.client, tlsalert.CertificateRevoked)
	expect("revoked", second, 0)
	add(m.ca.revoking(t, 3, m.client.cert, second.cert), ".r2")
	expect("revoked", second, tlsalert.CertificateRevoked)

	// That a broker does not look again at a number is why lists are added.
	third := issue(t, named("device3", x509.ExtKeyUsageClientAuth), m.ca)
	last := m.ca.revoking(t, 4, third.cert)
	hash, err := mosquittoconf.NameHash(m.ca.cert.RawSubject)
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, "cas/"+hash+".r2", crl.EncodePEM(last))
	expect("overwritten", third, 0)
	if strings.Contains(b.Log(), "Reloading") {
		t.Error("the broker was signalled")
	}
}

func FuzzNameHash(f *testing.F) {
	for _, tt := range oddNames {
		f.Add(tt.der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		hash, err := mosquittoconf.NameHash(der)
		if err != nil {
			return
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}$`).MatchString(hash) {
			t.Errorf("got %q", hash)
		}
	})
}

func FuzzHashDir(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x01})
	for _, e := range []string{"debian.conf"} {
		data, err := os.ReadFile(filepath.Join("testdata", e))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		writeFile(t, dir, "a.pem", data)
		entries, _, err := mosquittoconf.HashDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := mosquittoconf.HashDir(dir)
		if err != nil || !slices.Equal(entries, again) {
			t.Fatalf("got %v, %v, then %v", entries, err, again)
		}
	})
}

func BenchmarkHashDir(b *testing.B) {
	if _, err := os.Stat(systemCAs); err != nil {
		b.Skip(err)
	}
	clean := func(dir string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			if e.Type()&fs.ModeSymlink != 0 {
				os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
	for _, by := range []struct {
		name string
		hash func(dir string)
	}{
		{"ours", func(dir string) {
			if _, _, err := mosquittoconf.HashDir(dir); err != nil {
				b.Fatal(err)
			}
		}},
		{"openssl", func(dir string) { rehash(b, dir) }},
	} {
		b.Run(by.name, func(b *testing.B) {
			dir := copyDir(b, systemCAs)
			for b.Loop() {
				b.StopTimer()
				clean(dir)
				b.StartTimer()
				by.hash(dir)
			}
		})
	}
}
