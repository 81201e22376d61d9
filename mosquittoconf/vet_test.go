package mosquittoconf_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

func ExampleFile_Vet() {
	f, err := mosquittoconf.Parse("mosquitto.conf", []byte(
		"acl_file access.acl\npassword_file passwords\nlistener 8883\ncafile ca.crt\ncertfile broker.crt\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range []string{"2.0.11", "2.0.21"} {
		v, err := mosquittoconf.ParseVersion(s)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, finding := range f.Vet(v) {
			fmt.Println(finding)
		}
	}
	// Output:
	// mosquitto.conf:5: trap: the listener has certfile but not both of certfile and keyfile: it speaks plain MQTT; set certfile and keyfile, or remove the other TLS options
	// mosquitto.conf:5: refused: the listener has certfile but not both of certfile and keyfile; set certfile and keyfile, or remove the other TLS options
}

// since is a severity, by the version from which on it is that.
type since []struct{ version, severity string }

func (s since) at(t *testing.T, v mosquittoconf.Version) (severity string) {
	t.Helper()
	for _, step := range s {
		if v.Compare(version(t, step.version)) >= 0 {
			severity = step.severity
		}
	}
	return severity
}

var (
	from20      = func(severity string) since { return since{{"2.0.0", severity}} }
	always      = func(severity string) since { return since{{"1.4.0", severity}} }
	trapTo21    = since{{"1.4.0", "trap"}, {"2.1.0", ""}}
	refusedIn21 = since{{"2.1.0", "refused"}}
	trapIn21    = since{{"2.1.0", "trap"}}
)

const tlsConf = "certfile mosquitto.crt\nkeyfile mosquitto.key\ncafile ca.crt\n"

// vetted are configurations of which a broker makes something else than they
// say. Shows returns nil if the broker at hand does what the finding says; a
// refusal needs no other proof than the broker's end.
var vetted = []struct {
	name, above, conf, id string
	severity              since
	shows                 func(*testing.T, *material, *mosquittotest.Broker) error
	change                func(*testing.T, *material)
}{
	{name: "certificate without key", conf: "certfile mosquitto.crt\ncafile ca.crt\nallow_anonymous true\n", id: "tls-incomplete",
		severity: since{{"1.4.0", "trap"}, {"2.0.21", "refused"}}, shows: speaksPlain},
	{name: "key without certificate", conf: "keyfile mosquitto.key\nallow_anonymous true\n", id: "tls-incomplete",
		severity: since{{"1.4.0", "trap"}, {"2.0.21", "refused"}}, shows: speaksPlain},
	{name: "folder of CAs without certificate", conf: "capath .\nallow_anonymous true\n", id: "tls-incomplete",
		severity: since{{"1.4.0", "trap"}, {"2.0.21", "refused"}}, shows: speaksPlain},
	{name: "pair without CA", conf: "certfile mosquitto.crt\nkeyfile mosquitto.key\nallow_anonymous true\n", id: "tls-incomplete",
		severity: since{{"1.4.0", "trap"}, {"2.0.0", ""}}, shows: speaksPlain},
	{name: "CA without certificate", conf: "cafile ca.crt\nallow_anonymous true\n", id: "tls-incomplete",
		severity: since{{"1.4.0", "trap"}, {"2.0.21", "refused"}}, shows: speaksPlain},
	{name: "required certificate without TLS", conf: "require_certificate true\nallow_anonymous true\n", id: "tls-ignored",
		severity: always("trap"), shows: speaksPlain},
	{name: "identity without TLS", conf: "require_certificate true\nuse_identity_as_username true\nallow_anonymous true\n", id: "tls-ignored",
		severity: always("trap"), shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			err := plainAt(b.Addr())
			if refused := version(t, b.Version()).Compare(version(t, "2.1.0")) >= 0; refused == (err == nil) {
				return fmt.Errorf("refused %t: %v", refused, err)
			}
			return nil
		}},
	{name: "list without TLS", conf: "crlfile ca.crl\nallow_anonymous true\n", id: "tls-ignored", severity: always("trap"), shows: speaksPlain},
	{name: "identity of certificates that nobody asks for", conf: tlsConf + "use_identity_as_username true\n", id: "identity-without-certificate",
		severity: always("trap"), shows: answers(4)},
	{name: "subject of certificates that nobody asks for", conf: tlsConf + "use_subject_as_username true\n", id: "identity-without-certificate",
		severity: since{{"1.5.0", "trap"}}, shows: answers(4)},
	{name: "certificates of no CA", conf: "certfile mosquitto.crt\nkeyfile mosquitto.key\nrequire_certificate true\n", id: "ca-unset",
		severity: since{{"2.0.0", "trap"}}, shows: refusesClient},
	{name: "list that nobody needs", conf: tlsConf + "crlfile ca.crl\nallow_anonymous true\n", id: "crl-unused", severity: always("trap"),
		change: revokeClient, shows: answers(0)},
	{name: "two names", conf: tlsConf + "require_certificate true\nuse_identity_as_username true\nuse_subject_as_username true\n", id: "identity-and-subject",
		severity: since{{"1.5.0", "trap"}}, shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			if err := answers(0)(t, m, b); err != nil {
				return err
			}
			return b.WaitLog(t.Context(), "u'device1'")
		}},
	{name: "list of a websockets listener", conf: "listener PORT 127.0.0.1\nprotocol websockets\n" + tlsConf + "require_certificate true\ncrlfile ca.crl\n", id: "websockets-crl",
		severity: trapTo21, change: revokeClient, shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			conn, err := tls.DialWithDialer(dialer, "tcp", second(b), m.clientTLS(m.client))
			if err != nil {
				return err
			}
			return conn.Close()
		}},
	{name: "certificate of a websockets listener", conf: "allow_anonymous true\nlistener PORT 127.0.0.1\nprotocol websockets\n" + tlsConf, id: "websockets-certificate",
		severity: since{{"2.0.0", "warning"}, {"2.1.0", ""}}, shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			m.serve(t, issue(t, named("renewed"), m.ca))
			if err := b.Reload(); err != nil {
				return err
			}
			conn, err := tls.DialWithDialer(dialer, "tcp", second(b), m.clientTLS(nil))
			if err != nil {
				return err
			}
			defer conn.Close()
			if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "mosquitto" {
				return fmt.Errorf("the listener shows the certificate of %q", got)
			}
			return nil
		}},
	{name: "CA that a reload does not take back", conf: tlsConf + "require_certificate true\nallow_anonymous true\n", id: "cafile-not-reloaded",
		severity: always("warning"), shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			m.write(t, "ca.crt", issue(t, named("other CA"), nil).certPEM())
			if err := b.Reload(); err != nil {
				return err
			}
			return answers(0)(t, m, b)
		}},
	{name: "nobody gets in", conf: "acl_file access.acl\n", id: "nobody-admitted", severity: from20("trap"),
		shows: func(_ *testing.T, _ *material, b *mosquittotest.Broker) error {
			if plainAt(b.Addr()) == nil {
				return errors.New("a client gets in")
			}
			return nil
		}},
	{name: "any name gets in", conf: "allow_anonymous false\nacl_file access.acl\n", id: "names-unchecked", severity: since{{"1.4.0", "trap"}, {"2.0.0", ""}},
		shows: func(_ *testing.T, _ *material, b *mosquittotest.Broker) error { return namedAt(b.Addr()) }},
	{name: "no rules", conf: "allow_anonymous true\n", id: "no-access-rules", severity: always("warning"),
		shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error { return publishes(b, "any/thing") }},
	{name: "http_api alone", conf: "protocol http_api\n", id: "http-api-only", severity: refusedIn21},
	{name: "plugin of 2.1", conf: "plugin ACLPLUGIN\nplugin_opt_acl_file access.acl\n", id: "too-new", severity: since{{"1.4.0", "refused"}, {"2.1.0", ""}}},
	{name: "password plugin without a file", conf: "plugin PWPLUGIN\n", id: "plugin-option", severity: refusedIn21},
	{name: "blank behind a plugin", conf: "plugin ACLPLUGIN \nplugin_opt_acl_file access.acl\n", id: "blank-in-path", severity: refusedIn21},
	{name: "TLS 1.3 ciphers with a comment", conf: tlsConf + "ciphers_tls1.3 TLS_AES_128_GCM_SHA256 # x\n", id: "bad-value", severity: from20("refused")},
	{name: "folder with a blank", conf: "include_dir  conf.d\nallow_anonymous false\n", id: "blank-in-path", severity: always("trap"),
		change: func(t *testing.T, m *material) {
			if err := os.Mkdir(m.path(" conf.d"), 0o700); err != nil {
				t.Fatal(err)
			}
			m.write(t, " conf.d/a.conf", []byte("allow_anonymous true\n"))
		}, shows: started},
	{name: "address of a websockets listener", conf: "listener PORT 127.0.0.2\nprotocol websockets\n", id: "websockets-address",
		severity: since{{"1.4.0", "trap"}, {"2.0.21", ""}}, shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			return reachable(strings.Replace(second(b), "127.0.0.2", "127.0.0.1", 1))
		}},
	{name: "websockets on a Unix socket", conf: "listener 0 socket\nprotocol websockets\n", id: "websockets-socket",
		severity: trapTo21, shows: logs("Opening websockets listen socket on port 0")},
	{name: "websockets alone", conf: "protocol websockets\n", id: "websockets-only", severity: since{{"2.0.0", "refused"}, {"2.0.12", ""}}},
	{name: "one port twice", conf: "listener SAME 127.0.0.1\n", id: "port-twice", severity: always("refused")},
	{name: "long path of a socket", conf: "listener 0 " + strings.Repeat("a", 108) + "\n", id: "bad-value", severity: always("refused")},
	{name: "octal port", conf: "listener 0OCTAL 127.0.0.1\n", id: "number-notation", severity: always("trap"), shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
		port := regexp.MustCompile(`listener 0([0-7]+)`).FindStringSubmatch(b.Conf())[1]
		base := 10
		if version(t, b.Version()).Compare(version(t, "2.1.0")) >= 0 {
			base = 8
		}
		n, err := strconv.ParseUint(port, base, 16)
		if err != nil {
			return err
		}
		return reachable(fmt.Sprintf("127.0.0.1:%d", n))
	}},
	{name: "number and more", conf: "max_connections 1x\nallow_anonymous true\n", id: "number-notation", severity: since{{"1.4.0", "trap"}, {"2.1.0", ""}},
		shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error { return limited(b) }},
	{name: "comment in a value", conf: "acl_file access.acl # the rules\n", id: "comment-in-value", severity: always("trap"),
		change: func(t *testing.T, m *material) { m.write(t, "access.acl # the rules", []byte("topic a\n")) }, shows: started},
	{name: "limit that a reload removes", conf: "max_connections 1\nallow_anonymous true\n", id: "max-connections-reload",
		severity: since{{"2.0.0", "warning"}, {"2.1.0", ""}}, shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			if err := limited(b); err != nil {
				return err
			}
			if err := b.Reload(); err != nil {
				return err
			}
			if limited(b) == nil {
				return errors.New("the limit still holds")
			}
			return nil
		}},
	{name: "anonymous below a TLS listener", above: "listener PORT 127.0.0.1\n", conf: tlsConf + "allow_anonymous true\n", id: "global-option",
		severity: always("trap"), shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			return plainAt(strings.Replace(regexp.MustCompile(`listener \d+`).FindString(b.Conf()), "listener ", "127.0.0.1:", 1))
		}},
	{name: "anonymous beside rules", conf: "allow_anonymous true\nacl_file access.acl\n", id: "anonymous-beside-acl", severity: always("warning"), shows: speaksPlain},
	{name: "security before per_listener_settings", above: "allow_anonymous true\nper_listener_settings true\n", id: "per-listener-late", severity: since{{"1.5.0", "refused"}}},
	{name: "per-listener option above", above: "per_listener_settings true\nallow_anonymous true\n", id: "misplaced", severity: refusedIn21},
	{name: "CA above", above: "cafile ca.crt\n", id: "misplaced", severity: refusedIn21},
	{name: "mount point above", above: "mount_point a/\n", id: "misplaced", severity: always("refused")},
	{name: "bridge option without bridge", conf: "topic #\n", id: "misplaced", severity: always("refused")},
	{name: "plugin option without plugin", conf: "plugin_opt_abc d\n", id: "misplaced", severity: since{{"2.0.0", "refused"}}},
	{name: "listener's option below a bridge", conf: "allow_anonymous true\nconnection b\naddress 127.0.0.1:1\ntopic #\nmax_connections 1\n", id: "below-bridge", severity: always("warning"),
		shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error { return limited(b) }},
	{name: "key and certificates", conf: "psk_hint x\ncertfile mosquitto.crt\n", id: "psk-and-certificates", severity: always("refused")},
	{name: "second text", conf: tlsConf + "cafile ca.crt\n", id: "duplicate", severity: since{{"1.4.0", "refused"}, {"2.1.0", "warning"}}, shows: started},
	{name: "second tls_version", conf: "tls_version tlsv1.2\ntls_version tlsv1.2\n", id: "duplicate", severity: always("refused")},
	{name: "second boolean", conf: "allow_anonymous false\nallow_anonymous true\n", id: "duplicate", severity: always("warning"), shows: speaksPlain},
	{name: "unknown", conf: "ca_file ca.crt\n", id: "unknown-option", severity: always("refused")},
	{name: "of 2.1", conf: "listener_allow_anonymous true\n", id: "too-new", severity: since{{"1.4.0", "refused"}, {"2.1.0", ""}}},
	{name: "of 2.0.21", conf: "retain_expiry_interval 5\n", id: "too-new", severity: since{{"1.4.0", "refused"}, {"2.0.21", ""}}},
	{name: "of 1.x", conf: "trace_level 1\n", id: "removed", severity: since{{"2.0.0", "refused"}}},
	{name: "without effect", conf: "retry_interval 5\n", id: "ignored", severity: since{{"1.6.0", "warning"}}, shows: started},
	{name: "long line", conf: "max_connections 5 # " + strings.Repeat("x", 1100) + "\n", id: "bad-value", severity: since{{"1.4.0", "refused"}, {"1.4.15", ""}}},
	{name: "comment behind a listener", conf: "listener PORT 127.0.0.1 # x\n", id: "bad-value", severity: since{{"1.4.0", "refused"}, {"1.5.0", ""}}},
	{name: "Unix socket", conf: "listener 0 socket\n", id: "bad-value", severity: since{{"1.4.0", "refused"}, {"2.0.0", ""}}},
	{name: "falling restart_timeout", conf: "connection b\naddress 127.0.0.1:1\ntopic #\nrestart_timeout 30 5\n", id: "bad-value", severity: since{{"1.6.0", "refused"}}},
	{name: "retry_interval of 0", conf: "retry_interval 0\n", id: "bad-value", severity: since{{"1.4.0", "refused"}, {"1.6.0", ""}}},
	{name: "check_retain_source before per_listener_settings", above: "check_retain_source true\nper_listener_settings true\n", id: "per-listener-late",
		severity: since{{"1.5.6", "refused"}, {"2.0.0", ""}}},
	{name: "option of another broker", conf: "trace_level x\n", id: "ignored", severity: since{{"1.4.0", "warning"}, {"2.0.0", ""}}, shows: started},
	{name: "keepalive below 10", conf: "max_keepalive 0\n", id: "bad-value", severity: since{{"1.6.0", "refused"}, {"2.0.13", ""}}, shows: started},
	{name: "unknown TLS version", conf: tlsConf + "tls_version tlsv1\n", id: "bad-value", severity: since{{"1.6.0", "refused"}}},
	{name: "nobody's protocol", conf: "accept_protocol_versions 2,6,x\nallow_anonymous true\n", id: "protocol-versions", severity: trapIn21,
		shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error {
			if plainAt(b.Addr()) == nil {
				return errors.New("a client of 3.1.1 is admitted")
			}
			return nil
		}},
	{name: "proxy and certificates", conf: tlsConf + "enable_proxy_protocol 2\n", id: "proxy-and-certificates", severity: refusedIn21},
	{name: "acl-file plugin without a file", conf: "plugin ACLPLUGIN\nallow_anonymous true\n", id: "acl-plugin-open", severity: trapIn21,
		shows: func(t *testing.T, m *material, b *mosquittotest.Broker) error { return publishes(b, "any/thing") }},
	{name: "acl-file plugin with another option", conf: "plugin ACLPLUGIN\nplugin_opt_acl_file access.acl\nplugin_opt_other x\n", id: "plugin-option", severity: refusedIn21},
	{name: "plugin that nobody uses", conf: "plugin_load acl ACLPLUGIN\nplugin_opt_acl_file access.acl\n", id: "plugin-unused", severity: refusedIn21},
	{name: "plugin beside rules", conf: "plugin ACLPLUGIN\nplugin_opt_acl_file open.acl\nallow_anonymous true\nacl_file access.acl\n", id: "plugin-over-acl", severity: since{{"2.0.0", "warning"}},
		change: func(t *testing.T, m *material) { m.write(t, "open.acl", []byte("topic readwrite #\n")) },
		shows:  func(t *testing.T, m *material, b *mosquittotest.Broker) error { return publishes(b, "any/thing") }},
	{name: "one plugin twice", conf: strings.Repeat("plugin DYNSEC\nplugin_opt_config_file dynsec.json\n", 2), id: "plugin-twice", severity: since{{"2.0.21", "refused"}}},
	{name: "bridge without topic", conf: "connection b\naddress 127.0.0.1:1\n", id: "bridge-incomplete", severity: always("refused")},
	{name: "bridge without address", conf: "connection b\ntopic #\n", id: "bridge-incomplete", severity: always("refused")},
	{name: "bridge of one name twice", conf: "connection b\naddress 127.0.0.1:1\ntopic #\nconnection b\naddress 127.0.0.1:1\ntopic #\n", id: "duplicate", severity: always("refused")},
	{name: "key without identity", conf: "connection b\naddress 127.0.0.1:1\ntopic #\nbridge_psk abcd\n", id: "bridge-incomplete", severity: always("refused")},
	{name: "bridge without CA", conf: "connection b\naddress REMOTE\ntopic #\nbridge_certfile mosquitto.crt\nbridge_keyfile mosquitto.key\n", id: "bridge-tls-off", severity: always("trap"), shows: bridgeSends("\x10")},
	{name: "bridge once", conf: "connection b\naddress REMOTE\ntopic #\nstart_type once\n", id: "bridge-once", severity: from20("trap"), shows: bridgeSends("")},
	{name: "bridge with a wildcard", conf: "connection b/+\naddress REMOTE\ntopic #\n", id: "bridge-name", severity: always("trap"), shows: bridgeSends("")},
	{name: "bridge with a password alone", conf: "connection b\naddress REMOTE\ntopic #\nremote_password x\n", id: "bridge-password", severity: always("trap"), shows: bridgeSends("")},
	{name: "bridge with a certificate alone", conf: "connection b\naddress TLSREMOTE\ntopic #\nbridge_cafile ca.crt\nbridge_insecure true\nbridge_certfile mosquitto.crt\n", id: "bridge-pair", severity: always("trap"), shows: bridgeHasNoCertificate},
	{name: "bridge with a key of no certificate", conf: "connection b\naddress REMOTE\ntopic #\nbridge_cafile ca.crt\nbridge_insecure true\n", id: "bridge-insecure", severity: always("warning"), shows: bridgeSends("\x16")},
	{name: "bridge with a shared key", conf: "connection b\naddress TLSREMOTE\ntopic #\nbridge_identity x\nbridge_psk abcdef\n", id: "bridge-psk-unverified",
		severity: since{{"1.4.0", "trap"}, {"2.0.21", ""}}, shows: bridgeShakesHands},
	{name: "broken filter of a bridge", conf: "connection b\naddress REMOTE\ntopic a/#/b in\n", id: "bridge-topic", severity: always("trap"), shows: bridgeSends("a/#/b")},
	{name: "quoted topic of a bridge", conf: "connection b\naddress REMOTE\ntopic \"odd in\n", id: "bridge-topic", severity: since{{"1.4.0", "trap"}, {"2.1.0", "refused"}}, shows: bridgeSends("\"odd")},
	{name: "quoted topic with a blank", conf: "connection b\naddress REMOTE\ntopic \"odd topic\" in\n", id: "bridge-topic", severity: since{{"1.4.0", "refused"}, {"2.1.0", ""}}},
	{name: "odd QoS of a bridge", conf: "connection b\naddress REMOTE\ntopic odd in x\n", id: "bridge-topic", severity: always("trap"), shows: bridgeSends("odd\x00")},
	{name: "third prefix of a bridge", conf: "connection b\naddress REMOTE\ntopic odd in 0 l/ r/ x/\n", id: "bridge-topic", severity: always("trap"), shows: bridgeSends("r/odd")},
}

