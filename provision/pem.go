package provision

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

const (
	typeKey  = "PRIVATE KEY"
	typeCSR  = "CERTIFICATE REQUEST"
	typeCert = "CERTIFICATE"
	typeCRL  = "X509 CRL"
)

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: der}), nil
}

func encodeCerts(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		// Writing to a buffer cannot fail, and the block has no headers.
		pem.Encode(&b, &pem.Block{Type: typeCert, Bytes: c.Raw})
	}
	return b.Bytes()
}

// parseKey reads a PEM private key in any of the forms that OpenSSL writes
// without a password. Its errors never quote the input.
func parseKey(data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" { // as openssl ecparam -genkey puts before the key
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("a private key with a password (want one without)")
	}
	var key any
	var err error
	switch block.Type {
	case typeKey:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a PEM block of type %q (want %q)", block.Type, typeKey)
	}
	if err != nil {
		return nil, errors.New("malformed private key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

func parseCSR(data []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != typeCSR || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("want one PEM block of type %q", typeCSR)
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

// parseCerts reads one or more PEM certificates, and none that is cut short.
func parseCerts(data []byte) ([]*x509.Certificate, error) {
	begun := bytes.Count(data, []byte("-----BEGIN "))
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != typeCert {
			return nil, fmt.Errorf("a PEM block of type %q (want %q)", block.Type, typeCert)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no PEM certificate")
	}
	if len(certs) < begun {
		return nil, fmt.Errorf("%d of %d PEM blocks are malformed", begun-len(certs), begun)
	}
	return certs, nil
}

func parseList(data []byte) (*x509.RevocationList, error) {
	der, err := decodeList(data)
	if err != nil {
		return nil, err
	}
	return x509.ParseRevocationList(der)
}

func decodeList(data []byte) ([]byte, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != typeCRL || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("want one PEM block of type %q", typeCRL)
	}
	return block.Bytes, nil
}

// maxFile bounds what is read; a PEM chain of a dozen certificates is a few
// tens of kilobytes.
const maxFile = 1 << 20

// readFile parses a file; errors name it.
func readFile[T any](path string, parse func([]byte) (T, error)) (T, error) {
	return readFileOf(path, maxFile, parse)
}

func readFileOf[T any](path string, limit int64, parse func([]byte) (T, error)) (T, error) {
	var zero T
	info, err := os.Stat(path)
	if err != nil {
		return zero, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return zero, fmt.Errorf("%s: want a file of at most %d bytes", path, limit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return zero, err
	}
	v, err := parse(data)
	if err != nil {
		return zero, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}
