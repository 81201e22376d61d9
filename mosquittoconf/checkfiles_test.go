package mosquittoconf_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/google/go-cmp/cmp"
)

func ExampleFile_CheckFiles() {
	f, err := mosquittoconf.Parse("mosquitto.conf", []byte("listener 8883\ncertfile broker.crt\nkeyfile broker.key\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, finding := range f.CheckFiles(mosquittoconf.Environment{Dir: "/no/such/folder", Version: "2.0.11"}) {
		fmt.Println(finding)
	}
	// Output:
	// mosquitto.conf:2: refused: certfile /no/such/folder/broker.crt does not exist; put the file there or correct the path
	// mosquitto.conf:3: refused: keyfile /no/such/folder/broker.key does not exist; put the file there or correct the path
}

// goodConf belongs to newMaterial. It follows a listener line.
const goodConf = `cafile ca.crt
certfile mosquitto.crt
keyfile mosquitto.key
crlfile ca.crl
require_certificate true
use_identity_as_username true
acl_file access.acl
`

// installed returns the version of the broker of these tests.
func installed(t *testing.T) string {
	t.Helper()
	b, err := mosquitto.Find(context.Background(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	return b.Version
}

// verdicts are the severities and IDs of findings, a line each.
func verdicts(findings []mosquittoconf.Finding) string {
	var s strings.Builder
	for _, f := range findings {
		fmt.Fprintln(&s, f.Severity, f.ID)
	}
	return s.String()
}

// Each case says what CheckFiles finds. The broker must agree: it refuses to
// start, it starts and a proper client cannot connect (a trap), or the client
// can, unless the case says that clients are refused.
func TestCheckFiles(t *testing.T) {
	edit := func(from, to string) string { return strings.Replace(goodConf, from, to, 1) }
	acl := func(text string) func(*testing.T, *material) {
		return func(t *testing.T, m *material) { m.write(t, "access.acl", []byte(text)) }
	}
	psk := func(text string) func(*testing.T, *material) {
		return func(t *testing.T, m *material) { m.write(t, "psk", []byte(text)) }
	}
	tests := []struct {
		name    string
		conf    string // goodConf if empty
		change  func(*testing.T, *material)
		want    []string
		shut    bool // although there is only a warning
		open    bool // although there is a trap
		unasked bool // the broker is not asked; why is said at the case
	}{
		{name: "good"},
		{name: "no revocation list", conf: edit("crlfile ca.crl\n", "")},
		{name: "one PEM file for both", conf: edit("mosquitto.key", "mosquitto.crt"), change: func(t *testing.T, m *material) {
			m.write(t, "mosquitto.crt", append(m.server.certPEM(), m.server.keyPEM(t)...))
		}},
		{name: "text around the blocks", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crt", append([]byte("our CA\n\n"), m.ca.certPEM()...))
		}},
		{name: "SEC 1 key behind its parameters", change: func(t *testing.T, m *material) {
			m.write(t, "mosquitto.key", append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), m.server.keyPEM(t)...))
		}},

		{name: "RSA key in its own format", change: func(t *testing.T, m *material) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			m.serve(t, issueFor(t, named("mosquitto"), m.ca, key))
			m.write(t, "mosquitto.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
		}},
		{name: "trusted certificate", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "TRUSTED CERTIFICATE", Bytes: append(bytes.Clone(m.ca.cert.Raw), 0x30, 0)}))
		}},
		{name: "key readable to a group", change: func(t *testing.T, m *material) { m.chmod(t, "mosquitto.key", 0o640) }},

		{name: "cafile missing", conf: edit("ca.crt", "no.crt"), want: []string{"refused file-missing"}},
		{name: "cafile empty", change: func(t *testing.T, m *material) { m.write(t, "ca.crt", nil) },
			want: []string{"refused cafile-invalid"}},
		{name: "cafile of DER", change: func(t *testing.T, m *material) { m.write(t, "ca.crt", m.ca.cert.Raw) },
			want: []string{"refused cafile-invalid"}},
		{name: "cafile truncated", change: func(t *testing.T, m *material) {
			all := append(m.ca.certPEM(), m.ca.certPEM()...)
			m.write(t, "ca.crt", all[:len(all)-40])
		}, want: []string{"refused cafile-invalid"}},
		{name: "cafile of garbage in armour", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("garbage")}))
		}, want: []string{"refused cafile-invalid"}},
		{name: "cafile of a list", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crt", m.ca.crlPEM(t, time.Now().Add(time.Hour)))
		}, want: []string{"trap ca-none"}},
		{name: "cafile without CA", change: func(t *testing.T, m *material) { m.write(t, "ca.crt", m.server.certPEM()) },
			want: []string{"trap ca-none"}},
		{name: "second CA expired", change: func(t *testing.T, m *material) {
			template := named("old CA")
			template.NotBefore, template.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
			old := issue(t, template, nil)
			m.write(t, "ca.crt", append(m.ca.certPEM(), old.certPEM()...))
			end := time.Now().Add(time.Hour)
			m.write(t, "ca.crl", append(m.ca.crlPEM(t, end), old.crlPEM(t, end)...))
		}, want: []string{"warning ca-expired"}},
		{name: "capath missing", conf: edit("cafile ca.crt", "capath no"), want: []string{"trap file-missing"}},

		{name: "certfile missing", conf: edit("mosquitto.crt", "no.crt"), want: []string{"refused file-missing"}},
		{name: "certfile a folder", conf: edit("mosquitto.crt", "."), want: []string{"refused file-not-regular"}},
		{name: "certfile of a key", conf: edit("mosquitto.crt", "mosquitto.key"), want: []string{"refused certfile-invalid"}},
		{name: "certificate expired", change: func(t *testing.T, m *material) {
			template := named("mosquitto")
			template.NotBefore, template.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
			m.serve(t, issue(t, template, m.ca))
		}, want: []string{"trap certificate-expired"}},
		{name: "certificate of tomorrow", change: func(t *testing.T, m *material) {
			template := named("mosquitto")
			template.NotBefore = time.Now().Add(time.Hour)
			m.serve(t, issue(t, template, m.ca))
		}, want: []string{"trap certificate-not-yet-valid"}},
		{name: "certificate for clients", change: func(t *testing.T, m *material) { m.serve(t, m.client) },
			want: []string{"trap certificate-not-for-servers"}},
		{name: "certificate without extended key usage", change: func(t *testing.T, m *material) {
			m.serve(t, issue(t, named("mosquitto"), m.ca))
		}},
		{name: "certificate of an intermediate in certfile", change: func(t *testing.T, m *material) {
			template := named("sub CA")
			template.IsCA, template.BasicConstraintsValid = true, true
			sub := issue(t, template, m.ca)
			m.serve(t, issue(t, named("mosquitto"), sub))
			m.write(t, "mosquitto.crt", append(m.served(t), sub.certPEM()...))
		}},
		// The client here trusts that other CA.
		{name: "certificate of another CA", change: func(t *testing.T, m *material) {
			clients := m.ca
			m.ca = issue(t, named("other CA"), nil)
			m.serve(t, issue(t, named("mosquitto"), m.ca))
			m.write(t, "ca.crt", clients.certPEM())
		}, want: []string{"warning chain-unverified"}},

		{name: "keyfile missing", conf: edit("mosquitto.key", "no.key"), want: []string{"refused file-missing"}},
		{name: "keyfile of a certificate", conf: edit("mosquitto.key", "mosquitto.crt"), want: []string{"refused keyfile-invalid"}},
		{name: "keyfile of garbage in armour", change: func(t *testing.T, m *material) {
			m.write(t, "mosquitto.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("garbage")}))
		}, want: []string{"refused keyfile-invalid"}},
		{name: "key of another", change: func(t *testing.T, m *material) { m.write(t, "mosquitto.key", m.client.keyPEM(t)) },
			want: []string{"refused key-mismatch"}},
		// The broker would ask at the terminal of whoever runs this test.
		{name: "key encrypted", unasked: true, change: func(t *testing.T, m *material) {
			m.write(t, "mosquitto.key", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0x30, 0}}))
		}, want: []string{"refused key-encrypted"}},
		{name: "key readable to others", change: func(t *testing.T, m *material) { m.chmod(t, "mosquitto.key", 0o644) },
			want: []string{"warning key-exposed"}},

		{name: "crlfile missing", conf: edit("ca.crl", "no.crl"), want: []string{"refused file-missing"}},
		{name: "crlfile empty", change: func(t *testing.T, m *material) { m.write(t, "ca.crl", nil) },
			want: []string{"refused crlfile-invalid"}},
		{name: "crlfile of DER", change: func(t *testing.T, m *material) {
			block, _ := pem.Decode(m.ca.crlPEM(t, time.Now().Add(time.Hour)))
			m.write(t, "ca.crl", block.Bytes)
		}, want: []string{"refused crlfile-invalid"}},
		{name: "list of another CA", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crl", issue(t, named("other CA"), nil).crlPEM(t, time.Now().Add(time.Hour)))
		}, want: []string{"trap crl-foreign"}},
		{name: "list of a second CA missing", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crt", append(m.ca.certPEM(), issue(t, named("other CA"), nil).certPEM()...))
		}, want: []string{"warning crl-missing"}},
		{name: "list expired", shut: true, change: func(t *testing.T, m *material) {
			m.write(t, "ca.crl", m.ca.crlPEM(t, time.Now().Add(-time.Hour)))
		}, want: []string{"warning crl-expired"}},
		{name: "list expired beside a good one", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crl", append(m.ca.crlPEM(t, time.Now().Add(-time.Hour)), m.ca.crlPEM(t, time.Now().Add(time.Hour))...))
		}},
		{name: "list by another key", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crl", issue(t, named("test CA"), nil).crlPEM(t, time.Now().Add(time.Hour)))
		}, want: []string{"trap crl-foreign"}},
		{name: "list by another key beside a good one", change: func(t *testing.T, m *material) {
			other := issue(t, named("test CA"), nil)
			m.write(t, "ca.crl", append(other.crlPEM(t, time.Now().Add(time.Hour)), m.ca.crlPEM(t, time.Now().Add(time.Hour))...))
		}},
		// OpenSSL chooses by key identifier and date, and then looks at the
		// signature.
		{name: "newer list of the same key identifier by another key beside a good one", change: func(t *testing.T, m *material) {
			template := named("test CA")
			template.SubjectKeyId = m.ca.cert.SubjectKeyId
			forger := issue(t, template, nil)
			m.write(t, "ca.crl", crl.EncodePEM(m.ca.revoking(t, 1), forger.revoking(t, 2)))
		}, want: []string{"trap crl-unusable"}},
		{name: "older list of the same key identifier by another key beside a good one", change: func(t *testing.T, m *material) {
			template := named("test CA")
			template.SubjectKeyId = m.ca.cert.SubjectKeyId
			forger := issue(t, template, nil)
			m.write(t, "ca.crl", crl.EncodePEM(m.ca.revoking(t, 2), forger.revoking(t, 1)))
		}},
		{name: "two good lists", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crl", crl.EncodePEM(m.ca.revoking(t, 1), m.ca.revoking(t, 2)))
		}},
		{name: "list of the future", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crl", crl.EncodePEM(m.ca.revoking(t, 3900)))
		}, want: []string{"trap crl-unusable"}},

		{name: "access file missing", conf: edit("access.acl", "no.acl"), want: []string{"refused file-missing"}},
		{name: "access file of comments", change: func(t *testing.T, m *material) { m.write(t, "access.acl", []byte("# user a\n\n \t\r\n")) },
			want: []string{"warning acl-empty"}},
		{name: "rule without keyword", change: acl("read a\n"), want: []string{"refused acl-invalid"}},
		{name: "rule with a tab", change: acl("topic\tread a\n"), want: []string{"refused acl-invalid"}},
		{name: "indented comment", change: acl("topic a\n # x\n"), want: []string{"refused acl-invalid"}},
		{name: "unknown access", change: acl("topic raed a\n"), want: []string{"refused acl-invalid"}},
		{name: "topic of white space", change: acl("topic  \n"), want: []string{"refused acl-invalid"}},
		{name: "access as topic", change: acl("topic deny\npattern  write  a b/%u \t\n")},
		{name: "broken filter", change: acl("topic a/#/b\n"), want: []string{"refused acl-invalid"}},
		{name: "201 levels", change: acl("topic " + strings.Repeat("/", 201) + "\n"), want: []string{"refused acl-invalid"}},
		{name: "user without name", change: acl("user \t\n"), want: []string{"refused acl-invalid"}},
		{name: "byte order mark", change: acl("\ufeff# x\n"), want: []string{"refused acl-invalid"}},
		{name: "odd users", change: acl("user a  b # c\n  topic a\n\t\n")},
		{name: "broken rule behind a NUL", change: acl("topic a\x00\nxyz\n"), want: []string{"trap acl-nul"}, open: true},
		{name: "keys", conf: "psk_file psk\n" + goodConf, change: psk("# x:y\nabc:0123abc\nno colon\n")},
		{name: "key of letters", conf: "psk_file psk\n" + goodConf, change: psk("abc:xyz\n"), want: []string{"refused psk-invalid"}},
		{name: "unhashed directory", conf: edit("cafile ca.crt", "capath ."), want: []string{"trap capath-unhashed"}},
		{name: "ciphers for another key", conf: goodConf + "ciphers ECDHE-RSA-AES128-GCM-SHA256\n", want: []string{"trap ciphers-unfit"}},
		{name: "ciphers for this key", conf: goodConf + "ciphers ECDHE-ECDSA-AES128-GCM-SHA256\n"},
		{name: "certificate about to expire", change: func(t *testing.T, m *material) {
			template := named("mosquitto")
			template.NotBefore, template.NotAfter = time.Now().Add(-100*time.Hour), time.Now().Add(time.Hour)
			m.serve(t, issue(t, template, m.ca))
		}, want: []string{"warning certificate-expires-soon"}},
		{name: "certificate without names", shut: true, change: func(t *testing.T, m *material) {
			template := named("mosquitto")
			template.DNSNames = nil
			m.serve(t, issue(t, template, m.ca))
		}, want: []string{"warning certificate-without-names"}},
		{name: "list about to expire", change: func(t *testing.T, m *material) {
			m.write(t, "ca.crl", m.ca.crlPEM(t, time.Now().Add(time.Minute)))
		}, want: []string{"warning crl-expires-soon"}},
		{name: "no folder for the process id", conf: goodConf + "pid_file nowhere/pid\n", want: []string{"refused folder-missing"}},
		{name: "no folder for a socket", conf: goodConf + "listener 0 nowhere/socket\n", want: []string{"refused folder-missing"}},
		// The broker runs and logs nothing at all, so nobody sees that it does.
		{name: "no folder for the log", unasked: true, conf: goodConf + "log_dest file nowhere/log\n", want: []string{"trap folder-missing"}},
		{name: "no folder for sessions", conf: goodConf + "persistence true\npersistence_location nowhere/\n", want: []string{"trap folder-missing"}, open: true},
		{name: "folder for nothing", conf: goodConf + "persistence_location nowhere/\n"},
		{name: "folder for the process id", conf: goodConf + "pid_file .\n", want: []string{"refused file-not-regular"}},
		{name: "plugin of text", conf: goodConf + "plugin ./ca.crt\n", want: []string{"refused plugin-invalid"}},
		{name: "plugin missing", conf: goodConf + "plugin /nowhere/plugin.so\n", want: []string{"refused file-missing"}},
		{name: "password file missing", conf: goodConf + "password_file no.pw\n", want: []string{"refused file-missing"}},
		{name: "included folder", conf: goodConf + "include_dir .\n", want: []string{"warning include-dir"}},
		{name: "two at once, in file order", conf: edit("mosquitto.key", "no.key"), change: func(t *testing.T, m *material) {
			m.write(t, "access.acl", nil)
			m.write(t, "ca.crt", nil)
		}, want: []string{"refused cafile-invalid", "refused file-missing", "warning acl-empty"}},
	}
	version := installed(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMaterial(t)
			if tt.conf == "" {
				tt.conf = goodConf
			}
			if tt.change != nil {
				tt.change(t, m)
			}
			f := parse(t, "listener 8883 127.0.0.1\n"+tt.conf)
			findings := f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: version})
			want := strings.Join(append(tt.want, ""), "\n")
			if diff := cmp.Diff(want, verdicts(findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s\n%v", diff, findings)
			}
			if tt.unasked {
				return
			}
			works := m.works(t, mosquittotest.Options{Dir: m.dir, Conf: tt.conf})
			if want := !strings.Contains(want, "refused") && (!strings.Contains(want, "trap") || tt.open) && !tt.shut; (works == nil) != want {
				t.Errorf("the broker: %v", works)
			}
			_, ended := errors.AsType[*mosquittotest.ExitError](works)
			if want := strings.Contains(want, "refused"); ended != want {
				t.Errorf("refused %t; the broker: %v", want, works)
			}
		})
	}
}

