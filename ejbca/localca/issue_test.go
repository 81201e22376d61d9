package localca_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// greedy asks for all that a device mustn't get.
func greedy() *x509.CertificateRequest {
	return &x509.CertificateRequest{
		Subject:        pkix.Name{CommonName: "IOTmidCA", Organization: []string{"EJBCA IOT"}},
		DNSNames:       []string{"mqtt.example.com", "*.example.com"},
		IPAddresses:    []net.IP{net.ParseIP("10.0.0.1").To4(), net.ParseIP("2001:db8::1")},
		EmailAddresses: []string{"root@example.com"},
		ExtraExtensions: []pkix.Extension{
			{Id: oidBasicConstraints, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}, // CA:TRUE
			{Id: oidKeyUsage, Critical: true, Value: []byte{3, 2, 1, 0x06}},               // keyCertSign, cRLSign
			{Id: oidExtKeyUsage, Value: []byte{0x30, 0}},
			{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}},
		},
	}
}

func TestProfile(t *testing.T) {
	clock := newClock()
	s := serve(t, newDir(t), localca.Options{Now: clock.Now})
	root := s.ca.Certificate()
	s.register("admin:5c6512")
	status, text := s.sign("admin:5c6512", newRequest(t, keys()[0], greedy()))
	cert := s.certificate(status, text)

	if err := cert.CheckSignatureFrom(root); err != nil {
		t.Error(err)
	}
	type facts struct {
		Subject, Issuer     string
		CA                  bool
		KeyUsage            x509.KeyUsage
		DNS                 []string
		IPs                 []string
		Emails              []string
		Algorithm           x509.SignatureAlgorithm
		NotBefore, NotAfter time.Time
		Extensions          []string
	}
	got := facts{
		cert.Subject.String(), cert.Issuer.String(), cert.IsCA, cert.KeyUsage, cert.DNSNames, nil, cert.EmailAddresses,
		cert.SignatureAlgorithm, cert.NotBefore, cert.NotAfter, nil,
	}
	for _, ip := range cert.IPAddresses {
		got.IPs = append(got.IPs, ip.String())
	}
	for _, e := range cert.Extensions {
		got.Extensions = append(got.Extensions, fmt.Sprintf("%v %v", e.Id, e.Critical))
	}
	want := facts{
		"CN=admin:5c6512", issuerDN, false,
		x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageKeyAgreement,
		[]string{"mqtt.example.com", "*.example.com"}, []string{"10.0.0.1", "2001:db8::1"}, nil,
		x509.SHA256WithRSA, clock.Now().Add(-10 * time.Minute), clock.Now().Add(-10*time.Minute + 730*24*time.Hour),
		// AKI, SAN, key usage, basic constraints, SKI: none critical
		[]string{"2.5.29.14 false", "2.5.29.35 false", "2.5.29.17 false", "2.5.29.15 false", "2.5.29.19 false"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("certificate (-want +got):\n" + diff)
	}
	if n := cert.SerialNumber; n.Sign() <= 0 || n.BitLen() < 64 || n.BitLen() > 127 {
		t.Errorf("serial %x", n)
	}
	// What a broker does with a client's certificate.
	roots := x509.NewCertPool()
	roots.AddCert(root)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}

	if root.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || !root.IsCA || len(root.SubjectKeyId) != 20 {
		t.Errorf("root has key usage %b, CA %v, key identifier %x", root.KeyUsage, root.IsCA, root.SubjectKeyId)
	}
	if years := root.NotAfter.Sub(root.NotBefore).Hours() / 24 / 365; years != 10 {
		t.Errorf("root lives %v years, want 10", years)
	}
}

func TestCertificatesEndWithTheCA(t *testing.T) {
	clock := newClock()
	s := serve(t, newDir(t), localca.Options{Now: clock.Now})
	end := s.ca.Certificate().NotAfter
	clock.Advance(9 * 365 * 24 * time.Hour)
	if cert := s.enrol("a", keys()[0]); !cert.NotAfter.Equal(end) {
		t.Errorf("certificate ends %v, want %v as the CA does", cert.NotAfter, end)
	}
	clock.Advance(365 * 24 * time.Hour)
	s.register("b")
	if status, text := s.sign("b", newRequest(t, keys()[1], nil)); status != 400 || !strings.Contains(text, "expired") {
		t.Errorf("got %d %s, want 400: expired", status, text)
	}
}

