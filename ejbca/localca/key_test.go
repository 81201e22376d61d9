package localca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEncryptedKey(t *testing.T) {
	for name, bits := range map[string]int{"RSA": 2048, "ECDSA": p256Bits} {
		t.Run(name, func(t *testing.T) {
			key, err := newKey(bits)
			if err != nil {
				t.Fatal(err)
			}
			der, err := marshalKey(key, "correct horse")
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseKey(der, "correct horse")
			if err != nil || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got.Public()) {
				t.Errorf("got %T, %v", got, err)
			}
			if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
				t.Error("it can be read without the passphrase")
			}
			for _, passphrase := range []string{"", "correct horse "} {
				if _, err := parseKey(der, passphrase); !errors.Is(err, ErrPassphrase) {
					t.Errorf("passphrase %q: got %v, want ErrPassphrase", passphrase, err)
				}
			}
			opensslReads(t, der, key)
		})
	}
}

// opensslReads has openssl decrypt the key.
func opensslReads(t *testing.T, der []byte, key crypto.Signer) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl")
	}
	dir := t.TempDir()
	keyFile, passFile := filepath.Join(dir, "ca.key"), filepath.Join(dir, "passphrase")
	for path, data := range map[string][]byte{keyFile: der, passFile: []byte("correct horse\n")} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(openssl, "pkey", "-inform", "DER", "-in", keyFile, "-passin", "file:"+passFile, "-pubout", "-outform", "DER").Output()
	if err != nil {
		t.Fatalf("openssl: %v", err)
	}
	want, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil || !bytes.Equal(out, want) {
		t.Errorf("openssl read another key: %v", err)
	}
}

func TestDamagedKey(t *testing.T) {
	key, err := newKey(p256Bits)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := marshalKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, passphrase string
		der              []byte
		want             string
	}{
		{"nothing", "", nil, "damaged"},
		{"half", "", plain[:len(plain)/2], "damaged"},
		{"nothing, with passphrase", "x", nil, "damaged"},
		{"not encrypted", "x", plain, "isn't encrypted, but a passphrase is given"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := parseKey(tc.der, tc.passphrase); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// Whatever the file holds, it is a key or an error, soon.
func FuzzKey(f *testing.F) {
	key, err := newKey(p256Bits)
	if err != nil {
		f.Fatal(err)
	}
	for _, passphrase := range []string{"", "x"} {
		der, err := marshalKey(key, passphrase)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		var e encryptedKey
		if e.unmarshal(der) == nil && e.Algorithm.Params.KDF.Params.Rounds > 10_000 {
			return // slow on purpose
		}
		for _, passphrase := range []string{"", "x"} {
			if key, err := parseKey(der, passphrase); (key == nil) != (err != nil) {
				t.Errorf("got %v, %v", key, err)
			}
		}
	})
}
