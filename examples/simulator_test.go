package examples_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/dojot/mqtt-manager-go/provision"
)

func TestSimulatorRefusals(t *testing.T) {
	server := ejbcatest.NewServer()
	defer server.Close()
	dir := t.TempDir()
	id := provision.Identity{CommonName: "24f6", Files: provision.DeviceFiles(filepath.Join(dir, "certs"), "24f6", "IOTmidCA")}
	if _, err := id.Ensure(t.Context(), &ejbca.Issuer{Client: server.Client(), User: "24f6", Register: true}); err != nil {
		t.Fatal(err)
	}
	plain, err := mosquittotest.Start(mosquittotest.Options{Conf: "allow_anonymous true"})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, port, _ := strings.Cut(plain.Addr(), ":")

	device := []string{"--tenant", "admin", "--device", "24f6"}
	for _, tc := range []struct {
		name  string
		args  []string
		code  int
		words []string
	}{
		{"no device", nil, 2, []string{"--device"}},
		{"no topic", []string{"--device", "24f6"}, 2, []string{"--topic"}},
		{"quality of service", append(device, "-q", "3"), 2, []string{"--qos"}},
		{"device is a path", []string{"--tenant", "admin", "--device", "../24f6"}, 2, []string{"not a path"}},
		{"no files", []string{"--tenant", "admin", "--device", "ffff"}, 1, []string{"ffff.crt", "retriever"}},
		{"nobody there", append(device, "-h", "127.0.0.1", "-p", "1"), 1, []string{"nothing listens", "remedy: "}},
		// An empty label is no name, so no server is asked.
		{"no such host", append(device, "-h", "broker..invalid"), 1, []string{`no host "broker..invalid"`}},
		{"plain port", append(device, "-h", "127.0.0.1", "-p", port), 1, []string{"without TLS"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, code := run(t, dir, "", "simulator", tc.args...)
			if code != tc.code {
				t.Errorf("exit status %d, want %d", code, tc.code)
			}
			for _, word := range tc.words {
				if !strings.Contains(out, word) {
					t.Errorf("does not say %q:\n%s", word, out)
				}
			}
		})
	}
}
