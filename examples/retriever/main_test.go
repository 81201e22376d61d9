package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/dojot/mqtt-manager-go/internal/enrol"
)

// runHere runs the retriever at dojot as recorded, in a folder of its own.
func runHere(t *testing.T, p parity, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	host, _ := p.serve(t)
	dir := p.prepare(t, p.device())
	pw := filepath.Join(dir, "pw")
	if err := os.WriteFile(pw, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	err = run(t.Context(), append([]string{host, p.device(), "-u", "admin", "--password-file", pw, "--certs", filepath.Join(dir, "certs")}, args...), nil, &out, &errs)
	return out.String(), errs.String(), err
}

// A report on standard output is alone there.
func TestReportOnStdout(t *testing.T) {
	stdout, stderr, err := runHere(t, parity{files: "key csr", answers: fine()}, "--report", "-")
	if err != nil {
		t.Fatal(err)
	}
	var report enrol.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v in\n%s", err, stdout)
	}
	if len(report.Devices) != 1 || report.Devices[0].Device != "24f6" || report.Devices[0].Status != enrol.Made || report.Count[enrol.Made] != 1 {
		t.Errorf("the report is\n%s", stdout)
	}
	if !strings.Contains(stderr, "24f6 certificate signed. Available at ") {
		t.Errorf("standard error has\n%s", stderr)
	}
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		args  string
		words string // of the error; empty: fine
	}{
		{"http://dojot:8000 24f6 IOTmidCA", ""},
		{"http://dojot:8000 24f6", ""},
		{"https://dojot.example.com/path/ admin:5c6512 -ca MQTT", ""},
		{"http://dojot:8000 dev[1-3] IOTmidCA -d sensor.local -d b.local -i 10.0.0.7 -i ::1 --key-type p256", ""},
		{"http://dojot:8000 24f6 IOTmidCA -- echo -ca", ""},

		{"", "want HOST DEVICE [CA]"},
		{"http://dojot:8000 24f6 IOTmidCA more", "want HOST DEVICE [CA]"},
		{"dojot:8000 24f6", "HOST: want http://"},
		{"ftp://dojot 24f6", "want http://"},
		{"http://admin:S3cret@host:bad 24f6", "HOST: want http://"},
		{"http://admin:S3cret@dojot 24f6", "HOST: want http://"},
		{"http://dojot?password=S3cret 24f6", "HOST: want http://"},
		{"http://dojot/#S3cret 24f6", "HOST: want http://"},
		{"http://dojot# 24f6", "HOST: want http://"},
		{"http://dojot 24f6 IOTmidCA -ca MQTT", "--caname"},
		{"http://dojot con", "Windows"},
		{"http://dojot ../24f6", "device \"../24f6\""},
		{"http://dojot 24f6 ../ca", "CA \"../ca\""},
		{"http://dojot 24f6 24f6", "the same"},
		{"http://dojot 24f6,24f6", "twice"},
		{"http://dojot 24f6 -k 1024", "key length \"1024\": want 2048 to 8192 bits"},
		{"http://dojot 24f6 --key-type dsa", "key type \"dsa\": want rsa or p256"},
		{"http://dojot 24f6 -d a_b.-c", "DNS name"},
		{"http://dojot 24f6 -i 10.0.0", "--ip"},
		{"http://dojot 24f6 --common-name {device}/x", "common name"},
		{"http://dojot 24f6 --common-name {tenant}:{device} --plan", "--plan"},
		{"http://dojot 24f6 --common-name fixed", ""},
		{"http://dojot 24f6 --common-name {foo}", "--common-name \"{foo}\": want no braces"},
		{"http://dojot 24f6 --common-name {device}}", "want no braces"},
		{"http://dojot 24f6,a1b2 --common-name {tenant}", "--common-name \"{tenant}\": want {device} in it"},
		{"http://dojot 24f6 --daemon --overwrite", "--daemon and --overwrite"},
		{"http://dojot 24f6 --renew -w", "--renew and --overwrite"},
		{"http://dojot 24f6 --daemon --report r.json", "--daemon: want none of"},
		{"http://dojot 24f6 --password secret", "unknown flag: --password"},
		{"http://dojot 24f6 -x", "unknown shorthand flag"},
	} {
		_, err := parse(strings.Fields(tc.args), nil)
		switch {
		case tc.words == "" && err != nil:
			t.Errorf("%s: %v", tc.args, err)
		case tc.words != "" && (err == nil || !strings.Contains(err.Error(), tc.words) || status(err) != exitUsage):
			t.Errorf("%s: got %v, want a usage error with %q", tc.args, err, tc.words)
		case err != nil && strings.Contains(err.Error(), "S3cret"):
			t.Errorf("%s: the password is in %v", tc.args, err)
		}
	}
}

func TestHelp(t *testing.T) {
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, nil, &out, &errs); !errors.Is(err, pflag.ErrHelp) || errs.Len() > 0 {
		t.Errorf("got %v, and on standard error\n%s", err, &errs)
	}
	for _, words := range []string{"Usage: retriever HOST DEVICE [CA]", "One device:", "A thousand, with a report:", "Exit status:", "--skip-https-check", "5 minutes", "once, for the device that came first"} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("does not say %q", words)
		}
	}
	for line := range strings.Lines(usage) {
		if len(line) > 81 && !strings.HasPrefix(line, "  retriever ") {
			t.Errorf("too long for a terminal: %s", line)
		}
	}
}