func TestRequestForms(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	der := newRequest(t, keys()[0], nil)
	plain := base64.StdEncoding.EncodeToString(der)
	for name, text := range map[string]string{
		"one line":        plain,
		"broken lines":    plain[:64] + "\r\n" + plain[64:] + "\n",
		"armour":          string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
		"armour as of IE": string(pem.EncodeToMemory(&pem.Block{Type: "NEW CERTIFICATE REQUEST", Bytes: der})),
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.register("a")
			status, text := s.ask("POST", "/sign/a/pkcs10/", asJSON(map[string]string{"passwd": "secret", "certificate": text}))
			s.certificate(status, text)
		})
	}
}

func TestHostileRequests(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	s.register("a")
	good := newRequest(t, keys()[0], nil)
	tampered := append([]byte(nil), good...)
	tampered[len(tampered)-1] ^= 1
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	with := func(key crypto.Signer) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "a"}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	many := make([]net.IP, 101)
	for i := range many {
		many[i] = net.IPv4(10, 0, 0, byte(i)).To4()
	}
	text := base64.StdEncoding.EncodeToString(good)
	for _, tc := range []struct{ name, request, want string }{
		{"empty", "", "Illegal request"},
		{"garbage", "AAAA", "Illegal request"},
		{"not base64", "&&&&", "Illegal request"},
		{"half", text[:len(text)/2-len(text)/2%4], "Illegal request"},
		{"trailing bytes", base64.StdEncoding.EncodeToString(append(good[:len(good):len(good)], 0)), "Illegal request"},
		{"a certificate", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Certificate().Raw})), "Illegal request"},
		{"two requests", strings.Repeat(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good})), 2), "Illegal request"},
		{"tampered", base64.StdEncoding.EncodeToString(tampered), "POPO verification failed."},
		{"1024 bits", base64.StdEncoding.EncodeToString(with(weak)), "Illegal key length: 1024."},
		{"huge key", base64.StdEncoding.EncodeToString(withModulus(t, good, 40_000)), "Illegal key length: 40000."},
		{"P-256", base64.StdEncoding.EncodeToString(with(p256)), "Illegal key length: 256."},
		{"Ed25519", base64.StdEncoding.EncodeToString(with(edKey)), "Unsupported public key (Ed25519), only RSA and ECDSA keys are supported."},
		{"SHA-1", base64.StdEncoding.EncodeToString(signedWith(t, good, crypto.SHA1)), "Unsupported signature algorithm (SHA1-RSA)"},
		{"MD5", base64.StdEncoding.EncodeToString(signedWith(t, good, crypto.MD5)), "Unsupported signature algorithm"},
		{"many names", base64.StdEncoding.EncodeToString(newRequest(t, keys()[0], &x509.CertificateRequest{IPAddresses: many})), "101 names"},
		{"name with a blank", base64.StdEncoding.EncodeToString(newRequest(t, keys()[0], &x509.CertificateRequest{DNSNames: []string{"a b"}})), "is no DNS name"},
		{"name with a line break", base64.StdEncoding.EncodeToString(newRequest(t, keys()[0], &x509.CertificateRequest{DNSNames: []string{"a\nb"}})), "is no DNS name"},
		{"empty name", base64.StdEncoding.EncodeToString(newRequest(t, keys()[0], &x509.CertificateRequest{DNSNames: []string{"a..b"}})), "is no DNS name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			status, got := s.ask("POST", "/sign/a/pkcs10", asJSON(map[string]string{"passwd": "secret", "certificate": tc.request}))
			if status != 400 || !strings.Contains(got, tc.want) {
				t.Errorf("got %d %s, want 400 %s", status, got, tc.want)
			}
		})
	}
	// None of that used the end entity up.
	status, got := s.sign("a", good)
	s.certificate(status, got)
}

