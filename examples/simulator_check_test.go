package examples_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/dojot/mqtt-manager-go/provision"
)

// fleet is a broker with its CA, and two devices of which one is revoked.
type fleet struct {
	t    *testing.T
	ca   *ejbcatest.Server
	dir  string // with the devices' files in certs
	acl  string
	list string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, ca: ejbcatest.NewServer(), dir: t.TempDir()}
	t.Cleanup(f.ca.Close)
	f.acl, f.list = filepath.Join(f.dir, "access.acl"), filepath.Join(f.dir, "ca.crl")
	f.identify("mosquitto", provision.BrokerFiles(f.dir))
	for _, device := range []string{"24f6", "a1b2"} {
		f.identify(device, provision.DeviceFiles(filepath.Join(f.dir, "certs"), device, "IOTmidCA"))
	}
	if err := f.ca.Client().RevokeUser(t.Context(), "a1b2", crl.Unspecified); err != nil {
		t.Fatal(err)
	}
	f.saveList()
	f.write(f.acl, "user 24f6\ntopic write /admin/24f6/attrs\ntopic readwrite /admin/24f6/echo\n")
	return f
}

func (f *fleet) identify(name string, files provision.Files) {
	f.t.Helper()
	id := provision.Identity{CommonName: name, DNSNames: []string{"localhost"}, KeyType: provision.RSA, Files: files}
	if _, err := id.Ensure(f.t.Context(), &ejbca.Issuer{Client: f.ca.Client(), User: name, Register: true}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) saveList() {
	f.t.Helper()
	list, err := (&ejbca.Issuer{Client: f.ca.Client()}).FreshCRL(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(f.list, string(crl.EncodePEM(list)))
}

func (f *fleet) write(path, content string) {
	f.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) startBroker() (port string) {
	f.t.Helper()
	files := provision.BrokerFiles(f.dir)
	broker, err := mosquittotest.Start(mosquittotest.Options{Conf: fmt.Sprintf(
		"cafile %s\ncertfile %s\nkeyfile %s\ncrlfile %s\nrequire_certificate true\nuse_identity_as_username true\nacl_file %s\n",
		files.CA, files.Cert, files.Key, f.list, f.acl)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			f.t.Error(err)
		}
	})
	_, port, err = net.SplitHostPort(broker.Addr())
	if err != nil {
		f.t.Fatal(err)
	}
	return port
}

// What a device and its operator are told, without the broker's files and
// with them.
func TestSimulatorExplains(t *testing.T) {
	f := newFleet(t)
	port := f.startBroker()
	stale := newFleet(t)
	stale.ca.Advance(-48 * time.Hour)
	stale.saveList()
	stalePort := stale.startBroker()

	files := []string{"--cert", "certs/24f6.crt", "--key", "certs/24f6.key", "--cafile", "certs/IOTmidCA.crt"}
	for _, tc := range []struct {
		name  string
		fleet *fleet
		port  string
		args  []string
		code  int
		words []string
	}{
		{"all is well", f, port, []string{"--tenant", "admin", "--device", "24f6"}, 0,
			[]string{"published to /admin/24f6/attrs and confirmed"}},
		{"files by name", f, port, append([]string{"-t", "/admin/24f6/attrs"}, files...), 0,
			[]string{"published to /admin/24f6/attrs and confirmed"}},
		{"QoS 0 tells nothing", f, port, []string{"--tenant", "other", "--device", "24f6", "-q", "0"}, 0,
			[]string{"QoS 0 does not tell"}},
		{"no data arrives", f, port, []string{"--tenant", "other", "--device", "24f6"}, 1,
			[]string{`refused: the broker's access rules do not let this client publish to "/other/24f6/attrs"`, "remedy: check that the device is registered"}},
		{"no data arrives, and the rules can be read", f, port, []string{"--tenant", "other", "--device", "24f6", "--acl-file", "access.acl"}, 1,
			[]string{`do not let "24f6" publish to "/other/24f6/attrs": access.acl`}},
		{"the rules in the file are newer than the broker's", f, port, []string{"--tenant", "other", "--device", "24f6", "--acl-file", "next.acl"}, 1,
			[]string{"although the rules in its file allow them: next.acl:2", "remedy: have it read the file again (SIGHUP)"}},
		{"revoked", f, port, []string{"--tenant", "admin", "--device", "a1b2"}, 1,
			[]string{"refused: the certificate has been revoked", "remedy: get a new one"}},
		{"revoked, and the list can be read", f, port, []string{"--tenant", "admin", "--device", "a1b2", "--crlfile", "ca.crl"}, 1,
			[]string{"refused: the certificate with serial", "is on the broker's revocation list"}},
		{"stale list", stale, stalePort, []string{"--tenant", "admin", "--device", "24f6"}, 1,
			[]string{"refused: the certificate is valid until", "so the broker's revocation list has expired, and every client is refused"}},
		{"stale list, and it can be read", stale, stalePort, []string{"--tenant", "admin", "--device", "24f6", "--crlfile", "ca.crl"}, 1,
			[]string{"refused: the broker's revocation list has expired, so it refuses every client ("}},
		{"the CA was rebuilt", stale, port, []string{"--tenant", "admin", "--device", "24f6"}, 1,
			[]string{"the CA was rebuilt", "remedy: get the CA's certificate anew"}},
		{"nothing comes, and nobody says why", f, port, []string{"--device", "24f6", "-s", "/admin/24f6/secret", "-C", "1", "-W", "15s"}, 1,
			[]string{`subscribed to ["/admin/24f6/secret"]`, "0 of 1 messages", "a broker grants every subscription"}},
		{"nothing comes, and the rules can be read", f, port,
			[]string{"--device", "24f6", "-s", "/admin/24f6/secret", "-s", "/admin/24f6/echo", "-t", "/admin/24f6/echo", "-C", "1", "--acl-file", "access.acl"}, 0,
			[]string{`nothing will come on "/admin/24f6/secret"`, `/admin/24f6/echo {"temperature": 21.5}`}},
		{"no such rules", f, port, []string{"--tenant", "admin", "--device", "24f6", "--acl-file", "none.acl"}, 1, []string{"--acl-file: ", "none.acl"}},
		{"no such list", f, port, []string{"--tenant", "admin", "--device", "24f6", "--crlfile", "none.crl"}, 1, []string{"--crlfile: ", "none.crl"}},
		{"rules that no broker loads", f, port, []string{"--tenant", "admin", "--device", "24f6", "--acl-file", "ca.crl"}, 1, []string{"--acl-file: the broker does not load it"}},
		{"a version that does not exist", f, port, []string{"--tenant", "admin", "--device", "24f6", "--acl-file", "access.acl", "--broker-version", "nine"}, 2, []string{"--broker-version"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(tc.fleet.dir, "next.acl"), []byte("user 24f6\ntopic write /other/24f6/attrs\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			out, code := run(t, tc.fleet.dir, "", "simulator", append([]string{"-p", tc.port}, tc.args...)...)
			if code != tc.code {
				t.Errorf("exit status %d, want %d", code, tc.code)
			}
			for _, words := range tc.words {
				if !strings.Contains(out, words) {
					t.Errorf("does not say %q", words)
				}
			}
			if strings.Contains(out, `nothing will come on "/admin/24f6/echo"`) {
				t.Error("warns of what may be read")
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}
