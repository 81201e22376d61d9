package dojotevents_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// largeCreate is a create event of about 2.4 KB: a device with a template of
// ten attributes.
func largeCreate() []byte {
	var b bytes.Buffer
	b.WriteString(`{"event": "create", "data": {"id": "e06357", "label": "rain gauge, north field", "templates": [1], "created": "2020-09-16T14:50:34.749230+00:00", "attrs": {"1": [`)
	for i := range 10 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"id": %d, "label": "measurement-%02d", "type": "dynamic", "value_type": "float", "static_value": "", "template_id": "1", "created": "2020-09-16T14:50:09.297163+00:00", "is_static_overridden": false}`, i+1, i+1)
	}
	b.WriteString(`]}}, "meta": {"service": "admin"}}`)
	return b.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	value := largeCreate()
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dojotevents.Decode(value); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodingJSON is what a program does without this package.
func BenchmarkEncodingJSON(b *testing.B) {
	type attribute struct {
		ID         int    `json:"id"`
		Label      string `json:"label"`
		Type       string `json:"type"`
		ValueType  string `json:"value_type"`
		Static     string `json:"static_value"`
		Template   string `json:"template_id"`
		Created    string `json:"created"`
		Overridden bool   `json:"is_static_overridden"`
	}
	type event struct {
		Event string `json:"event"`
		Data  struct {
			ID        string                 `json:"id"`
			Label     string                 `json:"label"`
			Templates []int                  `json:"templates"`
			Created   string                 `json:"created"`
			Attrs     map[string][]attribute `json:"attrs"`
		} `json:"data"`
		Meta struct {
			Service string `json:"service"`
		} `json:"meta"`
	}
	value := largeCreate()
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		var e event
		if err := json.Unmarshal(value, &e); err != nil {
			b.Fatal(err)
		}
	}
}
