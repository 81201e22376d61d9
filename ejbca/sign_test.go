package ejbca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
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
