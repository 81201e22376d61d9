package dojotevents_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const (
	fingerprint  = "5F:3A:0B:91:C2:7E:44:D8:19:6C:AA:53:0E:F1:72:B4:9D:08:36:E5:1B:CF:60:87:2A:D3:4E:95:B0:67:FC:18"
	fingerprint2 = "C1:07:9E:42:5D:B8:33:F6:A0:1F:64:8B:D2:59:7C:E3:06:91:4A:BD:28:75:EF:30:8C:5B:12:D7:A9:46:03:FE"
)

func TestDecodeSamples(t *testing.T) {
	tests := []struct {
		name string
		want dojotevents.Event // without Data and Meta
		data string            // beginning of Data
		meta string
	}{
		{"create.json", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: "a3f09c"}, `{"id": "a3f09c", "label"`, `{"service": "admin"}`},
		{"update.json", dojotevents.Event{Kind: dojotevents.Update, Tenant: "admin", DeviceID: "a3f09c"}, `{"id": "a3f09c", "label"`, `{"service": "admin"}`},
		{"remove.json", dojotevents.Event{Kind: dojotevents.Remove, Tenant: "admin", DeviceID: "a3f09c"}, `{"id": "a3f09c", "label"`, `{"service": "admin"}`},
		{"remove-id-only.json", dojotevents.Event{Kind: dojotevents.Remove, Tenant: "harbour_7", DeviceID: "ac32"}, `{"id":"ac32"}`, `{"service":"harbour_7"}`},
		{"removed-2017.json", dojotevents.Event{Kind: dojotevents.Remove, Tenant: "admin", DeviceID: "8fa3"}, `{"id": "8fa3"}`, `{"service": "admin"}`},
		{"configure.json", dojotevents.Event{Kind: dojotevents.Configure, Tenant: "admin", DeviceID: "a3f09c"}, `{"attrs": {"heater": 1`, `{"service": "admin", "timestamp": 1601884803120}`},
		{"actuate.json", dojotevents.Event{Kind: dojotevents.Actuate, Tenant: "admin", DeviceID: "a3f09c"}, `{"id": "a3f09c"`, `{"service": "admin"}`},
		{"template-update.json", dojotevents.Event{Kind: dojotevents.TemplateUpdate, Tenant: "admin"}, `{"affected": ["a3f09c"`, `{"service": "admin"}`},
		{"ownership-create.json", dojotevents.Event{Kind: dojotevents.OwnershipCreate, Tenant: "admin", DeviceID: "a3f09c", Fingerprint: fingerprint, Envelope: dojotevents.EnvelopeX509}, `{"fingerprint": "5F`, `{"msgid": "0b7c5a52`},
		{"ownership-update.json", dojotevents.Event{Kind: dojotevents.OwnershipUpdate, Tenant: "admin", DeviceID: "b01d44", Fingerprint: fingerprint, Envelope: dojotevents.EnvelopeX509}, `{"fingerprint": "5F`, `{"msgid": "e7e0b3a9`},
		{"ownership-delete.json", dojotevents.Event{Kind: dojotevents.OwnershipDelete, Tenant: "admin", DeviceID: "b01d44", Fingerprint: fingerprint, Envelope: dojotevents.EnvelopeX509}, `{"fingerprint": "5F`, `{"msgid": "4be1a3f4`},
		{"ownership-application.json", dojotevents.Event{Kind: dojotevents.OwnershipCreate, Application: "v2k-bridge", Fingerprint: fingerprint2, Envelope: dojotevents.EnvelopeX509}, `{"fingerprint": "C1`, `{"msgid": "ab0f6f65`},
		{"trustedca-create.json", dojotevents.Event{Kind: dojotevents.TrustedCACreate, Tenant: "harbour_7", Fingerprint: fingerprint2, Envelope: dojotevents.EnvelopeX509}, `{"caFingerprint": "C1`, `{"msgid": "9d4e3f0c`},
		{"trustedca-delete.json", dojotevents.Event{Kind: dojotevents.TrustedCADelete, Tenant: "harbour_7", Fingerprint: fingerprint2, Envelope: dojotevents.EnvelopeX509}, `{"caFingerprint": "C1`, `{"msgid": "1f7c2b0a`},
		{"x509-other-kind.json", dojotevents.Event{Kind: "ownership.renew", Tenant: "admin", Envelope: dojotevents.EnvelopeX509}, `["5F`, `{"msgid": "7b0e7a6e`},
		{"tenancy-create.json", dojotevents.Event{Kind: dojotevents.TenantCreate, Tenant: "harbour_7", Envelope: dojotevents.EnvelopeTenancy}, `{"type": "CREATE"`, ``},
		{"tenancy-delete.json", dojotevents.Event{Kind: dojotevents.TenantDelete, Tenant: "harbour_7", Envelope: dojotevents.EnvelopeTenancy}, `{"type": "DELETE"`, ``},
		{"tenancy-other-kind.json", dojotevents.Event{Kind: "tenancy.suspend", Tenant: "harbour_7", Envelope: dojotevents.EnvelopeTenancy}, `{"type": "Suspend"`, ``},
		{"other-kind.json", dojotevents.Event{Kind: "device.moved", Tenant: "admin"}, `["a3f09c", {"to": "dock 3"}]`, `{"service": "admin"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := dojotevents.Decode(sample(t, tt.name))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(got.Data), tt.data) || !json.Valid(got.Data) {
				t.Errorf("Data = %s, want valid JSON that starts with %s", got.Data, tt.data)
			}
			if !strings.HasPrefix(string(got.Meta), tt.meta) || tt.meta == "" && got.Meta != nil {
				t.Errorf("Meta = %s, want what starts with %s", got.Meta, tt.meta)
			}
			got.Data, got.Meta = nil, nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeKinds(t *testing.T) {
	tests := []struct{ in, want string }{
		{"created", "create"},
		{"updated", "update"},
		{"removed", "remove"},
		{"delete", "remove"},
		{"deleted", "remove"},
		{"Create", "Create"}, // names are matched exactly
		{"removal", "removal"},
	}
	for _, tt := range tests {
		value := fmt.Sprintf(`{"event":%q,"data":{"id":"8fa3"},"meta":{"service":"admin"}}`, tt.in)
		e, err := dojotevents.Decode([]byte(value))
		if err != nil || string(e.Kind) != tt.want {
			t.Errorf("Decode(%s) = kind %q, %v, want %q", value, e.Kind, err, tt.want)
		}
	}
}

func TestDecodeAccepts(t *testing.T) {
	tests := []struct{ name, value, tenant, device string }{
		{"white space", " \r\n{\t\"event\" : \"remove\" ,\"data\":{ \"id\" :\"a\"} , \"meta\" : {\"service\":\"b\" } }\n", "b", "a"},
		{"escapes", `{"\u0065vent":"remove","data":{"i\u0064":"\u0061\"\\"},"meta":{"service":"\ud83d\ude00"}}`, "😀", `a"\`},
		{"any characters", `{"event":"remove","data":{"id":"x\ntopic #"},"meta":{"service":"a/b +#:"}}`, "a/b +#:", "x\ntopic #"},
		{"values in between", `{"a":1,"event":"remove","b":-1.5e3,"c":true,"data":{"n":null,"s":"\\\"}","id":"a","z":[{"id":"x"}]},"d":[],"e":{},"meta":{"service":"b","service2":0}}`, "b", "a"},
		{"same name deeper down", `{"event":"remove","data":{"id":"a","attrs":{"id":"x","id":"y"}},"meta":{"service":"b"}}`, "b", "a"},
		{"other case is another name", `{"event":"remove","EVENT":"create","data":{"id":"a","ID":"b"},"meta":{"service":"b"}}`, "b", "a"},
		{"other kind, nothing else", `{"event":"ping"}`, "", ""},
		{"other kind, other types", `{"event":"ping","data":{"id":7},"meta":"x"}`, "", ""},
		{"other kind, names that are none", `{"event":"ping","data":{"id":"` + strings.Repeat("a", dojotevents.MaxName+1) + `"},"meta":{"service":"\ud800"}}`, "", ""},
		{"other kind, empty names", `{"event":"ping","data":{"id":""},"meta":{"service":""}}`, "", ""},
		{"other kind about certificates", `{"metadata":{"tenant":"\ud800"},"data":{"eventType":"ownership.seize","eventData":{"fingerprint":"\ud800","belongsTo":{"device":"` + strings.Repeat("a", dojotevents.MaxName+1) + `"}}}}`, "", ""},
		{"template with an id that is none", `{"event":"template.update","data":{"id":"` + strings.Repeat("a", dojotevents.MaxName+1) + `"},"meta":{"service":"b"}}`, "b", ""},
		{"application's certificate, tenant that is none", `{"metadata":{"tenant":"\ud800"},"data":{"eventType":"ownership.create","eventData":{"fingerprint":"AA","belongsTo":{"application":"x"}}}}`, "", ""},
		{"a great many names", `{"event":"ping",` + manyNames(1000) + `"meta":{"service":"b"}}`, "b", ""},
		{"two envelopes at once", `{"event":"remove","data":{"id":"a","eventType":"ownership.create"},"meta":{"service":"b"},"metadata":{"tenant":"x"},"type":"CREATE","tenant":"y"}`, "b", "a"},
		{"certificate of nobody", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.update","eventData":{"fingerprint":"AA","belongsTo":null}}}`, "b", ""},
		{"certificate taken from nobody", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.delete","eventData":{"fingerprint":"AA","previousBelongsTo":null}}}`, "b", ""},
		{"certificate taken, its owner named as if it weren't", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.delete","eventData":{"fingerprint":"AA","belongsTo":{"device":"a"}}}}`, "b", "a"},
		{"certificate passed on", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.update","eventData":{"fingerprint":"AA","previousBelongsTo":{"device":"x"},"belongsTo":{"device":"a"}}}}`, "b", "a"},
		{"tenant, other case", `{"tenant":"b","type":"create"}`, "b", ""},
		{"template without data", `{"event":"template.update","meta":{"service":"b"}}`, "b", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := dojotevents.Decode([]byte(tt.value))
			if err != nil {
				t.Fatal(err)
			}
			if e.Tenant != tt.tenant || e.DeviceID != tt.device {
				t.Errorf("got tenant %q, device %q, want %q, %q", e.Tenant, e.DeviceID, tt.tenant, tt.device)
			}
		})
	}
}

// manyNames returns n members of an object, each with a comma.
func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"n%d":0,`, i)
	}
	return b.String()
}

func TestDecodeErrors(t *testing.T) {
	const secret = "c2VjcmV0"
	nested := func(n int) string {
		return `{"event":"remove","data":{"id":"a","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `},"meta":{"service":"b"}}`
	}
	tests := []struct {
		name, value string
		field       string
		offset      int64
		err         error
	}{
		{"nothing", ``, "", 0, dojotevents.ErrSyntax},
		{"not JSON", secret, "", 0, dojotevents.ErrSyntax},
		{"cut off", `{"event":"create","data":{"k":"` + secret, "", 38, dojotevents.ErrSyntax},
		{"trailing data", `{"event":"ping"} {}`, "", 17, dojotevents.ErrSyntax},
		{"not UTF-8", "{\"event\":\"\xff\"}", "", 10, dojotevents.ErrSyntax},
		{"not UTF-8 where nobody looks", "{\"event\":\"ping\",\"x\":\"\xc0\x80\"}", "", 21, dojotevents.ErrSyntax},
		{"byte order mark", "\ufeff{}", "", 0, dojotevents.ErrSyntax},
		{"list", `["` + secret + `"]`, "", 0, dojotevents.ErrType},
		{"null", `null`, "", 0, dojotevents.ErrType},
		{"no event", `{"data":{"id":"a"},"meta":{"service":"b"}}`, "event", 0, dojotevents.ErrMissing},
		{"event is a number", `{"event":1}`, "event", 0, dojotevents.ErrType},
		{"event is empty", `{"event":""}`, "event", 0, dojotevents.ErrMissing},
		{"no data", `{"event":"create","meta":{"service":"b"}}`, "data", 0, dojotevents.ErrMissing},
		{"data is null", `{"event":"create","data":null,"meta":{"service":"b"}}`, "data", 0, dojotevents.ErrType},
		{"data is text", `{"event":"create","data":"` + secret + `","meta":{"service":"b"}}`, "data", 0, dojotevents.ErrType},
		{"no id", `{"event":"update","data":{"k":"` + secret + `"},"meta":{"service":"b"}}`, "data.id", 0, dojotevents.ErrMissing},
		{"id is a number", `{"event":"remove","data":{"id":8},"meta":{"service":"b"}}`, "data.id", 0, dojotevents.ErrType},
		{"id is null", `{"event":"configure","data":{"id":null},"meta":{"service":"b"}}`, "data.id", 0, dojotevents.ErrType},
		{"id is empty", `{"event":"remove","data":{"id":""},"meta":{"service":"b"}}`, "data.id", 0, dojotevents.ErrMissing},
		{"no meta", `{"event":"actuate","data":{"id":"a"}}`, "meta", 0, dojotevents.ErrMissing},
		{"meta is a list", `{"event":"create","data":{"id":"a"},"meta":[]}`, "meta", 0, dojotevents.ErrType},
		{"no service", `{"event":"create","data":{"id":"a"},"meta":{}}`, "meta.service", 0, dojotevents.ErrMissing},
		{"service is an object", `{"event":"create","data":{"id":"a"},"meta":{"service":{"k":"` + secret + `"}}}`, "meta.service", 0, dojotevents.ErrType},
		{"template without service", `{"event":"template.update","data":{}}`, "meta", 0, dojotevents.ErrMissing},
		{"two events", `{"event":"create","event":"remove","data":{"id":"a"},"meta":{"service":"b"}}`, "event", 0, dojotevents.ErrDuplicate},
		{"two events, one escaped", `{"event":"create","\u0065vent":"remove","data":{"id":"a"},"meta":{"service":"b"}}`, "event", 0, dojotevents.ErrDuplicate},
		{"two ids", `{"event":"create","data":{"id":"a","id":"a"},"meta":{"service":"b"}}`, "data.id", 0, dojotevents.ErrDuplicate},
		{"two services", `{"event":"create","data":{"id":"a"},"meta":{"service":"b","service":"c"}}`, "meta.service", 0, dojotevents.ErrDuplicate},
		{"two of something else", `{"event":"create","data":{"id":"a","` + secret + `":1,"` + secret + `":2},"meta":{"service":"b"}}`, "data", 0, dojotevents.ErrDuplicate},
		{"two of something else on top", `{"event":"ping","` + secret + `":1,"` + secret + `":2}`, "", 0, dojotevents.ErrDuplicate},
		{"half a pair", `{"event":"create","data":{"id":"a\ud800"},"meta":{"service":"b"}}`, "data.id", 0, dojotevents.ErrSyntax},
		{"too deep", nested(dojotevents.MaxDepth - 1), "", 0, dojotevents.ErrLimit},
		{"far too deep", strings.Repeat("[", 1<<20), "", 0, dojotevents.ErrLimit},
		{"id too long", `{"event":"create","data":{"id":"` + strings.Repeat("a", dojotevents.MaxName+1) + `"},"meta":{"service":"b"}}`, "data.id", 0, dojotevents.ErrLimit},
		{"other envelope's kind", `{"event":"ownership.create","data":{"id":"a"},"meta":{"service":"b"}}`, "event", 0, dojotevents.ErrType},
		{"device's kind in another envelope", `{"metadata":{"tenant":"b"},"data":{"eventType":"deleted","id":"a"}}`, "data.eventType", 0, dojotevents.ErrType},
		{"tenant's kind in another envelope", `{"event":"tenancy.delete","data":{},"meta":{"service":"b"}}`, "event", 0, dojotevents.ErrType},
		{"metadata without data", `{"metadata":{"tenant":"b"}}`, "data", 0, dojotevents.ErrMissing},
		{"metadata, data is a list", `{"metadata":{"tenant":"b"},"data":["` + secret + `"]}`, "data", 0, dojotevents.ErrType},
		{"no event type", `{"metadata":{"tenant":"b"},"data":{"eventData":{}}}`, "data.eventType", 0, dojotevents.ErrMissing},
		{"certificate without data", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.create"}}`, "data.eventData", 0, dojotevents.ErrMissing},
		{"certificate without fingerprint", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.create","eventData":{"caFingerprint":"AA","k":"` + secret + `"}}}`, "data.eventData.fingerprint", 0, dojotevents.ErrMissing},
		{"device's certificate without tenant", `{"metadata":{},"data":{"eventType":"ownership.delete","eventData":{"fingerprint":"AA","previousBelongsTo":{"device":"a"}}}}`, "metadata.tenant", 0, dojotevents.ErrMissing},
		{"trusted CA without fingerprint", `{"metadata":{"tenant":"b"},"data":{"eventType":"trustedca.create","eventData":{"fingerprint":"AA"}}}`, "data.eventData.caFingerprint", 0, dojotevents.ErrMissing},
		{"trusted CA without tenant", `{"metadata":[],"data":{"eventType":"trustedca.delete","eventData":{"caFingerprint":"AA"}}}`, "metadata", 0, dojotevents.ErrType},
		{"two owners", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.create","eventData":{"fingerprint":"AA","belongsTo":{"device":"a"},"belongsTo":{"device":"c"}}}}`, "data.eventData.belongsTo", 0, dojotevents.ErrDuplicate},
		{"two owning devices", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.create","eventData":{"fingerprint":"AA","belongsTo":{"device":"a","device":"c"}}}}`, "data.eventData.belongsTo.device", 0, dojotevents.ErrDuplicate},
		{"two owners that were", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.delete","eventData":{"fingerprint":"AA","previousBelongsTo":{"device":"a","device":"c"}}}}`, "data.eventData.previousBelongsTo.device", 0, dojotevents.ErrDuplicate},
		{"owning device without a proper name", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.create","eventData":{"fingerprint":"AA","belongsTo":{"device":"\ud800"}}}}`, "data.eventData.belongsTo.device", 0, dojotevents.ErrSyntax},
		{"application without a proper name", `{"metadata":{"tenant":"b"},"data":{"eventType":"ownership.delete","eventData":{"fingerprint":"AA","previousBelongsTo":{"application":"` + strings.Repeat("a", dojotevents.MaxName+1) + `"}}}}`, "data.eventData.previousBelongsTo.application", 0, dojotevents.ErrLimit},
		{"other kind, two ids", `{"event":"ping","data":{"id":"a","id":"b"}}`, "data.id", 0, dojotevents.ErrDuplicate},
		{"type is a number", `{"type":1,"tenant":"b"}`, "type", 0, dojotevents.ErrType},
		{"type without tenant", `{"type":"CREATE"}`, "tenant", 0, dojotevents.ErrMissing},
		{"a great many names, one of them twice", `{"event":"ping",` + manyNames(1000) + `"n500":0}`, "", 0, dojotevents.ErrDuplicate},
		{"a great many names, ours twice", `{"event":"ping",` + manyNames(1000) + `"event":0}`, "event", 0, dojotevents.ErrDuplicate},
		{"too large", `{"event":"ping"}` + strings.Repeat(" ", dojotevents.MaxSize), "", 0, dojotevents.ErrLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := dojotevents.Decode([]byte(tt.value))
			var got *dojotevents.DecodeError
			if !errors.As(err, &got) {
				t.Fatalf("Decode = %v, %v, want a *DecodeError", e, err)
			}
			if got.Field != tt.field || got.Offset != tt.offset || !errors.Is(err, tt.err) {
				t.Errorf("error = %v (field %q, offset %d), want field %q, offset %d, %v",
					err, got.Field, got.Offset, tt.field, tt.offset, tt.err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error shows what the event says: %v", err)
			}
			if !cmp.Equal(e, dojotevents.Event{}) {
				t.Errorf("event = %v beside an error, want none", e)
			}
		})
	}
	if _, err := dojotevents.Decode([]byte(nested(dojotevents.MaxDepth - 2))); err != nil {
		t.Errorf("nesting of exactly MaxDepth: %v", err)
	}
}

func TestDecodeRefusedSamples(t *testing.T) {
	tests := []struct{ name, want string }{
		{"refused-initial-list.json", "device event: meta: missing"},
	}
	for _, tt := range tests {
		if _, err := dojotevents.Decode(sample(t, tt.name)); err == nil || err.Error() != tt.want {
			t.Errorf("%s: error %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestDataSharesMemory(t *testing.T) {
	value := sample(t, "create.json")
	e, err := dojotevents.Decode(value)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(e.Data, "overwritten"...)
	if !bytes.Equal(value, sample(t, "create.json")) {
		t.Error("appending to Data wrote into the value")
	}
	if at := bytes.Index(value, e.Data); &value[at] != &e.Data[0] {
		t.Error("Data is a copy, want the value's own bytes")
	}
}

func TestEventKeepsSecrets(t *testing.T) {
	const secret = "c2VjcmV0LXNhbXBsZQ=="
	e, err := dojotevents.Decode(sample(t, "update.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(e.Data, []byte(secret)) {
		t.Fatal("sample holds no key")
	}
	for _, v := range []any{e, &e, []dojotevents.Event{e}, struct{ Event dojotevents.Event }{e}} {
		var shown strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("json", "event", v)
		slog.New(slog.NewTextHandler(&shown, nil)).Info("text", "event", v)
		if err := json.NewEncoder(&shown).Encode(v); err != nil {
			t.Error(err)
		}
		for _, form := range []string{"%s", "%x", "%d"} {
			text := strings.Trim(fmt.Sprintf(form, []byte(secret)), "[]")
			if strings.Contains(shown.String(), text) || !strings.Contains(shown.String(), "a3f09c") {
				t.Errorf("%T is shown as\n%s\nwant kind, tenant and device without the key", v, &shown)
			}
		}
	}
}

func TestEventString(t *testing.T) {
	tests := []struct {
		event dojotevents.Event
		want  string
	}{
		{dojotevents.Event{Kind: "create", Tenant: "admin", DeviceID: "8fa3"}, "create admin:8fa3"},
		{dojotevents.Event{Kind: "create", Tenant: "a\nb", DeviceID: `"`}, `create "a\nb":"\""`},
	}
	for _, tt := range tests {
		if got := tt.event.String(); got != tt.want {
			t.Errorf("String() = %s, want %s", got, tt.want)
		}
	}
}