// works returns nil if a client with a certificate can connect.
func (m *material) works(t *testing.T, o mosquittotest.Options) error {
	t.Helper()
	b, err := mosquittotest.Start(o)
	if err != nil {
		return err
	}
	defer b.Close()
	code, err := m.connack(b.Addr(), m.client)
	if err == nil && code != 0 {
		err = fmt.Errorf("CONNACK %d", code)
	}
	return err
}

// serve makes id the broker's identity.
func (m *material) serve(t *testing.T, id *identity) {
	t.Helper()
	m.write(t, "mosquitto.crt", id.certPEM())
	m.write(t, "mosquitto.key", id.keyPEM(t))
}

func (m *material) served(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(m.path("mosquitto.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (m *material) chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(m.path(name), mode); err != nil {
		t.Fatal(err)
	}
}

// What depends on the version is asked of the broker at hand, and of the
// others in their absence.
func TestCheckFilesByVersion(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, *material)
		want   map[string]string
	}{
		{"symlink", func(t *testing.T, m *material) {
			if err := os.Rename(m.path("access.acl"), m.path("real.acl")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("real.acl", m.path("access.acl")); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{
			"2.0.11": "warning symlink\n",
			"2.0.21": "warning symlink\n",
			"2.1.2":  "refused symlink\n",
			"":       "refused symlink\n",
			"newest": "refused symlink\n",
		}},
		{"folder", func(t *testing.T, m *material) {
			if err := os.Remove(m.path("access.acl")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(m.path("access.acl"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{
			"1.6.15": "trap file-not-regular\n",
			"2.0.11": "trap file-not-regular\n",
			"2.0.21": "refused file-not-regular\n",
			"2.1.2":  "refused file-not-regular\n",
		}},
		{"rules of none", func(t *testing.T, m *material) { m.write(t, "access.acl", []byte("# x\n")) }, map[string]string{
			"1.4.13": "trap acl-empty\n",
			"1.6.15": "warning acl-empty\n",
			"2.0.11": "warning acl-empty\n",
		}},
		{"unknown rule", func(t *testing.T, m *material) { m.write(t, "access.acl", []byte("xyz\ntopic a\n")) }, map[string]string{
			"1.4.13": "trap acl-invalid\n",
			"1.6.15": "refused acl-invalid\n",
			"2.0.11": "refused acl-invalid\n",
		}},
		{"rule that denies", func(t *testing.T, m *material) { m.write(t, "access.acl", []byte("topic deny a\n")) }, map[string]string{
			"1.6.15": "refused acl-invalid\n",
			"2.0.11": "",
		}},
		{"broken filter", func(t *testing.T, m *material) { m.write(t, "access.acl", []byte("topic a/#/b\n")) }, map[string]string{
			"1.6.8":  "trap acl-invalid\nwarning acl-empty\n",
			"1.6.15": "refused acl-invalid\n",
		}},
		{"second access file", func(t *testing.T, m *material) {
			m.write(t, "good.acl", []byte("topic a\n"))
			m.write(t, "access.acl", []byte("xyz\n"))
			m.write(t, "mosquitto.conf.extra", []byte("acl_file good.acl\n"))
		}, map[string]string{
			"2.1.2": "",
		}},
		{"two lists", func(t *testing.T, m *material) {
			m.write(t, "ca.crl", crl.EncodePEM(m.ca.revoking(t, 1), m.ca.revoking(t, 2)))
		}, map[string]string{
			"1.6.7":  "refused crlfile-invalid\n",
			"1.6.8":  "",
			"2.0.11": "",
		}},
		{"broken DH parameters", func(t *testing.T, m *material) {
			m.write(t, "dh.pem", []byte("x"))
			m.write(t, "mosquitto.conf.extra", []byte("dhparamfile dh.pem\n"))
		}, map[string]string{
			"1.4.13": "warning acl-patterns-kept\n",
			"2.0.11": "refused dhparamfile-invalid\n",
			"2.0.21": "refused dhparamfile-invalid\n",
			"2.1.2":  "",
		}},
		{"world-readable", func(t *testing.T, m *material) { m.chmod(t, "access.acl", 0o644) }, map[string]string{
			"2.0.11":     "",
			"2.0.15":     "",
			"2.0.11-rc1": "",
			"2.0.16-rc1": "warning world-readable\n",
			"2.0.21":     "warning world-readable\n",
			"2.1.2":      "warning world-readable\n",
			"":           "warning world-readable\n",
		}},
	}
	at := version(t, installed(t))
	version := at.String()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMaterial(t)
			tt.change(t, m)
			extra, _ := os.ReadFile(m.path("mosquitto.conf.extra"))
			goodConf := goodConf + string(extra)
			f := parse(t, "listener 8883\n"+goodConf)
			for v, want := range tt.want {
				env := mosquittoconf.Environment{Dir: m.dir, Version: v}
				if got := verdicts(f.CheckFiles(env)); got != want {
					t.Errorf("version %q: got %q, want %q", v, got, want)
				}
			}
			got := verdicts(f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: version}))
			b, err := mosquittotest.Start(mosquittotest.Options{Dir: m.dir, Conf: goodConf})
			got += verdicts(refused(f.Vet(at)))
			if (err != nil) != strings.Contains(got, "refused") {
				t.Fatalf("got %q; the broker: %v", got, err)
			}
			if err != nil {
				return
			}
			defer b.Close()
			if tt.name == "folder" && publishes(b, "a/device1") == nil {
				t.Error("somebody may do something")
			}
			if warns := strings.Contains(b.Log(), "world readable"); warns != strings.Contains(got, "world-readable") {
				t.Errorf("got %q; the broker's log:\n%s", got, b.Log())
			}
		})
	}
}