func TestVet(t *testing.T) {
	at := installed(t)
	v := version(t, at)
	for _, tt := range vetted {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMaterial(t)
			if tt.change != nil {
				tt.change(t, m)
			}
			m.remote(t, strings.Contains(tt.conf, "TLSREMOTE"))
			above, conf := m.fill(t, tt.above), m.fill(t, tt.conf)
			global := "log_dest stderr\nlog_type all\n"
			text := global + above + "listener 65535 127.0.0.1\n" + strings.ReplaceAll(conf, "SAME", "65535")
			f := parse(t, text)
			// Every version is asked for what it would say.
			for _, s := range []string{"1.4.13", "1.6.15", "2.0.8", "2.0.11", "2.0.20", "2.0.21", "2.1.2"} {
				want := tt.severity.at(t, version(t, s))
				if o := first(f.Vet(version(t, s)), tt.id); o != want {
					t.Errorf("version %s: got %q, want %q of %v", s, o, want, f.Vet(version(t, s)))
				}
			}
			severity := tt.severity.at(t, v)
			if severity == "" || strings.Contains(conf, "/nowhere/") {
				return
			}
			b, err := m.startFilled(t, above, conf)
			if _, ended := errors.AsType[*mosquittotest.ExitError](err); ended != (severity == "refused") {
				t.Fatalf("%s; the broker: %v", severity, err)
			}
			if b == nil {
				return
			}
			defer b.Close()
			if tt.shows == nil {
				t.Fatal("the broker starts, and nothing shows what it does")
			}
			if err := tt.shows(t, m, b); err != nil {
				t.Errorf("the broker does not show it: %v\n%s", err, b.Log())
			}
		})
	}
}

