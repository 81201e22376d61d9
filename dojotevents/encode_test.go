package dojotevents_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

func TestEncode(t *testing.T) {
	tests := []struct {
		name  string
		event dojotevents.Event
		want  string
	}{
		{"ids alone", dojotevents.Event{Kind: dojotevents.Remove, Tenant: "admin", DeviceID: "8fa3"},
			`{"event":"remove","data":{"id":"8fa3"},"meta":{"service":"admin"}}`},
		{"other name", dojotevents.Event{Kind: "deleted", Tenant: "admin", DeviceID: "8fa3"},
			`{"event":"remove","data":{"id":"8fa3"},"meta":{"service":"admin"}}`},
		{"text that needs escapes", dojotevents.Event{Kind: dojotevents.Remove, Tenant: "a\"},", DeviceID: "x\ny"},
			`{"event":"remove","data":{"id":"x\ny"},"meta":{"service":"a\"},"}}`},
		{"data and meta", dojotevents.Event{Kind: dojotevents.Configure, Tenant: "admin", DeviceID: "8fa3",
			Data: json.RawMessage(` {"id":"8fa3","attrs":{"heater":1}} `), Meta: json.RawMessage(`{"service":"admin","timestamp":1601884803120}`)},
			`{"event":"configure","data":{"id":"8fa3","attrs":{"heater":1}},"meta":{"service":"admin","timestamp":1601884803120}}`},
		{"tenant", dojotevents.Event{Kind: dojotevents.TenantDelete, Tenant: "XYZ", Envelope: dojotevents.EnvelopeTenancy}, `{"type":"DELETE","tenant":"XYZ"}`},
		{"certificate", dojotevents.Event{Kind: dojotevents.OwnershipDelete, Tenant: "admin", DeviceID: "8fa3", Fingerprint: "AA", Envelope: dojotevents.EnvelopeX509,
			Data: json.RawMessage(`{"fingerprint":"AA","belongsTo":{"device":"8fa3"}}`)},
			`{"metadata":{"tenant":"admin"},"data":{"eventType":"ownership.delete","eventData":{"fingerprint":"AA","belongsTo":{"device":"8fa3"}}}}`},
		{"kind alone", dojotevents.Event{Kind: "ping"}, `{"event":"ping"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := dojotevents.Encode(tt.event)
			if err != nil || string(got) != tt.want {
				t.Errorf("Encode = %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		name  string
		event dojotevents.Event
	}{
		{"no kind", dojotevents.Event{Tenant: "admin", DeviceID: "8fa3"}},
		{"envelope of another kind", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: "8fa3", Envelope: dojotevents.EnvelopeX509}},
		{"tenant in a device's envelope", dojotevents.Event{Kind: dojotevents.TenantCreate, Tenant: "admin"}},
		{"no such envelope", dojotevents.Event{Kind: "ping", Envelope: 7}},
		{"certificate without data", dojotevents.Event{Kind: dojotevents.OwnershipCreate, Tenant: "admin", Fingerprint: "AA", Envelope: dojotevents.EnvelopeX509}},
		{"certificate of another", dojotevents.Event{Kind: dojotevents.OwnershipCreate, Tenant: "admin", Fingerprint: "AA", Envelope: dojotevents.EnvelopeX509, Data: json.RawMessage(`{"fingerprint":"BB"}`)}},
		{"tenant that data contradicts", dojotevents.Event{Kind: dojotevents.TenantCreate, Tenant: "a", Envelope: dojotevents.EnvelopeTenancy, Data: json.RawMessage(`{"type":"CREATE","tenant":"b"}`)}},
		{"no device", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin"}},
		{"no tenant", dojotevents.Event{Kind: dojotevents.Create, DeviceID: "8fa3"}},
		{"not UTF-8", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: "\xff"}},
		{"too long", dojotevents.Event{Kind: dojotevents.Create, Tenant: strings.Repeat("a", 257), DeviceID: "8fa3"}},
		{"data of another device", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: "8fa3", Data: json.RawMessage(`{"id":"24f6"}`)}},
		{"meta of another tenant", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: "8fa3", Meta: json.RawMessage(`{"service":"x"}`)}},
		{"data with a tail", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: "8fa3", Data: json.RawMessage(`{"id":"8fa3"},"x":1`)}},
		{"data that brings its own meta", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: "8fa3", Data: json.RawMessage(`{"id":"8fa3"},"meta":{"service":"admin"}`)}},
		{"data empty", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin", DeviceID: "8fa3", Data: json.RawMessage{}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := dojotevents.Encode(tt.event); err == nil {
				t.Errorf("Encode = %s, want an error", got)
			}
		})
	}
}

func TestEncodeSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), "refused-") {
			continue
		}
		want, err := dojotevents.Decode(sample(t, filepath.Base(file)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		value, err := dojotevents.Encode(want)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got, err := dojotevents.Decode(value)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}
