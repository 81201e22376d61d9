package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/dojot/mqtt-manager-go/internal/durable"
	"github.com/dojot/mqtt-manager-go/provision"
)

// saveP12 writes key, certificate and CA chain in one PKCS #12 file, as Java
// and mobile systems want them, unless that is what it has.
func saveP12(path, password string, files provision.Files) error {
	pair, err := files.KeyPair()
	if err != nil {
		return err
	}
	chain, err := files.Chain()
	if err != nil {
		return err
	}
	have, err := os.ReadFile(path)
	if err == nil {
		_, leaf, cas, err := pkcs12.DecodeChain(have, password)
		if err == nil && leaf.Equal(pair.Leaf) && len(cas) == len(chain) && cas[0].Equal(chain[0]) {
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := pkcs12.Modern.Encode(pair.PrivateKey, pair.Leaf, chain, password)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return durable.WriteFile(path, data, durable.Attr{Mode: 0o600})
}
