package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if n, v, _ := strings.Cut(p, "="); n == name {
				return v
			}
		}
		return ""
	}
}

func TestEnvironment(t *testing.T) {
	type outside struct {
		URL, CA string
		Bits    int
		Kafka   []string
	}
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		want outside
	}{
		{"defaults", nil, nil, outside{"http://ejbca:5583", "IOTmidCA", 2048, []string{"kafka:9092"}}},
		{"the original's", []string{"MQTTREST_EJBCA_URL=http://ca:1", "MQTTREST_CA_NAME=MQTT", "MQTTREST_KEY_LENGHT=4096", "MQTTREST_KAFKA_HOST=k:2"}, nil,
			outside{"http://ca:1", "MQTT", 4096, []string{"k:2"}}},
		{"spelt right wins", []string{"MQTTREST_KEY_LENGTH=3072", "MQTTREST_KEY_LENGHT=4096"}, nil,
			outside{"http://ejbca:5583", "IOTmidCA", 3072, []string{"kafka:9092"}}},
		{"ours win", []string{"MQTTREST_CA_NAME=old", "MQTT_MANAGER_CA_NAME=new", "MQTT_MANAGER_KAFKA=a:1,b:2"}, nil,
			outside{"http://ejbca:5583", "new", 2048, []string{"a:1", "b:2"}}},
		{"options win", []string{"MQTTREST_CA_NAME=old", "MQTTREST_KAFKA_HOST=k:2"}, []string{"--ca-name", "opt", "--kafka", "c:3"},
			outside{"http://ejbca:5583", "opt", 2048, []string{"c:3"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := parse("serve", tc.args, environment(tc.env...), new(bytes.Buffer))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, outside{s.ejbcaURL, s.caName, s.keyBits, s.kafka}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An option that may be repeated replaces the variable's list, not adds to it.
func TestListsFromTheEnvironment(t *testing.T) {
	env := environment("MQTT_MANAGER_DNS=one.example", "MQTT_MANAGER_IP=10.0.0.1,10.0.0.2")
	s, err := parse("serve", nil, env, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one.example"}, s.dns); diff != "" || len(s.ips) != 2 {
		t.Errorf("got %q and %v", s.dns, s.ips)
	}
	s, err = parse("serve", []string{"--dns", "two.example", "--dns", "three.example"}, env, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"two.example", "three.example"}, s.dns); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadSettings(t *testing.T) {
	for _, tc := range []struct {
		name  string
		mode  string
		args  []string
		env   []string
		words []string
	}{
		{"unknown option", "dev", []string{"--no-such"}, nil, []string{"--no-such"}},
		{"argument", "dev", []string{"extra"}, nil, []string{`"extra"`}},
		{"port", "serve", []string{"--listen", ":0"}, nil, []string{"--listen", "1 to 65535"}},
		{"no port", "serve", []string{"--api", "localhost"}, nil, []string{"--api", "host:port"}},
		{"API open to everybody", "serve", []string{"--api", ":9010"}, nil, []string{"--api", "--api-token-file"}},
		{"Kafka user without a password", "serve", []string{"--kafka-user", "manager"}, nil, []string{"--kafka-password-file"}},
		{"Kafka mechanism", "serve", []string{"--kafka-user", "u", "--kafka-password-file", "p", "--kafka-sasl", "GSSAPI"}, nil, []string{"--kafka-sasl", "GSSAPI", "SCRAM-SHA-512"}},
		{"two ways to signal", "serve", []string{"--pid-file", "a", "--reload-command", "b"}, nil, []string{"--pid-file", "--reload-command"}},
		{"CA is a path", "serve", []string{"--ca-name", "../x"}, nil, []string{"--ca-name"}},
		{"number in the environment", "serve", nil, []string{"MQTTREST_KEY_LENGHT=two"}, []string{"MQTTREST_KEY_LENGHT", "two"}},
		{"template", "serve", []string{"--user", "{tenant}"}, nil, []string{"{id}"}},
		{"URL without a scheme", "serve", []string{"--device-manager", "device-manager:5000"}, nil, []string{"--device-manager", "http://"}},
		{"URL without a scheme and with a password", "serve", []string{"--ejbca-url", "user:sesame@ejbca:5583"}, nil, []string{`--ejbca-url "…@ejbca:5583"`}},
		{"reconciling without a pause", "serve", []string{"--device-manager", "http://d:5000", "--reconcile-interval", "0"}, nil, []string{"--reconcile-interval"}},
		{"gone, but from what", "serve", []string{"--remove-gone"}, nil, []string{"--device-manager"}},
		{"interval", "serve", []string{"--crl-interval", "1ms"}, nil, []string{"--crl-interval"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(tc.mode, tc.args, environment(tc.env...), new(bytes.Buffer))
			if !errors.As(err, new(*usageError)) {
				t.Fatalf("got %v, want a usage error", err)
			}
			for _, word := range tc.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, mode := range []string{"dev", "serve"} {
		var out bytes.Buffer
		if _, err := parse(mode, []string{"--help"}, environment(), &out); !errors.Is(err, pflag.ErrHelp) {
			t.Errorf("%s: got %v", mode, err)
		}
		for _, word := range []string{"MQTTREST_EJBCA_URL", "--convention", "--listen"} {
			if !strings.Contains(out.String(), word) {
				t.Errorf("%s --help does not tell of %s", mode, word)
			}
		}
	}
}
