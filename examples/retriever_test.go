package examples_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

const secret = "correct horse"

// newGateway is a CA behind dojot's login, where one device is registered.
func newGateway(t *testing.T, start func(ejbca *ejbcatest.Gateway) *httptest.Server) (url string, server *ejbcatest.Server) {
	t.Helper()
	server = ejbcatest.NewServer()
	t.Cleanup(server.Close)
	if err := server.Client().PutUser(t.Context(), &ejbca.User{Name: "24f6", Password: "dojot"}); err != nil {
		t.Fatal(err)
	}
	front := start(ejbcatest.NewGateway(server, ejbcatest.Account{Username: "admin", Password: secret}))
	t.Cleanup(front.Close)
	return front.URL, server
}

func plainHTTP(g *ejbcatest.Gateway) *httptest.Server { return httptest.NewServer(g) }
func overTLS(g *ejbcatest.Gateway) *httptest.Server   { return httptest.NewTLSServer(g) }

func TestRetriever(t *testing.T) {
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	retrieve := func(args ...string) (string, int) {
		t.Helper()
		return run(t, dir, secret+"\n", "retriever", append([]string{url, "24f6", "IOTmidCA", "-u", "admin"}, args...)...)
	}
	out, code := retrieve("-d", "sensor.local", "-d", "other.local", "-i", "10.0.0.7", "--key-length", "3072")
	want := `Authenticated
CA certificates retrieved to certs/IOTmidCA.crt
24f6 key pair created at certs/24f6.key
24f6 certificate request created at certs/24f6.csr
24f6 certificate signed. Available at certs/24f6.crt
CRL retrieved to certs/IOTmidCA.crl
`
	if code != 0 || out != want {
		t.Fatalf("exit status %d\n%s\nwant\n%s", code, out, want)
	}
	text, err := exec.Command("openssl", "x509", "-noout", "-text", "-in", filepath.Join(dir, "certs", "24f6.crt")).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, text)
	}
	for _, words := range []string{"Subject: CN = 24f6", "DNS:sensor.local, DNS:other.local, IP Address:10.0.0.7", "(3072 bit)"} {
		if !strings.Contains(string(text), words) {
			t.Errorf("the certificate does not say %q:\n%s", words, text)
		}
	}

	// What is there stays.
	out, code = retrieve("-d", "sensor.local", "-d", "other.local", "-i", "10.0.0.7")
	want = `Authenticated
CA Certificate file already exists at certs/IOTmidCA.crt. Skipping.
Key pair already exists at certs/24f6.key. Skipping.
CSR file already exists at certs/24f6.csr. Skipping.
Certificate file already exists at certs/24f6.crt. Skipping.
CRL file already exists at certs/IOTmidCA.crl. Skipping.
`
	if code != 0 || out != want {
		t.Errorf("again: exit status %d\n%s\nwant\n%s", code, out, want)
	}

	// To overwrite takes an end entity that may enrol again; without, nothing
	// is lost.
	key, err := os.ReadFile(filepath.Join(dir, "certs", "24f6.key"))
	if err != nil {
		t.Fatal(err)
	}
	out, code = retrieve("--overwrite")
	if code != 1 || !strings.Contains(out, "has its certificate already") || strings.Contains(out, "created") {
		t.Errorf("overwrite: exit status %d\n%s", code, out)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "certs", "24f6.key")); err != nil || string(after) != string(key) {
		t.Errorf("the key in service was lost: %v", err)
	}
}

