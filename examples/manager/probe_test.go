package main

import (
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/acl"
)

func TestCheckProbe(t *testing.T) {
	grammar, err := acl.ParseVersion("2.0.11")
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{settings: &settings{dir: "dir"}, grammar: grammar}
	for _, tc := range []struct {
		name string
		text string
		ok   bool
	}{
		{"the seed", "user iotagent\ntopic read /#\n", true},
		{"patterns of devices", "pattern write /%u/attrs\npattern readwrite dev-%c/x\npattern read all\n", true},
		{"rights of its own elsewhere", "user mosquitto\ntopic write elsewhere\n", true},
		{"everything for everybody", "pattern readwrite #\n", false},
		{"everything for it", "user mosquitto\ntopic #\n", false},
		{"its topic for everybody", "user x\ntopic a\npattern write mqtt-manager/+\n", false},
		{"denied after all", "user mosquitto\ntopic deny mqtt-manager/#\npattern readwrite #\n", true},
	} {
		file, err := acl.Parse("access.acl", []byte(tc.text))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		err = m.checkProbe(file)
		if (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), "dir/access.acl") {
			t.Errorf("%s: got %v, want ok %v", tc.name, err, tc.ok)
		}
	}
}
