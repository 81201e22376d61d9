package provision

import (
	"cmp"
	"crypto/x509"
	"path/filepath"
)

// Files are the paths of an identity's files, all PEM. Those of one identity
// must differ. Those of the CA may be shared; if it was built anew, the first
// identity to get its new certificate changes them for all. What is changed is
// replaced: in place of a symbolic link there is a file then.
type Files struct {
	Key  string // private key, PKCS #8, mode 0600
	CSR  string // PKCS #10 request
	Cert string // the certificate, followed by intermediates if its issuer is one
	CA   string // the CA's chain, the issuer first
	CRL  string // the CA's revocation list; empty: none is kept, and it is no error if none can be had

	invalid error // what DeviceFiles was given is no name
}

// DeviceFiles are the names by which dojot's certificate retriever knows a
// device's files: <dir>/<device>.key, .csr and .crt, <dir>/<ca>.crt and .crl.
//
// Names that [CheckName] refuses never become paths: the Files returned are
// empty, and whatever they are given to fails with CheckName's error. So do
// files of a device that is called like its CA, as they would be the same.
func DeviceFiles(dir, device, ca string) Files {
	err := cmp.Or(CheckName("device", device), CheckName("CA", ca))
	if err == nil && device == ca {
		err = &FieldError{"CA", ca, "another name than the device's, or their files would be the same"}
	}
	if err != nil {
		return Files{invalid: err}
	}
	return Files{
		Key:  filepath.Join(dir, device+".key"),
		CSR:  filepath.Join(dir, device+".csr"),
		Cert: filepath.Join(dir, device+".crt"),
		CA:   filepath.Join(dir, ca+".crt"),
		CRL:  filepath.Join(dir, ca+".crl"),
	}
}

// BrokerFiles are the names by which dojot's MQTT manager knows its broker's
// files: mosquitto.key, .csr and .crt, and ca.crt. CRL is empty: a broker's
// crlfile decides who gets in, and is package crl's to keep.
func BrokerFiles(dir string) Files {
	return Files{
		Key:  filepath.Join(dir, "mosquitto.key"),
		CSR:  filepath.Join(dir, "mosquitto.csr"),
		Cert: filepath.Join(dir, "mosquitto.crt"),
		CA:   filepath.Join(dir, "ca.crt"),
	}
}

// Chain reads the CA's certificates, the issuer first: those that belong to
// what KeyPair reads, even if they are just being replaced.
func (f Files) Chain() ([]*x509.Certificate, error) {
	if f.invalid != nil {
		return nil, f.invalid
	}
	if _, err := f.nextPair(); err == nil {
		if chain, err := readFile(f.nextOf(f.CA), parseCerts); err == nil {
			return chain, nil
		}
	}
	return readFile(f.CA, parseCerts)
}

// validate asks for what Ensure writes, each under a name of its own.
func (f Files) validate() error {
	if f.invalid != nil {
		return f.invalid
	}
	seen := map[string]bool{}
	for _, file := range []struct{ field, path string }{
		{"key file", f.Key}, {"request file", f.CSR}, {"certificate file", f.Cert}, {"CA file", f.CA}, {"list file", f.CRL},
	} {
		path := filepath.Clean(file.path)
		switch {
		case file.path == "" && file.field == "list file":
		case file.path == "":
			return &FieldError{file.field, file.path, "a path"}
		case seen[path]:
			return &FieldError{file.field, file.path, "a path that no other file has"}
		}
		seen[path] = true
	}
	return nil
}

// Leaf reads the identity's certificate.
func (f Files) Leaf() (*x509.Certificate, error) {
	if f.invalid != nil {
		return nil, f.invalid
	}
	certs, err := readFile(f.Cert, parseCerts)
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}
