package mosquittoconf_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/google/go-cmp/cmp"
)

func ExampleBridge() {
	spoke := mosquittoconf.Config{
		Listeners: []mosquittoconf.Listener{{Port: 1883, Address: "127.0.0.1", Plain: true}},
		Bridges: []mosquittoconf.Bridge{{
			Name:      "greenhouse",
			Addresses: []string{"hub.example.org:8883"},
			Topics: []mosquittoconf.BridgeTopic{
				{Filter: "attrs/#", Direction: mosquittoconf.Out, QoS: 1, RemotePrefix: "greenhouse/"},
			},
			TLS: &mosquittoconf.BridgeTLS{
				CAPath:   "/etc/ssl/certs", // the hub's certificate is of Let's Encrypt
				CertFile: "/etc/mosquitto/certs/greenhouse.crt",
				KeyFile:  "/etc/mosquitto/certs/greenhouse.key",
			},
		}},
	}
	var out bytes.Buffer
	if _, err := spoke.WriteTo(&out); err != nil {
		fmt.Println(err)
	}
	_, bridge, _ := strings.Cut(out.String(), "1883 127.0.0.1\n\n")
	fmt.Print(bridge)
	// Output:
	// # A bridge to another broker,
	// connection greenhouse
	// # found at the first of these addresses that answers.
	// address hub.example.org:8883
	// # The folder of CAs by which the other broker is known; it switches TLS on.
	// bridge_capath /etc/ssl/certs
	// # The certificate that the bridge shows,
	// bridge_certfile /etc/mosquitto/certs/greenhouse.crt
	// # and its private key.
	// bridge_keyfile /etc/mosquitto/certs/greenhouse.key
	// # What crosses the bridge: filter, direction, QoS, prefix here, prefix there.
	// topic attrs/# out 1 "" greenhouse/
}

// hubAndSpoke are two brokers. The hub has a certificate of a public CA, with
// an intermediate one; the spoke one of the fleet's.
type hubAndSpoke struct {
	*material
	hub, spoke *mosquittotest.Broker
	spokeConf  string
	tls        string // the hub's TLS listener
}

