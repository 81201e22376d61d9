package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/enrol"
)

// A report replaces no file of a device, by whatever name, and what cannot be
// written shows before anything is done.
func TestReportRefused(t *testing.T) {
	r := newRig(t)
	r.put(t, "24f6.key", "a key")
	link := filepath.Join(r.dir, "link.json")
	if err := os.Symlink(filepath.Join(r.certs, "24f6.key"), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		filepath.Join(r.certs, "24f6.key"), "a.csr", "a.crt", "a.crl", "a.p12", "A.KEY", link,
		r.dir, filepath.Join(r.dir, "none", "report.json"), filepath.Join(r.certs, "24f6.key", "report.json"),
	} {
		if out, err := r.run(t.Context(), "a1b2", "--report", path); err == nil || status(err) != exitUsage || !strings.Contains(err.Error(), "--report") {
			t.Errorf("%s: got %v\n%s", path, err, out)
		}
	}
	if text, err := os.ReadFile(filepath.Join(r.certs, "24f6.key")); err != nil || string(text) != "a key" {
		t.Errorf("the key is %q, %v", text, err)
	}
	if asked := r.ca.Requests(); len(asked) > 0 {
		t.Errorf("asked for %v", asked)
	}
}

// Nor does it replace what the run reads.
func TestReportReplacesNoInput(t *testing.T) {
	r := newRig(t)
	link, list := filepath.Join(r.dir, "link"), filepath.Join(r.dir, "list")
	if err := os.Link(filepath.Join(r.dir, "pw"), link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, []byte("a1b2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, option := range map[string]string{
		filepath.Join(r.dir, "pw"): "--password-file", link: "--password-file", filepath.Join(r.dir, "p12pw"): "--p12-password-file", list: "devices",
	} {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.run(t.Context(), "24f6,@"+list, "--p12-password-file", filepath.Join(r.dir, "p12pw"), "--report", path)
		if err == nil || status(err) != exitUsage || !strings.Contains(err.Error(), "want another file than that of "+option) {
			t.Errorf("%s: got %v\n%s", path, err, out)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
			t.Errorf("%s has %q, %v", path, after, err)
		}
	}
}

// What is no file is written to, and stays what it is.
func TestReportToWhatIsNoFile(t *testing.T) {
	r := newRig(t)
	pipe, link, target := filepath.Join(r.dir, "pipe"), filepath.Join(r.dir, "link"), filepath.Join(r.dir, "target")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, []byte(strings.Repeat("old", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	// Opened for both, so that nobody waits for the other; a report fits into
	// a pipe.
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for path, in := range map[string]func() io.Reader{
		pipe: func() io.Reader { return reader },
		link: func() io.Reader {
			text, err := os.ReadFile(target)
			if err != nil {
				t.Error(err)
			}
			return strings.NewReader(string(text))
		},
	} {
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := r.run(t.Context(), "24f6", "--report", path); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Fatalf("%s is another: %v, %v", path, after, err)
		}
		var report enrol.Report
		if err := json.NewDecoder(in()).Decode(&report); err != nil || len(report.Devices) != 1 {
			t.Errorf("%s: the report is %+v, %v", path, report, err)
		}
	}
}
