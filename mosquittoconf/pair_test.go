package mosquittoconf_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

// As a deploy hook of certbot, which names the folder in RENEWED_LINEAGE.
func ExamplePair_Install() {
	chain, err := os.ReadFile("testdata/live/fullchain.pem")
	if err != nil {
		fmt.Println("nothing is renewed, so nobody is signalled")
		return
	}
	key, err := os.ReadFile("testdata/live/privkey.pem")
	if err != nil {
		fmt.Println(err)
		return
	}
	pair := mosquittoconf.Pair{
		Path:  "/etc/mosquitto/certs/hub.pem", // certfile and keyfile
		Owner: &mosquittoconf.Owner{UID: 102, GID: 105},
		Names: []string{"hub.example.org"},
	}
	changed, err := pair.Install(chain, key)
	if err != nil {
		fmt.Println(err) // the broker keeps the pair that it has
		return
	}
	if changed {
		fmt.Println("signal the broker")
	}
	// Output: nothing is renewed, so nobody is signalled
}

func TestPairInstall(t *testing.T) {
	m := newMaterial(t)
	template := named("sub CA")
	template.IsCA, template.BasicConstraintsValid, template.DNSNames = true, true, nil
	sub := issue(t, template, m.ca)
	server := issue(t, named("hub", x509.ExtKeyUsageServerAuth), sub)
	old := named("hub", x509.ExtKeyUsageServerAuth)
	old.NotBefore, old.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	expired := issue(t, old, sub)
	forClients := issue(t, named("hub", x509.ExtKeyUsageClientAuth), sub)
	chain := func(id *identity) []byte { return append(id.certPEM(), sub.certPEM()...) }
	pair := &mosquittoconf.Pair{Path: m.path("hub.pem"), Names: []string{"localhost"}, Roots: pool(m.ca)}

	changed, err := pair.Install(chain(server), server.keyPEM(t))
	if !changed || err != nil {
		t.Fatalf("got %t, %v", changed, err)
	}
	if changed, err = pair.Install(chain(server), server.keyPEM(t)); changed || err != nil {
		t.Errorf("again: got %t, %v", changed, err)
	}
	info, err := os.Stat(pair.Path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	before, err := os.ReadFile(pair.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		chain, key []byte
		names      []string
		want       string
	}{
		{"key of another", chain(server), m.client.keyPEM(t), nil, "the key is not that of the certificate"},
		{"no intermediate", server.certPEM(), server.keyPEM(t), nil, "signed by unknown authority"},
		{"chain upside down", append(sub.certPEM(), server.certPEM()...), server.keyPEM(t), nil, "the key is not that of the certificate"},
		{"expired", chain(expired), expired.keyPEM(t), nil, "expired"},
		{"for clients", chain(forClients), forClients.keyPEM(t), nil, "incompatible key usage"},
		{"another name", chain(server), server.keyPEM(t), []string{"hub.example.org"}, "hub.example.org"},
		{"no certificate", server.keyPEM(t), server.keyPEM(t), nil, "no PEM certificate"},
		{"no key", chain(server), chain(server), nil, "no PEM private key"},
		{"truncated", chain(server)[:300], server.keyPEM(t), nil, "cannot be decoded"},
	} {
		p := *pair
		p.Names = tt.names
		changed, err := p.Install(tt.chain, tt.key)
		if changed || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %t, %v, want an error with %q", tt.name, changed, err, tt.want)
		}
	}
	if after, err := os.ReadFile(pair.Path); err != nil || string(after) != string(before) {
		t.Errorf("a refused pair has changed the file: %v", err)
	}

	b := start(t, mosquittotest.Options{Dir: m.dir, Conf: "certfile hub.pem\nkeyfile hub.pem\n"})
	serial := func() string {
		t.Helper()
		conn, err := tls.DialWithDialer(dialer, "tcp", b.Addr(), m.clientTLS(nil))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if got, want := serial(), server.cert.SerialNumber.String(); got != want {
		t.Errorf("the broker shows certificate %s, want %s", got, want)
	}
	renewed := issue(t, named("hub", x509.ExtKeyUsageServerAuth), sub)
	if changed, err := pair.Install(chain(renewed), renewed.keyPEM(t)); !changed || err != nil {
		t.Fatalf("got %t, %v", changed, err)
	}
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	if got, want := serial(), renewed.cert.SerialNumber.String(); got != want {
		t.Errorf("after the renewal, the broker shows certificate %s, want %s", got, want)
	}
}
