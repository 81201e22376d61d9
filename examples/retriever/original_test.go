package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// original is a folder with what dojot's services answer, word for word, and
// with a device's files that fit.
const original = "testdata/original"

// dojot answers as recorded: "POST /auth": "auth-wrong-password".
type dojot struct {
	t       *testing.T
	answers map[string]string

	mu     sync.Mutex
	asked  []string
	bodies map[string]string
}

func (d *dojot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := r.Method + " " + r.URL.Path
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.asked = append(d.asked, what)
	d.bodies[what] = string(body)
	d.mu.Unlock()
	if authorized := strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey"); authorized != (what != "POST /auth") {
		d.t.Errorf("%s: header Authorization is %q", what, r.Header.Get("Authorization"))
	}
	name, ok := d.answers[what]
	if !ok {
		d.t.Errorf("%s: nobody should ask for it", what)
		http.NotFound(w, r)
		return
	}
	recorded, err := os.ReadFile(filepath.Join(original, "answers", name+".http"))
	if err != nil {
		d.t.Error(err)
		return
	}
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(recorded)), r)
	if err != nil {
		d.t.Error(err)
		return
	}
	w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}

// A parity is one situation, what dojot's certificate retriever does in it,
// and what this one does.
type parity struct {
	name    string
	args    []string          // after HOST
	files   string            // those that are there before: "key csr crt ca"
	answers map[string]string // nil: nobody listens at HOST

	says  string // by both, but for spelling and paths
	fails string // what the original says then, if it fails
	code  int    // the original's exit status

	words    string // what this one says then
	want     int    // its exit status
	requests string // what this one asks for
}

const (
	login  = "POST /auth"
	getCA  = "GET /ca/IOTmidCA"
	getCRL = "GET /ca/IOTmidCA/crl"
	putCRL = "PUT /ca/IOTmidCA/crl"
	sign   = "POST /sign/24f6/pkcs10"
	find   = "GET /user/24f6/find" // which is more than the original asks for
	sign05 = "POST /sign/admin:5c6512/pkcs10"
)

// fine is what dojot answers if all is well, but for the changes given.
func fine(changes ...string) map[string]string {
	answers := map[string]string{login: "auth", getCA: "ca", getCRL: "crl", sign: "sign-24f6", sign05: "sign-5c6512"}
	for i := 0; i < len(changes); i += 2 {
		answers[changes[i]] = changes[i+1]
	}
	return answers
}

const (
	allKept = `Authenticated
CA Certificate file already exists at ./certs//IOTmidCA.crt. Skiping.
Key pair already exists at ./certs//24f6.key. Skiping.
CSR file already exists at ./certs//24f6.csr. Skiping.
Certificate file already exists at ./certs//24f6.crt. Skiping.
`
	first = `Authenticated
CA certificates retrieved
Key pair already exists at ./certs//24f6.key. Skiping.
CSR file already exists at ./certs//24f6.csr. Skiping.
24f6 certificate signed. Avaliable at ./certs//24f6.crt
`
	refused = `Authenticated
CA certificates retrieved
Key pair already exists at ./certs//24f6.key. Skiping.
CSR file already exists at ./certs//24f6.csr. Skiping.
`
	doubled = "Cant sign the CRT. EJBCA-REST return code:  EJBCA-REST return code: "
	noChain = "Can't retrieve CA chain certificate. EJBCA-REST return code: "
)

