package mosquittoconf_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/google/go-cmp/cmp"
)

func ExampleSection_Set() {
	f, err := mosquittoconf.Parse("mosquitto.conf", []byte("# Ours.\nlistener 8883\n  cafile   /old/ca.crt\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for listener := range f.Sections(mosquittoconf.ListenerScope) {
		fmt.Println(listener.Set("cafile", "/etc/mosquitto/ca.crt"))
		fmt.Println(listener.Set("require_certificate", "true"))
	}
	f.WriteTo(os.Stdout)
	// Output:
	// true <nil>
	// true <nil>
	// # Ours.
	// listener 8883
	//   cafile   /etc/mosquitto/ca.crt
	// require_certificate true
}

func written(t *testing.T, f *mosquittoconf.File) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := f.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// section returns the nth of its kind.
func section(t *testing.T, f *mosquittoconf.File, kind mosquittoconf.ScopeKind, n int) *mosquittoconf.Section {
	t.Helper()
	all := slices.Collect(f.Sections(kind))
	if n >= len(all) {
		t.Fatalf("got %d sections, want %d", len(all), n+1)
	}
	return all[n]
}

func TestEdits(t *testing.T) {
	tests := []struct {
		name, text, want string
		edit             func(*testing.T, *mosquittoconf.File) (bool, error)
	}{
		{"in place", "user a\nuser  b # c\n", "user  x\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return f.Global().Set("user", "x")
		}},
		{"behind a number", "listener 1\nmax_connections  5 # five\n", "listener 1\nmax_connections  6 # five\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return section(t, f, mosquittoconf.ListenerScope, 0).Set("max_connections", "6")
		}},
		{"new global", "user a\n\n# L\nlistener 1\n", "user a\nsys_interval 5\n\n# L\nlistener 1\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return f.Global().Set("sys_interval", "5")
		}},
		{"first global", "# L\nlistener 1\n", "sys_interval 5\n# L\nlistener 1\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return f.Global().Set("sys_interval", "5")
		}},
		{"per_listener_settings", "# A\nacl_file a\nlistener 1\n", "per_listener_settings true\n# A\nacl_file a\nlistener 1\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return f.Global().Set("per_listener_settings", "true")
		}},
		{"empty file", "", "user a\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return f.Global().Set("user", "a")
		}},
		{"no line end", "user a", "user a\nsys_interval 5\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return f.Global().Set("sys_interval", "5")
		}},
		{"CRLF", "user a\r\n", "user a\r\nsys_interval 5\r\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return f.Global().Set("sys_interval", "5")
		}},
		{"listener behind a bridge's lines", "listener 1\nconnection b\naddress a\ncafile x\ntopic #\n",
			"listener 1\nconnection b\naddress a\ncafile x\ncertfile y\ntopic #\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
				return section(t, f, mosquittoconf.ListenerScope, 0).Set("certfile", "y")
			}},
		{"second listener", "listener 1\nlistener 2\nlistener 3\n", "listener 1\nlistener 2\ncafile x\nlistener 3\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return section(t, f, mosquittoconf.ListenerScope, 1).Set("cafile", "x")
		}},
		{"topic", "connection b\ntopic a\nbridge_cafile x\n", "connection b\ntopic a\nbridge_cafile x\ntopic b out 1\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return section(t, f, mosquittoconf.ConnectionScope, 0).Add("topic", "b out 1")
		}},
		{"topic again", "connection b\ntopic a\n", "connection b\ntopic a\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			changed, err := section(t, f, mosquittoconf.ConnectionScope, 0).Add("topic", "a")
			return !changed, err
		}},
		{"nothing new", "user  a \n", "user  a \n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			changed, err := f.Global().Set("user", "a")
			return !changed, err
		}},
		{"delete", "log_dest a\nuser b\nlog_dest c", "user b\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return f.Global().Delete("log_dest") == 2, nil
		}},
		{"new section", "user a\n", "user a\n\nlistener 8883\ncafile x\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			s, err := f.AddSection("listener", "8883")
			if err != nil {
				return false, err
			}
			return s.Set("cafile", "x")
		}},
		{"section gone", "listener 1\ncafile a\nlistener 2\n# c\n", "listener 2\n# c\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			f.RemoveSection(section(t, f, mosquittoconf.ListenerScope, 0))
			return true, nil
		}},
		{"per listener", "per_listener_settings true\nlistener 1\nlistener 2\n", "per_listener_settings true\nlistener 1\nacl_file a\nlistener 2\n", func(t *testing.T, f *mosquittoconf.File) (bool, error) {
			return section(t, f, mosquittoconf.ListenerScope, 0).Set("acl_file", "a")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := parse(t, tt.text)
			if ok, err := tt.edit(t, f); !ok || err != nil {
				t.Fatalf("got %t, %v", ok, err)
			}
			got := written(t, f)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			// What is asked of an edited file is what is asked of its text.
			again := parse(t, got)
			if diff := cmp.Diff(slices.Collect(again.Directives()), slices.Collect(f.Directives())); diff != "" {
				t.Errorf("directives (-parsed +edited):\n%s", diff)
			}
		})
	}
}

