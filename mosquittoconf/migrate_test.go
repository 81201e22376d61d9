package mosquittoconf_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dojot/mqtt-manager-go/mosquittoconf"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/google/go-cmp/cmp"
)

func ExampleFile_Migrate() {
	f, err := mosquittoconf.Parse("mosquitto.conf", []byte("# Devices.\nport 8883\ncafile ca.crt\nacl_file access.acl\nmax_packet_size 1000\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	changes, err := f.Migrate(mosquittoconf.Plugins{ACL: "/usr/lib/mosquitto_acl_file.so"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(changes), "changes")
	f.WriteTo(os.Stdout)
	// Output:
	// 4 changes
	// # Devices.
	// listener 8883
	// cafile ca.crt
	// plugin /usr/lib/mosquitto_acl_file.so
	// plugin_opt_acl_file access.acl
	// max_packet_size 1000
}

func TestMigrate(t *testing.T) {
	const packets = "max_packet_size 268435455\n"
	plugins := mosquittoconf.Plugins{ACL: "/acl.so", Password: "/pw.so"}
	for _, tt := range []struct{ name, from, want string }{
		{"empty", "", packets},
		{"dojot", "port 8883\ncafile ca.crt\ntls_version tlsv1.2\n", packets + "listener 8883\ncafile ca.crt\ntls_version tlsv1.2\n"},
		{"address", "bind_address 127.0.0.1\n# Ours.\nport 8883\nlistener 1\n", packets + "listener 8883 127.0.0.1\n# Ours.\nlistener 1\n"},
		{"port at the end", "max_connections 5\nlistener 1\nport 8883\n", packets + "listener 8883\nmax_connections 5\nlistener 1\n"},
		{"no port", "cafile a\nlistener 1\n", packets + "listener 1883\ncafile a\nlistener 1\n"},
		{"without effect", "tls_version tlsv1.2\nlistener 1\n", packets + "listener 1\n"},
		{"numbers", "listener 010001 127.0.0.1\n  max_connections  5x # five\nsys_interval 0x10\n", packets + "listener 10001 127.0.0.1\n  max_connections  5 # five\nsys_interval 0\n"},
		{"ignored", "user a\nretry_interval 5\nlistener 1\ndhparamfile x\n", "user a\n" + packets + "listener 1\n"},
		{"renamed", "websockets_headers_size 4096\n", "packet_buffer_size 4096\n" + packets},
		{"files", "acl_file a\r\npassword_file  b\r\n", "max_packet_size 268435455\r\nplugin /acl.so\r\nplugin_opt_acl_file a\r\nplugin /pw.so\r\nplugin_opt_password_file  b\r\n"},
		{"per listener", "per_listener_settings true\nacl_file a\npassword_file p\nlistener 1\nacl_file b\n",
			"per_listener_settings true\n" + packets + "listener 1883\nplugin /acl.so\nplugin_opt_acl_file a\nplugin /pw.so\nplugin_opt_password_file p\nlistener 1\nplugin /acl.so\nplugin_opt_acl_file b\n"},
		{"per listener, for none", "per_listener_settings true\nacl_file a\nlistener 1\n", "per_listener_settings true\n" + packets + "listener 1\n"},
		{"retained for ever", "retain_expiry_interval 0\n", packets},
		{"keys below certificates", "listener 1\ncertfile a\npsk_file p\nkeyfile b\n", "psk_file p\n" + packets + "listener 1\ncertfile a\nkeyfile b\n"},
		{"blanks of a plugin", "plugin   /p.so  \r\n", "max_packet_size 268435455\r\nplugin /p.so\r\n"},
		{"nothing", "max_packet_size 100\nlistener 1\n# c\n", "max_packet_size 100\nlistener 1\n# c\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := parse(t, tt.from)
			changes, err := f.Migrate(plugins)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, written(t, f)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%v", diff, changes)
			}
			if again, err := f.Migrate(plugins); len(again) > 0 || err != nil {
				t.Errorf("a second time: got %v, %v", again, err)
			}
			lines := strings.Split(tt.from, "\n")
			for _, c := range changes {
				if c.Line > 0 && strings.TrimRight(lines[c.Line-1], "\r") != c.Was || c.Why == "" || c.Was == c.Is {
					t.Errorf("change %+v", c)
				}
			}
		})
	}
}

func TestMigrateRefuses(t *testing.T) {
	f := parse(t, "acl_file a\n")
	if _, err := f.Migrate(mosquittoconf.Plugins{ACL: "acl.so"}); err == nil || !strings.Contains(err.Error(), "Plugins.ACL") {
		t.Errorf("relative plugin: got error %v", err)
	}
	fsys := fstest.MapFS{
		"m.conf":   {Data: []byte("include_dir d\n")},
		"d/a.conf": {Data: []byte("acl_file a\ncafile b\n")},
	}
	f = parse(t, "auto_id_prefix "+strings.Repeat("a", 51)+"\n")
	if _, err := f.Migrate(mosquittoconf.Plugins{}); err == nil || !strings.Contains(err.Error(), "auto_id_prefix has 51 bytes") {
		t.Errorf("long prefix: got error %v", err)
	}
	f, err := mosquittoconf.ParseFS(fsys, "m.conf")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Migrate(mosquittoconf.Plugins{}); err == nil || !strings.Contains(err.Error(), "d/a.conf:2: cafile in an included file") {
		t.Errorf("default listener in an included file: got error %v", err)
	}
	if got := written(t, f); got != "include_dir d\n" {
		t.Errorf("got %q", got)
	}
}

// What 2.0 loads, 2.1 loads after the migration.
func TestMigratedIsLoaded(t *testing.T) {
	m := differentialMaterial(t)
	old, v := version(t, "2.0.21"), version(t, installed(t))
	generator := newGenerator(21, old)
	tried := 0
	for range 2000 {
		g := generator.file()
		text := g.above + "listener PORT 127.0.0.1\n" + g.below
		if strings.Contains(text, "include_dir") || strings.Contains(text, "auto_id_prefix "+strings.Repeat("a", 51)) || hides.MatchString(text) {
			continue
		}
		text = m.fill(t, text)
		f, err := mosquittoconf.Parse("mosquitto.conf", []byte(text))
		if err != nil {
			continue
		}
		env := mosquittoconf.Environment{Dir: m.dir, Version: "2.0.21"}
		if refused(append(f.Vet(old), f.CheckFiles(env)...)) != nil {
			continue
		}
		if _, err := f.Migrate(mosquittoconf.Plugins{}); err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		env.Version = "2.1.2"
		if found := refused(f.Vet(version(t, "2.1.2"))); found != nil {
			t.Errorf("got %v of\n%s\nfrom\n%s", found, written(t, f), text)
		}
		if refused(f.CheckFiles(env)) != nil {
			continue // it is stricter about symbolic links and passwords, too
		}
		if tried++; tried > 20 || v.Compare(version(t, "2.1.0")) < 0 {
			continue
		}
		b, err := mosquittotest.Start(mosquittotest.Options{Dir: m.dir, Conf: written(t, f)})
		if err != nil {
			t.Errorf("%v\n%s", err, written(t, f))
			continue
		}
		b.Close()
	}
}

func refused(findings []mosquittoconf.Finding) []mosquittoconf.Finding {
	var out []mosquittoconf.Finding
	for _, f := range findings {
		if f.Severity == mosquittoconf.Refused {
			out = append(out, f)
		}
	}
	return out
}
