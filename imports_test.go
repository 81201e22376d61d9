package mqttmanager_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/dojot/mqtt-manager-go"

// imports are what each package may import besides the standard library:
// names without a host are packages of this module. Whoever gets one package
// must not pay for the others, so this list grows only on purpose.
var imports = map[string][]string{
	"acl":                         {"internal/durable", "internal/groupcommit"},
	"crl":                         {"internal/durable", "internal/httpurl"},
	"dojotevents":                 nil,
	"dojotevents/dojoteventstest": {"dojotevents", "github.com/twmb/franz-go/pkg/kfake", "github.com/twmb/franz-go/pkg/kgo"},
	"dojotevents/dojothttp":       {"dojotevents", "internal/httpurl"},
	"dojotevents/dojotkafka":      {"dojotevents", "github.com/twmb/franz-go/pkg/kbin", "github.com/twmb/franz-go/pkg/kerr", "github.com/twmb/franz-go/pkg/kgo", "github.com/twmb/franz-go/pkg/kmsg", "github.com/twmb/franz-go/pkg/sasl/plain", "github.com/twmb/franz-go/pkg/sasl/scram"},
	"ejbca":                       {"crl", "ejbca/internal/reason", "internal/httpurl"},
	"ejbca/ejbcatest":             {"ejbca", "ejbca/localca", "github.com/golang-jwt/jwt/v5"},
	"ejbca/internal/reason":       {"crl"},
	"ejbca/localca":               {"crl", "ejbca/internal/reason", "go.etcd.io/bbolt", "go.etcd.io/bbolt/errors", "internal/durable", "internal/groupcommit", "internal/loopback", "internal/secret"},
	"mosquittoconf":               {"crl", "internal/durable"},
	"mosquittoconf/mosquittotest": {"internal/mosquitto"},
	"provision":                   {"crl", "internal/durable", "internal/tlsalert"},
}

// light packages, with all that they import, need nothing but the standard
// library.
var light = []string{"acl", "crl", "dojotevents", "dojotevents/dojothttp", "ejbca", "mosquittoconf", "provision"}

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func list(t *testing.T) map[string]pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func TestImports(t *testing.T) {
	all := list(t)
	got := map[string][]string{}
	for path, p := range all {
		name, ours := strings.CutPrefix(path, module+"/")
		if !ours || strings.HasPrefix(name, "examples") || strings.HasPrefix(name, "internal/") {
			continue
		}
		got[name] = nil
		for _, i := range p.Imports {
			if !all[i].Standard {
				got[name] = append(got[name], strings.TrimPrefix(i, module+"/"))
			}
		}
		slices.Sort(got[name])
	}
	if diff := cmp.Diff(imports, got); diff != "" {
		t.Errorf("imports beyond the standard library (-expected +are):\n%s", diff)
	}
	for _, name := range light {
		for _, dep := range all[module+"/"+name].Deps {
			if !all[dep].Standard && !strings.HasPrefix(dep, module+"/") {
				t.Errorf("%s comes to need %s", name, dep)
			}
		}
	}
	for path, p := range all {
		name, ours := strings.CutPrefix(path, module+"/")
		if !ours || strings.HasPrefix(name, "examples/") {
			continue
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, module+"/examples/") {
				t.Errorf("%s imports the example %s", name, i)
			}
		}
	}
}
