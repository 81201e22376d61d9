package localca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net"
	"testing"
	"time"
)

// Whatever a request holds, it is refused with a 400 or gets a certificate of
// the profile.
func FuzzRequest(f *testing.F) {
	root, err := newAuthority("fuzz", rootDN("fuzz"), nil, p256Bits, rootLifetime, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "a"},
		DNSNames:    []string{"mqtt", "*.example.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}},
		},
	}
	for _, bits := range []int{minKeyBits, p256Bits} {
		key, err := newKey(bits)
		if err != nil {
			f.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der, false)
		f.Add(der, true)
	}
	f.Add([]byte("&"), false)
	f.Add([]byte{0x30, 0}, true)
	e := entity{Username: "a", SubjectDN: "CN=a"}
	f.Fuzz(func(t *testing.T, der []byte, armour bool) {
		text := base64.StdEncoding.EncodeToString(der)
		if armour {
			text = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
		}
		csr, err := parseRequest(text, true)
		if err == nil {
			err = csr.CheckSignature()
			if err != nil {
				t.Fatalf("accepted a request with a bad signature: %v", err)
			}
		} else if fault := (*fault)(nil); !errors.As(err, &fault) || fault.Status != 400 || fault.Message == "" {
			t.Fatalf("got %v, want 400", err)
		} else {
			return
		}
		switch key := csr.PublicKey.(type) {
		case *rsa.PublicKey:
			if n := key.N.BitLen(); n < minKeyBits || n > maxKeyBits {
				t.Errorf("accepted RSA with %d bits", n)
			}
		case *ecdsa.PublicKey:
			if n := key.Params().BitSize; n != p256Bits {
				t.Errorf("accepted ECDSA with %d bits", n)
			}
		default:
			t.Errorf("accepted a key %T", key)
		}
		made, err := root.certify(e, csr, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(made.der)
		if err != nil {
			t.Fatal(err)
		}
		if cert.SerialNumber.Cmp(made.serial) != 0 || !cert.NotAfter.Equal(made.notAfter) {
			t.Errorf("certificate %x until %v is noted as %x until %v", cert.SerialNumber, cert.NotAfter, made.serial, made.notAfter)
		}
		if cert.IsCA || cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 || cert.Subject.String() != "CN=a" {
			t.Errorf("got CA %v, usage %b, subject %v", cert.IsCA, cert.KeyUsage, cert.Subject)
		}
		if key := csr.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !key.Equal(cert.PublicKey) {
			t.Error("got a certificate for another key")
		}
		for _, ext := range cert.Extensions {
			switch id := ext.Id.String(); id {
			case "2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35":
			default:
				t.Errorf("got extension %s", id)
			}
		}
	})
}
