package provision_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/provision"
)

// TestMain is, in a child of TestCrash, the program that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PROVISION_TEST_OVERWRITE"); dir != "" {
		overwriteForEver(dir)
	}
	os.Exit(m.Run())
}

func crashIdentity(dir string) *provision.Identity {
	return &provision.Identity{CommonName: "24f6", KeyType: provision.P256, Files: provision.DeviceFiles(dir, "24f6", "ca")}
}

func overwriteForEver(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ca := &testCA{}
	for name, parse := range map[string]func([]byte) error{
		"root.key": func(der []byte) (err error) { ca.key, err = x509.ParseECPrivateKey(der); return err },
		"root.crt": func(der []byte) (err error) { ca.cert, err = x509.ParseCertificate(der); return err },
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		fail(err)
		block, _ := pem.Decode(data)
		fail(parse(block.Bytes))
	}
	id := crashIdentity(dir)
	id.Overwrite = true
	for {
		_, err := id.Ensure(context.Background(), ca)
		fail(err)
		fmt.Println("once more")
	}
}

// Killed at any instant, the folder has a pair that a client can use, and the
// next call leaves one that anybody can.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	ca := newTestCA(t, "ca")
	der, err := x509.MarshalECPrivateKey(ca.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "root.key"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	write(t, filepath.Join(dir, "root.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})))
	id := crashIdentity(dir)
	ensure(t, id, ca)
	rounds := 12
	if testing.Short() {
		rounds = 5
	}
	split := 0
	for range rounds {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), "PROVISION_TEST_OVERWRITE="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Errorf("the child did nothing: %v", err)
		}
		time.Sleep(rand.N(8 * time.Millisecond)) // any instant
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait()
		if _, err := provision.TLSConfig(id.Files); err != nil {
			t.Fatalf("after the crash: %v", err)
		}
		if _, err := tls.LoadX509KeyPair(id.Files.Cert, id.Files.Key); err != nil {
			split++ // allowed, until the next call
		}
		if _, err := id.Ensure(t.Context(), ca); err != nil {
			t.Fatal(err)
		}
		if _, err := tls.LoadX509KeyPair(id.Files.Cert, id.Files.Key); err != nil {
			t.Fatalf("taken up: %v", err)
		}
		leftovers, err := filepath.Glob(filepath.Join(dir, "24f6*.*.*"))
		if err != nil || len(leftovers) > 0 {
			t.Errorf("left behind: %q, %v", leftovers, err)
		}
	}
	t.Logf("%d of %d crashes were between two renames", split, rounds)
}

// Each instant between two renames, one by one: what was decided is taken up,
// and what was not is dropped, by readers and by the next call alike.
func TestTakeUp(t *testing.T) {
	ca := newTestCA(t, "ca")
	for _, tc := range []struct {
		name    string
		inPlace []string // of the new set
		beside  []string // of the new set, with the suffix
		aside   []string // of the old set, replaced or about to be
		wantNew bool
	}{
		{"nothing but a key beside", nil, []string{"key"}, nil, false},
		{"no certificate beside", nil, []string{"key", "csr"}, nil, false},
		{"all beside", nil, []string{"key", "csr", "crt"}, nil, true},
		{"key set aside", nil, []string{"key", "csr", "crt"}, []string{"key"}, true},
		{"key in place", []string{"key"}, []string{"csr", "crt"}, []string{"key"}, true},
		{"key and request in place", []string{"key", "csr"}, []string{"crt"}, []string{"key", "csr"}, true},
		{"all in place", []string{"key", "csr", "crt"}, nil, []string{"key", "csr", "crt"}, true},
		{"all but the last cleared away", []string{"key", "csr", "crt"}, nil, []string{"key"}, true},
		{"a certificate without its key", nil, []string{"crt"}, nil, false},
		{"all beside, with a CA", nil, []string{"ca", "key", "csr", "crt"}, nil, true},
		{"no certificate beside, but a CA", nil, []string{"ca", "key", "csr"}, nil, false},
		{"a CA in place", []string{"ca"}, []string{"key", "csr", "crt"}, []string{"ca"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id, other := crashIdentity(t.TempDir()), crashIdentity(t.TempDir())
			ensure(t, id, ca)
			ensure(t, other, ca)
			path := func(ext string) string { return filepath.Join(filepath.Dir(id.Files.Key), "24f6."+ext) }
			beside := func(ext string) string {
				if ext == "ca" {
					return id.Files.CA + ".24f6.crt.next"
				}
				return path(ext) + ".next"
			}
			from := func(ext string) string {
				if ext == "ca" { // told from the other by what is no part of it
					return "# new\n" + read(t, other.Files.CA)
				}
				return read(t, filepath.Join(filepath.Dir(other.Files.Key), "24f6."+ext))
			}
			want := leaf(t, id.Files)
			if tc.wantNew {
				want = leaf(t, other.Files)
			}
			for _, ext := range tc.aside {
				old := path(ext)
				if ext == "ca" {
					old = id.Files.CA
				}
				write(t, beside(ext)+".replaced", read(t, old))
			}
			for _, ext := range tc.inPlace {
				if ext == "ca" {
					write(t, id.Files.CA, from(ext))
					continue
				}
				write(t, path(ext), from(ext))
			}
			for _, ext := range tc.beside {
				write(t, beside(ext), from(ext))
			}
			config, err := provision.TLSConfig(id.Files)
			if err != nil {
				t.Fatalf("for a reader: %v", err)
			}
			pair, err := config.GetClientCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			// Before the first rename, a reader may use either.
			if !slices.Contains(tc.beside, "key") && !pair.Leaf.Equal(want) {
				t.Error("a reader uses the wrong one")
			}
			if got := ensure(t, id, ca); got != "CA kept, key kept, CSR kept, certificate kept, CRL made" {
				t.Errorf("taken up: %s", got)
			}
			if !leaf(t, id.Files).Equal(want) {
				t.Error("the wrong certificate is in service")
			}
			if isNew := strings.HasPrefix(read(t, id.Files.CA), "# new"); isNew != (tc.wantNew && slices.Contains(append(tc.inPlace, tc.beside...), "ca")) {
				t.Errorf("the new CA is in service: %v", isNew)
			}
			if rest, err := filepath.Glob(filepath.Join(filepath.Dir(path("")), "*.next*")); err != nil || len(rest) > 0 {
				t.Errorf("left behind: %q, %v", rest, err)
			}
		})
	}
}