func TestEditsRefused(t *testing.T) {
	const text = "listener 1\nconnection b\nplugin p\n"
	f := parse(t, text)
	plugin := section(t, f, mosquittoconf.PluginScope, 0)
	listener, bridge := section(t, f, mosquittoconf.ListenerScope, 0), section(t, f, mosquittoconf.ConnectionScope, 0)
	for _, tt := range []struct {
		name string
		edit func() error
		want string
	}{
		{"line break", func() error { _, err := listener.Set("cafile", "a\nallow_anonymous true"); return err }, "want one line"},
		{"carriage return", func() error { _, err := listener.Set("cafile", "a\rb"); return err }, "want one line"},
		{"NUL", func() error { _, err := listener.Set("cafile", "a\x00b"); return err }, "NUL"},
		{"blank in front", func() error { _, err := listener.Set("cafile", " a"); return err }, "which a broker reads as"},
		{"no value", func() error { _, err := listener.Set("cafile", ""); return err }, "has no value"},
		{"boolean", func() error { _, err := listener.Set("require_certificate", "yes"); return err }, "want true or false"},
		{"unknown", func() error { _, err := listener.Set("ca_file", "a"); return err }, `unknown option "ca_file"`},
		{"break in key", func() error { _, err := plugin.Add("plugin_opt_x\nuser", "a"); return err }, "want one line"},
		{"elsewhere", func() error { _, err := bridge.Set("cafile", "a"); return err }, "cafile belongs to a listener section"},
		{"global option", func() error { _, err := listener.Set("acl_file", "a"); return err }, "acl_file belongs to a global section"},
		{"repeats", func() error { _, err := bridge.Set("topic", "a"); return err }, "want Add"},
		{"does not repeat", func() error { _, err := bridge.Add("address", "a"); return err }, "want Set"},
		{"section by Add", func() error { _, err := listener.Add("listener", "2"); return err }, "belongs to"},
		{"no section", func() error { _, err := f.AddSection("cafile", "2"); return err }, "begins no section"},
	} {
		err := tt.edit()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	if got, want := written(t, f), text; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever is set is read again as it was set, and nothing else is.
func FuzzSet(f *testing.F) {
	f.Add("user", "a")
	f.Add("cafile", "a b")
	f.Add("plugin_opt_abc", "a\nuser root")
	f.Add("max_connections", "5 # x")
	f.Fuzz(func(t *testing.T, key, value string) {
		for kind := range mosquittoconf.PluginScope + 1 {
			file := parse(t, "user x\nlistener 1\n# c\nmax_connections 3 # y\nconnection b\nplugin p\n")
			before := slices.Collect(file.Directives())
			s := file.Global()
			if kind != mosquittoconf.GlobalScope {
				s = section(t, file, kind, 0)
			}
			if _, err := s.Set(key, value); err != nil {
				continue
			}
			if got, ok := s.Get(key); got != value || !ok {
				t.Fatalf("%q: set %q, got %q", key, value, got)
			}
			after := slices.Collect(parse(t, written(t, file)).Directives())
			if len(after) > len(before)+1 {
				t.Fatalf("%q set to %q: %v", key, value, after)
			}
		}
	})
}

func TestParseFS(t *testing.T) {
	fsys := fstest.MapFS{
		"etc/mosquitto/mosquitto.conf": {Data: []byte("listener 8883\ninclude_dir /etc/mosquitto/conf.d\ncafile a\n")},
		"etc/mosquitto/conf.d/b.conf":  {Data: []byte("acl_file b\n")},
		"etc/mosquitto/conf.d/A.conf":  {Data: []byte("listener 1883 127.0.0.1\nmax_connections 5\n")},
		"etc/mosquitto/conf.d/.c.conf": {Data: []byte("certfile hidden\n")},
		"etc/mosquitto/conf.d/.conf":   {Data: []byte("no_option\n")},
		"etc/mosquitto/conf.d/d.txt":   {Data: []byte("no_option\n")},
	}
	f, err := mosquittoconf.ParseFS(fsys, "etc/mosquitto/mosquitto.conf")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for included := range f.Included() {
		names = append(names, included.Name())
	}
	want := []string{"etc/mosquitto/conf.d/.c.conf", "etc/mosquitto/conf.d/A.conf", "etc/mosquitto/conf.d/b.conf"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("included (-want +got):\n%s", diff)
	}
	var got []string
	for _, l := range f.Listeners() {
		line := fmt.Sprint(l.Port, l.Address)
		for _, d := range l.Directives {
			line += " " + d.Key
		}
		got = append(got, line)
	}
	if diff := cmp.Diff([]string{"1883 certfile", "8883 cafile", "1883127.0.0.1 max_connections"}, got); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	if got, ok := f.Get("acl_file"); got != "b" || !ok {
		t.Errorf("got acl_file %q, %t", got, ok)
	}
	found := f.Vet(version(t, "2.0.11"))
	if !slices.ContainsFunc(found, func(f mosquittoconf.Finding) bool {
		return f.ID == "default-listener" && f.File == "etc/mosquitto/conf.d/.c.conf" && f.Line == 1
	}) {
		t.Errorf("got findings %v, want one in the included file", found)
	}
	for included := range f.Included() {
		if included.Name() == "etc/mosquitto/conf.d/b.conf" {
			if _, err := included.Global().Set("acl_file", "c"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, _ := f.Get("acl_file"); got != "c" {
		t.Errorf("after an edit of the included file: got acl_file %q", got)
	}

	delete(fsys, "etc/mosquitto/conf.d/b.conf")
	fsys["etc/mosquitto/conf.d/A.conf"].Data = []byte("\tx\n")
	if _, err := mosquittoconf.ParseFS(fsys, "etc/mosquitto/mosquitto.conf"); err == nil || !strings.Contains(err.Error(), "conf.d/A.conf:1: ") {
		t.Errorf("broken included file: got error %v", err)
	}
	fsys["m.conf"] = &fstest.MapFile{Data: []byte("include_dir nowhere\n")}
	var syntax *mosquittoconf.SyntaxError
	if _, err := mosquittoconf.ParseFS(fsys, "m.conf"); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &syntax) || syntax.Line != 1 {
		t.Errorf("missing folder: got error %v", err)
	}
}