const goodPassword = "a:$7$101$c2FsdHNhbHRzYWx0$" + "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaA==\n"

// 2.0.11 reads a folder in place of a password file for ever.
func TestCheckFilesOfFolderOfPasswords(t *testing.T) {
	m := newMaterial(t)
	at := installed(t)
	m.write(t, "mosquitto.conf", []byte("log_dest stderr\n"+userLine(t)+m.fill(t, "listener PORT 127.0.0.1\npassword_file .\n")))
	data, err := os.ReadFile(m.path("mosquitto.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{at, "2.0.11", "2.0.21", "2.1.2"} {
		if got := first(parse(t, string(data)).CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: v}), "file-not-regular"); got != "refused" {
			t.Errorf("version %s: got %q", v, got)
		}
	}
	b, err := mosquitto.Find(t.Context(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.Path, "-c", m.path("mosquitto.conf"))
	cmd.Dir = m.dir
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Contains(string(out), "mosquitto version "+at+" running") {
		t.Errorf("the broker runs: %v\n%s", err, out)
	}
}

// Kubernetes makes symbolic links of mounted files, and a variable has 2.1.1
// follow them.
func TestCheckFilesOfFollowedSymlink(t *testing.T) {
	m := newMaterial(t)
	if err := os.Symlink("access.acl", m.path("link.acl")); err != nil {
		t.Fatal(err)
	}
	conf := strings.Replace(goodConf, "access.acl", "link.acl", 1)
	f := parse(t, "listener 8883\n"+conf)
	for v, want := range map[string]string{"2.0.21": "warning symlink\n", "2.1.0": "refused symlink\n", "2.1.2": "warning symlink\n"} {
		if got := verdicts(f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: v, FollowsSymlinks: true})); got != want {
			t.Errorf("version %s: got %q, want %q", v, got, want)
		}
	}
	t.Setenv("MOSQUITTO_UNSAFE_ALLOW_SYMLINKS", "1")
	if err := m.works(t, mosquittotest.Options{Dir: m.dir, Conf: conf}); err != nil {
		t.Error(err)
	}
}