// rawRequest is CertificationRequest of RFC 2986.
type rawRequest struct {
	Info      asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// signedWith signs a request of keys()[0] again, with a hash that the standard
// library doesn't sign with any more.
func signedWith(t *testing.T, der []byte, hash crypto.Hash) []byte {
	t.Helper()
	var raw rawRequest
	if _, err := asn1.Unmarshal(der, &raw); err != nil {
		t.Fatal(err)
	}
	var digest []byte
	switch hash {
	case crypto.SHA1:
		sum := sha1.Sum(raw.Info.FullBytes)
		digest = sum[:]
		raw.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	case crypto.MD5:
		sum := md5.Sum(raw.Info.FullBytes)
		digest = sum[:]
		raw.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, keys()[0], hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	raw.Signature = asn1.BitString{Bytes: sig, BitLength: len(sig) * 8}
	out, err := asn1.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// withModulus gives a request a key so large that checking its signature
// would take long.
func withModulus(t *testing.T, der []byte, bits int) []byte {
	t.Helper()
	var raw rawRequest
	if _, err := asn1.Unmarshal(der, &raw); err != nil {
		t.Fatal(err)
	}
	var info struct {
		Version int
		Subject asn1.RawValue
		Key     struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		Attributes asn1.RawValue `asn1:"optional,tag:0"`
	}
	if _, err := asn1.Unmarshal(raw.Info.FullBytes, &info); err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	n.SetBit(n, 0, 1)
	key := x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: n, E: 65537})
	info.Key.Key = asn1.BitString{Bytes: key, BitLength: len(key) * 8}
	full, err := asn1.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	raw.Info = asn1.RawValue{FullBytes: full}
	out, err := asn1.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUniqueSubject(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{})
	s.enrol("mosquitto", keys()[0])
	s.must("POST", "/user", `{"username":"evil","password":"secret","subjectDN":"cn= mosquitto"}`, nil)
	status, text := s.sign("evil", newRequest(t, keys()[1], nil))
	if status != 400 || !strings.Contains(text, "is not allowed to use same subject DN as the user(s) 'mosquitto'") {
		t.Errorf("got %d %s, want 400", status, text)
	}
	// One's own again, with the same key or another, is renewal.
	first := s.enrol("mosquitto", keys()[0])
	second := s.enrol("mosquitto", keys()[2])
	if first.SerialNumber.Cmp(second.SerialNumber) == 0 {
		t.Errorf("both have serial %x", first.SerialNumber)
	}
	// A user that was removed leaves its name to nobody else.
	s.must("DELETE", "/user/mosquitto?delete=true", "", nil)
	if status, text := s.sign("evil", newRequest(t, keys()[1], nil)); status != 400 {
		t.Errorf("got %d %s, want 400", status, text)
	}
	s.enrol("mosquitto", keys()[2])
}

// Certificates that are made one after the other are stored by halves.
func TestSigningSharesTransactions(t *testing.T) {
	dir := newDir(t)
	const clients = 12
	now := time.Now() // of the CA, not of the bubble
	requests := make([]string, clients)
	for i := range requests {
		requests[i] = signBody("secret", newECDSARequest(t, "P-256"))
	}
	synctest.Test(t, func(t *testing.T) {
		begin := make(chan struct{})
		close(begin)
		ca, err := localca.Open(dir, localca.Options{ECDSA: true, Now: func() time.Time {
			<-begin
			return now
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer ca.Close()
		post := func(path, body string) {
			r := httptest.NewRequest("POST", path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			if ca.ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		for i := range clients {
			post("/user", asJSON(map[string]any{"username": fmt.Sprint("u", i), "password": "secret"}))
		}
		before := localca.Commits(t, ca)
		begin = make(chan struct{}) // the first ask for the time, the others wait for them
		var wg sync.WaitGroup
		for i, request := range requests {
			wg.Go(func() { post(fmt.Sprintf("/sign/u%d/pkcs10", i), request) })
		}
		synctest.Wait()
		close(begin)
		wg.Wait()
		if n := localca.Commits(t, ca) - before; n != 2 {
			t.Errorf("%d transactions for %d certificates, want 2", n, clients)
		}
	})
}
