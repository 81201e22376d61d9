package dojoteventstest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
)

func TestBuilders(t *testing.T) {
	at := time.UnixMilli(1557493697000)
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	cert := server.Certificate()
	sum := sha256.Sum256(cert.Raw)
	fingerprint := strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
	tests := []struct {
		name  string
		event dojotevents.Event
		want  string
		holds string // part of the value
	}{
		{"create", dojoteventstest.CreateEvent("admin", "e06357"), "create admin:e06357", `"is_static_overridden":false`},
		{"update", dojoteventstest.UpdateEvent("admin", "e06357"), "update admin:e06357", `"value_type":"psk","static_value":"bm90IGEgcmVhbCBrZXk="`},
		{"remove", dojoteventstest.RemoveEvent("admin", "e06357"), "remove admin:e06357", `"templates":[1]`},
		{"configure", dojoteventstest.ConfigureEvent("admin", "e06357", at, map[string]any{"target_temperature": 23.5}), "configure admin:e06357", `"meta":{"service":"admin","timestamp":1557493697000}`},
		{"template", dojoteventstest.TemplateUpdateEvent("admin", "e06357", "efac"), "template.update admin:", `"affected":["e06357","efac"]`},
		{"template without devices", dojoteventstest.TemplateUpdateEvent("admin"), "template.update admin:", `"affected":[]`},
		{"certificate given", dojoteventstest.OwnershipCreateEvent("admin", "e06357", cert), "ownership.create admin:e06357", `{"fingerprint":"` + fingerprint + `","certificatePem":"-----BEGIN`},
		{"certificate passed on", dojoteventstest.OwnershipUpdateEvent("admin", "efac", "e06357", cert), "ownership.update admin:e06357", `"previousBelongsTo":{"device":"efac"}`},
		{"certificate taken", dojoteventstest.OwnershipDeleteEvent("admin", "e06357", cert), "ownership.delete admin:e06357", `"autoRegistered":false,"previousBelongsTo":{"device":"e06357"}}`},
		{"CA trusted", dojoteventstest.TrustedCACreateEvent("admin", cert), "trustedca.create admin:", `{"caFingerprint":"` + fingerprint + `"`},
		{"CA no more trusted", dojoteventstest.TrustedCADeleteEvent("admin", cert), "trustedca.delete admin:", `"allowAutoRegistration":true`},
		{"tenant", dojoteventstest.TenantCreateEvent("admin"), "tenancy.create admin:", `{"type":"CREATE","tenant":"admin"}`},
		{"tenant gone", dojoteventstest.TenantDeleteEvent("admin"), "tenancy.delete admin:", `{"type":"DELETE","tenant":"admin"}`},
		{"hostile names", dojoteventstest.CreateEvent("a\"}", "x\ny"), `create "a\"}":"x\ny"`, `"service":"a\"}"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			value, err := dojotevents.Encode(tt.event)
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(value) || !bytes.Contains(value, []byte(tt.holds)) {
				t.Errorf("value = %s, want JSON with %s", value, tt.holds)
			}
			got, err := dojotevents.Decode(value)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want {
				t.Errorf("decodes as %v, want %s", got, tt.want)
			}
			if diff := cmp.Diff(tt.event, got); diff != "" {
				t.Errorf("after a round trip (-before +after):\n%s", diff)
			}
		})
	}
}
