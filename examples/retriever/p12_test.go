package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/enrol"
)

// One that cannot be written is one device's failure, and in the report.
func TestP12Failures(t *testing.T) {
	r := newRig(t)
	if out, err := r.run(t.Context(), "a,b,c,d"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(r.certs, "a.p12"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(r.certs, "b.p12"), 0o600); err != nil { // which nobody ever writes
		t.Fatal(err)
	}
	out, err := r.run(t.Context(), "a,b,c,d,e", "--p12-password-file", filepath.Join(r.dir, "p12pw"), "--report", filepath.Join(r.dir, "report.json"))
	if err == nil || status(err) != exitHook || !strings.Contains(out, "1 made, 2 kept, 2 failed") {
		t.Errorf("got %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report enrol.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	for i, want := range []enrol.Status{enrol.Failed, enrol.Failed, enrol.Kept, enrol.Kept, enrol.Made} {
		d := report.Devices[i]
		if d.Status != want || strings.Contains(d.Error, d.Device+".p12 is not a regular file") != (want == enrol.Failed) {
			t.Errorf("%s: %s, %s", d.Device, d.Status, d.Error)
		}
		if info, err := os.Lstat(filepath.Join(r.certs, d.Device+".p12")); err != nil || info.Mode().IsRegular() != (want != enrol.Failed) {
			t.Errorf("%s.p12: %v, %v", d.Device, info, err)
		}
	}
}

// Others must not read one that is there.
func TestP12IsClosed(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.certs, "24f6.p12")
	for range 2 {
		if out, err := r.run(t.Context(), "24f6", "--p12-password-file", filepath.Join(r.dir, "p12pw")); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