func TestRetrieverRefusals(t *testing.T) {
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	for _, tc := range []struct {
		name  string
		stdin string
		args  []string
		code  int
		words string
	}{
		{"wrong password", "wrong " + secret + "\n", []string{url, "24f6", "IOTmidCA", "-u", "admin"}, 3, "wrong user or password"},
		{"unknown user", secret + "\n", []string{url, "24f6", "IOTmidCA", "-u", "nobody"}, 3, "wrong user or password"},
		{"unknown device", secret + "\n", []string{url, "ffff", "IOTmidCA", "-u", "admin"}, 1, "has to be created in dojot first"},
		{"unknown CA", secret + "\n", []string{url, "24f6", "NoSuchCA", "-u", "admin"}, 1, "names of CA and device"},
		{"nobody there", secret + "\n", []string{"http://127.0.0.1:1", "24f6", "IOTmidCA", "-u", "admin"}, 4, "check HOST"},
		{"no password", "", []string{url, "24f6", "IOTmidCA", "-u", "admin"}, 1, "empty"},
		{"nobody to ask for the user", secret + "\n", []string{url, "24f6", "IOTmidCA"}, 2, "--username"},
		{"too few arguments", "", []string{url}, 2, "HOST DEVICE [CA]"},
		{"CA twice", "", []string{url, "24f6", "IOTmidCA", "-ca", "IOTmidCA"}, 2, "--caname"},
		{"host without scheme", "", []string{"localhost:8000", "24f6", "IOTmidCA"}, 2, "http://"},
		{"device is a path", secret + "\n", []string{url, "../24f6", "IOTmidCA", "-u", "admin"}, 2, `device "../24f6"`},
		{"CA is a path", secret + "\n", []string{url, "24f6", "../IOTmidCA", "-u", "admin"}, 2, "want a name"},
		{"same files", secret + "\n", []string{url, "24f6", "24f6", "-u", "admin"}, 2, "the same"},
		{"short key", secret + "\n", []string{url, "24f6", "IOTmidCA", "-u", "admin", "-k", "1024"}, 2, "key length"},
		{"password on the command line", "", []string{url, "24f6", "IOTmidCA", "-u", "admin", "--password", secret}, 2, "--password"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, code := run(t, dir, tc.stdin, "retriever", tc.args...)
			if code != tc.code || !strings.Contains(out, tc.words) {
				t.Errorf("exit status %d, want %d with %q\n%s", code, tc.code, tc.words, out)
			}
			if strings.Contains(out, secret) {
				t.Error("the password is in the output")
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "certs", "ffff.crt")); err == nil {
		t.Error("a refused device has a certificate")
	}
}

// Without the check, all steps go without it, not the login alone.
func TestRetrieverSkipHTTPSCheck(t *testing.T) {
	url, _ := newGateway(t, overTLS)
	dir := t.TempDir()
	args := []string{url, "24f6", "IOTmidCA", "-u", "admin"}
	if out, code := run(t, dir, secret+"\n", "retriever", args...); code != 1 || !strings.Contains(out, "certificate") {
		t.Errorf("a server that nobody vouches for: exit status %d\n%s", code, out)
	}
	if out, code := run(t, dir, secret+"\n", "retriever", append(args, "--skip-https-check")...); code != 0 {
		t.Errorf("without the check: exit status %d\n%s", code, out)
	}
}

func TestRetrieverPasswordFile(t *testing.T) {
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte(secret+"\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, dir, "", "retriever", url, "24f6", "IOTmidCA", "-u", "admin", "--password-file", "pw"); code != 0 {
		t.Errorf("exit status %d\n%s", code, out)
	}
}

// On a terminal, a bar shows how far many devices are.
func TestRetrieverProgress(t *testing.T) {
	script := terminal(t)
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, script, "--quiet", "--return", "--command",
		filepath.Join(bin, "retriever")+" "+url+" dev[1-2] IOTmidCA -u admin --register --password-file pw", "/dev/null")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "] 2/2") || !strings.Contains(string(out), "2 made") {
		t.Errorf("%v\n%s", err, out)
	}
}

// On a terminal, user and password are asked for, and the password is not
// shown.
func TestRetrieverOnATerminal(t *testing.T) {
	script := terminal(t)
	url, _ := newGateway(t, plainHTTP)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, script, "--quiet", "--return", "--command",
		filepath.Join(bin, "retriever")+" "+url+" 24f6 IOTmidCA", "/dev/null")
	cmd.Dir = t.TempDir()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	in := bufio.NewReader(io.TeeReader(stdout, &shown))
	for _, step := range []struct{ prompt, answer string }{
		{"enter your dojot username: ", "admin\n"},
		{"enter password for admin: ", secret + "\n"},
	} {
		for !strings.Contains(shown.String(), step.prompt) {
			if _, err := in.ReadByte(); err != nil {
				t.Fatalf("waiting for %q: %v\n%s", step.prompt, err, shown.String())
			}
		}
		if _, err := io.WriteString(stdin, step.answer); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, shown.String())
	}
	if !strings.Contains(shown.String(), "Authenticated") || strings.Contains(shown.String(), secret) {
		t.Errorf("the terminal shows\n%s", shown.String())
	}
}

