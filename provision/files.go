package provision

import (
	"crypto/x509"
	"path/filepath"
)

// Files are the paths of an identity's files, all PEM.
type Files struct {
	Key  string // private key, PKCS #8, mode 0600
	CSR  string // PKCS #10 request
	Cert string // the certificate, followed by intermediates if its issuer is one
	CA   string // the CA's chain, the issuer first
}

// DeviceFiles are the names by which dojot's certificate retriever knows a
// device's files: <dir>/<device>.key, .csr and .crt, and <dir>/<ca>.crt.
func DeviceFiles(dir, device, ca string) Files {
	return Files{
		Key:  filepath.Join(dir, device+".key"),
		CSR:  filepath.Join(dir, device+".csr"),
		Cert: filepath.Join(dir, device+".crt"),
		CA:   filepath.Join(dir, ca+".crt"),
	}
}

// BrokerFiles are the names by which dojot's MQTT manager knows its broker's
// files: mosquitto.key, .csr and .crt, and ca.crt.
func BrokerFiles(dir string) Files {
	return Files{
		Key:  filepath.Join(dir, "mosquitto.key"),
		CSR:  filepath.Join(dir, "mosquitto.csr"),
		Cert: filepath.Join(dir, "mosquitto.crt"),
		CA:   filepath.Join(dir, "ca.crt"),
	}
}

// Chain reads the CA's certificates, the issuer first.
func (f Files) Chain() ([]*x509.Certificate, error) { return readFile(f.CA, parseCerts) }
