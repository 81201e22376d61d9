package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key that the CA does not take stays, as another may take it, and the
// remedy says how to get another.
func TestKeyThatTheCARefuses(t *testing.T) {
	r := newRig(t)
	for _, args := range [][]string{{"--key-type", "p256"}, nil} {
		out, err := r.run(t.Context(), "24f6", args...)
		if err == nil || !strings.Contains(err.Error(), "Illegal key length: 256") || !strings.Contains(err.Error(), "-w --key-type rsa") {
			t.Errorf("%v: got %v\n%s", args, err, out)
		}
	}
	if out, err := r.run(t.Context(), "24f6", "-w", "--key-type", "rsa"); err != nil {
		t.Errorf("got %v\n%s", err, out)
	}
}

// So does what is left of one, and the remedy is another than for one that
// cannot be read now.
func TestKeyThatIsCutShort(t *testing.T) {
	r := newRig(t)
	for _, text := range []string{"", "-----BEGIN PRIVATE KEY-----\nMIIE"} {
		r.put(t, "24f6.key", text)
		for _, args := range [][]string{nil, {"--plan"}} {
			out, err := r.run(t.Context(), "24f6", args...)
			if err == nil || !strings.Contains(err.Error(), "24f6.key: no PEM block\n") || !strings.Contains(err.Error(), "with -w") {
				t.Errorf("%q, %v: got %v\n%s", text, args, err, out)
			}
		}
		if have, err := os.ReadFile(filepath.Join(r.certs, "24f6.key")); err != nil || string(have) != text {
			t.Errorf("%q, %v", have, err)
		}
	}
	if err := os.Remove(filepath.Join(r.certs, "24f6.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("24f6.key", filepath.Join(r.certs, "24f6.key")); err != nil {
		t.Fatal(err)
	}
	if out, err := r.run(t.Context(), "24f6"); err == nil || strings.Contains(err.Error(), "-w") {
		t.Errorf("a link to itself: got %v\n%s", err, out)
	}
}
