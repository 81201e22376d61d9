package crl_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/tlsalert"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

const brokerConf = `allow_anonymous true
cafile ca.crt
certfile server.crt
keyfile server.key
require_certificate true
crlfile ca.crl
`

// brokerDir returns a folder with all that brokerConf names but ca.crl.
func brokerDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ca := midCA()
	server := ca.leaf(t, 2, x509.ExtKeyUsageServerAuth)
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"ca.crt":     append(certPEM(ca.cert.Raw), certPEM(mqttCA().cert.Raw)...),
		"server.crt": certPEM(server.Certificate[0]),
		"server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		write(t, filepath.Join(dir, name), data)
	}
	return dir
}

func startBroker(dir string) (*mosquittotest.Broker, error) {
	return mosquittotest.Start(mosquittotest.Options{Conf: brokerConf, Dir: dir})
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// leaf issues a certificate that is valid now.
func (ca *testCA) leaf(t testing.TB, serial int64, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(ca.key.Curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "8fa3"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
	}, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// knock returns the alert by which the broker refuses the client, 0 if it
// lets it in. It speaks TLS 1.2, where the alert ends the handshake.
func knock(t *testing.T, b *mosquittotest.Broker, client tls.Certificate) uint8 {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(midCA().cert)
	conn, err := tls.Dial("tcp", b.Addr(), &tls.Config{
		RootCAs: roots, MaxVersion: tls.VersionTLS12,
		// Whatever CAs the broker says that it knows.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &client, nil },
	})
	if err == nil {
		conn.Close()
		return 0
	}
	return received(t, err)
}

func received(t *testing.T, err error) uint8 {
	t.Helper()
	alert, ok := tlsalert.Received(err)
	if !ok {
		t.Fatalf("got %v, want an alert", err)
	}
	return alert
}

// alertFor is what the comments of the sentinels promise.
func alertFor(err error) uint8 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, crl.ErrMissing):
		return tlsalert.UnknownCA
	case errors.Is(err, crl.ErrSignature):
		return tlsalert.DecryptError
	case errors.Is(err, crl.ErrCritical), errors.Is(err, crl.ErrScope):
		return tlsalert.CertificateUnknown
	case errors.Is(err, crl.ErrExpired):
		return tlsalert.CertificateExpired
	case errors.Is(err, crl.ErrNotYetValid):
		return tlsalert.BadCertificate
	}
	panic(err)
}

