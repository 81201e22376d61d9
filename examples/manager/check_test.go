package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/provision"
)

// newTestManager is a manager whose files are in order and whose broker does
// not run.
func newTestManager(t *testing.T, ca http.Handler, args ...string) *manager {
	t.Helper()
	server := httptest.NewServer(ca)
	t.Cleanup(server.Close)
	args = append(args, "--dir", t.TempDir(), "--listen", "127.0.0.1:8883", "--mosquitto", os.Getenv("MOSQUITTO"))
	if os.Geteuid() == 0 {
		args = append(args, "--broker-user", "root") // the test's folder is closed to others
	}
	s, err := parse("serve", args, func(string) string { return "" }, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	m, err := newManager(t.Context(), s, &ejbca.Client{BaseURL: server.URL}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.acl.Close() })
	return m
}

// A folder has one manager; a second one leaves it as it is.
func TestSecondManager(t *testing.T) {
	ca := ejbcatest.NewServer()
	defer ca.Close()
	m := newTestManager(t, ca)
	before := map[string][]byte{}
	for _, path := range []string{m.path(configName), m.identity.Files.Cert, m.identity.Files.Key} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before[path] = data
	}
	other := *m.settings
	other.listen, other.dns = "127.0.0.1:28883", []string{"other.example"}
	if _, err := newManager(t.Context(), &other, m.ca, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), m.path(aclName)) {
		t.Errorf("got %v, want an error of %s", err, aclName)
	}
	for path, data := range before {
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
			t.Errorf("%s has changed: %v", path, err)
		}
	}
}

// Nothing may be signalled that would open the broker or end it.
func TestCheck(t *testing.T) {
	replace := func(name, content string) func(*testing.T, *manager) {
		return func(t *testing.T, m *manager) {
			t.Helper()
			if err := os.WriteFile(m.path(name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	ca := ejbcatest.NewServer()
	defer ca.Close()
	for _, tc := range []struct {
		name  string
		harm  func(*testing.T, *manager)
		words string // "": it may be signalled
	}{
		{"good", func(*testing.T, *manager) {}, ""},
		{"ACL with a bad line", replace(aclName, "user x\ntopic raed y z\n"), "access.acl:2"},
		{"ACL with a tab", replace(aclName, "user\tx\n"), "access.acl:1"},
		{"ACL that opens", replace(aclName, "pattern readwrite #\n"), "open"},
		{"ACL missing", func(t *testing.T, m *manager) { remove(t, m.path(aclName)) }, aclName},
		{"ACL behind a link", func(t *testing.T, m *manager) {
			if err := os.Rename(m.path(aclName), m.path("elsewhere")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(m.path("elsewhere"), m.path(aclName)); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		{"revocation list empty", replace(crlName, ""), crlName},
		{"revocation list cut", func(t *testing.T, m *manager) {
			data, err := os.ReadFile(m.path(crlName))
			if err != nil {
				t.Fatal(err)
			}
			replace(crlName, string(data[:len(data)/2]))(t, m)
		}, crlName},
		{"revocation list missing", func(t *testing.T, m *manager) { remove(t, m.path(crlName)) }, crlName},
		{"key of another certificate", func(t *testing.T, m *manager) {
			other := provision.Identity{CommonName: "other", Files: provision.DeviceFiles(t.TempDir(), "other", "IOTmidCA")}
			if _, err := other.Ensure(t.Context(), &ejbca.Issuer{Client: m.ca, User: "other", Register: true}); err != nil {
				t.Fatal(err)
			}
			key, err := os.ReadFile(other.Files.Key)
			if err != nil {
				t.Fatal(err)
			}
			replace("mosquitto.key", string(key))(t, m)
		}, "mosquitto.key"},
		{"certificate missing", func(t *testing.T, m *manager) { remove(t, m.identity.Files.Cert) }, "mosquitto.crt"},
		{"configuration broken", replace(configName, "listener\t8883\n"), configName},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newTestManager(t, ca)
			tc.harm(t, m)
			err := m.check()
			if (err == nil) != (tc.words == "") || err != nil && !strings.Contains(err.Error(), tc.words) {
				t.Errorf("got %v, want an error with %q", err, tc.words)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// A broker whose certificate is over must still hear of a removed device.
func TestCheckWithExpiredCertificate(t *testing.T) {
	// The CA is older than the certificate.
	const day = 24 * time.Hour
	var ago time.Duration = 800 * day
	clock := func() time.Time { return time.Now().Add(-ago) }
	ca, err := localca.Open(t.TempDir(), localca.Options{KeySize: 2048, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	ago = 0
	m := newTestManager(t, ca)
	ago = 740 * day
	m.identity.Overwrite, m.identity.Now = true, clock
	if _, err := m.identity.Ensure(t.Context(), m.issuer()); err != nil {
		t.Fatal(err)
	}
	if err := m.check(); err != nil {
		t.Errorf("got %v", err)
	}
	findings, err := m.findings()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(findings, func(f mosquittoconf.Finding) bool { return f.ID == "certificate-expired" }) {
		t.Errorf("nothing is said of the certificate: %v", findings)
	}
}

// What an operator or the original has left in the file is told, if not all of
// it.
func TestVetACL(t *testing.T) {
	ca := ejbcatest.NewServer()
	defer ca.Close()
	m := newTestManager(t, ca)
	var log bytes.Buffer
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	m.acl.View(m.vetACL)
	if log.Len() > 0 {
		t.Errorf("of the manager's own file: %s", &log)
	}
	file, err := m.grammar.Parse(aclName, []byte("user other:1\ntopic write /other/1/attrs\nuser admin:24f6\n"+strings.Repeat("topic write /other/1/attrs\n", 12)))
	if err != nil {
		t.Fatal(err)
	}
	m.vetACL(file)
	if n := strings.Count(log.String(), "level=WARN"); n != 11 {
		t.Errorf("%d warnings, want ten and the number of the others:\n%s", n, &log)
	}
	for _, want := range []string{"line 4: tenant", "line 5: duplicate", aclName, `further findings"=`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("nothing of %q in\n%s", want, &log)
		}
	}
}
