package provision

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
)

// TLSConfig returns a client's configuration: it shows the certificate of
// files and trusts the CA of files, and nothing else. The certificate is read
// again at each handshake, so that a renewed one is used as soon as it is
// there. The CA is read once: a client that is to live through a CA that is
// built anew calls TLSConfig for each connection. TLS 1.2 is the minimum.
//
// ServerName is left empty: most clients fill in the host that they dial. A
// ClientSessionCache goes on with the certificate of the first handshake.
func TLSConfig(files Files) (*tls.Config, error) {
	chain, err := files.Chain()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, c := range chain {
		roots.AddCert(c)
	}
	if _, err := files.KeyPair(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots,
		// GetClientCertificate is asked whatever CAs the server names, so the
		// certificate is sent in any case and the server says what it thinks
		// of it; crypto/tls would else send none and blame the client.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return files.KeyPair()
		},
	}, nil
}

// KeyPair reads key and certificate, which must belong together. They may be
// about to be replaced, by a process that runs or one that crashed, so each is
// looked for under its next name, too; and again if that was too late.
func (f Files) KeyPair() (pair *tls.Certificate, err error) {
	if f.invalid != nil {
		return nil, f.invalid
	}
	for range 3 {
		// First, as the old pair may be there still, and the new CA already.
		if pair, err := f.nextPair(); err == nil {
			return pair, nil
		}
		if pair, err = readPair(f.Key, f.Cert); err == nil {
			return pair, nil
		}
	}
	return nil, err
}

// nextPair reads the pair that a swap has decided on but not put in place yet.
func (f Files) nextPair() (*tls.Certificate, error) {
	pair, err := readPair(f.Key+next, f.Cert+next)
	if err == nil || isUnreadable(err) {
		return pair, err
	}
	return readPair(f.Key, f.Cert+next) // the key is in place already
}

// isUnreadable tells a file that cannot be read just now from one that is not
// there, or not what it should be.
func isUnreadable(err error) bool {
	return errors.As(err, new(*fs.PathError)) && !errors.Is(err, fs.ErrNotExist)
}

func readPair(keyPath, certPath string) (*tls.Certificate, error) {
	certs, err := readFile(certPath, parseCerts)
	if err != nil {
		return nil, err
	}
	key, err := readFile(keyPath, parseKey)
	if err != nil {
		return nil, err
	}
	if !samePublicKey(certs[0].PublicKey, key.Public()) {
		return nil, fmt.Errorf("%s is not the key of %s", keyPath, certPath)
	}
	pair := &tls.Certificate{PrivateKey: key.(crypto.PrivateKey), Leaf: certs[0]}
	for _, c := range certs {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}
