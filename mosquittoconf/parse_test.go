package mosquittoconf_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, text string) *mosquittoconf.File {
	t.Helper()
	f, err := mosquittoconf.Parse("mosquitto.conf", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func parseFile(t *testing.T, name string) *mosquittoconf.File {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}

func ExampleParse() {
	f, err := mosquittoconf.Parse("mosquitto.conf", []byte(
		"acl_file access.acl\nlistener 8883\ncafile ca.crt\nlistener 1883 127.0.0.1\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Get("acl_file"))
	for _, l := range f.Listeners() {
		cafile, tls := l.Get("cafile")
		fmt.Printf("line %d: port %d of %q, TLS %t %s\n", l.Line, l.Port, l.Address, tls, cafile)
	}
	// Output:
	// access.acl true
	// line 2: port 8883 of "", TLS true ca.crt
	// line 4: port 1883 of "127.0.0.1", TLS false
}

func TestParseIsLossless(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := mosquittoconf.Parse(file, data)
		if err != nil {
			t.Error(err)
			continue
		}
		want := string(data)
		clear(data) // the File has its own copy
		var out strings.Builder
		if n, err := f.WriteTo(&out); err != nil || n != int64(len(want)) {
			t.Errorf("%s: WriteTo returned %d, %v for %d bytes", file, n, err, len(want))
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s changed (-want +got):\n%s", file, diff)
		}
	}
}

func TestParseScopes(t *testing.T) {
	global := mosquittoconf.Scope{}
	in := func(kind mosquittoconf.ScopeKind, line int) mosquittoconf.Scope {
		return mosquittoconf.Scope{Kind: kind, Line: line}
	}
	socket := in(mosquittoconf.ListenerScope, 15)
	want := []mosquittoconf.Directive{
		{Line: 2, Key: "per_listener_settings", Value: "true", Scope: global},
		{Line: 4, Key: "listener", Value: "1883 127.0.0.1 # collectors on this machine", Scope: in(mosquittoconf.ListenerScope, 4)},
		{Line: 5, Key: "allow_anonymous", Value: "true", Scope: in(mosquittoconf.ListenerScope, 4)},
		{Line: 7, Key: "listener", Value: "8883", Scope: in(mosquittoconf.ListenerScope, 7)},
		{Line: 8, Key: "cafile", Value: "/etc/mosquitto/ca_certificates/ca with blank.crt", Scope: in(mosquittoconf.ListenerScope, 7)},
		{Line: 9, Key: "certfile", Value: "/etc/mosquitto/certs/broker.crt", Scope: in(mosquittoconf.ListenerScope, 7)},
		{Line: 10, Key: "keyfile", Value: "/etc/mosquitto/certs/broker.key", Scope: in(mosquittoconf.ListenerScope, 7)},
		{Line: 11, Key: "require_certificate", Value: "1", Scope: in(mosquittoconf.ListenerScope, 7)},
		{Line: 12, Key: "use_identity_as_username", Value: "true", Scope: in(mosquittoconf.ListenerScope, 7)},
		{Line: 13, Key: "acl_file", Value: "/etc/mosquitto/acl", Scope: in(mosquittoconf.ListenerScope, 7)},
		{Line: 15, Key: "listener", Value: "0 /run/mosquitto/gateway.sock", Scope: socket},
		{Line: 17, Key: "connection", Value: "headquarters", Scope: in(mosquittoconf.ConnectionScope, 17)},
		{Line: 18, Key: "address", Value: "mqtt.example.org:8883", Scope: in(mosquittoconf.ConnectionScope, 17)},
		{Line: 19, Key: "topic", Value: `# out 1 greenhouse/ ""`, Scope: in(mosquittoconf.ConnectionScope, 17)},
		{Line: 20, Key: "bridge_cafile", Value: "/etc/ssl/certs/ca-certificates.crt", Scope: in(mosquittoconf.ConnectionScope, 17)},
		{Line: 21, Key: "max_connections", Value: "5", Scope: socket},
		{Line: 22, Key: "plugin", Value: "/usr/lib/mosquitto_dynamic_security.so", Scope: in(mosquittoconf.PluginScope, 22)},
		{Line: 23, Key: "plugin_opt_config_file", Value: "/var/lib/mosquitto/dynsec.json", Scope: in(mosquittoconf.PluginScope, 22)},
		{Line: 24, Key: "brand_new_option", Value: "of a newer broker", Scope: global},
	}
	got := slices.Collect(parseFile(t, "gateway.conf").Directives())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("directives (-want +got):\n%s", diff)
	}
}

func TestListeners(t *testing.T) {
	type listener struct {
		Line, Port int
		Address    string
		Keys       string
	}
	tests := []struct {
		name string
		file *mosquittoconf.File
		want []listener
	}{
		{"dojot", parseFile(t, "dojot.conf"), []listener{{0, 8883, "",
			"port cafile certfile keyfile tls_version require_certificate use_identity_as_username crlfile"}}},
		{"debian", parseFile(t, "debian.conf"), nil},
		{"gateway", parseFile(t, "gateway.conf"), []listener{
			{4, 1883, "127.0.0.1", "allow_anonymous"},
			{7, 8883, "", "cafile certfile keyfile require_certificate use_identity_as_username acl_file"},
			{15, 0, "/run/mosquitto/gateway.sock", "max_connections"},
		}},
		{"zero", new(mosquittoconf.File), nil},
		{"option before the first listener", parse(t, "crlfile ca.crl\nlistener 8883\n"),
			[]listener{{0, 1883, "", "crlfile"}, {2, 8883, "", ""}}},
		{"option that opens nothing", parse(t, "tls_version tlsv1.2\nlistener 8883\n"), []listener{{2, 8883, "", ""}}},
		{"port below a listener", parse(t, "listener 8883\nport 1884\nbind_address ::1\n"),
			[]listener{{0, 1884, "::1", "port bind_address"}, {1, 8883, "", ""}}},
		{"global options below a listener", parse(t, "listener 8883\nallow_anonymous false\n"), []listener{{1, 8883, "", ""}}},
		{"comment for an address", parse(t, "listener 8883 #all\n"), []listener{{1, 8883, "", ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []listener
			for _, l := range tt.file.Listeners() {
				var keys []string
				for _, d := range l.Directives {
					keys = append(keys, d.Key)
				}
				got = append(got, listener{l.Line, l.Port, l.Address, strings.Join(keys, " ")})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGet(t *testing.T) {
	f := parse(t, "user a\nuser b\nlistener 1\ncafile c\nconnection x\nusername d\n")
	for _, tt := range []struct {
		key, want string
		ok        bool
	}{
		{"user", "b", true},
		{"cafile", "", false},
		{"username", "", false},
		{"acl_file", "", false},
	} {
		if got, ok := f.Get(tt.key); got != tt.want || ok != tt.ok {
			t.Errorf("Get(%q) = %q, %t, want %q, %t", tt.key, got, ok, tt.want, tt.ok)
		}
	}
}

// grammar holds lines as a broker reads them below a listener line. Those
// with an error text are refused by every version, but for the one that is
// marked: there a broker may be blind for what follows.
var grammar = []struct {
	name, text, wantErr string
	strict              bool
}{
	{name: "empty"},
	{name: "comment", text: "#max_connections x\n# \tx\n"},
	{name: "comment of odd bytes", text: "# \x01\xff\n"},
	{name: "blank lines", text: "\n   \n\r\n"},
	{name: "no line end", text: "max_connections 5"},
	{name: "CRLF", text: "max_connections 5\r\n"},
	{name: "indented", text: "   max_connections   5\n"},
	{name: "comment behind number", text: "max_connections 5 # five\n"},
	{name: "comment behind boolean", text: "allow_anonymous true # all\n"},
	{name: "boolean as number", text: "allow_anonymous 1\n"},
	{name: "negative", text: "max_connections -1\n"},
	{name: "trailing white space of a text", text: "mount_point a/ \t\f\v\r\n"},
	{name: "line that begins with CR", text: "\rno_such_option\n"},
	{name: "tab as separator", text: "allow_anonymous\ttrue\n", wantErr: "want spaces between"},
	{name: "tab in front", text: "\tallow_anonymous true\n", wantErr: "want spaces between"},
	{name: "tab alone", text: "\t\n", wantErr: "want spaces between"},
	{name: "tab behind boolean", text: "allow_anonymous true\t\n", wantErr: `allow_anonymous is "true\t"`},
	{name: "indented comment", text: " # x\n", wantErr: "is no comment"},
	{name: "bad boolean", text: "allow_anonymous yes\n", wantErr: `allow_anonymous is "yes"`},
	{name: "capital boolean", text: "allow_anonymous True\n", wantErr: `allow_anonymous is "True"`},
	{name: "no value", text: "mount_point\n", wantErr: `option "mount_point" has no value`},
	{name: "no boolean", text: "allow_anonymous  \n", wantErr: `option "allow_anonymous" has no value`},
	{name: "no port", text: "listener\n", wantErr: `option "listener" has no value`},
	{name: "no UTF-8", text: "mount_point a\xff/\n", wantErr: "not UTF-8"},
	{name: "control byte", text: "mount_point a\x01/\n", wantErr: "U+0001"},
	{name: "DEL", text: "mount_point a\x7f/\n", wantErr: "U+007F"},
	{name: "C1", text: "mount_point a\u0085/\n", wantErr: "U+0085"},
	{name: "noncharacter", text: "mount_point a\uffff/\n", wantErr: "U+FFFF"},
	{name: "CR inside", text: "mount_point a\rb/\n", wantErr: "U+000D"},
	{name: "NUL", text: "# a\x00b\n", wantErr: "NUL", strict: true},
}

func TestGrammarIsTheBrokers(t *testing.T) {
	for _, tt := range grammar {
		t.Run(tt.name, func(t *testing.T) {
			_, err := mosquittoconf.Parse("mosquitto.conf", []byte(tt.text))
			switch {
			case tt.wantErr == "" && err != nil:
				t.Errorf("Parse: %v", err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("Parse: got error %v, want one with %q", err, tt.wantErr)
			}
			if tt.strict {
				return
			}
			b, err := mosquittotest.Start(mosquittotest.Options{Conf: tt.text})
			if err == nil {
				b.Close()
			}
			if (err == nil) != (tt.wantErr == "") {
				t.Errorf("the broker: %v", err)
			}
		})
	}
}

// A byte order mark counts at the beginning of the file only, where the
// fixture's lines are.
func TestParseByteOrderMark(t *testing.T) {
	_, err := mosquittoconf.Parse("mosquitto.conf", []byte("\ufeffuser a\n"))
	if err == nil || !strings.Contains(err.Error(), `byte order mark before "user"`) {
		t.Errorf("got error %v", err)
	}
}

func TestSyntaxErrors(t *testing.T) {
	_, err := mosquittoconf.Parse("broker.conf", []byte("user a\nlistener\n\n # y\n"))
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got error %v, want joined ones", err)
	}
	var lines []int
	for _, e := range joined.Unwrap() {
		var syntax *mosquittoconf.SyntaxError
		if !errors.As(e, &syntax) || syntax.File != "broker.conf" || syntax.Err == nil {
			t.Fatalf("got %#v, want a *SyntaxError", e)
		}
		lines = append(lines, syntax.Line)
	}
	if diff := cmp.Diff([]int{2, 4}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if want := `broker.conf:2: option "listener" has no value`; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %q, want it to begin with %q", err, want)
	}

	_, err = mosquittoconf.Parse("broker.conf", bytes.Repeat([]byte("#\n\x00\n"), 1000))
	if got := strings.Count(err.Error(), "broker.conf:"); got != 10 {
		t.Errorf("got %d errors for a file of nothing else, want 10", got)
	}
}

func version(t testing.TB, s string) mosquittoconf.Version {
	t.Helper()
	v, err := mosquittoconf.ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func FuzzParse(f *testing.F) {
	for _, tt := range grammar {
		f.Add([]byte(tt.text))
	}
	for _, key := range []string{"restart_timeout", "topic", "address", "bridge_tcp_keepalive", "persistent_client_expiration"} {
		f.Add([]byte("connection b\n" + key + " \u00a0\n"))
	}
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := mosquittoconf.Parse("x", data)
		if err != nil {
			var syntax *mosquittoconf.SyntaxError
			if !errors.As(err, &syntax) || syntax.Line < 1 || syntax.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Fatalf("got error %v, want a *SyntaxError in the file", err)
			}
			return
		}
		var out bytes.Buffer
		if _, err := file.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("got %q, %v, want %q", out.Bytes(), err, data)
		}
		lines := bytes.SplitAfter(data, []byte("\n"))
		for d := range file.Directives() {
			if line := lines[d.Line-1]; !bytes.Contains(line, []byte(d.Key)) || !bytes.Contains(line, []byte(d.Value)) {
				t.Fatalf("directive %+v is not line %q", d, line)
			}
		}
		file.Listeners()
		for _, v := range []string{"1.4.13", "1.6.15", "2.0.11", "2.0.21", "2.1.2"} {
			for _, f := range file.Vet(version(t, v)) {
				if f.Line < 1 || f.Line > len(lines) || f.ID == "" || f.Message == "" || f.Remedy == "" {
					t.Fatalf("finding %+v", f)
				}
			}
		}
	})
}
