package mosquittoconf_test

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/google/go-cmp/cmp"
)

func ExampleConfig_WriteTo() {
	conf := mosquittoconf.Config{
		ACLFile: "/mosquitto/access.acl",
		Listeners: []mosquittoconf.Listener{{
			Port: 8883,
			TLS: &mosquittoconf.TLS{
				CAFile:   "/mosquitto/certs/ca.crt",
				CertFile: "/mosquitto/certs/mosquitto.crt",
				KeyFile:  "/mosquitto/certs/mosquitto.key",
				CRLFile:  "/mosquitto/certs/ca.crl",
			},
		}},
	}
	if _, err := conf.WriteTo(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// # Admit no client without a user name.
	// allow_anonymous false
	// # Who may publish and receive what.
	// acl_file /mosquitto/access.acl
	// # Where the log goes.
	// log_dest stderr
	// # Send small messages at once: a TLS connect would wait 40 ms for an acknowledgement.
	// set_tcp_nodelay true
	//
	// # MQTT over TLS.
	// listener 8883
	// # The CAs that issue client certificates.
	// cafile /mosquitto/certs/ca.crt
	// # The broker's certificate,
	// certfile /mosquitto/certs/mosquitto.crt
	// # and its private key.
	// keyfile /mosquitto/certs/mosquitto.key
	// # The CAs' lists of revoked client certificates.
	// crlfile /mosquitto/certs/ca.crl
	// # The oldest protocol that a client may speak.
	// tls_version tlsv1.2
	// # Refuse a client without a certificate.
	// require_certificate true
	// # The certificate's common name is the user name.
	// use_identity_as_username true
}

// full uses every field.
func (m *material) full(t *testing.T) *mosquittoconf.Config {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	tls := &mosquittoconf.TLS{
		CAFile:   m.path("ca.crt"),
		CertFile: m.path("mosquitto.crt"),
		KeyFile:  m.path("mosquitto.key"),
		CRLFile:  m.path("ca.crl"),
	}
	newer := *tls
	newer.CRLFile, newer.Version = "", "tlsv1.3"
	return &mosquittoconf.Config{
		ACLFile:             m.path("access.acl"),
		AllowAnonymous:      true,
		User:                me.Username,
		PersistenceLocation: m.dir,
		LogDests:            []string{"stderr", "file " + m.path("broker.log")},
		Listeners: []mosquittoconf.Listener{
			{Port: freePort(t), Address: "127.0.0.1", TLS: tls},
			{Port: freePort(t), Address: "localhost", TLS: &newer},
			{Port: freePort(t), Address: "127.0.0.1", Plain: true},
		},
	}
}

func render(t *testing.T, c *mosquittoconf.Config) string {
	t.Helper()
	var out bytes.Buffer
	n, err := c.WriteTo(&out)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(out.Len()) {
		t.Errorf("WriteTo returned %d for %d bytes", n, out.Len())
	}
	return out.String()
}

// warnings are the lines of a log that are neither about the user of this
// test nor about what every run shows.
func warnings(log string) []string {
	var found []string
	for line := range strings.Lines(log) {
		lower := strings.ToLower(line)
		if strings.Contains(lower, "should not be run as root") {
			continue
		}
		for _, word := range []string{"warning", "error", "deprecated", "unable"} {
			if strings.Contains(lower, word) {
				found = append(found, line)
				break
			}
		}
	}
	return found
}

func TestConfigOnBroker(t *testing.T) {
	m := newMaterial(t)
	conf := m.full(t)
	b := start(t, mosquittotest.Options{Conf: render(t, conf)})
	addr := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", conf.Listeners[i].Port) }

	if got, err := m.connack(addr(0), m.client); err != nil || got != 0 {
		t.Errorf("client with certificate: got CONNACK %d, %v", got, err)
	}
	if got, err := m.connack(addr(0), nil); err == nil {
		t.Errorf("client without certificate: got CONNACK %d, want a failed handshake", got)
	}
	stranger := issue(t, named("device1"), issue(t, named("other CA"), nil))
	if got, err := m.connack(addr(0), stranger); err == nil {
		t.Errorf("client of another CA: got CONNACK %d, want a failed handshake", got)
	}
	// The helper speaks TLS 1.2 only.
	if got, err := m.connack(addr(1), m.client); err == nil {
		t.Errorf("TLS 1.2 at tlsv1.3: got CONNACK %d, want a failed handshake", got)
	}
	conn, err := dialer.Dial("tcp", addr(2))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := connect(conn); err != nil || got != 0 {
		t.Errorf("anonymous client of the plain listener: got CONNACK %d, %v", got, err)
	}
	log := b.Log()
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	log, _, _ = strings.Cut(log, "New connection")
	if got := warnings(log); len(got) > 0 {
		t.Errorf("the broker complains:\n%s", strings.Join(got, ""))
	}
}

// A plugin reads the rules of 2.1's brokers, and CAs may be in a folder.
func TestConfigWithPluginOnBroker(t *testing.T) {
	plugin := aclPlugin(t)
	if plugin == "" {
		t.Skip("the broker has no acl-file plugin")
	}
	m := newMaterial(t)
	if err := os.Mkdir(m.path("cas"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.write(t, "cas/ca.pem", m.ca.certPEM())
	hashDir(t, m.path("cas"))
	conf := m.full(t)
	conf.ACLPlugin = plugin
	conf.Listeners = conf.Listeners[:1]
	conf.AllowAnonymous = false
	conf.Listeners[0].TLS.CAFile, conf.Listeners[0].TLS.CAPath = "", m.path("cas")
	text := render(t, conf)
	for _, f := range append(parse(t, text).Vet(version(t, installed(t))), parse(t, text).CheckFiles(mosquittoconf.Environment{Version: installed(t)})...) {
		t.Errorf("got finding %v", f)
	}
	b := start(t, mosquittotest.Options{Conf: text + "listener 0 " + m.path("socket") + "\n", Global: "allow_anonymous true\n"})
	if got, err := m.connack(fmt.Sprintf("127.0.0.1:%d", conf.Listeners[0].Port), m.client); err != nil || got != 0 {
		t.Errorf("client with certificate: got CONNACK %d, %v", got, err)
	}
	if strings.Contains(b.Log(), "Error") {
		t.Errorf("the log:\n%s", b.Log())
	}
}

// With one TLS listener and nothing else, the broker opens nothing else.
func TestConfigOpensOnlyItsListeners(t *testing.T) {
	m := newMaterial(t)
	conf := m.full(t)
	conf.Listeners, conf.AllowAnonymous = conf.Listeners[:1], false
	b := start(t, mosquittotest.Options{Conf: render(t, conf)})
	// One is the fixture's.
	if got := strings.Count(b.Log(), "listen socket on port"); got != 2 {
		t.Errorf("got %d listen sockets, want 2; the log:\n%s", got, b.Log())
	}
}

func TestConfigParses(t *testing.T) {
	m := newMaterial(t)
	conf := m.full(t)
	f, err := mosquittoconf.Parse("mosquitto.conf", []byte(render(t, conf)))
	if err != nil {
		t.Fatal(err)
	}
	var got []mosquittoconf.Listener
	for _, l := range f.Listeners() {
		got = append(got, mosquittoconf.Listener{Port: l.Port, Address: l.Address})
	}
	var want []mosquittoconf.Listener
	for _, l := range conf.Listeners {
		want = append(want, mosquittoconf.Listener{Port: l.Port, Address: l.Address})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	if got, _ := f.Get("persistence_location"); got != m.dir+"/" {
		t.Errorf("got persistence_location %q, want %q", got, m.dir+"/")
	}
}

func TestConfigRefuses(t *testing.T) {
	good := func() *mosquittoconf.Config {
		return &mosquittoconf.Config{Listeners: []mosquittoconf.Listener{{
			Port: 8883,
			TLS:  &mosquittoconf.TLS{CAFile: "/ca", CertFile: "/crt", KeyFile: "/key"},
		}}}
	}
	plain := mosquittoconf.Listener{Port: 1883, Address: "127.0.0.1", Plain: true}
	tests := []struct {
		name string
		edit func(*mosquittoconf.Config)
		want string
	}{
		{"no listener", func(c *mosquittoconf.Config) { c.Listeners = nil }, "Listeners: there is none"},
		{"no TLS", func(c *mosquittoconf.Config) { c.Listeners[0].TLS = nil }, "Listeners[0]: no TLS"},
		{"TLS and plain", func(c *mosquittoconf.Config) { c.Listeners[0].Plain = true }, "Listeners[0]: both TLS and Plain"},
		{"plain for all", func(c *mosquittoconf.Config) {
			c.Listeners[0] = mosquittoconf.Listener{Port: 1883, Plain: true}
		}, "all interfaces"},
		{"port 0", func(c *mosquittoconf.Config) { c.Listeners[0].Port = 0 }, "Listeners[0]: port 0"},
		{"port 65536", func(c *mosquittoconf.Config) { c.Listeners[0].Port = 65536 }, "Listeners[0]: port 65536"},
		{"port twice", func(c *mosquittoconf.Config) {
			plain.Port = 8883
			c.Listeners = append(c.Listeners, plain)
		}, "Listeners[1]: port 8883 is that of Listeners[0]"},
		{"line break in address", func(c *mosquittoconf.Config) {
			c.Listeners[0].Address = "::\nallow_anonymous true"
		}, `Listeners[0]: address "::\nallow`},
		{"zone with line break", func(c *mosquittoconf.Config) {
			c.Listeners[0].Address = "fe80::1%\nallow_anonymous true"
		}, "Listeners[0]: address"},
		{"socket path", func(c *mosquittoconf.Config) { c.Listeners[0].Address = "/run/mosquitto.sock" }, "Listeners[0]: address"},
		{"comment as address", func(c *mosquittoconf.Config) { c.Listeners[0].Address = "#" }, "Listeners[0]: address"},
		{"no CA", func(c *mosquittoconf.Config) { c.Listeners[0].TLS.CAFile = "" }, "Listeners[0].TLS.CAFile: it is empty"},
		{"no certificate", func(c *mosquittoconf.Config) { c.Listeners[0].TLS.CertFile = "" }, "Listeners[0].TLS.CertFile: it is empty"},
		{"no key", func(c *mosquittoconf.Config) { c.Listeners[0].TLS.KeyFile = "" }, "Listeners[0].TLS.KeyFile: it is empty"},
		{"relative list", func(c *mosquittoconf.Config) { c.Listeners[0].TLS.CRLFile = "ca.crl" }, "Listeners[0].TLS.CRLFile: \"ca.crl\" is relative"},
		{"old TLS", func(c *mosquittoconf.Config) { c.Listeners[0].TLS.Version = "tlsv1.1" }, "Listeners[0].TLS.Version: unknown version \"tlsv1.1\""},
		{"line break in path", func(c *mosquittoconf.Config) { c.ACLFile = "/a\nallow_anonymous true" }, "ACLFile: character U+000A"},
		{"carriage return in path", func(c *mosquittoconf.Config) { c.ACLFile = "/a\rb" }, "ACLFile: character U+000D"},
		{"NUL in path", func(c *mosquittoconf.Config) { c.ACLFile = "/a\x00b" }, "ACLFile: character U+0000"},
		{"blank at the end of a path", func(c *mosquittoconf.Config) { c.ACLFile = "/a " }, "ACLFile: \"/a \" begins or ends"},
		{"no UTF-8", func(c *mosquittoconf.Config) { c.ACLFile = "/\xff" }, "ACLFile: text that is not UTF-8"},
		{"long path", func(c *mosquittoconf.Config) { c.ACLFile = "/" + strings.Repeat("a", 4095) }, "ACLFile: it is 4096 bytes long"},
		{"relative folder", func(c *mosquittoconf.Config) { c.PersistenceLocation = "." }, "PersistenceLocation: \".\" is relative"},
		{"two users", func(c *mosquittoconf.Config) { c.User = "a b" }, "User: \"a b\""},
		{"unknown log", func(c *mosquittoconf.Config) { c.LogDests = []string{"stderr", "paper"} }, "LogDests[1]: unknown destination \"paper\""},
		{"log without path", func(c *mosquittoconf.Config) { c.LogDests = []string{"file "} }, "LogDests[0]: it is empty"},
		{"plugin without file", func(c *mosquittoconf.Config) { c.ACLPlugin = "/plugin.so" }, "ACLFile: it is empty"},
		{"relative plugin", func(c *mosquittoconf.Config) { c.ACLFile, c.ACLPlugin = "/a", "plugin.so" }, "ACLPlugin: \"plugin.so\" is relative"},
		{"relative folder of CAs", func(c *mosquittoconf.Config) { c.Listeners[0].TLS.CAPath = "cas" }, "Listeners[0].TLS.CAPath: \"cas\" is relative"},
		{"anonymous TLS", func(c *mosquittoconf.Config) { c.AllowAnonymous = true }, "AllowAnonymous: no plain listener"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.edit(c)
			var out bytes.Buffer
			n, err := c.WriteTo(&out)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			if n != 0 || out.Len() != 0 {
				t.Errorf("wrote %q", out.String())
			}
		})
	}
	if _, err := good().WriteTo(new(bytes.Buffer)); err != nil {
		t.Errorf("the configuration that all of these are edits of: %v", err)
	}
}
