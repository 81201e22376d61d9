package ejbca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"
	"time"
)

// Whatever a service answers to a request, it is certificates or an error.
func FuzzParseSigned(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Now()}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		f.Fatal(err)
	}
	data := base64.StdEncoding.EncodeToString(der)
	f.Add(fmt.Appendf(nil, `{"data":%q,"responseType":"CERTIFICATE"}`, data))
	f.Add([]byte(`{"data":"MBMGCSqGSIb3DQEHAqAGMASgAgUA","responseType":"PKCS7"}`))
	f.Add([]byte(`"{'data': b'MII'}"`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, status []byte) {
		certs, err := parseSigned(json.RawMessage(status))
		if err != nil {
			return
		}
		if len(certs) == 0 {
			return // a PKCS#7 without any, which is for another key
		}
		for _, cert := range certs {
			if cert == nil || len(cert.Raw) == 0 {
				t.Errorf("got an empty certificate of %q", status)
			}
		}
	})
}

// A PKCS#7 that is none, or one that holds anything, is certificates or an
// error.
func FuzzPKCS7(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Now()}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		f.Fatal(err)
	}
	for _, certs := range [][]byte{nil, cert, append(cert[:len(cert):len(cert)], cert...), cert[:len(cert)/2]} {
		raw := func(class, tag int, content []byte) asn1.RawValue {
			return asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: content}
		}
		signed, err := asn1.Marshal(struct {
			Version    int
			Algorithms asn1.RawValue
			Content    struct{ Type asn1.ObjectIdentifier }
			Certs      asn1.RawValue
			Signers    asn1.RawValue
		}{
			1, raw(asn1.ClassUniversal, asn1.TagSet, nil), struct{ Type asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}},
			raw(asn1.ClassContextSpecific, 0, certs), raw(asn1.ClassUniversal, asn1.TagSet, nil),
		})
		if err != nil {
			f.Fatal(err)
		}
		der, err := asn1.Marshal(struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue
		}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, raw(asn1.ClassContextSpecific, 0, signed)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		certs, err := parsePKCS7(der)
		if err != nil && certs != nil {
			t.Errorf("got certificates and %v", err)
		}
		for _, cert := range certs {
			if cert == nil || len(cert.Raw) == 0 || !bytes.Contains(der, cert.Raw) {
				t.Errorf("got a certificate that isn't in %x", der)
			}
		}
	})
}