// TestBrokerAgrees asks a real broker about every flaw, and compares.
func TestBrokerAgrees(t *testing.T) {
	dir := brokerDir(t)
	path := filepath.Join(dir, "ca.crl")
	ca, other := midCA(), mqttCA()
	clients := map[string]tls.Certificate{
		"innocent":    ca.leaf(t, 5, x509.ExtKeyUsageClientAuth),
		"revoked":     ca.leaf(t, 66, x509.ExtKeyUsageClientAuth),
		"of other CA": other.leaf(t, 5, x509.ExtKeyUsageClientAuth),
	}
	// The other CA's list is there throughout, and the fault of the one does
	// not touch the other.
	now := time.Now().Add(-time.Minute)
	good := other.list(t, 1, now)
	write(t, path, crl.EncodePEM(good))
	broker, err := startBroker(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	file, err := crl.OpenFile(path, crl.FileOptions{CAs: []*x509.Certificate{ca.cert, other.cert}})
	if err != nil {
		t.Fatal(err)
	}
	judge := func(t *testing.T, content []byte, tc flaw) {
		t.Helper()
		write(t, path, content)
		verdict := file.Check(time.Now())
		if errors.Is(verdict, crl.ErrUnloadable) {
			t.Fatalf("Check: %v", verdict)
		}
		if err := broker.Reload(); err != nil {
			t.Fatal(err)
		}
		got := knock(t, broker, clients["innocent"])
		if tc.lenient {
			if got != 0 && !tc.mayRefuse || verdict == nil {
				t.Errorf("broker: alert %d, Check: %v, want an error though the broker lets clients in", got, verdict)
			}
			return
		}
		if want := alertFor(verdict); got != want {
			t.Errorf("broker: alert %d, want %d, as Check: %v", got, want, verdict)
		}
		if got == 0 {
			if got := knock(t, broker, clients["revoked"]); got != tlsalert.CertificateRevoked {
				t.Errorf("revoked client: alert %d, want %d", got, tlsalert.CertificateRevoked)
			}
		}
		if got := knock(t, broker, clients["of other CA"]); got != 0 {
			t.Errorf("client of the other CA: alert %d", got)
		}
	}
	for _, tc := range flaws {
		t.Run(tc.name, func(t *testing.T) {
			list := parse(t, tc.make(ca, other, now))
			judge(t, crl.EncodePEM(list, good), tc)
		})
	}
	t.Run("missing issuer", func(t *testing.T) { judge(t, crl.EncodePEM(good), flaw{}) })

	current := parse(t, ca.forge(now, nil))
	for _, tc := range flaws {
		if tc.want == nil || tc.lenient {
			continue
		}
		t.Run(tc.name+" beside a good one", func(t *testing.T) {
			bad := parse(t, tc.make(ca, other, now.Add(time.Second)))
			judge(t, crl.EncodePEM(bad, current, good), flaw{})
			judge(t, crl.EncodePEM(current, good, bad), flaw{})
		})
	}
	t.Run("delta beside a good one", func(t *testing.T) {
		delta := parse(t, ca.forge(now.Add(time.Second), func(l *tbsCertList) {
			l.Revoked = nil
			l.Extensions = append(l.Extensions, ext(oidDelta, true, "\x02\x01\x05"))
		}))
		// Whether the revoked client gets in depends on the release of
		// OpenSSL; where it does, the delta was taken for complete.
		judge(t, crl.EncodePEM(current, delta, good), flaw{lenient: true})
	})
}

// A broker does not start without its crlfile, and Check knows.
func TestBrokerWithoutFile(t *testing.T) {
	dir := brokerDir(t)
	broker, err := startBroker(dir)
	if err == nil {
		broker.Close()
	}
	if _, refused := errors.AsType[*mosquittotest.ExitError](err); !refused {
		t.Errorf("broker: %v, want it to refuse", err)
	}
	if err := openFile(t, filepath.Join(dir, "ca.crl"), time.Now(), midCA()).Check(time.Now()); !errors.Is(err, crl.ErrUnloadable) {
		t.Errorf("Check: %v, want ErrUnloadable", err)
	}
}

// TestBrokerLoads starts a broker with crlfiles in all sorts of shapes:
// ParseAll must refuse every one that the broker does.
func TestBrokerLoads(t *testing.T) {
	dir := brokerDir(t)
	now := time.Now().Add(-time.Minute)
	for _, tc := range crlfiles(midCA().list(t, 1, now), mqttCA().list(t, 1, now)) {
		t.Run(tc.name, func(t *testing.T) {
			write(t, filepath.Join(dir, "ca.crl"), tc.data)
			_, verdict := crl.ParseAll(tc.data)
			broker, err := startBroker(dir)
			if err == nil {
				broker.Close()
			} else if _, ok := errors.AsType[*mosquittotest.ExitError](err); !ok {
				t.Fatal(err)
			}
			if tc.stricter {
				if verdict == nil || err != nil {
					t.Errorf("ParseAll: %v, broker: %v, want only ParseAll to refuse", verdict, err)
				}
			} else if (verdict == nil) != (err == nil) {
				t.Errorf("ParseAll: %v, broker: %v", verdict, err)
			}
		})
	}
}

type crlfile struct {
	name     string
	data     []byte
	want     int // lists; 0: an error
	stricter bool
}

// crlfiles are the shapes that a file with the lists a and b may have.
func crlfiles(a, b *x509.RevocationList) []crlfile {
	pa, pb := crl.EncodePEM(a), crl.EncodePEM(b)
	var (
		both   = concat(pa, pb)
		lines  = bytes.SplitAfter(bytes.TrimSuffix(pa, []byte("\n")), []byte("\n"))
		first  = lines[0]
		last   = lines[len(lines)-1]
		body   = lines[1 : len(lines)-1]
		single = bytes.ReplaceAll(concat(body...), []byte("\n"), nil)
		cut    = func(n int) []byte { return pa[:len(pa)-n] }
		edit   = func(old, new string) []byte { return replace(pa, old, new) }
		text   = []byte("Certificate Revocation List (CRL):\n        Version 2 (0x1)\n")
	)
	return []crlfile{
		{name: "one", data: pa, want: 1},
		{name: "two", data: both, want: 2},
		{name: "no final line feed", data: cut(1), want: 1},
		{name: "CRLF", data: bytes.ReplaceAll(pa, []byte("\n"), []byte("\r\n")), want: 1},
		{name: "blanks at line ends", data: bytes.ReplaceAll(pa, []byte("\n"), []byte(" \t\n")), want: 1},
		{name: "text around", data: concat(text, pa, text, pb, text), want: 2},
		{name: "certificate around", data: concat(certPEM(midCA().cert.Raw), pa, certPEM(mqttCA().cert.Raw)), want: 1},
		{name: "body in one line", data: concat(first, single, []byte("\n"), last), want: 1},
		{name: "END without BEGIN", data: concat(last, []byte("\n"), pa), want: 1},

		{name: "empty"},
		{name: "blank", data: []byte("\n \n")},
		{name: "text only", data: text},
		{name: "DER", data: a.Raw},
		{name: "base64 only", data: single},
		{name: "certificate only", data: certPEM(midCA().cert.Raw)},
		{name: "other label", data: bytes.ReplaceAll(pa, []byte("X509 CRL"), []byte("CRL"))},
		{name: "no END", data: concat(first, concat(body...))},
		{name: "END cut off", data: cut(6)},
		{name: "body cut off", data: cut(60)},
		{name: "second cut off", data: both[:len(both)-60]},
		{name: "first cut off", data: concat(cut(60), []byte("\n"), pb)},
		{name: "END of another label", data: edit("END X509 CRL", "END CERTIFICATE")},
		{name: "blank line before END", data: edit("-----END", "\n-----END")},
		{name: "blank line after BEGIN", data: edit("CRL-----\n", "CRL-----\n\n"), stricter: true},
		{name: "not base64", data: edit("\nMI", "\nM!")},
		{name: "a letter missing", data: edit("\nMI", "\nM")},
		{name: "empty block", data: concat(first, last)},
		{name: "broken DER", data: edit("\nMI", "\nNI")},
		{name: "broken certificate beside", data: concat(pa, replace(certPEM(midCA().cert.Raw), "\nMI", "\nM!"))},
		{name: "element after the signature", data: crl.EncodePEM(&x509.RevocationList{Raw: appendElement(a.Raw)})},

		{name: "indented BEGIN", data: concat([]byte(" "), pa)},

		{name: "dash missing in another BEGIN", data: concat([]byte("-----BEGIN X509 CRL----\n"), pa), stricter: true},
		{name: "BEGIN where OpenSSL cuts long lines", data: concat(pb, bytes.Repeat([]byte("x"), 254), pa), stricter: true},
		{name: "byte order mark", data: concat([]byte("\ufeff"), pa), stricter: true},
		{name: "bytes after the list in its block", data: crl.EncodePEM(&x509.RevocationList{Raw: concat(a.Raw, []byte{0})}), stricter: true},
		{name: "version 1", data: crl.EncodePEM(&x509.RevocationList{Raw: midCA().forge(a.ThisUpdate, func(l *tbsCertList) {
			l.Version, l.Extensions = 0, nil
		})}), stricter: true},
	}
}

// replace is bytes.Replace that does replace.
func replace(data []byte, old, new string) []byte {
	if !bytes.Contains(data, []byte(old)) {
		panic(old + " is not there")
	}
	return bytes.Replace(data, []byte(old), []byte(new), 1)
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// appendElement puts a NULL after the signature, inside the list's SEQUENCE.
func appendElement(raw []byte) []byte {
	var list asn1.RawValue
	if _, err := asn1.Unmarshal(raw, &list); err != nil {
		panic(err)
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: list.Tag, IsCompound: true, Bytes: concat(list.Bytes, []byte{5, 0})})
	if err != nil {
		panic(err)
	}
	return der
}