// first returns the severity of the first finding of that kind.
func first(findings []mosquittoconf.Finding, id string) string {
	for _, f := range findings {
		if f.ID == id {
			return f.Severity.String()
		}
	}
	return ""
}

// fill puts ports and plugins into a configuration.
func (m *material) fill(t *testing.T, conf string) string {
	for strings.Contains(conf, "PORT") {
		conf = strings.Replace(conf, "PORT", strconv.Itoa(freePort(t)), 1)
	}
	for strings.Contains(conf, "0OCTAL") {
		// Below 10 000, so that it is a port in both readings; and free in
		// neither for sure.
		conf = strings.Replace(conf, "0OCTAL", fmt.Sprintf("0%o", 1100+freePort(t)%2900), 1)
	}
	for placeholder, name := range map[string]string{
		"ACLPLUGIN": "mosquitto/mosquitto_acl_file.so",
		"PWPLUGIN":  "mosquitto/mosquitto_password_file.so",
		"DYNSEC":    "mosquitto_dynamic_security.so",
	} {
		if strings.Contains(conf, placeholder) {
			conf = strings.ReplaceAll(conf, placeholder, cmp.Or(library(t, name), "/nowhere/"+name))
		}
	}
	if m.peer != nil {
		conf = strings.ReplaceAll(conf, "TLSREMOTE", m.peer.Addr().String())
		conf = strings.ReplaceAll(conf, "REMOTE", m.peer.Addr().String())
	}
	return conf
}

