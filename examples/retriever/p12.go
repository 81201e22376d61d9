package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/provision"
)

// saveP12 writes key, certificate and CA chain in one PKCS #12 file, as Java
// and mobile systems want them, unless that is what it has.
func saveP12(path, password string, files provision.Files, attr durable.Attr) error {
	pair, err := files.KeyPair()
	if err != nil {
		return err
	}
	chain, err := files.Chain()
	if err != nil {
		return err
	}
	if has, err := hasP12(path, password, pair, chain); err != nil {
		return err
	} else if has {
		return attr.Apply(path)
	}
	data, err := pkcs12.Modern.Encode(pair.PrivateKey, pair.Leaf, chain, password)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return durable.WriteFile(path, data, attr)
}

// hasP12 reports whether that is what the file has. One that it cannot make
// sense of is to be replaced; what is no file is not.
func hasP12(path, password string, pair *tls.Certificate, chain []*x509.Certificate) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%s is not a regular file", path)
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	_, leaf, cas, err := pkcs12.DecodeChain(have, password)
	return err == nil && leaf.Equal(pair.Leaf) && slices.EqualFunc(cas, chain, (*x509.Certificate).Equal), nil
}
