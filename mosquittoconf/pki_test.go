package mosquittoconf_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

var serials atomic.Int64

// identity is a certificate with its key.
type identity struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes a certificate by ca, or a self-signed CA for a nil ca. The
// template needs a Subject and, to differ from a day around now, dates.
func issue(t *testing.T, template x509.Certificate, ca *identity) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issueFor(t, template, ca, key)
}

// issueFor is issue for a key that there is already.
func issueFor(t *testing.T, template x509.Certificate, ca *identity, key crypto.Signer) *identity {
	t.Helper()
	template.SerialNumber = big.NewInt(serials.Add(1))
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	id := &identity{key: key}
	if ca == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		ca = &identity{cert: &template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if id.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return id
}

func named(name string, usage ...x509.ExtKeyUsage) x509.Certificate {
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{"localhost"},
		ExtKeyUsage: usage,
	}
}

func (id *identity) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw})
}

func (id *identity) keyPEM(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// crlPEM is a list of the CA id that revokes nothing and ends at end.
func (id *identity) crlPEM(t *testing.T, end time.Time) []byte {
	t.Helper()
	begin := end.Add(-time.Hour)
	if now := time.Now(); end.After(now) {
		begin = now.Add(-time.Hour)
	}
	template := &x509.RevocationList{
		Number:     big.NewInt(1),
		ThisUpdate: begin,
		NextUpdate: end,
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, id.cert, id.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// material is a folder as a broker needs it: a CA, the broker's pair, a list
// and an access file that lets everybody read and write "a".
type material struct {
	dir        string
	ca, server *identity
	client     *identity
	peer       net.Listener // see remote
}

func newMaterial(t *testing.T) *material {
	t.Helper()
	m := &material{dir: t.TempDir()}
	m.ca = issue(t, named("test CA"), nil)
	m.server = issue(t, named("mosquitto", x509.ExtKeyUsageServerAuth), m.ca)
	m.client = issue(t, named("device1", x509.ExtKeyUsageClientAuth), m.ca)
	m.write(t, "ca.crt", m.ca.certPEM())
	m.write(t, "mosquitto.crt", m.server.certPEM())
	m.write(t, "mosquitto.key", m.server.keyPEM(t))
	m.write(t, "ca.crl", m.ca.crlPEM(t, time.Now().Add(24*time.Hour)))
	m.write(t, "access.acl", []byte("pattern readwrite a/%u\n"))
	return m
}

func (m *material) path(name string) string { return filepath.Join(m.dir, name) }

func (m *material) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(m.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, o mosquittotest.Options) *mosquittotest.Broker {
	t.Helper()
	b, err := mosquittotest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := mosquittotest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// limit is for what should come at once, on a machine that is busy.
const limit = time.Minute

// dialer bounds the TLS handshake, too.
var dialer = &net.Dialer{Timeout: limit}

// connack connects over TLS, with id unless it is nil, and returns the answer
// to an MQTT CONNECT, 0 for accepted.
func (m *material) connack(addr string, id *identity) (byte, error) {
	conn, err := tls.DialWithDialer(dialer, "tcp", addr, m.clientTLS(id))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return connect(conn)
}

// clientTLS is for a client with the identity id, unless it is nil.
func (m *material) clientTLS(id *identity) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(m.ca.cert)
	// In TLS 1.2 a refusal is an error of the handshake.
	conf := &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: tls.VersionTLS12}
	if id != nil {
		conf.Certificates = []tls.Certificate{id.tls()}
	}
	return conf
}

func (id *identity) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{id.cert.Raw}, PrivateKey: id.key}
}

// connect says MQTT CONNECT without a user name and returns the return code
// of the answer.
func connect(conn net.Conn) (byte, error) {
	conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")); err != nil {
		return 0, err
	}
	var answer [4]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return 0, err
	}
	return answer[3], nil
}
