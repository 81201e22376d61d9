package mosquittoconf_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

// What is Refused of a running broker's files must not be reloaded: a SIGHUP
// ends 2.1, and opens 2.0 or closes it to everybody.
func TestReloadOfWhatIsRefused(t *testing.T) {
	// Nobody may publish to "secret", and device1's certificate is revoked.
	const rules = "topic write open\n"
	isOpen := func(t *testing.T, m *material, b *mosquittotest.Broker) error { return publishes(b, "secret") }
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *material)
		id     string
		// What 2.0 does; 2.1 ends.
		shows func(*testing.T, *material, *mosquittotest.Broker) error
	}{
		{name: "broken rule", id: "acl-invalid", shows: isOpen,
			change: func(t *testing.T, m *material) { m.write(t, "access.acl", []byte(rules+"xyz\n")) }},
		{name: "rules gone", id: "file-missing", shows: isOpen,
			change: func(t *testing.T, m *material) { m.remove(t, "access.acl") }},
		{name: "passwords gone", id: "file-missing", shows: isOpen,
			change: func(t *testing.T, m *material) { m.remove(t, "access.pw") }},
		{name: "broken list", id: "crlfile-invalid", shows: admitsRevoked,
			change: func(t *testing.T, m *material) { m.write(t, "ca.crl", []byte("-----BEGIN X509 CRL-----\n")) }},
		{name: "list empty", id: "crlfile-invalid", shows: admitsRevoked,
			change: func(t *testing.T, m *material) { m.write(t, "ca.crl", nil) }},
		{name: "list of DER", id: "crlfile-invalid", shows: admitsRevoked,
			change: func(t *testing.T, m *material) { m.write(t, "ca.crl", m.ca.revoking(t, 9).Raw) }},
		{name: "certificate gone", id: "file-missing", shows: noHandshake,
			change: func(t *testing.T, m *material) { m.remove(t, "mosquitto.crt") }},
		{name: "list gone", id: "file-missing", shows: admitsRevoked,
			change: func(t *testing.T, m *material) { m.remove(t, "ca.crl") }},
		{name: "key of another", id: "key-mismatch", shows: noHandshake,
			change: func(t *testing.T, m *material) { m.write(t, "mosquitto.key", m.client.keyPEM(t)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMaterial(t)
			m.write(t, "access.acl", []byte(rules))
			m.write(t, "access.pw", nil)
			revokeClient(t, m)
			conf := m.fill(t, "allow_anonymous true\nacl_file access.acl\npassword_file access.pw\nlistener PORT 127.0.0.1\n"+tlsConf+
				"crlfile ca.crl\nrequire_certificate true\n")
			b := start(t, mosquittotest.Options{Dir: m.dir, Conf: conf})
			if isOpen(t, m, b) == nil || admitsRevoked(t, m, b) == nil || noHandshake(t, m, b) == nil {
				t.Fatalf("the broker does not work to begin with:\n%s", b.Log())
			}
			tt.change(t, m)
			found := parse(t, "listener 1883\n"+conf).CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: b.Version()})
			if got := first(found, tt.id); got != "refused" {
				t.Errorf("got %q of %v", got, found)
			}
			err := b.Reload()
			if version(t, b.Version()).Compare(version(t, "2.1.0")) >= 0 {
				if _, ended := errors.AsType[*mosquittotest.ExitError](err); !ended {
					t.Errorf("reload: got %v, want the broker's end", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.shows(t, m, b); err != nil {
				t.Errorf("%v\n%s", err, b.Log())
			}
		})
	}
}

// A configuration with a line that is refused is not reread from there on, but
// its files are: the broker goes on with a part of it.
func TestReloadOfBrokenConfiguration(t *testing.T) {
	m := newMaterial(t)
	if err := os.Mkdir(m.path("conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	const good = "allow_anonymous true\nacl_file access.acl\n"
	m.write(t, "conf.d/a.conf", []byte(good))
	m.write(t, "access.acl", []byte("topic write open\n"))
	b := start(t, mosquittotest.Options{Dir: m.dir, Conf: "include_dir conf.d\n"})
	if publishes(b, "open") != nil || publishes(b, "secret") == nil {
		t.Fatalf("the broker does not work to begin with:\n%s", b.Log())
	}
	m.write(t, "conf.d/a.conf", []byte("allow_anonymous false\nno_such_option true\n"+good))
	m.write(t, "access.acl", []byte("topic write secret\n"))
	m.write(t, "mosquitto.conf", []byte(b.Conf()))
	f, err := mosquittoconf.ParseFS(os.DirFS(m.dir), "mosquitto.conf")
	if err != nil {
		t.Fatal(err)
	}
	if got := first(f.Vet(version(t, b.Version())), "unknown-option"); got != "refused" {
		t.Errorf("got %q", got)
	}
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	if publishes(b, "secret") != nil || publishes(b, "open") == nil {
		t.Errorf("the broker has not kept allow_anonymous and reread the rules:\n%s", b.Log())
	}
}

// A broker whose rules have gone from the configuration has none.
func TestReloadWithoutRules(t *testing.T) {
	m := newMaterial(t)
	if err := os.Mkdir(m.path("conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.write(t, "conf.d/a.conf", []byte("acl_file access.acl\n"))
	b := start(t, mosquittotest.Options{Dir: m.dir, Conf: "allow_anonymous true\ninclude_dir conf.d\n"})
	if publishes(b, "secret") == nil {
		t.Fatal("there are no rules to begin with")
	}
	m.write(t, "conf.d/a.conf", nil)
	m.write(t, "mosquitto.conf", []byte(b.Conf()))
	f, err := mosquittoconf.ParseFS(os.DirFS(m.dir), "mosquitto.conf")
	if err != nil {
		t.Fatal(err)
	}
	if got := first(f.Vet(version(t, b.Version())), "no-access-rules"); got != "warning" {
		t.Errorf("got %q", got)
	}
	if err := b.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := publishes(b, "secret"); err != nil {
		t.Error(err)
	}
}

func (m *material) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(m.path(name)); err != nil {
		t.Fatal(err)
	}
}

// admitsRevoked returns nil if a revoked client shakes hands with the second
// listener.
func admitsRevoked(t *testing.T, m *material, b *mosquittotest.Broker) error {
	_, err := m.connack(second(b), m.client)
	return err
}

// noHandshake returns nil if nobody can shake hands with the second listener.
func noHandshake(t *testing.T, m *material, b *mosquittotest.Broker) error {
	other := issue(t, named(fmt.Sprint("device", serials.Load()+1000)), m.ca)
	if _, err := m.connack(second(b), other); err != nil {
		return nil
	}
	return errors.New("a client shakes hands")
}
