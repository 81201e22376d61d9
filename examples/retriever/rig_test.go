package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

// TestMain is, in a child of a test, the retriever itself.
func TestMain(m *testing.M) {
	if os.Getenv("RETRIEVER_TEST_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	secret   = "correct horse"
	patience = 30 * time.Second
)

// rig is a folder, and a CA behind dojot's login.
type rig struct {
	dir, certs string
	url        string
	ca         *ejbcatest.Server
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), ca: ejbcatest.NewServer()}
	t.Cleanup(r.ca.Close)
	front := httptest.NewServer(ejbcatest.NewGateway(r.ca, ejbcatest.Account{Username: "admin", Password: secret}))
	t.Cleanup(front.Close)
	r.url, r.certs = front.URL, filepath.Join(r.dir, "certs")
	for name, password := range map[string]string{"pw": secret, "p12pw": "battery staple"} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// args are those that make a run of devices succeed, and more.
func (r *rig) args(devices string, more ...string) []string {
	return append([]string{r.url, devices, "-u", "admin", "--password-file", filepath.Join(r.dir, "pw"), "--certs", r.certs,
		"--register"}, more...)
}

func (r *rig) run(ctx context.Context, devices string, more ...string) (output string, err error) {
	var out bytes.Buffer
	err = run(ctx, r.args(devices, more...), nil, &out, &out)
	return out.String(), err
}

// command is the retriever in a process of its own.
func (r *rig) command(t *testing.T, devices string, more ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, r.args(devices, more...)...)
	cmd.Env = append(os.Environ(), "RETRIEVER_TEST_MAIN=1")
	return cmd
}

// onSign calls f for each request to sign, before it is answered.
func (r *rig) onSign(f func(*http.Request)) {
	r.ca.Intercept(func(_ http.ResponseWriter, q *http.Request) bool {
		if strings.HasPrefix(q.URL.Path, "/sign/") {
			f(q)
		}
		return false
	})
}

func (r *rig) has(name string) bool {
	_, err := os.Lstat(filepath.Join(r.certs, name))
	return err == nil
}

// put writes a file among the devices'.
func (r *rig) put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(r.certs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.certs, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// watched is an output that tells when a text has come.
type watched struct {
	until string
	then  func()

	mu   sync.Mutex
	text strings.Builder
	told bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if !w.told && strings.Contains(w.text.String(), w.until) {
		w.told = true
		w.then()
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
