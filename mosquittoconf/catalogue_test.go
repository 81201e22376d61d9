package mosquittoconf_test

import (
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

// A broker does not know an option that it should not: asked of those that
// have come or gone.
func TestOptionsAreTheBrokers(t *testing.T) {
	m := newMaterial(t)
	v := version(t, installed(t))
	for o := range mosquittoconf.Options() {
		if o.Since == (mosquittoconf.Version{}) && o.Removed == (mosquittoconf.Version{}) {
			continue
		}
		value := "1"
		if o.Type == mosquittoconf.BoolValue {
			value = "true"
		}
		if o.Key == "bind_address" {
			value = "127.0.0.1"
		}
		if o.Key == "port" {
			continue // it would open port 1
		}
		b, err := mosquittotest.Start(mosquittotest.Options{Dir: m.dir, Conf: o.Key + " " + value})
		known := err == nil || !strings.Contains(err.Error(), "Unknown configuration variable")
		if b != nil {
			b.Close()
		}
		if known != o.Known(v) {
			t.Errorf("%s: the broker knows it %t, we say %t: %v", o.Key, known, o.Known(v), err)
		}
	}
}

func TestOptionOf(t *testing.T) {
	at := func(s string) mosquittoconf.Version { return version(t, s) }
	crlfile, ok := mosquittoconf.OptionOf("crlfile")
	if !ok || crlfile.Scope != mosquittoconf.ListenerScope || crlfile.Reloadable(at("1.6.4")) || !crlfile.Reloadable(at("1.6.5")) {
		t.Errorf("got %+v, %t", crlfile, ok)
	}
	bridge, _ := mosquittoconf.OptionOf("bridge_cafile")
	if bridge.Reloadable(at("2.0.21")) || !bridge.Reloadable(at("2.1.0")) {
		t.Errorf("got %+v", bridge)
	}
	file, _ := mosquittoconf.OptionOf("acl_file")
	if file.Deprecated != at("2.1.0") || file.Removed != at("3.0.0") || !file.Known(at("2.1.2")) || file.Known(at("3.0.0")) || !file.Security {
		t.Errorf("got %+v", file)
	}
	if o, ok := mosquittoconf.OptionOf("plugin_opt_acl_file"); !ok || o.Scope != mosquittoconf.PluginScope || o.Known(at("1.6.15")) {
		t.Errorf("got %+v, %t", o, ok)
	}
	if _, ok := mosquittoconf.OptionOf("ca_file"); ok {
		t.Error("ca_file is known")
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string]string{"2.0.11": "2.0.11", "2.1": "2.1.0", "2.1.0-rc1": "2.1.0", "": "", "2": "", "2.x": "", "2.0.1.1": "", "2.0.99999": ""} {
		v, err := mosquittoconf.ParseVersion(s)
		if (err == nil) != (want != "") || err == nil && v.String() != want {
			t.Errorf("%q: got %v, %v, want %q", s, v, err, want)
		}
	}
}

// What package acl says of a line is what CheckFiles says of it.
func FuzzACLLine(f *testing.F) {
	for _, line := range []string{"topic a", "topic  read a b/#", "user x", "user", "pattern write %u/+", " # x", "# x", "topic deny", "topic a/#/b", "\ttopic a", "topic read\ta", "topic rad a"} {
		f.Add(line)
	}
	m := f.TempDir()
	file, err := mosquittoconf.Parse("mosquitto.conf", []byte("acl_file access.acl\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\x00\r\n") {
			return
		}
		writeFile(t, m, "access.acl", []byte(line+"\ntopic a\n"))
		_, parseErr := acl.Parse("access.acl", []byte(line+"\ntopic a\n"))
		got := first(file.CheckFiles(mosquittoconf.Environment{Dir: m, Version: "2.0.11"}), "acl-invalid")
		if (parseErr != nil) != (got == "refused") {
			t.Errorf("%q: got %q; acl: %v", line, got, parseErr)
		}
	})
}