var parities = []parity{
	{name: "a device's first", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, files: "key csr", answers: fine(),
		says: first, requests: "POST /auth, GET /ca/IOTmidCA, GET /ca/IOTmidCA/crl, POST /sign/24f6/pkcs10"},
	{name: "all is there", args: []string{"24f6", "IOTmidCA", "--username", "admin"}, files: "key csr crt ca", answers: fine(),
		says: allKept, requests: "POST /auth, GET /ca/IOTmidCA, GET /ca/IOTmidCA/crl"},
	{name: "options in front, abbreviated and joined", args: []string{"--user=admin", "-k2048", "--key", "2048", "--over", "24f6", "IOTmidCA"}, answers: fine(sign, "sign-used", find, "internal-error"),
		says: "Authenticated\nCA certificates retrieved\n24f6 key pair created at ./certs//24f6.key\n", fails: doubled + "400\n", code: 255,
		words: "the device has its certificate already", want: exitFailed},
	{name: "0.5: tenant in the name, CA by default", args: []string{"5c6512", "-u", "admin"}, files: "key csr", answers: fine(),
		says:     "Authenticated\nCA certificates retrieved\nKey pair already exists at ./certs//admin:5c6512.key. Skiping.\nCSR file already exists at ./certs//admin:5c6512.csr. Skiping.\nadmin:5c6512 certificate signed. Avaliable at ./certs//admin:5c6512.crt\n",
		requests: "POST /auth, GET /ca/IOTmidCA, GET /ca/IOTmidCA/crl, POST /sign/admin:5c6512/pkcs10"},
	{name: "0.5: CA by option", args: []string{"5c6512", "-ca", "IOTmidCA", "-u", "admin"}, files: "key csr crt ca", answers: fine(),
		says: "Authenticated\nCA Certificate file already exists at ./certs//IOTmidCA.crt. Skiping.\nKey pair already exists at ./certs//admin:5c6512.key. Skiping.\nCSR file already exists at ./certs//admin:5c6512.csr. Skiping.\nCertificate file already exists at ./certs//admin:5c6512.crt. Skiping.\n"},
	{name: "0.5: CA by long option", args: []string{"5c6512", "--caname", "IOTmidCA", "-u", "admin"}, files: "key csr crt ca", answers: fine(),
		says: "Authenticated\n"},

	{name: "nobody there", args: []string{"24f6", "IOTmidCA", "-u", "admin"},
		fails: "Could not connect to Auth service at http://127.0.0.1:1/auth\n", code: 255,
		words: "log in as \"admin\" at http://127.0.0.1:1/auth", want: exitUnavailable},
	{name: "wrong password", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, answers: fine(login, "auth-wrong-password"),
		fails: "Authentication faied\nWrong user or password\n", code: 255,
		words: "login denied: wrong user or password", want: exitDenied, requests: "POST /auth"},
	{name: "unknown user", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, answers: fine(login, "auth-unknown-user"),
		fails: "Authentication faied\nWrong user or password\n", code: 255,
		words: "login denied: wrong user or password", want: exitDenied, requests: "POST /auth"},
	{name: "login is broken", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, answers: fine(login, "auth-broken"),
		fails: "Authentication faied\nErr code 500. mesage {\"message\": \"Request failed\", \"status\": 500}\n", code: 255,
		words: `status 500 "Request failed"`, want: exitFailed, requests: "POST /auth"},

	{name: "unknown CA", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, answers: fine(getCA, "ca-unknown"),
		says: "Authenticated\n", fails: noChain + "400\n{\"message\": \"soap message: CA with name IOTmidCA does not exist.\", \"status\": 400}\n", code: 255,
		words: "check the names of CA and device", want: exitFailed, requests: "POST /auth, GET /ca/IOTmidCA"},
	{name: "CA answers nonsense", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, answers: fine(getCA, "ca-invalid"),
		says: "Authenticated\n", fails: "Invalid answer returned from EJBCA.\n", code: 255,
		words: "certs/IOTmidCA.crt", want: exitFailed, requests: "POST /auth, GET /ca/IOTmidCA"},
	{name: "not allowed to see the CA", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, answers: fine(getCA, "kong-forbidden"),
		says: "Authenticated\n", fails: noChain + "403\n{\"message\":\"Forbidden\"}\nYour user is not allowed to do this\n", code: 255,
		words: "your user is not allowed to do this", want: exitDenied},

	{name: "it has one already, 0.4", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, files: "key csr", answers: fine(sign, "sign-used", find, "internal-error"),
		says: refused, fails: doubled + "400\n{\"message\": \"soap message: Got request with status GENERATED (40), NEW, FAILED or INPROCESS required: 24f6.\", \"status\": 400}\n", code: 255,
		words: "the device has its certificate already", want: exitFailed},
	{name: "unknown device, 0.4", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, files: "key csr", answers: fine(sign, "sign-unknown-0.4"),
		says: refused, fails: doubled + "400\n{\"message\": \"soap message: Wrong username or password\", \"status\": 400}\n", code: 255,
		words: "a device has to be created in dojot first", want: exitFailed},
	{name: "unknown device, 0.5", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, files: "key csr", answers: fine(sign, "sign-unknown-0.5"),
		says: refused, fails: doubled + "400\n{\"message\": \"User not found to renew..\", \"status\": 400}\n", code: 255,
		words: "a device has to be created in dojot first", want: exitFailed},
	{name: "another password at the CA", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, files: "key csr", answers: fine(sign, "sign-wrong-password"),
		says: refused, fails: doubled + "400\n{\"message\": \"soap message: Got request for user with invalid password: 24f6.\", \"status\": 400}\n", code: 255,
		words: "the device's password at the CA is not dojot's", want: exitDenied},
	{name: "not allowed to sign", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, files: "key csr", answers: fine(sign, "kong-forbidden"),
		says: refused, fails: doubled + "403\n{\"message\":\"Forbidden\"}\nYour user is not allowed to do this\n", code: 255,
		words: "your user is not allowed to do this", want: exitDenied},
	{name: "signing is down", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, files: "key csr", answers: fine(sign, "kong-down"),
		says: refused, fails: doubled + "503\n{\"message\":\"failure to get a peer from the ring-balancer\"}\nService unavailable. If you are using dojot, check if Kong is configurated, and if EJBCA-REST and Auth are running\n", code: 255,
		words: "check HOST, and that dojot's gateway, auth and EJBCA-REST run", want: exitUnavailable},

	{name: "no revocation list was made yet", args: []string{"24f6", "IOTmidCA", "-u", "admin"}, files: "key csr", answers: fine(getCRL, "internal-error", putCRL, "crl-updated"),
		says: first, words: "warning: revocation list certs/IOTmidCA.crl: asking the CA: ",
		requests: "POST /auth, GET /ca/IOTmidCA, GET /ca/IOTmidCA/crl, PUT /ca/IOTmidCA/crl, GET /ca/IOTmidCA/crl, POST /sign/24f6/pkcs10"},

	{name: "too few arguments", args: []string{"-u", "admin"}, answers: fine(), fails: "usage: ", code: 2, words: "want HOST DEVICE [CA]", want: exitUsage},
}

