package dojotkafka_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

// serverTLS returns a certificate for 127.0.0.1 and a client's side of it.
func serverTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots}
}

func TestSecurity(t *testing.T) {
	server, client := serverTLS(t)
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.TLS(server), kfake.EnableSASL(),
		kfake.Superuser(dojotkafka.Plain, "manager", "p1"),
		kfake.Superuser(dojotkafka.ScramSHA256, "manager256", "p2"),
		kfake.Superuser(dojotkafka.ScramSHA512, "manager512", "p3"),
		kfake.SeedTopics(1, "admin.dojot.device-manager.device"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DialTLSConfig(client), kgo.DisableClientMetrics(),
		kgo.SASL(plain.Auth{User: "manager", Pass: "p1"}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	record := &kgo.Record{Topic: "admin.dojot.device-manager.device", Value: []byte(value(t, dojoteventstest.CreateEvent("admin", "a1")))}
	if err := producer.ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}

	tests := []struct {
		name  string
		tls   *tls.Config
		sasl  *dojotkafka.SASL
		fails bool
	}{
		{"PLAIN", client, &dojotkafka.SASL{Mechanism: dojotkafka.Plain, User: "manager", Password: "p1"}, false},
		{"SCRAM-SHA-256", client, &dojotkafka.SASL{Mechanism: dojotkafka.ScramSHA256, User: "manager256", Password: "p2"}, false},
		{"SCRAM-SHA-512", client, &dojotkafka.SASL{Mechanism: dojotkafka.ScramSHA512, User: "manager512", Password: "p3"}, false},
		{"wrong password", client, &dojotkafka.SASL{Mechanism: dojotkafka.ScramSHA512, User: "manager512", Password: "wrong-secret"}, true},
		{"unknown certificate", &tls.Config{RootCAs: x509.NewCertPool()}, &dojotkafka.SASL{Mechanism: dojotkafka.Plain, User: "manager", Password: "wrong-secret"}, true},
		{"no TLS", nil, &dojotkafka.SASL{Mechanism: dojotkafka.ScramSHA256, User: "manager256", Password: "p2"}, true},
		{"no SASL", client, nil, true},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log logged
			c := &dojotkafka.Consumer{
				Brokers: cluster.ListenAddrs(), Group: fmt.Sprint("g", i), TopicRefresh: 100 * time.Millisecond,
				TLS: tt.tls, SASL: tt.sasl, Logger: log.logger(),
			}
			in := newInbox(t)
			r := start(t, c, in.handle)
			if !tt.fails {
				wantIDs(t, in.take(1), "a1")
				return
			}
			eventually(t, "refusal logged", func() bool { return strings.Contains(log.String(), "kafka not reachable") })
			r.stop()
			in.empty()
			if strings.Contains(log.String(), "wrong-secret") {
				t.Errorf("password logged:\n%s", &log)
			}
		})
	}
}

// What a record says and a password are shown by no way of printing.
func TestSecretsAreNotPrinted(t *testing.T) {
	const secret = "sesame"
	text := `{"event":"update","data":{"id":"name","k":"` + secret + `"},"meta":{"service":"t"}}`
	event, err := dojotevents.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	record := dojotkafka.Record{Position: dojotkafka.Position{Topic: "name"}, Event: event, Value: []byte(text)}
	login := dojotkafka.SASL{Mechanism: dojotkafka.Plain, User: "name", Password: secret}
	for _, v := range []any{record, &record, []dojotkafka.Record{record}, login, &login, struct{ SASL dojotkafka.SASL }{login}} {
		var shown strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("json", "value", v)
		slog.New(slog.NewTextHandler(&shown, nil)).Info("text", "value", v)
		if err := json.NewEncoder(&shown).Encode(v); err != nil {
			t.Error(err)
		}
		hidden := []string{base64.StdEncoding.EncodeToString([]byte(text))}
		for _, form := range []string{"%s", "%x", "%d"} {
			hidden = append(hidden, strings.Trim(fmt.Sprintf(form, []byte(secret)), "[]"))
		}
		for _, h := range hidden {
			if strings.Contains(shown.String(), h) || !strings.Contains(shown.String(), "name") {
				t.Errorf("%T is shown as\n%s", v, &shown)
			}
		}
	}
}