func (m *material) startFilled(t *testing.T, above, conf string) (*mosquittotest.Broker, error) {
	t.Helper()
	if strings.Contains(conf, "SAME") {
		port := strconv.Itoa(freePort(t))
		conf = strings.ReplaceAll(conf, "SAME", port) + "listener " + port + " 127.0.0.1\n"
	}
	return mosquittotest.Start(mosquittotest.Options{Dir: m.dir, Global: above, Conf: conf})
}

// aclPlugin is the acl-file plugin of the broker at hand, "" if it has none.
func aclPlugin(t *testing.T) string { return library(t, "mosquitto/mosquitto_acl_file.so") }

// library is a plugin of the broker at hand.
func library(t *testing.T, name string) string {
	t.Helper()
	b, err := mosquitto.Find(context.Background(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	// A broker of another place is run by a script that names it.
	root := filepath.Dir(filepath.Dir(filepath.Dir(b.Path)))
	if script, err := os.ReadFile(b.Path); err == nil && bytes.HasPrefix(script, []byte("#!")) {
		if at := regexp.MustCompile(`(/[^' ]*)/usr/sbin/mosquitto`).FindSubmatch(script); at != nil {
			root = string(at[1])
		}
	}
	found, _ := filepath.Glob(filepath.Join(root, "usr/lib/*", name))
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

func started(*testing.T, *material, *mosquittotest.Broker) error { return nil }

func speaksPlain(_ *testing.T, _ *material, b *mosquittotest.Broker) error { return plainAt(b.Addr()) }

func plainAt(addr string) error {
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	code, err := connect(conn)
	if err == nil && code != 0 {
		err = fmt.Errorf("CONNACK %d", code)
	}
	return err
}

// namedAt returns nil if a client gets in under a name without a password.
func namedAt(addr string) error {
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("\x10\x12\x00\x04MQTT\x04\x82\x00\x3c\x00\x01c\x00\x03bob")); err != nil {
		return err
	}
	_, answer, err := packet(conn)
	if err == nil && answer[1] != 0 {
		err = fmt.Errorf("CONNACK %d", answer[1])
	}
	return err
}

// limited returns nil if the broker admits one client at a time.
func limited(b *mosquittotest.Broker) error {
	for i := range 2 {
		conn, err := dialer.Dial("tcp", b.Addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := connect(conn); (err == nil) != (i == 0) {
			return fmt.Errorf("client %d: %v", i, err)
		}
	}
	return nil
}

func answers(code byte) func(*testing.T, *material, *mosquittotest.Broker) error {
	return func(_ *testing.T, m *material, b *mosquittotest.Broker) error {
		got, err := m.connack(b.Addr(), m.client)
		if err == nil && got != code {
			err = fmt.Errorf("CONNACK %d", got)
		}
		return err
	}
}

func refusesClient(_ *testing.T, m *material, b *mosquittotest.Broker) error {
	if _, err := m.connack(b.Addr(), m.client); err == nil {
		return errors.New("the client is admitted")
	}
	return nil
}

func revokeClient(t *testing.T, m *material) {
	m.write(t, "ca.crl", crl.EncodePEM(m.ca.revoking(t, 1, m.client.cert)))
}

func reachable(addr string) error {
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func logs(text string) func(*testing.T, *material, *mosquittotest.Broker) error {
	return func(_ *testing.T, _ *material, b *mosquittotest.Broker) error {
		if !strings.Contains(b.Log(), text) {
			return fmt.Errorf("no %q in the log", text)
		}
		return nil
	}
}

// second is the address of the listener in the test's own lines.
func second(b *mosquittotest.Broker) string {
	all := regexp.MustCompile(`(?m)^listener (\d+) (\S+)`).FindAllStringSubmatch(b.Conf(), -1)
	last := all[len(all)-1]
	return net.JoinHostPort(last[2], last[1])
}

// publishes connects as an MQTT 5 client and reports whether the broker takes a
// message to topic.
func publishes(b *mosquittotest.Broker, topic string) error {
	conn, err := dialer.Dial("tcp", b.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c")); err != nil {
		return err
	}
	if _, _, err := packet(conn); err != nil {
		return err
	}
	body := append([]byte{0, byte(len(topic))}, topic...)
	body = append(body, 0, 1, 0, 'x')
	if _, err := conn.Write(append([]byte{0x32, byte(len(body))}, body...)); err != nil {
		return err
	}
	kind, answer, err := packet(conn)
	if err != nil {
		return err
	}
	if kind != 0x40 || len(answer) > 2 && answer[2] >= 0x80 {
		return fmt.Errorf("PUBLISH is answered by %x %x", kind, answer)
	}
	return nil
}

// packet reads an MQTT packet of less than 128 bytes.
func packet(conn net.Conn) (kind byte, body []byte, err error) {
	conn.SetDeadline(time.Now().Add(limit))
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, head[1])
	_, err = io.ReadFull(conn, body)
	return head[0], body, err
}

// remote is what a bridge of a test connects to.
func (m *material) remote(t *testing.T, withTLS bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if withTLS {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{m.server.tls()}, ClientAuth: tls.RequestClientCert})
	}
	m.peer = l
	t.Cleanup(func() { l.Close() })
}

// patience is how long a bridge that does nothing is watched.
const patience = 300 * time.Millisecond

// bridgeSends shows that the bridge's first packets hold text, or that it
// sends nothing at all if text is empty. The remote says CONNACK.
func bridgeSends(text string) func(*testing.T, *material, *mosquittotest.Broker) error {
	return func(t *testing.T, m *material, b *mosquittotest.Broker) error {
		wait := limit
		if text == "" {
			wait = patience
		}
		deadline := time.Now().Add(wait)
		m.peer.(*net.TCPListener).SetDeadline(deadline)
		var all []byte
		for {
			conn, err := m.peer.Accept()
			if err != nil {
				break
			}
			conn.SetDeadline(deadline)
			conn.Write([]byte("\x20\x02\x00\x00"))
			buf := make([]byte, 1024)
			for {
				n, err := conn.Read(buf)
				all = append(all, buf[:n]...)
				if text != "" && bytes.Contains(all, []byte(text)) {
					conn.Close()
					return nil
				}
				if err != nil {
					break
				}
			}
			conn.Close()
		}
		if text == "" && len(all) == 0 {
			return nil
		}
		return fmt.Errorf("the bridge sent %q, not %q", all, text)
	}
}

// handshake reports whether the bridge completes a TLS handshake with the
// remote before wait is over.
func (m *material) handshake(wait time.Duration) bool {
	done := make(chan bool)
	go func() {
		for {
			conn, err := m.peer.Accept()
			if err != nil {
				done <- false
				return
			}
			conn.SetDeadline(time.Now().Add(limit))
			err = conn.(*tls.Conn).Handshake()
			if err == nil {
				// With TLS 1.3 the client may still refuse.
				_, err = conn.Read(make([]byte, 1))
			}
			conn.Close()
			if err == nil {
				done <- true
				return
			}
		}
	}()
	timer := time.AfterFunc(wait, func() { m.peer.Close() })
	defer timer.Stop()
	return <-done
}

// accept returns a connection of the bridge to the remote.
func (m *material) accept() (*tls.Conn, error) {
	timer := time.AfterFunc(limit, func() { m.peer.Close() })
	defer timer.Stop()
	conn, err := m.peer.Accept()
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(limit))
	return conn.(*tls.Conn), nil
}

