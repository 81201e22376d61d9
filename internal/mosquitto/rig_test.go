package mosquitto_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/dojot/mqtt-manager-go/provision"
)

// rig is a broker with all that it reads, as a manager keeps it.
type rig struct {
	t      *testing.T
	dir    string
	server *ejbcatest.Server
	child  *mosquitto.Child
	probe  *mosquitto.Probe
	log    *journal
}

// journal is a log that can be searched.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(s string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), s)
}

// await waits for a line with all the words.
func (j *journal) await(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, func() error {
		j.mu.Lock()
		defer j.mu.Unlock()
		for line := range strings.Lines(j.text.String()) {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				return nil
			}
		}
		return fmt.Errorf("no line with %q is logged", words)
	})
}

// newRig provisions a broker and does not start it.
func newRig(t *testing.T) *rig {
	t.Helper()
	binary, err := mosquitto.Find(t.Context(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	port, err := mosquittotest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	r := &rig{t: t, dir: t.TempDir(), server: ejbcatest.NewServer(), log: &journal{}}
	t.Cleanup(r.server.Close)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.log.text.String())
		}
	})
	logger := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.child = &mosquitto.Child{Binary: binary, Config: r.path("mosquitto.conf"), Dir: r.dir, Addr: addr, Logger: logger}
	files := provision.BrokerFiles(r.dir)
	r.enrol("mosquitto", files)
	r.probe = &mosquitto.Probe{Addr: addr, Forbidden: "probe", TLS: func() (*tls.Config, error) {
		config, err := provision.TLSConfig(files)
		if err == nil {
			config.ServerName, config.MaxVersion = "localhost", tls.VersionTLS12
		}
		return config, err
	}}
	r.installCRL()
	r.writeACL("user nobody\ntopic read nothing\n")

	config := mosquittoconf.Config{
		Listeners: []mosquittoconf.Listener{{Port: port, Address: "127.0.0.1", TLS: &mosquittoconf.TLS{
			CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, CRLFile: r.path("ca.crl")}}},
		ACLFile: r.path("access.acl"),
	}
	if os.Geteuid() == 0 {
		config.User = "root" // the test's folder is closed to others
	}
	var text bytes.Buffer
	if _, err := config.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	r.write("mosquitto.conf", text.String())
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) write(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) writeACL(content string) { r.write("access.acl", content) }

func (r *rig) enrol(name string, files provision.Files) {
	r.t.Helper()
	id := provision.Identity{CommonName: name, DNSNames: []string{"localhost"}, Files: files}
	if _, err := id.Ensure(r.t.Context(), &ejbca.Issuer{Client: r.server.Client(), User: name, Register: true}); err != nil {
		r.t.Fatal(err)
	}
}

// installCRL writes the CA's newest list, whatever its dates.
func (r *rig) installCRL() {
	r.t.Helper()
	issuer := &ejbca.Issuer{Client: r.server.Client()}
	list, err := issuer.FreshCRL(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("ca.crl", string(crl.EncodePEM(list)))
}

// start runs the broker until the test ends. What waits for the broker is to
// do so under the context: it ends with a broker that could not be started, and
// after a while.
func (r *rig) start() context.Context {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- r.child.Run(running)
	}()
	r.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			r.t.Errorf("the child ended with %v", err)
		}
		if conn, err := net.Dial("tcp", r.child.Addr); err == nil {
			conn.Close()
			r.t.Error("the broker was left behind")
		}
	})
	return ctx
}

func (r *rig) reloader(control mosquitto.Control, check func() error) *mosquitto.Reloader {
	return mosquitto.NewReloader(control, check, r.probe, r.child.Logger)
}

func fit() error { return nil }

// device connects a client with a certificate of its own, and stays connected.
func (r *rig) device(name string) *mqttclient.Client {
	r.t.Helper()
	files := provision.DeviceFiles(r.dir, name, "IOTmidCA")
	r.enrol(name, files)
	config, err := provision.TLSConfig(files)
	if err != nil {
		r.t.Fatal(err)
	}
	config.ServerName = "localhost"
	client, err := mqttclient.Dial(r.t.Context(), mqttclient.Options{Addr: r.child.Addr, TLS: config})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { client.Close() })
	return client
}

// patience is for what should come at once, on a machine that is busy.
const patience = time.Minute

// eventually repeats try until it succeeds.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for err := try(); err != nil; err = try() {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func mayPublish(name string) string { return fmt.Sprintf("user %s\ntopic write data\n", name) }
