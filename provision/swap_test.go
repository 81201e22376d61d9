package provision_test

import (
	"crypto/x509"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A set whose last file cannot be renamed stays beside the old one, which is
// in service as it was, for brokers that know no suffix, too.
func TestSwapThatCannotBeFinished(t *testing.T) {
	ca := newTestCA(t, "ca")
	for name, obstruct := range map[string]func(t *testing.T, cert string) (clear func()){
		"immutable": func(t *testing.T, cert string) func() {
			return sudo(t, []string{"chattr", "+i", cert}, []string{"chattr", "-i", cert})
		},
		"mount point": func(t *testing.T, cert string) func() { // as of a file given to a container
			return sudo(t, []string{"mount", "--bind", cert, cert}, []string{"umount", cert})
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := crashIdentity(t.TempDir())
			id.KeyMode, id.CertMode = 0o640, 0o604
			ensure(t, id, ca)
			before := snapshot(t, id.Files)
			clear := obstruct(t, id.Files.Cert)

			id.Overwrite = true
			var first *x509.Certificate
			for range 2 { // once to decide it, once to take it up
				if _, err := id.Ensure(t.Context(), ca); err == nil || !strings.Contains(err.Error(), id.Files.Cert) {
					t.Fatalf("got %v, want an error of %s", err, id.Files.Cert)
				}
				if !maps.Equal(snapshot(t, id.Files), before) {
					t.Error("what is in service has changed")
				}
				pair, err := id.Files.KeyPair()
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = pair.Leaf
				}
				if leaf(t, id.Files).Equal(pair.Leaf) || !pair.Leaf.Equal(first) {
					t.Error("what was decided is not what readers of ours use")
				}
			}

			clear()
			id.Overwrite = false
			if got, want := ensure(t, id, ca), "CA kept, key kept, CSR kept, certificate kept, CRL made"; got != want {
				t.Errorf("taken up: %s, want %s", got, want)
			}
			if !leaf(t, id.Files).Equal(first) {
				t.Error("what was decided is not in service")
			}
			if rest, err := filepath.Glob(filepath.Join(filepath.Dir(id.Files.Key), "*.*.*")); err != nil || len(rest) > 0 {
				t.Errorf("left behind: %q, %v", rest, err)
			}
		})
	}
}

// The same without root: what is in the certificate's place is no file.
func TestTakeUpThatCannotBeFinished(t *testing.T) {
	ca := newTestCA(t, "ca")
	id, other := crashIdentity(t.TempDir()), crashIdentity(t.TempDir())
	ensure(t, id, ca)
	ensure(t, other, ca)
	if err := os.Remove(id.Files.Cert); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, id.Files)
	if err := os.Mkdir(id.Files.Cert, 0o755); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{other.Files.Key: id.Files.Key, other.Files.CSR: id.Files.CSR, other.Files.Cert: id.Files.Cert} {
		write(t, to+".next", read(t, from))
	}
	if _, err := id.Ensure(t.Context(), ca); err == nil || !strings.Contains(err.Error(), id.Files.Cert) {
		t.Fatalf("got %v, want an error of %s", err, id.Files.Cert)
	}
	if err := os.Remove(id.Files.Cert); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(snapshot(t, id.Files), before) {
		t.Error("what is in service has changed")
	}
	ensure(t, id, ca)
	if !leaf(t, id.Files).Equal(leaf(t, other.Files)) {
		t.Error("what was decided is not in service")
	}
}

// sudo does what only root can, and skips the test where it cannot be done.
func sudo(t *testing.T, do, undo []string) func() {
	t.Helper()
	if out, err := exec.Command(do[0], do[1:]...).CombinedOutput(); err != nil {
		t.Skipf("%q: %v, %s", do, err, out)
	}
	clear := sync.OnceFunc(func() {
		if out, err := exec.Command(undo[0], undo[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v, %s", undo, err, out)
		}
	})
	t.Cleanup(clear)
	return clear
}
