package mosquittoconf

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

// Owner is the numeric owner and group of a file.
type Owner struct{ UID, GID int }

// Pair is a broker's certificate and private key in one file, which both
// certfile and keyfile name: a new pair is there at once, or not at all.
//
// It is for the hook of a public CA's client. Let's Encrypt's, say, keeps
// fullchain.pem and privkey.pem where only root may read them; the broker needs
// a copy that belongs to its user, and a wrong one fails all its handshakes
// until the next. So a deploy hook reads both, calls Install, and signals the
// broker only if that has changed the file and returned no error.
type Pair struct {
	// Path is the file.
	Path string

	// Owner is the broker's user, who must be able to read the file. Nil
	// leaves the file to the user of this process. The mode is 0600.
	Owner *Owner

	// Names are those that clients connect to: host names or IP addresses,
	// all of which the certificate must have.
	Names []string

	// Roots are the CAs that clients trust, to which the chain must lead. Nil
	// means those of the system.
	Roots *x509.CertPool

	// Now is when the certificate must be valid. Zero means the current time.
	Now time.Time
}

// Install puts a chain, the broker's certificate first, and its key, all in
// PEM, into the file, if the broker can use them and clients will accept them:
// the key is that of the certificate, which is valid, for servers, has all
// Names, and leads over the intermediate CAs that follow it to Roots. Otherwise
// the file stays as it is. Errors say nothing of the key.
func (p *Pair) Install(chain, key []byte) (changed bool, err error) {
	data, err := p.join(chain, key)
	if err != nil {
		return false, fmt.Errorf("new pair for %s: %w", p.Path, err)
	}
	attr := durable.Attr{Mode: 0o600, Owner: (*durable.Owner)(p.Owner)}
	old, err := os.ReadFile(p.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if is, statErr := durable.AttrOf(p.Path); statErr == nil && bytes.Equal(old, data) && is.Mode == attr.Mode &&
		(attr.Owner == nil || *is.Owner == *attr.Owner) {
		return false, nil
	}
	return true, durable.WriteFile(p.Path, data, attr)
}

// join checks the pair and returns what the file will hold.
func (p *Pair) join(chain, key []byte) ([]byte, error) {
	certs, err := parseCertificates(chain)
	if err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	var out bytes.Buffer
	for _, cert := range certs {
		pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a Buffer takes all
	}
	private, err := parseKey(key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if !samePublicKey(private.Public(), certs[0].PublicKey) {
		return nil, errors.New("the key is not that of the certificate")
	}
	options := x509.VerifyOptions{
		Roots:         p.Roots,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   p.Now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, cert := range certs[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := certs[0].Verify(options); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	for _, name := range p.Names {
		if err := certs[0].VerifyHostname(name); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return out.Bytes(), nil
}