func TestCheckFilesOfPasswords(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		bad, in14  bool // 2.1 refuses it, and 1.4 does
	}{
		{"good", "# x\n" + goodPassword, false, true},
		{"good for 1.x", strings.Replace(goodPassword, "$7$101$", "$6$", 1), false, false},
		{"twice", goodPassword + goodPassword, true, true},
		{"no colon", "abc\n", false, false},
		{"no name", ":$7$\n", true, true},
		{"no hash", "a:secret\n", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMaterial(t)
			m.write(t, "access.pw", []byte(tt.text))
			conf := "password_file access.pw\n"
			f := parse(t, "listener 8883\n"+conf)
			for v, want := range map[string]bool{"2.0.11": false, "2.1.2": tt.bad, "1.6.15": false, "1.4.13": tt.in14} {
				got := verdicts(f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: v}))
				if strings.Contains(got, "refused password-invalid") != want {
					t.Errorf("%s: got %q, refused %t", v, got, want)
				}
			}
			b, err := mosquittotest.Start(mosquittotest.Options{Dir: m.dir, Conf: conf})
			if err == nil {
				b.Close()
			}
			got := verdicts(f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: installed(t)}))
			if (err != nil) != strings.Contains(got, "refused") {
				t.Errorf("got %q; the broker: %v", got, err)
			}
		})
	}
}

