package provision_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/dojot/mqtt-manager-go/provision"
)

// identify has files made for a name, by a CA.
func identify(t *testing.T, server *ejbcatest.Server, name string, files provision.Files) {
	t.Helper()
	id := provision.Identity{CommonName: name, DNSNames: []string{"localhost"}, Files: files, Now: server.Now}
	if _, err := id.Ensure(t.Context(), &ejbca.Issuer{Client: server.Client(), User: name, Register: true}); err != nil {
		t.Fatal(err)
	}
}

func saveCRL(t *testing.T, server *ejbcatest.Server, path string) {
	t.Helper()
	list, err := (&ejbca.Issuer{Client: server.Client()}).FreshCRL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, crl.EncodePEM(list), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Each fault is made at a real broker, and what it answers is explained.
func TestExplain(t *testing.T) {
	server := ejbcatest.NewServer()
	defer server.Close()
	stranger := ejbcatest.NewServer()
	defer stranger.Close()
	dir := t.TempDir()
	files := provision.BrokerFiles(dir)
	identify(t, server, "mosquitto", files)
	device := provision.DeviceFiles(dir, "device", "IOTmidCA")
	identify(t, server, "device", device)
	revoked := provision.DeviceFiles(dir, "revoked", "IOTmidCA")
	identify(t, server, "revoked", revoked)
	if err := server.Client().RevokeUser(t.Context(), "revoked", crl.Unspecified); err != nil {
		t.Fatal(err)
	}
	foreign := provision.DeviceFiles(filepath.Join(dir, "foreign"), "device", "IOTmidCA")
	identify(t, stranger, "device", foreign)

	list := filepath.Join(dir, "ca.crl")
	saveCRL(t, server, list)
	conf := func(crlfile string) string {
		return fmt.Sprintf("cafile %s\ncertfile %s\nkeyfile %s\ncrlfile %s\nrequire_certificate true\nuse_identity_as_username true\n",
			files.CA, files.Cert, files.Key, crlfile)
	}
	broker := startBroker(t, conf(list)).Addr()
	plain := startBroker(t, "allow_anonymous true").Addr()

	future := filepath.Join(dir, "future.crl")
	server.Advance(48 * time.Hour)
	saveCRL(t, server, future)
	server.Advance(-48 * time.Hour)
	ahead := startBroker(t, conf(future)).Addr()
	strangers := filepath.Join(dir, "strangers.crl")
	saveCRL(t, stranger, strangers)
	without := startBroker(t, conf(strangers)).Addr()

	const nobody = "127.0.0.1:1" // below the ports that systems hand out

	for _, tc := range []struct {
		name  string
		addr  string
		files provision.Files
		edit  func(*tls.Config)
		words string
	}{
		{"revoked", broker, revoked, nil, "has been revoked"},
		{"certificate of another CA", broker, foreign, trustOf(t, device), "does not know the CA"},
		{"no certificate", broker, device, func(c *tls.Config) { c.GetClientCertificate = nil }, "no client certificate"},
		{"list from the future", ahead, device, nil, "in the future"},
		{"list of another CA only", without, device, nil, "no revocation list of that CA"},
		{"broker of another CA", broker, foreign, nil, "not of the CA that the client trusts"},
		{"another host name", broker, device, func(c *tls.Config) { c.ServerName = "elsewhere.example" }, `not for "elsewhere.example"`},
		{"plain port", plain, device, nil, "without TLS"},
		{"nothing there", nobody, device, nil, "nothing listens"},
		{"clock of the client", broker, device, func(c *tls.Config) {
			c.Time = func() time.Time { return time.Now().Add(-100 * 24 * time.Hour) }
		}, "not valid at this time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config, err := provision.TLSConfig(tc.files)
			if err != nil {
				t.Fatal(err)
			}
			config.ServerName, config.MaxVersion = "localhost", tls.VersionTLS12
			if tc.edit != nil {
				tc.edit(config)
			}
			client, err := mqttclient.Dial(t.Context(), mqttclient.Options{Addr: tc.addr, TLS: config})
			if err == nil {
				client.Close()
				t.Fatal("the broker lets it in")
			}
			e, ok := provision.Explain(err)
			if !ok || !strings.Contains(e.Cause, tc.words) || e.Remedy == "" {
				t.Errorf("%v is explained by %q, want %q", err, e, tc.words)
			}
		})
	}
	t.Run("nothing wrong", func(t *testing.T) {
		config, err := provision.TLSConfig(device)
		if err != nil {
			t.Fatal(err)
		}
		config.ServerName = "localhost"
		client, err := mqttclient.Dial(t.Context(), mqttclient.Options{Addr: broker, TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
	})
}

func startBroker(t *testing.T, conf string) *mosquittotest.Broker {
	t.Helper()
	broker, err := mosquittotest.Start(mosquittotest.Options{Conf: conf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	})
	return broker
}

// trustOf makes a client trust the CA of other files than its own.
func trustOf(t *testing.T, files provision.Files) func(*tls.Config) {
	t.Helper()
	config, err := provision.TLSConfig(files)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *tls.Config) { c.RootCAs = config.RootCAs }
}

// What there is no broker for: networks that fail, and reason codes that other
// clients of MQTT hand out.
func TestExplainOfErrors(t *testing.T) {
	connect := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, tc := range []struct {
		err   error
		words string
	}{
		{connect(syscall.ETIMEDOUT), "no way to that host"},
		{connect(syscall.EHOSTUNREACH), "no way to that host"},
		{connect(syscall.ENETUNREACH), "no way to that host"},
		{io.ErrUnexpectedEOF, "without a word"},
		{&net.DNSError{Name: "mqtt", IsNotFound: true}, `there is no host "mqtt"`},
		{&net.DNSError{Name: "mqtt", Err: "server misbehaving", IsTemporary: true}, "the name server does not say"},
		{x509.UnknownAuthorityError{}, "not of the CA that the client trusts"},
		{&provision.ConnackError{Reason: 0x84}, "does not speak MQTT 5"},
		{&provision.ConnackError{Reason: 0x01}, "does not speak MQTT 5"},
		{&provision.ConnackError{Reason: 0x85}, "the client's id"},
		{&provision.ConnackError{Reason: 0x87}, "does not let this user in"},
		{&provision.ConnackError{Reason: 0x97}, "refuses the connection: a quota"},
		{&provision.ConnackError{Reason: 0x9f}, "refuses the connection: reason code 0x9f"},
		{&provision.PubackError{Topic: "a", Reason: 0x80}, "it gives no reason"},
		{&provision.PubackError{Topic: "a", Reason: 0x87}, `access rules do not let this client publish to "a"`},
		{&provision.PubackError{Topic: "a", Reason: 0x90}, `discards the message to "a": it does not take that topic`},
		{&provision.PubackError{Topic: "a", Reason: 0x95}, "too large"},
		{&provision.PubackError{Topic: "a", Reason: 0x97}, "a quota is exceeded"},
		{&provision.PubackError{Topic: "a", Reason: 0x99}, "not of the format"},
		{&provision.DisconnectError{Reason: 0x8e}, "another client with the same id"},
		{&provision.DisconnectError{Reason: 0xa2}, "ended the connection: reason code 0xa2"},
	} {
		e, ok := provision.Explain(fmt.Errorf("wrapped: %w", tc.err))
		if !ok || !strings.Contains(e.Cause, tc.words) || e.Remedy == "" {
			t.Errorf("%v is explained by %q, want %q", tc.err, e, tc.words)
		}
	}
}

func TestExplainKnowsItsLimits(t *testing.T) {
	for _, err := range []error{nil, errors.New("something else"), context.Canceled} {
		if e, ok := provision.Explain(err); ok {
			t.Errorf("%v is explained by %q", err, e)
		}
	}
}