// When the CA was rebuilt and the key stays, the old pair fits until the last
// rename: readers must not take it for the new CA's.
func TestTakeUpOfARebuiltCA(t *testing.T) {
	const kept = "CA kept, key kept, CSR kept, certificate kept, CRL made"
	for _, tc := range []struct {
		inPlace, beside []string
		want            string // what the next call does
	}{
		{nil, []string{"ca", "crt"}, kept},
		{[]string{"ca"}, []string{"crt"}, kept},
		{[]string{"ca", "crt"}, nil, kept},
		{nil, []string{"ca"}, "key kept, CSR kept, CA made, certificate made, CRL made"}, // undecided
	} {
		id, rebuilt := crashIdentity(t.TempDir()), crashIdentity(t.TempDir())
		ensure(t, id, newTestCA(t, "ca"))
		write(t, rebuilt.Files.Key, read(t, id.Files.Key))
		ca := newTestCA(t, "ca")
		ensure(t, rebuilt, ca)
		paths := map[string]string{"ca": id.Files.CA, "crt": id.Files.Cert}
		besides := map[string]string{"ca": id.Files.CA + ".24f6.crt.next", "crt": id.Files.Cert + ".next"}
		from := map[string]string{"ca": read(t, rebuilt.Files.CA), "crt": read(t, rebuilt.Files.Cert)}
		for _, file := range tc.inPlace {
			write(t, paths[file], from[file])
		}
		for _, file := range tc.beside {
			write(t, besides[file], from[file])
		}
		pair, err := id.Files.KeyPair()
		if err != nil {
			t.Fatal(err)
		}
		chain, err := id.Files.Chain()
		if err != nil {
			t.Fatal(err)
		}
		if err := pair.Leaf.CheckSignatureFrom(chain[0]); err != nil {
			t.Errorf("%v in place, %v beside: %v", tc.inPlace, tc.beside, err)
		}
		if got := ensure(t, id, ca); got != tc.want {
			t.Errorf("%v in place, %v beside: taken up: %s, want %s", tc.inPlace, tc.beside, got, tc.want)
		}
	}
}

// What cannot be read just now may be decided all the same.
func TestTakeUpOfWhatCannotBeRead(t *testing.T) {
	ca := newTestCA(t, "ca")
	for _, tc := range []struct {
		name       string
		unreadable func(f provision.Files) string
		keyPath    func(f provision.Files) string // where the new key is, but for this
	}{
		{"key", func(f provision.Files) string { return f.Key }, func(f provision.Files) string { return f.Key + ".next" }},
		{"certificate", func(f provision.Files) string { return f.Cert }, func(f provision.Files) string { return f.Key }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id, other := crashIdentity(t.TempDir()), crashIdentity(t.TempDir())
			ensure(t, id, ca)
			ensure(t, other, ca)
			write(t, tc.keyPath(id.Files), read(t, other.Files.Key))
			write(t, id.Files.Cert+".next", read(t, other.Files.Cert))
			loop := tc.unreadable(id.Files) + ".next" // to itself, for a read that fails
			if err := os.Remove(loop); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(loop, loop); err != nil {
				t.Fatal(err)
			}
			if _, err := id.Ensure(t.Context(), ca); err == nil || !strings.Contains(err.Error(), loop) {
				t.Errorf("got %v, want an error of %s", err, loop)
			}
			if err := os.Remove(loop); err != nil {
				t.Fatal("it was discarded")
			}
			write(t, loop, read(t, tc.unreadable(other.Files)))
			ensure(t, id, ca)
			if !leaf(t, id.Files).Equal(leaf(t, other.Files)) {
				t.Error("what was decided is not in service")
			}
		})
	}
}