// A client compares the name that it connects to with the certificate's.
func TestCheckFilesOfNames(t *testing.T) {
	for _, tt := range []struct {
		name      string
		dns       []string
		ips       []net.IP
		connectTo []string
		want      string
	}{
		{"name", []string{"hub.example.org"}, nil, []string{"hub.example.org"}, ""},
		{"other name", []string{"hub.example.org"}, nil, []string{"mqtt.example.org"}, "trap certificate-name\n"},
		{"one of two", []string{"hub.example.org"}, nil, []string{"hub.example.org", "mqtt.example.org"}, "trap certificate-name\n"},
		{"wildcard", []string{"*.example.org"}, nil, []string{"hub.example.org"}, ""},
		{"wildcard for two levels", []string{"*.example.org"}, nil, []string{"a.hub.example.org"}, "trap certificate-name\n"},
		{"address", nil, []net.IP{net.IPv4(192, 0, 2, 1)}, []string{"192.0.2.1"}, ""},
		{"address as a name", []string{"192.0.2.1"}, nil, []string{"192.0.2.1"}, "trap certificate-name\nwarning certificate-name\n"},
		{"not known", []string{"hub.example.org"}, nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMaterial(t)
			template := named("mosquitto")
			template.DNSNames, template.IPAddresses = tt.dns, tt.ips
			m.serve(t, issue(t, template, m.ca))
			f := parse(t, "listener 8883\n"+goodConf)
			found := f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: installed(t), Names: tt.connectTo})
			if got := verdicts(found); got != tt.want {
				t.Errorf("got %v, want %q", found, tt.want)
			}
			b := start(t, mosquittotest.Options{Dir: m.dir, Conf: goodConf})
			refused := false
			for _, name := range tt.connectTo {
				config := m.clientTLS(m.client)
				config.ServerName = name
				conn, err := tls.DialWithDialer(dialer, "tcp", b.Addr(), config)
				if _, ok := errors.AsType[x509.HostnameError](err); err != nil && !ok {
					t.Fatal(err)
				}
				if err == nil {
					conn.Close()
				}
				refused = refused || err != nil
			}
			if refused != (tt.want != "") {
				t.Errorf("a client refuses the broker: %t", refused)
			}
		})
	}

	// With two listeners, each may be for other clients.
	m := newMaterial(t)
	template := named("mosquitto")
	template.DNSNames = []string{"outside.example.org"}
	outside := issue(t, template, m.ca)
	m.write(t, "outside.crt", outside.certPEM())
	m.write(t, "outside.key", outside.keyPEM(t))
	f := parse(t, "listener 8883\n"+goodConf+"listener 8884\ncertfile outside.crt\nkeyfile outside.key\n")
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{[]string{"localhost", "outside.example.org"}, ""},
		{[]string{"localhost"}, "trap certificate-name\n"},
		{[]string{"localhost", "outside.example.org", "nowhere"}, "trap certificate-name\n"},
	} {
		if got := verdicts(f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Names: tt.names})); got != tt.want {
			t.Errorf("two listeners, %q: got %q, want %q", tt.names, got, tt.want)
		}
	}
}