// prepare fills a folder with the device's files.
func (p *parity) prepare(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	id := p.device()
	from := map[string]string{"key": "device.key", "csr": id + ".csr", "crt": id + ".crt", "ca": "IOTmidCA.crt"}
	to := map[string]string{"key": name + ".key", "csr": name + ".csr", "crt": name + ".crt", "ca": "IOTmidCA.crt"}
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	for kind := range strings.FieldsSeq(p.files) {
		data, err := os.ReadFile(filepath.Join(original, from[kind]))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "certs", to[kind]), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (p *parity) device() string {
	if p.isLater() {
		return "5c6512"
	}
	return "24f6"
}

// isLater says that it is about the retriever of dojot 0.5.
func (p *parity) isLater() bool { return strings.HasPrefix(p.name, "0.5") }

func (p *parity) serve(t *testing.T) (host string, d *dojot) {
	t.Helper()
	if p.answers == nil {
		return "http://127.0.0.1:1", nil
	}
	d = &dojot{t: t, answers: p.answers, bodies: map[string]string{}}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	return server.URL, d
}

// This retriever does what dojot's does, in the same order and words, and
// makes of dojot's answers what that makes of them.
func TestLikeOriginal(t *testing.T) {
	for _, p := range parities {
		t.Run(p.name, func(t *testing.T) {
			host, d := p.serve(t)
			dir := p.prepare(t, p.device())
			if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"--password-file", filepath.Join(dir, "pw"), "--certs", filepath.Join(dir, "certs"), host}, p.args...)
			if p.isLater() {
				args = append([]string{"--common-name", "{tenant}:{device}"}, args...)
			}
			var out bytes.Buffer
			err := run(t.Context(), args, nil, &out, &out)
			code := 0
			if err != nil {
				code = status(err)
				fmt.Fprintln(&out, err)
			}
			said := strings.ReplaceAll(out.String(), dir+"/", "")
			if code != p.want {
				t.Errorf("exit status %d, want %d", code, p.want)
			}
			rest := said
			for line := range strings.Lines(inOurWords(p.says)) {
				_, after, ok := strings.Cut(rest, strings.TrimSuffix(line, "\n"))
				if !ok {
					t.Errorf("does not say, or not in this order: %s", line)
				}
				rest = after
			}
			if !strings.Contains(said, p.words) {
				t.Errorf("does not say %q", p.words)
			}
			if strings.Contains(said, "secret") {
				t.Error("the password is in the output")
			}
			if t.Failed() {
				t.Log(said)
			}
			if d == nil {
				return
			}
			if asked := strings.Join(d.asked, ", "); p.requests != "" && asked != p.requests {
				t.Errorf("asked for %s\nwant %s", asked, p.requests)
			}
			d.checkBodies(t)
		})
	}
}

