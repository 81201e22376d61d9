package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/durable"
)

// A service that runs as another user has its files, and its key is nobody
// else's but of a group that was named, whether they are new or there.
func TestOwner(t *testing.T) {
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 4711, 4712 // for others, only what is theirs can be tried
	}
	for _, tc := range []struct {
		owner    string
		uid, gid int
		key      os.FileMode
	}{
		{fmt.Sprint(uid), uid, os.Getegid(), 0o600},
		{fmt.Sprintf("%d:%d", uid, gid), uid, gid, 0o640},
		{fmt.Sprintf(":%d", gid), os.Geteuid(), gid, 0o640},
	} {
		r := newRig(t)
		p12 := []string{"--p12-password-file", filepath.Join(r.dir, "p12pw"), "--owner", tc.owner}
		for _, args := range [][]string{p12, append(p12, "-w"), append(p12, "--renew")} {
			out, err := r.run(t.Context(), "24f6", args...)
			if err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
			for name, mode := range map[string]os.FileMode{
				"24f6.key": tc.key, "24f6.p12": tc.key, "24f6.crt": 0o644, "24f6.csr": 0o644, "IOTmidCA.crt": 0o644, "IOTmidCA.crl": 0o644,
			} {
				path := filepath.Join(r.certs, name)
				has, err := durable.AttrOf(path)
				if err != nil || has.Mode != mode || *has.Owner != (durable.Owner{UID: tc.uid, GID: tc.gid}) {
					t.Errorf("%v: %s has %v of %v, %v; want %v of %d:%d", args, name, has.Mode, *has.Owner, err, mode, tc.uid, tc.gid)
				}
				if mode != 0o644 {
					if err := os.Chmod(path, 0o666); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

func TestParseOwner(t *testing.T) {
	for _, tc := range []struct{ text, words string }{
		{"root", ""},
		{"root:root", ""},
		{":0", ""},
		{":", "want USER, USER:GROUP or :GROUP"},
		{"root:", "want USER, USER:GROUP or :GROUP"},
		{"1:2:3", "unknown group 2:3"},
		{"-1", "unknown user -1"},
		{"4294967295", "unknown user 4294967295"}, // chown(2) takes it for none
		{"no such user", "unknown user no such user"},
		{":no such group", "unknown group no such group"},
	} {
		_, _, err := parseOwner(tc.text)
		if tc.words == "" && err != nil || tc.words != "" && (err == nil || !strings.Contains(err.Error(), tc.words)) {
			t.Errorf("%q: got %v, want %q", tc.text, err, tc.words)
		}
	}
	if _, err := parse([]string{"http://dojot", "24f6", "--owner", ":"}, nil); err == nil || status(err) != exitUsage || !strings.Contains(err.Error(), `--owner ":": want `) {
		t.Errorf("got %v", err)
	}
}