func TestCheckFilesOfConfig(t *testing.T) {
	m := newMaterial(t)
	f := parse(t, render(t, m.full(t)))
	if got := f.CheckFiles(mosquittoconf.Environment{Version: installed(t)}); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func TestCheckFilesDates(t *testing.T) {
	m := newMaterial(t)
	f := parse(t, "listener 8883\n"+goodConf)
	env := mosquittoconf.Environment{Dir: m.dir, Version: "2.0.11", Now: time.Now().AddDate(1, 0, 0)}
	want := "warning ca-expired\ntrap certificate-expired\nwarning crl-expired\n"
	if got := verdicts(f.CheckFiles(env)); got != want {
		t.Errorf("in a year: got %q, want %q", got, want)
	}
	env.Now = time.Now().AddDate(-1, 0, 0)
	want = "trap certificate-not-yet-valid\ntrap crl-unusable\n"
	if got := verdicts(f.CheckFiles(env)); got != want {
		t.Errorf("a year ago: got %q, want %q", got, want)
	}
}

// A broker that has become another user reads nothing of a private folder.
func TestCheckFilesAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start a broker that becomes another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, gid := number(t, nobody.Uid), number(t, nobody.Gid)
	m := newMaterial(t)
	env := mosquittoconf.Environment{Dir: m.dir, Version: installed(t), UID: uid, GID: gid}
	f := parse(t, "listener 8883\n"+goodConf)
	o := mosquittotest.Options{Dir: m.dir, Conf: goodConf + "user nobody\n"}

	check := func(when string, want int) {
		t.Helper()
		got := strings.Count(verdicts(f.CheckFiles(env)), "refused file-unreadable")
		if got != want {
			t.Errorf("%s: got %d unreadable files, want %d: %v", when, got, want, f.CheckFiles(env))
		}
		if err := m.works(t, o); (err == nil) != (want == 0) {
			t.Errorf("%s: the broker: %v", when, err)
		}
	}
	check("private folder", 5)
	for dir := m.dir; dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	check("private files", 5)
	for _, name := range []string{"ca.crt", "mosquitto.crt", "ca.crl"} {
		m.chmod(t, name, 0o644)
	}
	if err := os.Chown(m.path("mosquitto.key"), uid, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(m.path("access.acl"), 0, gid); err != nil {
		t.Fatal(err)
	}
	check("access file of the group, without the group's right", 1)
	m.chmod(t, "access.acl", 0o640)
	check("all readable", 0)

	// The owner's lack of a right is not made good by that of others.
	m.chmod(t, "mosquitto.key", 0o044)
	check("key that all but its owner can read", 1)
	m.chmod(t, "mosquitto.key", 0o400)
	if err := os.Chown(m.path("access.acl"), 0, 12345); err != nil {
		t.Fatal(err)
	}
	env.Groups = []int{7, 12345}
	if got := verdicts(f.CheckFiles(env)); strings.Contains(got, "refused") {
		t.Errorf("file of another group of the user: got %q", got)
	}
	m.chmod(t, "ca.crl", 0o600)
	env.Version = "1.6.15"
	if got := verdicts(f.CheckFiles(env)); got != "trap file-unreadable\n" {
		t.Errorf("list of root's, which 1.x reads as root: got %q", got)
	}
	m.chmod(t, "ca.crl", 0o644)
	env.Version = "2.0.21"
	if got := verdicts(f.CheckFiles(env)); got != "warning owner\n" {
		t.Errorf("file of another owner: got %q", got)
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What the standard library cannot read may still be good for OpenSSL.
func TestCheckFilesDoesNotCondemnTheUnknown(t *testing.T) {
	m := newMaterial(t)
	der := bytes.Clone(m.server.cert.Raw)
	prime256v1 := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	if !bytes.Contains(der, prime256v1) {
		t.Fatal("the certificate names no curve")
	}
	der = bytes.Replace(der, prime256v1, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x06}, 1)
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Fatal("the standard library reads the certificate")
	}
	m.write(t, "mosquitto.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	m.write(t, "mosquitto.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{0x30, 0x00}}))
	f := parse(t, "listener 8883\n"+goodConf)
	got := verdicts(f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: "2.0.11"}))
	if want := "warning not-checked\nwarning not-checked\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckFilesLeavesOtherListenersAlone(t *testing.T) {
	f := parse(t, "listener 1883 127.0.0.1\nallow_anonymous true\n")
	if got := f.CheckFiles(mosquittoconf.Environment{}); len(got) > 0 {
		t.Errorf("plain listener: got %v", got)
	}
	if got := new(mosquittoconf.File).CheckFiles(mosquittoconf.Environment{}); len(got) > 0 {
		t.Errorf("zero file: got %v", got)
	}
}

// dojot's own configuration works with relative paths and a default listener.
func TestCheckFilesOfDojot(t *testing.T) {
	m := newMaterial(t)
	f := parseFile(t, "dojot.conf")
	if got := f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: "2.0.11"}); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	if err := os.Remove(m.path("ca.crl")); err != nil {
		t.Fatal(err)
	}
	got := f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: "2.0.11"})
	if len(got) != 1 || got[0].Line != 9 || got[0].ID != "file-missing" {
		t.Fatalf("got %v", got)
	}
	want := "mosquitto.conf:9: refused: crlfile " + m.path("ca.crl") + " does not exist; put the file there or correct the path"
	if got[0].String() != want {
		t.Errorf("got %q, want %q", got[0], want)
	}
}