// Many devices are enrolled in one run, that is taken up where it was cut, and
// says what became of each.
func TestRetrieverOfMany(t *testing.T) {
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	retrieve := func(devices string, args ...string) (string, int) {
		t.Helper()
		return run(t, dir, secret+"\n", "retriever", append([]string{url, devices, "IOTmidCA", "-u", "admin", "--parallel", "2"}, args...)...)
	}
	out, code := retrieve("24f6,dev[1-3]", "--report", "report.json")
	if code != 1 || !strings.Contains(out, "1 made, 3 failed\n") || !strings.Contains(out, "3 of 4 devices failed, the first is dev1") {
		t.Errorf("devices that dojot does not know: exit status %d\n%s", code, out)
	}
	out, code = retrieve("24f6,dev[1-3]", "--register", "--report", "report.json", "--common-name", "{device}")
	if code != 0 || !strings.Contains(out, "3 made, 1 kept\n") {
		t.Errorf("taken up: exit status %d\n%s", code, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Count   map[string]int
		Devices []struct{ Device, Status string }
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if report.Count["made"] != 3 || len(report.Devices) != 4 || report.Devices[0].Device != "24f6" || report.Devices[0].Status != "kept" {
		t.Errorf("the report is\n%s", text)
	}
	if out, code := retrieve("24f6,dev[1-3]", "--renew"); code != 0 || out != "" {
		t.Errorf("nothing to renew: exit status %d\n%s", code, out)
	}
}

// A hook that fails is run again by the next run, though nothing changes then.
func TestRetrieverHook(t *testing.T) {
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	retrieve := func(hook ...string) (string, int) {
		t.Helper()
		return run(t, dir, secret+"\n", "retriever", append([]string{url, "24f6", "IOTmidCA", "-u", "admin", "--renew", "--"}, hook...)...)
	}
	if out, code := retrieve("sh", "-c", "exit 7"); code != 5 || !strings.Contains(out, "exit status 7") || !strings.Contains(out, "tried again") {
		t.Errorf("it fails: exit status %d\n%s", code, out)
	}
	told := []string{"sh", "-c", "echo $1 $RETRIEVER_DEVICE $RETRIEVER_CERT >>told", "-", "a b"}
	for range 2 {
		if out, code := retrieve(told...); code != 0 || out != "" {
			t.Errorf("exit status %d\n%s", code, out)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "told"))
	if err != nil || string(text) != "a b 24f6 certs/24f6.crt\n" {
		t.Errorf("told %q, %v, want once", text, err)
	}
}

func TestRetrieverPKCS12(t *testing.T) {
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p12pw"), []byte("battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{url, "24f6", "IOTmidCA", "-u", "admin"}
	// Whether it is asked for at once or later.
	for _, more := range [][]string{nil, {"--p12-password-file", "p12pw"}} {
		if out, code := run(t, dir, secret+"\n", "retriever", append(args, more...)...); code != 0 {
			t.Fatalf("exit status %d\n%s", code, out)
		}
	}
	path := filepath.Join(dir, "certs", "24f6.p12")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := exec.Command("openssl", "pkcs12", "-in", path, "-nodes", "-passin", "file:"+filepath.Join(dir, "p12pw")).CombinedOutput()
	if err != nil || strings.Count(string(text), "BEGIN CERTIFICATE") != 2 || strings.Count(string(text), "BEGIN PRIVATE KEY") != 1 {
		t.Errorf("openssl: %v\n%s", err, text)
	}
	if err := exec.Command("openssl", "pkcs12", "-in", path, "-nodes", "-passin", "pass:wrong").Run(); err == nil {
		t.Error("any password will do")
	}
}

// A plan asks nobody and changes nothing.
func TestRetrieverPlan(t *testing.T) {
	dir := t.TempDir()
	out, code := run(t, dir, "", "retriever", "http://127.0.0.1:1", "dev[1-2]", "IOTmidCA", "--plan")
	if code != 0 || strings.Count(out, "make ") != 10 || !strings.Contains(out, "make certs/dev2.key\n") {
		t.Errorf("exit status %d\n%s", code, out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("made %v, %v", entries, err)
	}
}

// dojot 0.5 takes the tenant of the user into the name.
func TestRetrieverTenant(t *testing.T) {
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	if out, code := run(t, dir, secret+"\n", "retriever", url, "24f6", "IOTmidCA", "-u", "admin", "--register", "--common-name", "{tenant}:{device}"); code != 0 {
		t.Fatalf("exit status %d\n%s", code, out)
	}
	text, err := exec.Command("openssl", "x509", "-noout", "-subject", "-in", filepath.Join(dir, "certs", "24f6.crt")).CombinedOutput()
	if err != nil || !strings.Contains(string(text), "CN = admin:24f6") {
		t.Errorf("%v\n%s", err, text)
	}
}

// The daemon mends what is lost, tells the hook, and ends when it is asked to.
func TestRetrieverDaemon(t *testing.T) {
	url, _ := newGateway(t, plainHTTP)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, "retriever", url, "24f6,dev[1-2]", "IOTmidCA", "-u", "admin", "--password-file", "pw", "--register", "--daemon",
		"--", "sh", "-c", "echo told of $RETRIEVER_DEVICE")
	for _, device := range []string{"24f6", "dev1", "dev2"} {
		p.await(t, "told of "+device)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.awaitEnd(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// terminal returns script(1), of Debian's bsdutils, which gives a command a
// terminal.
func terminal(t *testing.T) string {
	t.Helper()
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("needs script(1) for a terminal")
	}
	if out, err := exec.Command(script, "--quiet", "--return", "--command", "true", "/dev/null").CombinedOutput(); err != nil {
		t.Skipf("no terminal to be had here: %v\n%s", err, out)
	}
	return script
}
