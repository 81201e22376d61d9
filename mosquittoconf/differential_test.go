package mosquittoconf_test

import (
	"crypto/ecdsa"
	cryptorand "crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

var (
	generated = flag.Int("generated", 120, "how many generated files to try on the broker")
	seed      = flag.Uint64("seed", 8, "where generated files begin")
)

// A generated file is a listener, what stands above and below it, and a file
// that include_dir includes.
type generatedFile struct{ above, below, included string }

func (f generatedFile) String() string { return f.above + f.below + f.included }

// values are worth trying for any option of a type.
var values = map[mosquittoconf.ValueType][]string{
	mosquittoconf.BoolValue:   {"true", "false", "1", "0", "true # x", "false junk"},
	mosquittoconf.NumberValue: {"0", "1", "-1", "10", "50", "65535", "65536", "010", "0x20", "5s", "x", "2147483647", "2147483648", "4294967297", "-2147483649", "+7", "20 # x"},
	mosquittoconf.TextValue:   {"a", "a/b", "a # b", "a+", "\u00e9", "a  b", "a\t", "a\tb", "a\u2028", "a\ufffe", strings.Repeat("long", 300)},
	mosquittoconf.WordValue:   {"x", "X y"},
	mosquittoconf.ListValue:   {"x", "1", "1 2 3", "a b c d e f"},
}

// Files of [differentialMaterial] for options that name one of a kind.
const (
	certFiles = "mosquitto.crt mosquitto.crt mosquitto.crt mosquitto.crt chain.crt one.pem other.crt expired.crt mosquitto.key ca.crl der empty garbage truncated . nowhere"
	keyFiles  = "mosquitto.key mosquitto.key mosquitto.key mosquitto.key one.pem other.key rsa.key ec.key mosquitto.crt der empty garbage truncated . nowhere"
	caFiles   = "ca.crt ca.crt ca.crt chain.crt both.crt ca.crl mosquitto.crt mosquitto.key expired.crt der empty garbage truncated . nowhere"
	crlFiles  = "ca.crl ca.crl ca.crl two.crl old.crl ca.crt mixed.pem der empty garbage truncated . nowhere"
	aclFiles  = "access.acl access.acl access.acl bad.acl empty nul.acl link.acl nowhere"
	pwFiles   = "access.pw access.pw access.pw good.pw bad.pw twice.pw old.pw empty link.acl nowhere"
	pskFiles  = "psk psk good.psk bad.psk empty nowhere"
)

// valuesOf are those of options whose values are of a kind of their own.
// Without files and addresses of our own, they would all be refused.
var valuesOf = map[string][]string{
	"accept_protocol_versions":     {"3", "3,4", "3 4", "5,x", "x", "6"},
	"acl_file":                     strings.Fields(aclFiles),
	"address":                      {"127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1 127.0.0.1:2", "127.0.0.1:1 # x", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:01", "127.0.0.1:65537", "::1", "# x", "127.0.0.1", "127.0.0.1:1  #"},
	"addresses":                    {"127.0.0.1:1", "127.0.0.1:2 127.0.0.1:70000"},
	"auth_plugin":                  {"ACLPLUGIN"},
	"bind_address":                 {},
	"bind_interface":               {"lo"},
	"bridge_bind_address":          {"127.0.0.1"},
	"bridge_cafile":                strings.Fields(caFiles),
	"bridge_capath":                {".", "nowhere"},
	"bridge_certfile":              strings.Fields(certFiles),
	"bridge_keyfile":               strings.Fields(keyFiles),
	"bridge_protocol_version":      {"mqttv31", "mqttv311", "mqttv50", " mqttv50", "mqttv50 x", "5"},
	"bridge_psk":                   {"abcd", "xyz", "abc"},
	"bridge_reload_type":           {"lazy", "immediate", "never", "lazy x"},
	"bridge_tcp_keepalive":         {"1 2 3", "1 2", "1 0 3", "a b c", "1 2 3 4", "1 2 3x"},
	"bridge_tls_version":           {"tlsv1.2", "tlsv1.3", "tlsv1"},
	"cafile":                       strings.Fields(caFiles),
	"capath":                       {".", ".", "nowhere", "ca.crt"},
	"certfile":                     strings.Fields(certFiles),
	"ciphers":                      {"ALL", "ECDHE-RSA-AES128-GCM-SHA256"},
	"ciphers_tls1.3":               {"TLS_AES_128_GCM_SHA256"},
	"clientid_prefixes":            {"a", "a b"},
	"connection":                   {"b1", "b2", "b3", "b/+", "b4 junk", "b1 junk", "b5 # x"},
	"crlfile":                      strings.Fields(crlFiles),
	"dhparamfile":                  {"nowhere", "empty", "dh.pem", "dh512.pem", "ca.crt"},
	"enable_proxy_protocol":        {"1", "2", "3", "0"},
	"global_plugin":                {"ACLPLUGIN"},
	"http_dir":                     {".", "nowhere", "ca.crt"},
	"include_dir":                  {"conf.d", "conf.d", "nowhere", "conf.d/", "./conf.d"},
	"keyfile":                      strings.Fields(keyFiles),
	"listener":                     {"PORT 127.0.0.1", "PORT 127.0.0.1", "PORT 127.0.0.1 # x", "65536", "x", "0", "-1", "0 sock", "0 sock # x", "0 ./no/sock"},
	"listener_auto_id_prefix":      {"a", strings.Repeat("a", 50), strings.Repeat("a", 51)},
	"auto_id_prefix":               {"a", strings.Repeat("a", 50), strings.Repeat("a", 51)},
	"log_dest":                     {"stderr", "stdout", "dlt", "none", "file", "file a.log", "file  a.log", "paper", "stderr x", "topic"},
	"log_type":                     {"all", "error", "internal", "websockets", "everything", "error x", "none"},
	"max_connections":              {"-1", "5", "x", "010", "5 # x", "-2"},
	"memory_limit":                 {"0", "-1", "x", "100000000", "-x"},
	"mount_point":                  {"a/", "a/+", "#", "/", "a b", "a#", strings.Repeat("/", 201), strings.Repeat("/", 200)},
	"password_file":                strings.Fields(pwFiles),
	"per_listener_settings":        {"true", "true", "false", "1"},
	"persistence_location":         {"./", "nowhere/"},
	"persistence_file":             {"a.db", "no/a.db"},
	"persistent_client_expiration": {"1h", "1s", "0d", "1", "d", "2w x", "-1m", "1y", "5 d", "1H"},
	"pid_file":                     {"a.pid", "no/a.pid", "."},
	"plugin":                       {"ACLPLUGIN", "ACLPLUGIN", "PWPLUGIN", "./ca.crt", "/nowhere/x.so"},
	"plugin_load":                  {"p1 ACLPLUGIN", "p2 PWPLUGIN", "p1", "p3 /nowhere/x.so"},
	"plugin_use":                   {"p1", "p2", "p1 x"},
	"port":                         {},
	"protocol":                     {"mqtt", "mqtt x", "mqttsn", "http", "websockets", "http_api"},
	"psk_file":                     strings.Fields(pskFiles),
	"psk_hint":                     {"hint"},
	"restart_timeout":              {"5", "5 30", "30 5", "x", "5 30 -1", "5 30 10", "0 1", "4000 3700", "-1", "5 5", "5 x"},
	"socket_domain":                {"ipv4", "ipv5", "ipv4 x"},
	"start_type":                   {"automatic", "lazy", "manual", "once", "never", "lazy x"},
	"tls_engine":                   {},
	"tls_engine_kpass_sha1":        {strings.Repeat("aB", 20), "ab", strings.Repeat("00", 20), "000" + strings.Repeat("a", 37), strings.Repeat("a", 39), strings.Repeat("a", 41)},
	"tls_keyform":                  {"pem", "x"},
	"tls_version":                  {"tlsv1.2", "tlsv1.3", "tlsv1.1", "tlsv1", "tlsv1.2 # x"},
	"topic": {"#", "a out", "a in 1", "a both 2 l/ r/", "a up", "a out 3", "a out x", "a out 258", "a out 0 l/+ r/", `"" out`,
		`"" in 0 l r`, `"" in 0 l ""`, "a/#/b", "a+ out", "a out # x", `a out 0 "" r/`, `"a b" out`, `"a b out`, "a out 0 l/ r/ x", "a out 0 # c",
		"a OUT -1", "a out 1 l/ # r", `"" out 0 l`, "a # x", "a out 0 l/ r/ # x", `"a  b" in 0 l/`, `"" both 0 "" r`, "a  out  1  l  r"},
	"user": {},
}

// generator makes files for a broker of a version, mostly of options that it
// knows.
type generator struct {
	*rand.Rand
	options map[mosquittoconf.ScopeKind][]mosquittoconf.Option
}

func newGenerator(seed uint64, v mosquittoconf.Version) *generator {
	g := &generator{rand.New(rand.NewPCG(seed, 0)), make(map[mosquittoconf.ScopeKind][]mosquittoconf.Option)}
	for o := range mosquittoconf.Options() {
		switch o.Key {
		case "connection", "listener":
			continue
		}
		n := 1
		if o.Known(v) {
			n = 8
		}
		for range n {
			g.options[o.Scope] = append(g.options[o.Scope], o)
		}
	}
	return g
}

func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

func (g *generator) line(o mosquittoconf.Option) string {
	from := values[o.Type]
	if special, ok := valuesOf[o.Key]; ok {
		from = special
	}
	if len(from) == 0 {
		return ""
	}
	text := o.Key + " " + from[g.IntN(len(from))]
	if g.oneIn(25) {
		text = g.odd(text)
	}
	text += "\n"
	if g.oneIn(20) {
		text += text
	}
	return text
}

// odd is a line as somebody may have mistyped it.
func (g *generator) odd(line string) string {
	switch g.IntN(10) {
	case 0:
		return "  " + line
	case 1:
		return "\t" + line
	case 2:
		return line + "  "
	case 3:
		return line + "\t"
	case 4:
		return line + "\r"
	case 5:
		return line + " # x"
	case 6:
		return strings.Replace(line, " ", "   ", 1)
	case 7:
		return strings.Replace(line, " ", "\t", 1)
	case 8:
		return "\r" + line
	}
	return strings.ToUpper(line[:1]) + line[1:]
}

func (g *generator) some(scope mosquittoconf.ScopeKind, most int) (text string) {
	for range 1 + g.IntN(most) {
		text += g.line(g.options[scope][g.IntN(len(g.options[scope]))])
	}
	return text
}

// any is a line of any scope.
func (g *generator) any() string { return g.some(mosquittoconf.ScopeKind(g.IntN(4)), 1) }

func (g *generator) of(key string) string {
	o, _ := mosquittoconf.OptionOf(key)
	return g.line(o)
}

// listener are options of one, often enough of one with TLS.
func (g *generator) listener() (text string) {
	if g.oneIn(3) {
		text += "certfile mosquitto.crt\nkeyfile mosquitto.key\n"
		if g.oneIn(2) {
			text += "cafile ca.crt\n"
		}
	} else if g.oneIn(3) {
		text += g.of("certfile") + g.of("keyfile")
		if g.oneIn(2) {
			text += g.of("cafile")
		}
		if g.oneIn(2) {
			text += g.of("crlfile")
		}
	}
	if g.oneIn(3) {
		text += "require_certificate true\n"
	}
	return text + g.some(mosquittoconf.ListenerScope, 3)
}

// bridge is a whole one, most of the time.
func (g *generator) bridge() (text string) {
	text = g.of("connection")
	if !g.oneIn(10) {
		text += "address 127.0.0.1:1\n"
	}
	text += g.some(mosquittoconf.ConnectionScope, 3)
	if !g.oneIn(10) {
		text += "topic #\n"
	}
	return text
}

// plugin is one with options that it knows, or not.
func (g *generator) plugin() (text string) {
	keys := []string{"plugin", "plugin", "plugin", "auth_plugin", "global_plugin", "plugin_load"}
	text = g.of(keys[g.IntN(len(keys))])
	switch {
	case strings.Contains(text, "ACLPLUGIN"):
		text += "plugin_opt_" + g.of("acl_file")
	case strings.Contains(text, "PWPLUGIN"):
		text += "plugin_opt_" + g.of("password_file")
	}
	if g.oneIn(8) {
		text += []string{"plugin_opt_ab x\n", "plugin_opt_other x\n", "auth_opt_abc x\n", "auth_opt_a x\n"}[g.IntN(4)]
	}
	if g.oneIn(3) {
		text += g.of("plugin_use")
	}
	return text
}

func (g *generator) file() generatedFile {
	var f generatedFile
	if g.oneIn(8) {
		f.above += g.of("per_listener_settings")
	}
	if !g.oneIn(3) {
		f.above += g.some(mosquittoconf.GlobalScope, 2)
	}
	if g.oneIn(8) {
		f.above += g.any()
	}
	f.below += g.listener()
	if g.oneIn(4) {
		f.below += g.some(mosquittoconf.GlobalScope, 1)
	}
	if g.oneIn(6) {
		f.below += g.of("listener") + g.listener()
	}
	if g.oneIn(8) {
		f.below += g.plugin()
	}
	if g.oneIn(2) {
		f.below += g.bridge()
	}
	if g.oneIn(8) {
		f.below += g.bridge()
	}
	if g.oneIn(12) {
		f.below += g.any()
	}
	f.included = "sys_interval 5\n"
	if g.oneIn(4) {
		f.below += g.of("include_dir")
		if g.oneIn(3) {
			f.below += g.some(mosquittoconf.ListenerScope, 1)
		}
		f.included = ""
		if g.oneIn(3) {
			f.included = g.of("listener") + g.listener()
		}
		if g.oneIn(5) {
			f.included += g.bridge()
		}
		f.included += g.any()
		if g.oneIn(2) {
			f.included += g.any()
		}
	}
	return f
}

// hides are options with which the broker's log, or its listener, would not
// say what it does, and what depends on how the broker was built.
var hides = regexp.MustCompile(`(?m)^(log_timestamp_format|log_timestamp|max_keepalive x|memory_limit 1$|bind_interface lo.|log_dest +file.*# x|log_(dest|type) +none|connection_messages +[f0])`)

// disagreement says how the broker and we differ about a file, "" if not.
func (m *material) disagreement(t *testing.T, f generatedFile, v mosquittoconf.Version) string {
	t.Helper()
	for _, s := range []*string{&f.above, &f.below, &f.included} {
		*s = m.fill(t, *s)
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
	g := newGenerator(*seed, v)
	for range *generated {
		f := g.file()
		if hides.MatchString(f.String()) || ownMake(v) && strings.Contains(f.String(), "websockets") {
			continue
		}
		if d := m.disagreement(t, f, v); d != "" {
			t.Error(d)
		}
	}
}

// ownMake says that a broker is of a version that nobody packages any more. One
// that somebody has built has no websockets, mostly.
func ownMake(v mosquittoconf.Version) bool { return strings.HasPrefix(v.String(), "1.") }

// differentialMaterial has good and bad files of each kind.
func differentialMaterial(t *testing.T) *material {
	t.Helper()
	m := newMaterial(t)
	template := named("mosquitto")
	template.NotBefore, template.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	expired := issueFor(t, template, m.ca, m.server.key)
	rsaKey, err := rsa.GenerateKey(cryptorand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(m.server.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	// The 2048-bit prime of RFC 3526, section 3.
	p, _ := new(big.Int).SetString("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF", 16)
	dh, err := asn1.Marshal(struct{ P, G *big.Int }{p, big.NewInt(2)})
	if err != nil {
		t.Fatal(err)
	}
	crl := m.ca.crlPEM(t, time.Now().Add(time.Hour))
	for name, data := range map[string][]byte{
		"bad.acl":     []byte("topic a\nx y\n"),
		"bad.psk":     []byte("a:xyz\n"),
		"bad.pw":      []byte("a:secret\n"),
		"both.crt":    slices.Concat(m.ca.certPEM(), m.server.certPEM()),
		"chain.crt":   slices.Concat(m.server.certPEM(), m.ca.certPEM()),
		"der":         m.server.cert.Raw,
		"dh.pem":      pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: dh}),
		"dh512.pem":   []byte("-----BEGIN DH PARAMETERS-----\nMEYCQQDaWDwW2YUiidDkr3VvTMqS3UvlM7gE+w/tlO+cikQD7VdGUNNpmdsp13Yn\na6LT1BLiGPTdHghM9tgAPnxHdOgzAgEC\n-----END DH PARAMETERS-----\n"),
		"ec.key":      pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}),
		"empty":       nil,
		"expired.crt": expired.certPEM(),
		"garbage":     []byte("-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n"),
		"good.psk":    []byte("a:0123abc\n"),
		"good.pw":     []byte(goodPassword),
		"mixed.pem":   slices.Concat(m.ca.certPEM(), crl),
		"nul.acl":     []byte("topic a\x00\nx y\n"),
		"old.crl":     m.ca.crlPEM(t, time.Now().Add(-time.Hour)),
		"old.pw":      []byte("a:$6$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaA==\n"),
		"one.pem":     slices.Concat(m.server.certPEM(), m.server.keyPEM(t)),
		"other.crt":   m.client.certPEM(),
		"other.key":   m.client.keyPEM(t),
		"psk":         nil,
		"access.pw":   nil,
		"rsa.key":     pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}),
		"truncated":   m.server.certPEM()[:200],
		"twice.pw":    []byte(goodPassword + goodPassword),
		"two.crl":     slices.Concat(crl, m.ca.crlPEM(t, time.Now().Add(-time.Hour))),
	} {
		m.write(t, name, data)
	}
	if err := errors.Join(os.Mkdir(m.path("conf.d"), 0o700), os.Symlink("access.acl", m.path("link.acl"))); err != nil {
		t.Fatal(err)
	}
	return m
}