func bridgeHasNoCertificate(t *testing.T, m *material, b *mosquittotest.Broker) error {
	conn, err := m.accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		return err
	}
	if n := len(conn.ConnectionState().PeerCertificates); n > 0 {
		return fmt.Errorf("the bridge shows %d certificates", n)
	}
	return nil
}

func bridgeShakesHands(t *testing.T, m *material, b *mosquittotest.Broker) error {
	conn, err := m.accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.HandshakeContext(t.Context())
}

// What a broker does with a listener's options behind an include_dir with
// listeners depends on its memory: it never does what they say for sure, and
// 2.1.2 aborts.
func TestVetOfMovedListeners(t *testing.T) {
	m := newMaterial(t)
	if err := os.Mkdir(m.path("conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.write(t, "conf.d/a.conf", []byte(m.fill(t, strings.Repeat("listener PORT 127.0.0.1\n", 20))))
	const conf = "include_dir conf.d\nmount_point x/\nmax_connections 1\n"
	m.write(t, "mosquitto.conf", []byte("listener 65535\n"+conf))
	f, err := mosquittoconf.ParseFS(os.DirFS(m.dir), "mosquitto.conf")
	if err != nil {
		t.Fatal(err)
	}
	if got := first(f.Vet(version(t, installed(t))), "include-moves-listeners"); got != "trap" {
		t.Errorf("got %q", got)
	}
	b, err := mosquittotest.Start(mosquittotest.Options{Dir: m.dir, Global: "allow_anonymous true\n", Conf: conf})
	if err != nil {
		if _, ended := errors.AsType[*mosquittotest.ExitError](err); !ended {
			t.Error(err)
		}
		return
	}
	defer b.Close()
	if limited(b) == nil {
		t.Error("the broker heeds max_connections")
	}
}

// Whoever has a certificate of any CA in the system's store gets in. The test
// puts its own CA there, for the broker alone.
func TestVetOfSystemStore(t *testing.T) {
	const conf = "certfile mosquitto.crt\nkeyfile mosquitto.key\ncapath /etc/ssl/certs\nrequire_certificate true\nallow_anonymous true\n"
	f := parse(t, "listener 8883\n"+conf)
	if got := first(f.Vet(version(t, installed(t))), "system-store"); got != "trap" {
		t.Errorf("got %q", got)
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("no mounts of our own are to be had here: %v %s", err, out)
	}
	broker, err := mosquitto.Find(t.Context(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	m := newMaterial(t)
	if err := os.Mkdir(m.path("store"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.write(t, "store/web.pem", m.ca.certPEM())
	hashDir(t, m.path("store"))
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = -h ] && exec '%[1]s' -h\nexec unshare --mount sh -c 'mount --bind %[2]s /etc/ssl/certs && exec %[1]s \"$@\"' sh \"$@\"\n", broker.Path, m.path("store"))
	if err := os.WriteFile(m.path("mosquitto"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	b := start(t, mosquittotest.Options{Binary: m.path("mosquitto"), Dir: m.dir, Conf: conf})
	if err := answers(0)(t, m, b); err != nil {
		t.Error(err)
	}
}

// A NUL byte hides what follows it from the broker: rules and limits may be
// missing, and errors are not seen. Parse refuses it.
func TestBrokerIsBlindBehindNUL(t *testing.T) {
	const conf = "# \x00\nno_such_option true\n"
	if _, err := mosquittoconf.Parse("mosquitto.conf", []byte(conf)); err == nil {
		t.Error("Parse passes it")
	}
	start(t, mosquittotest.Options{Conf: "# x\n" + conf})
}

// Which files are included is the broker's choice.
func TestIncludedFilesAreTheBrokers(t *testing.T) {
	for name, included := range map[string]bool{"a.conf": true, ".a.conf": true, "A.CONF": false, ".conf": false, "a.conf.bak": false} {
		m := newMaterial(t)
		if err := os.Mkdir(m.path("conf.d"), 0o700); err != nil {
			t.Fatal(err)
		}
		m.write(t, "conf.d/"+name, []byte("no_such_option true\n"))
		m.write(t, "mosquitto.conf", []byte("include_dir conf.d\n"))
		f, err := mosquittoconf.ParseFS(os.DirFS(m.dir), "mosquitto.conf")
		if err != nil {
			t.Fatal(err)
		}
		if got := first(f.Vet(version(t, installed(t))), "unknown-option") == "refused"; got != included {
			t.Errorf("%s: we include it %t", name, got)
		}
		b, err := mosquittotest.Start(mosquittotest.Options{Dir: m.dir, Conf: "include_dir conf.d\n"})
		if err == nil {
			b.Close()
		}
		if (err != nil) != included {
			t.Errorf("%s: the broker: %v", name, err)
		}
	}
}

// Without a listener line a broker serves the loopback interface, whatever
// the options in front of it say.
func TestVetOfLoopback(t *testing.T) {
	b, err := mosquitto.Find(t.Context(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, conf, id string }{
		{"password file", "password_file access.pw\n", "anonymous-loopback"},
		{"TLS", "certfile mosquitto.crt\nkeyfile mosquitto.key\n", "default-listener"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMaterial(t)
			m.write(t, "access.pw", nil)
			conf := "log_dest stderr\n" + userLine(t) + tt.conf
			m.write(t, "mosquitto.conf", []byte(conf))
			if got := first(parse(t, conf).Vet(version(t, b.Version)), tt.id); got != "trap" {
				t.Errorf("got %q", got)
			}
			if tt.id == "default-listener" && version(t, b.Version).Compare(version(t, "2.0.12")) < 0 {
				return // it would open port 1883, which may be somebody's
			}
			port := freePort(t)
			cmd := exec.Command(b.Path, "-c", m.path("mosquitto.conf"), "-p", strconv.Itoa(port))
			cmd.Dir = m.dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				cmd.Process.Kill()
				cmd.Wait()
			}()
			for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
				err := plainAt(fmt.Sprintf("127.0.0.1:%d", port))
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
		})
	}
}

// An option above the first listener opens a port of its own.
func TestVetOfDefaultListener(t *testing.T) {
	for _, tt := range []struct{ conf, want string }{
		{"max_connections 5\nlistener 8883\n", "trap"},
		{"crlfile x\nlistener 8883\n", "trap"},
		{"port 8883\n", "warning"},
		{"port 8883\nbind_address 127.0.0.1\n", ""},
		{"listener 8883\n", ""},
	} {
		if got := first(parse(t, tt.conf).Vet(version(t, "2.0.11")), "default-listener"); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.conf, got, tt.want)
		}
	}
	port := freePort(t)
	b := start(t, mosquittotest.Options{Global: fmt.Sprintf("port %d\nmax_connections 5\n", port)})
	if !strings.Contains(b.Log(), fmt.Sprintf("Opening ipv4 listen socket on port %d", port)) {
		t.Errorf("the log:\n%s", b.Log())
	}
	conns, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range conns {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			if err := reachable(net.JoinHostPort(ip.IP.String(), strconv.Itoa(port))); err != nil {
				t.Errorf("port %d is not open on %s: %v", port, ip.IP, err)
			}
		}
	}
}

func TestNewestRefusesWhatIsAnnounced(t *testing.T) {
	f := parse(t, "acl_file a\nper_listener_settings false\nlistener 1\nallow_anonymous true\n")
	if got := refused(f.Vet(version(t, "3.0.0"))); len(got) != 2 {
		t.Errorf("got %v, want 2 findings", got)
	}
}