func newHubAndSpoke(t *testing.T, bridge *identity, m *material) *hubAndSpoke {
	t.Helper()
	public := issue(t, named("public root"), nil)
	template := named("public CA")
	template.IsCA, template.BasicConstraintsValid, template.DNSNames = true, true, nil
	intermediate := issue(t, template, public)
	server := issue(t, named("hub", x509.ExtKeyUsageServerAuth), intermediate)
	pair := &mosquittoconf.Pair{Path: m.path("hub.pem"), Names: []string{"localhost"}, Roots: pool(public)}
	if _, err := pair.Install(append(server.certPEM(), intermediate.certPEM()...), server.keyPEM(t)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.path("public"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.write(t, "public/root.pem", public.certPEM())
	hashDir(t, m.path("public"))
	m.write(t, "bridge.crt", bridge.certPEM())
	m.write(t, "bridge.key", bridge.keyPEM(t))

	h := &hubAndSpoke{material: m}
	port := freePort(t)
	h.tls = fmt.Sprintf("localhost:%d", port)
	hub := &mosquittoconf.Config{Listeners: []mosquittoconf.Listener{{
		Port: port, Address: "127.0.0.1",
		TLS: &mosquittoconf.TLS{CAFile: m.path("ca.crt"), CertFile: m.path("hub.pem"), KeyFile: m.path("hub.pem"), CRLFile: m.path("ca.crl")},
	}}}
	spoke := &mosquittoconf.Config{
		AllowAnonymous: true,
		Listeners:      []mosquittoconf.Listener{{Port: freePort(t), Address: "127.0.0.1", Plain: true}},
		Bridges: []mosquittoconf.Bridge{{
			Name: "greenhouse",
			// A broker takes its time before it tries the second one.
			Addresses: []string{h.tls, fmt.Sprintf("localhost:%d", freePort(t))},
			ClientID:  "greenhouse",
			Topics: []mosquittoconf.BridgeTopic{
				{Filter: "attrs/#", Direction: mosquittoconf.Out, QoS: 1, RemotePrefix: "greenhouse/"},
				{Filter: "config/#", Direction: mosquittoconf.In, QoS: 1, LocalPrefix: "from-hub/", RemotePrefix: "greenhouse/"},
			},
			TLS: &mosquittoconf.BridgeTLS{CAPath: m.path("public"), CertFile: m.path("bridge.crt"), KeyFile: m.path("bridge.key")},
		}},
	}
	h.spokeConf = render(t, spoke)
	for name, text := range map[string]string{"hub": render(t, hub), "spoke": h.spokeConf} {
		for _, f := range parse(t, text).Vet(version(t, installed(t))) {
			if f.Severity != mosquittoconf.Warning {
				t.Errorf("%s: %v", name, f)
			}
		}
	}
	// The fixture's plain listener is for the clients of the test.
	h.hub = start(t, mosquittotest.Options{Dir: m.dir, Conf: render(t, hub) + "allow_anonymous true\n"})
	h.spoke = start(t, mosquittotest.Options{Dir: m.dir, Conf: h.spokeConf})
	return h
}

func pool(cas ...*identity) *x509.CertPool {
	p := x509.NewCertPool()
	for _, ca := range cas {
		p.AddCert(ca.cert)
	}
	return p
}

func TestBridgeOverMutualTLS(t *testing.T) {
	m := newMaterial(t)
	h := newHubAndSpoke(t, m.client, m)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	// The bridge subscribes at the hub, which acknowledges.
	if err := h.spoke.WaitLog(ctx, "Received SUBACK"); err != nil {
		t.Fatal(err)
	}
	if err := h.hub.WaitLog(ctx, "u'device1'"); err != nil {
		t.Errorf("the hub does not know the bridge by its certificate's name: %v", err)
	}
	received := make(chan string, 10)
	client := func(b *mosquittotest.Broker) *mqttclient.Client {
		c, err := mqttclient.Dial(ctx, mqttclient.Options{Addr: b.Addr(), Received: func(topic string, payload []byte) {
			received <- topic + " " + string(payload)
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.Subscribe(ctx, 1, "#"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	atHub, atSpoke := client(h.hub), client(h.spoke)
	expect := func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			select {
			case message := <-received:
				got = append(got, message)
			case <-ctx.Done():
				t.Fatalf("got %q, want %q; the spoke's log:\n%s", got, want, h.spoke.Log())
			}
		}
		if got[0] > got[len(got)-1] {
			got[0], got[1] = got[1], got[0]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	}
	if err := atSpoke.Publish(ctx, "attrs/lamp", []byte("on"), 1, false); err != nil {
		t.Fatal(err)
	}
	expect("attrs/lamp on", "greenhouse/attrs/lamp on")
	if err := atHub.Publish(ctx, "greenhouse/config/lamp", []byte("off"), 1, false); err != nil {
		t.Fatal(err)
	}
	expect("from-hub/config/lamp off", "greenhouse/config/lamp off")
}

// A certificate for servers is none for a bridge: the hub refuses it, and
// CheckFiles of the spoke's configuration says so beforehand.
func TestBridgeWithServersCertificate(t *testing.T) {
	m := newMaterial(t)
	h := newHubAndSpoke(t, m.server, m)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := h.hub.WaitLog(ctx, "certificate verify failed"); err != nil {
		t.Error(err)
	}
	if strings.Contains(h.hub.Log(), "as greenhouse") {
		t.Errorf("the hub lets the bridge in:\n%s", h.hub.Log())
	}
	found := parse(t, h.spokeConf).CheckFiles(mosquittoconf.Environment{Version: installed(t)})
	if got := verdicts(found); got != "trap bridge-certificate\n" || !strings.Contains(found[0].Message, "lacks clientAuth") {
		t.Errorf("got %v", found)
	}
}

func TestCheckFilesOfBridge(t *testing.T) {
	const conf = "connection b\naddress REMOTE\ntopic #\nbridge_cafile ca.crt\nbridge_certfile bridge.crt\nbridge_keyfile bridge.key\nbridge_insecure true\n"
	for _, tt := range []struct {
		name, conf string
		change     func(*testing.T, *material)
		want       string
	}{
		{"good", conf, nil, ""},
		{"CA missing", strings.Replace(conf, "ca.crt", "no.crt", 1), nil, "trap bridge-ca\n"},
		{"CA empty", conf, func(t *testing.T, m *material) { m.write(t, "ca.crt", nil) }, "trap bridge-ca\n"},
		{"unhashed directory", strings.Replace(conf, "cafile ca.crt", "capath .", 1), nil, "trap bridge-ca\n"},
		{"certificate missing", strings.Replace(conf, "bridge.crt", "no.crt", 1), nil, "trap bridge-certificate\n"},
		{"key missing", strings.Replace(conf, "bridge.key", "no.key", 1), nil, "trap bridge-certificate\n"},
		{"key of another", strings.Replace(conf, "bridge.key", "mosquitto.key", 1), nil, "trap bridge-certificate\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMaterial(t)
			m.write(t, "bridge.crt", m.client.certPEM())
			m.write(t, "bridge.key", m.client.keyPEM(t))
			m.remote(t, true)
			if tt.change != nil {
				tt.change(t, m)
			}
			text := m.fill(t, tt.conf)
			f := parse(t, "listener 1883\n"+text)
			if got := verdicts(f.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: installed(t)})); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			start(t, mosquittotest.Options{Dir: m.dir, Conf: text})
			wait := patience
			if tt.want == "" {
				wait = limit
			}
			if shaken := m.handshake(wait); shaken != (tt.want == "") {
				t.Errorf("the bridge connects: %t", shaken)
			}
		})
	}
}

// A bridge reads its key as the user that the broker has become.
func TestCheckFilesOfBridgeAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start a broker that becomes another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	m := newMaterial(t)
	m.remote(t, true)
	for dir := m.dir; dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	m.chmod(t, "ca.crt", 0o644)
	m.chmod(t, "mosquitto.crt", 0o644)
	conf := m.fill(t, "connection b\naddress REMOTE\ntopic #\nbridge_cafile ca.crt\nbridge_insecure true\nbridge_certfile mosquitto.crt\nbridge_keyfile mosquitto.key\n")
	m.serve(t, issue(t, named("bridge"), m.ca))
	env := mosquittoconf.Environment{Dir: m.dir, Version: installed(t), UID: number(t, nobody.Uid), GID: number(t, nobody.Gid)}
	found := parse(t, "listener 1883\n"+conf).CheckFiles(env)
	if got := verdicts(found); got != "trap bridge-certificate\n" || !strings.Contains(found[0].Message, "cannot read it: it has mode 0600") {
		t.Errorf("got %v", found)
	}
	start(t, mosquittotest.Options{Dir: m.dir, Conf: conf + "user nobody\n"})
	if m.handshake(patience) {
		t.Error("the bridge connects")
	}
}

func TestBridgeRefuses(t *testing.T) {
	tests := []struct {
		name string
		edit func(*mosquittoconf.Bridge)
		want string
	}{
		{"no name", func(b *mosquittoconf.Bridge) { b.Name = "" }, "Bridges[0].Name"},
		{"name with a wildcard", func(b *mosquittoconf.Bridge) { b.Name = "a/+" }, "Bridges[0].Name"},
		{"break in name", func(b *mosquittoconf.Bridge) { b.Name = "a\nallow_anonymous true" }, "Bridges[0].Name"},
		{"no address", func(b *mosquittoconf.Bridge) { b.Addresses = nil }, "Bridges[0].Addresses: there is none"},
		{"address without port", func(b *mosquittoconf.Bridge) { b.Addresses[0] = "hub" }, "Bridges[0].Addresses[0]"},
		{"port 0", func(b *mosquittoconf.Bridge) { b.Addresses[0] = "hub:0" }, "Bridges[0].Addresses[0]"},
		{"blank in address", func(b *mosquittoconf.Bridge) { b.Addresses[0] = "hub other:1883" }, "Bridges[0].Addresses[0]"},
		{"IPv6", func(b *mosquittoconf.Bridge) { b.Addresses[0] = "[::1]:1883" }, "Bridges[0].Addresses[0]"},
		{"client id with a break", func(b *mosquittoconf.Bridge) { b.ClientID = "a\nb" }, "Bridges[0].ClientID"},
		{"no topic", func(b *mosquittoconf.Bridge) { b.Topics = nil }, "Bridges[0].Topics: there is none"},
		{"broken filter", func(b *mosquittoconf.Bridge) { b.Topics[0].Filter = "a/#/b" }, "Bridges[0].Topics[0]: filter"},
		{"filter with a blank", func(b *mosquittoconf.Bridge) { b.Topics[0].Filter = "a b" }, "Bridges[0].Topics[0]: filter"},
		{"filter of quotes", func(b *mosquittoconf.Bridge) { b.Topics[0].Filter = `""` }, "Bridges[0].Topics[0]: filter"},
		{"no direction", func(b *mosquittoconf.Bridge) { b.Topics[0].Direction = "" }, "Bridges[0].Topics[0]: direction"},
		{"QoS 3", func(b *mosquittoconf.Bridge) { b.Topics[0].QoS = 3 }, "Bridges[0].Topics[0]: QoS 3"},
		{"prefix with a wildcard", func(b *mosquittoconf.Bridge) { b.Topics[0].LocalPrefix = "#" }, "Bridges[0].Topics[0]: prefix"},
		{"prefix with a break", func(b *mosquittoconf.Bridge) { b.Topics[0].RemotePrefix = "a\nuser root" }, "Bridges[0].Topics[0]: prefix"},
		{"no TLS", func(b *mosquittoconf.Bridge) { b.TLS = nil }, "Bridges[0].TLS: no TLS"},
		{"TLS and plain", func(b *mosquittoconf.Bridge) { b.Plain = true }, "Bridges[0].TLS: both"},
		{"no CA", func(b *mosquittoconf.Bridge) { b.TLS.CAFile = "" }, "Bridges[0].TLS.CAFile: neither"},
		{"relative CA", func(b *mosquittoconf.Bridge) { b.TLS.CAFile = "ca.crt" }, "Bridges[0].TLS.CAFile: \"ca.crt\" is relative"},
		{"certificate without key", func(b *mosquittoconf.Bridge) { b.TLS.KeyFile = "" }, "Bridges[0].TLS.CertFile: one of"},
	}
	good := func() *mosquittoconf.Config {
		return &mosquittoconf.Config{
			Listeners: []mosquittoconf.Listener{{Port: 1883, Address: "127.0.0.1", Plain: true}},
			Bridges: []mosquittoconf.Bridge{{
				Name:      "b",
				Addresses: []string{"hub:8883"},
				Topics:    []mosquittoconf.BridgeTopic{{Filter: "#", Direction: mosquittoconf.Both}},
				TLS:       &mosquittoconf.BridgeTLS{CAFile: "/ca", CertFile: "/crt", KeyFile: "/key"},
			}},
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.edit(&c.Bridges[0])
			if _, err := c.WriteTo(new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
	c := good()
	c.Bridges = append(c.Bridges, c.Bridges[0])
	if _, err := c.WriteTo(new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), `Bridges[1].Name: "b" is that of Bridges[0]`) {
		t.Errorf("two of a name: got error %v", err)
	}
	if _, err := good().WriteTo(new(bytes.Buffer)); err != nil {
		t.Errorf("the configuration that all of these are edits of: %v", err)
	}
}
