package mosquittoconf_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

var generated = flag.Int("generated", 120, "how many generated files to try on the broker")

// A generated file is a listener, what stands above and below it, and a file
// that include_dir includes.
type generatedFile struct{ above, below, included string }

// values are worth trying for any option of a type.
var values = map[mosquittoconf.ValueType][]string{
	mosquittoconf.BoolValue:   {"true", "false", "1", "0", "true # x", "false junk"},
	mosquittoconf.NumberValue: {"0", "1", "-1", "10", "65535", "65536", "010", "0x20", "5s", "x", "2147483648", "20 # x"},
	mosquittoconf.TextValue:   {"a", "a/b", "a # b", "a+", "\u00e9"},
	mosquittoconf.WordValue:   {"x", "X y"},
	mosquittoconf.ListValue:   {"x", "1", "1 2 3", "a b c d e f"},
}

// valuesOf are those of options whose values are of a kind of their own.
// Without files and addresses of our own, they would all be refused.
var valuesOf = map[string][]string{
	"acl_file":                     {"access.acl", "nowhere"},
	"address":                      {"127.0.0.1:1", "127.0.0.1:1 127.0.0.1:2", "127.0.0.1:x", "127.0.0.1:0", "::1", "# x", "127.0.0.1"},
	"addresses":                    {"127.0.0.1:1"},
	"auth_plugin":                  {},
	"bind_address":                 {},
	"bind_interface":               {"lo"},
	"bridge_cafile":                {"ca.crt"},
	"bridge_capath":                {"."},
	"bridge_certfile":              {"mosquitto.crt"},
	"bridge_keyfile":               {"mosquitto.key"},
	"bridge_protocol_version":      {"mqttv31", "mqttv311", "mqttv50", " mqttv50", "mqttv50 x", "5"},
	"bridge_reload_type":           {"lazy", "immediate", "never", "lazy x"},
	"bridge_tcp_keepalive":         {"1 2 3", "1 2", "1 0 3", "a b c", "1 2 3 4"},
	"bridge_tls_version":           {"tlsv1.2", "tlsv1"},
	"cafile":                       {"ca.crt", "ca.crt", "nowhere"},
	"capath":                       {"."},
	"certfile":                     {"mosquitto.crt", "mosquitto.crt", "mosquitto.crt", "mosquitto.key"},
	"ciphers":                      {"ALL"},
	"ciphers_tls1.3":               {"TLS_AES_128_GCM_SHA256"},
	"connection":                   {"b1", "b2", "b/+", "b3 junk"},
	"crlfile":                      {"ca.crl", "ca.crl", "ca.crt"},
	"dhparamfile":                  {},
	"enable_proxy_protocol":        {"1", "2", "3", "0"},
	"http_dir":                     {},
	"include_dir":                  {"conf.d", "nowhere"},
	"keyfile":                      {"mosquitto.key", "mosquitto.key", "mosquitto.key", "access.acl"},
	"listener":                     {"PORT 127.0.0.1", "PORT 127.0.0.1", "PORT 127.0.0.1 # x", "65536", "x", "0", "-1"},
	"log_dest":                     {"stderr", "stdout", "dlt", "file", "file a.log", "paper", "stderr x"},
	"log_type":                     {"all", "error", "internal", "websockets", "everything", "error x"},
	"max_connections":              {"-1", "5", "x", "010", "5 # x"},
	"memory_limit":                 {"0", "-1", "x", "100000000"},
	"mount_point":                  {"a/", "a/+", "#", "/", "a b"},
	"password_file":                {"access.pw"},
	"per_listener_settings":        {"true", "false", "1"},
	"persistence_location":         {"./"},
	"persistent_client_expiration": {"1h", "1s", "0d", "1", "d", "2w x", "-1m", "1y"},
	"pid_file":                     {"a.pid"},
	"plugin":                       {},
	"global_plugin":                {},
	"plugin_load":                  {},
	"plugin_use":                   {"x"},
	"port":                         {},
	"protocol":                     {"mqtt", "mqtt x", "mqttsn", "http"},
	"psk_file":                     {"psk"},
	"psk_hint":                     {"hint"},
	"restart_timeout":              {"5", "5 30", "30 5", "x", "5 30 -1", "5 30 10", "0 1", "4000 3700"},
	"socket_domain":                {"ipv4", "ipv5", "ipv4 x"},
	"start_type":                   {"automatic", "lazy", "manual", "once", "never", "lazy x"},
	"tls_engine":                   {},
	"tls_engine_kpass_sha1":        {strings.Repeat("aB", 20), "ab"},
	"tls_keyform":                  {"pem", "x"},
	"tls_version":                  {"tlsv1.2", "tlsv1.3", "tlsv1.1", "tlsv1"},
	"topic": {"#", "a out", "a in 1", "a both 2 l/ r/", "a up", "a out 3", "a out x", "a out 258", "a out 0 l/+ r/", `"" out`,
		`"" in 0 l r`, "a/#/b", "a+ out", "a out # x", `a out 0 "" r/`, `"a b" out`, `"a b out`, "a out 0 l/ r/ x", "a out 0 # c", "a OUT -1"},
	"user": {},
}

