package ejbca

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Sign has a certificate made for the key of csr and the end entity called
// user, whose password it takes. The certificate returned carries that key;
// its subject is the end entity's, whatever csr says. That the CA signed it is
// for [Issuer.Sign] to check, which knows the CA. An end entity that has its
// certificate already is [ErrGenerated], a wrong password [ErrDenied].
//
// It isn't repeated by itself: the answer may have been lost after the end
// entity was used up. Then PutUser, and Sign again; or see Certificates.
func (c *Client) Sign(ctx context.Context, user, password string, csr *x509.CertificateRequest) (*x509.Certificate, error) {
	op := fmt.Sprintf("sign for %q", user)
	if len(csr.Raw) == 0 {
		return nil, fmt.Errorf("ejbca: %s: the request isn't encoded, parse what x509.CreateCertificateRequest returns", op)
	}
	body := map[string]string{"passwd": password, "certificate": base64.StdEncoding.EncodeToString(csr.Raw)}
	var answer struct{ Status json.RawMessage }
	if err := c.do(ctx, request{op: op, method: http.MethodPost, path: []string{"sign", user, "pkcs10"}, body: body, secret: password}, &answer); err != nil {
		return nil, err
	}
	certs, err := parseSigned(answer.Status)
	if err != nil {
		return nil, fmt.Errorf("ejbca: %s: %w", op, err)
	}
	for _, cert := range certs {
		if hasKey(cert, csr) {
			return cert, nil
		}
	}
	return nil, fmt.Errorf("ejbca: %s: the certificate that came back is for another key", op)
}

func hasKey(cert *x509.Certificate, csr *x509.CertificateRequest) bool {
	key, ok := csr.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(cert.PublicKey)
}

// parseSigned reads member status of the answer.
func parseSigned(status json.RawMessage) ([]*x509.Certificate, error) {
	var signed struct{ Data, ResponseType string }
	if err := json.Unmarshal(status, &signed); err != nil {
		// EJBCA-REST of early 2019 put Python's own notation there.
		return nil, errors.New("the answer's status isn't a JSON object with data and responseType; this version of the service isn't supported")
	}
	der, err := decodeArmour(signed.Data)
	if err != nil {
		return nil, err
	}
	switch signed.ResponseType {
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(der)
		return []*x509.Certificate{cert}, err
	case "PKCS7":
		return parsePKCS7(der)
	}
	return nil, fmt.Errorf("unknown responseType %q (want CERTIFICATE or PKCS7)", shorten(signed.ResponseType))
}

// parsePKCS7 reads the certificates of a SignedData (RFC 2315 section 9.1),
// which is what EJBCA-REST answered before September 2017. Its signatures
// don't matter here.
func parsePKCS7(der []byte) ([]*x509.Certificate, error) {
	var outer struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return nil, fmt.Errorf("PKCS#7: %w", err)
	}
	if !outer.Type.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}) {
		return nil, fmt.Errorf("PKCS#7: content %v (want signedData)", outer.Type)
	}
	var data asn1.RawValue
	if _, err := asn1.Unmarshal(outer.Content.Bytes, &data); err != nil {
		return nil, fmt.Errorf("PKCS#7: %w", err)
	}
	for rest := data.Bytes; len(rest) > 0; {
		var part asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &part); err != nil {
			return nil, fmt.Errorf("PKCS#7: %w", err)
		}
		if part.Class == asn1.ClassContextSpecific && part.Tag == 0 {
			return x509.ParseCertificates(part.Bytes)
		}
	}
	return nil, errors.New("PKCS#7: no certificates")
}