// checkBodies holds the requests against those of the original.
func (d *dojot) checkBodies(t *testing.T) {
	t.Helper()
	for what, body := range d.bodies {
		if body == "" {
			continue
		}
		var got map[string]string
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%s: %v in %s", what, err, body)
		}
		if csr := got["certificate"]; csr != "" {
			if !regexp.MustCompile(`^MII[A-Za-z0-9+/]+=*$`).MatchString(csr) {
				t.Errorf("%s: the request is not bare base64 in one line: %s", what, csr)
			}
			got["certificate"] = "MII"
		}
		want := map[string]string{"passwd": "dojot", "certificate": "MII"}
		if what == login {
			want = map[string]string{"username": "admin", "passwd": "secret"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

// inOurWords spells what the original prints as we do. Files are called by the
// device alone, as not every system has names with a colon.
func inOurWords(said string) string {
	return strings.NewReplacer("./certs//", "certs/", "Skiping", "Skipping", "Avaliable", "Available", "admin:5c6512", "5c6512").Replace(said)
}

// The original itself says what the table says of it. Clones of its branches
// master and development are needed, and what they import:
//
//	CERTIFICATE_RETRIEVER=… CERTIFICATE_RETRIEVER_05=… go test ./examples/retriever
func TestOriginal(t *testing.T) {
	clones := map[bool]string{false: os.Getenv("CERTIFICATE_RETRIEVER"), true: os.Getenv("CERTIFICATE_RETRIEVER_05")}
	if clones[false] == "" {
		t.Skip("CERTIFICATE_RETRIEVER names no clone of dojot/certificate-retriever")
	}
	for _, p := range parities {
		t.Run(p.name, func(t *testing.T) {
			if clones[p.isLater()] == "" {
				t.Skip("CERTIFICATE_RETRIEVER_05 names no clone")
			}
			name := p.device()
			if p.isLater() {
				name = "admin:" + name
			}
			host, _ := p.serve(t)
			cmd := exec.Command("/usr/bin/python3", append([]string{filepath.Join(clones[p.isLater()], "generateLoginPwd.py"), host}, p.args...)...)
			cmd.Dir = p.prepare(t, name)
			cmd.Env = append(os.Environ(), "PYTHONWARNINGS=ignore")
			cmd.Stdin = strings.NewReader("secret\n")
			out, _ := cmd.CombinedOutput()
			said := string(out)
			if _, after, prompt := strings.Cut(said, "enter password for admin: "); prompt {
				said = strings.TrimPrefix(after, "\n")
			}
			want := p.says + p.fails
			if got := cmd.ProcessState.ExitCode(); got != p.code || !strings.HasPrefix(strings.ReplaceAll(said, host, "http://127.0.0.1:1"), want) {
				t.Errorf("exit status %d, want %d\n%s\nwant\n%s", got, p.code, said, want)
			}
		})
	}
}