// randomFile is a file of a few options. Those of a bridge make a whole one,
// most of the time.
func randomFile(r *rand.Rand) generatedFile {
	var all []mosquittoconf.Option
	for o := range mosquittoconf.Options() {
		all = append(all, o)
	}
	line := func(o mosquittoconf.Option) string {
		from := values[o.Type]
		if special, ok := valuesOf[o.Key]; ok {
			from = special
		}
		if len(from) == 0 {
			return ""
		}
		return o.Key + " " + from[r.IntN(len(from))] + "\n"
	}
	pick := func(scope mosquittoconf.ScopeKind) string {
		for {
			if o := all[r.IntN(len(all))]; o.Scope == scope && o.Key != "connection" && o.Key != "listener" {
				return line(o)
			}
		}
	}
	var f generatedFile
	for range r.IntN(3) {
		f.above += pick(mosquittoconf.GlobalScope)
	}
	if r.IntN(8) == 0 {
		f.above += pick(mosquittoconf.ScopeKind(r.IntN(4)))
	}
	if r.IntN(3) == 0 {
		f.below += "certfile mosquitto.crt\nkeyfile mosquitto.key\n"
		if r.IntN(2) == 0 {
			f.below += "cafile ca.crt\n"
		}
	}
	for range 1 + r.IntN(3) {
		f.below += pick(mosquittoconf.ListenerScope)
	}
	if r.IntN(4) == 0 {
		f.below += pick(mosquittoconf.GlobalScope)
	}
	if r.IntN(10) == 0 {
		f.below += line(mosquittoconf.Option{Key: "listener"}) + pick(mosquittoconf.ListenerScope)
	}
	if r.IntN(2) == 0 {
		f.below += line(mosquittoconf.Option{Key: "connection"})
		if r.IntN(10) > 0 {
			f.below += "address 127.0.0.1:1\n"
		}
		for range 1 + r.IntN(3) {
			f.below += pick(mosquittoconf.ConnectionScope)
		}
		if r.IntN(10) > 0 {
			f.below += "topic #\n"
		}
	}
	if r.IntN(12) == 0 {
		f.below += pick(mosquittoconf.ScopeKind(r.IntN(4)))
	}
	f.included = "sys_interval 5\n"
	if r.IntN(4) == 0 {
		f.below += "include_dir conf.d\n"
		if r.IntN(3) == 0 {
			f.below += pick(mosquittoconf.ListenerScope)
		}
		f.included = ""
		if r.IntN(3) == 0 {
			f.included = "listener PORT 127.0.0.1\n" + pick(mosquittoconf.ListenerScope)
		}
		for range 1 + r.IntN(2) {
			f.included += pick(mosquittoconf.ScopeKind(r.IntN(2)))
		}
	}
	return f
}

// hides are options with which the broker's log, or its listener, would not
// say what it does.
var hides = regexp.MustCompile(`(?m)^(log_timestamp_format|log_timestamp|max_keepalive x|memory_limit 1$)`)

// disagreement says how the broker and we differ about a file, "" if not.
func (m *material) disagreement(t *testing.T, f generatedFile, v mosquittoconf.Version) string {
	t.Helper()
	for _, s := range []*string{&f.above, &f.below, &f.included} {
		for strings.Contains(*s, "PORT") {
			*s = strings.Replace(*s, "PORT", strconv.Itoa(freePort(t)), 1)
		}
	}
	m.write(t, "conf.d/a.conf", []byte(f.included))
	b, err := mosquittotest.Start(mosquittotest.Options{Dir: m.dir, Global: f.above, Conf: f.below})
	if err == nil {
		b.Close()
	}
	// What mosquittotest makes of it.
	text := fmt.Sprintf("log_dest stderr\nlog_type all\n%s%s\nlistener 65535 127.0.0.1\n%s\n", userLine(t), f.above, f.below)
	var refused []mosquittoconf.Finding
	m.write(t, "mosquitto.conf", []byte(text))
	file, parseErr := mosquittoconf.ParseFS(os.DirFS(m.dir), "mosquitto.conf")
	text += "included:\n" + f.included
	if parseErr == nil {
		for _, finding := range append(file.Vet(v), file.CheckFiles(mosquittoconf.Environment{Dir: m.dir, Version: v.String()})...) {
			if finding.ID == "include-moves-listeners" {
				return "" // what the broker does depends on its memory
			}
			if finding.Severity == mosquittoconf.Refused {
				refused = append(refused, finding)
			}
		}
	}
	switch {
	case err == nil && (parseErr != nil || len(refused) > 0):
		return fmt.Sprintf("we refuse what the broker loads: %v %v\n%s", parseErr, refused, text)
	case err != nil && parseErr == nil && len(refused) == 0:
		return fmt.Sprintf("the broker refuses what we pass: %v\n%s", err, text)
	case err == nil || parseErr != nil:
		return ""
	}
	if at := regexp.MustCompile(`([a-z]+\.conf)'?:(\d+)`).FindStringSubmatch(err.Error()); at != nil {
		for _, finding := range refused {
			if strconv.Itoa(finding.Line) == at[2] && strings.HasSuffix(finding.File, at[1]) {
				return ""
			}
		}
		return fmt.Sprintf("the broker stops at %s, we at %v\n%s", at[0], refused, text)
	}
	return ""
}

// userLine keeps a broker that is started as root root; others need none.
func userLine(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return ""
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return "user " + u.Username + "\n"
}

func TestVetAgreesWithTheBroker(t *testing.T) {
	m := differentialMaterial(t)
	v := version(t, installed(t))
	r := rand.New(rand.NewPCG(8, uint64(*generated)))
	for range *generated {
		f := randomFile(r)
		if hides.MatchString(f.above + f.below + f.included) {
			continue
		}
		if d := m.disagreement(t, f, v); d != "" {
			t.Error(d)
		}
	}
}

func differentialMaterial(t *testing.T) *material {
	m := newMaterial(t)
	m.write(t, "access.pw", nil)
	m.write(t, "psk", nil)
	if err := os.Mkdir(m.path("conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	return m
}
