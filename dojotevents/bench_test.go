package dojotevents_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// largeCreate is a create event of about 2.4 KB: a device with a template of
// eleven attributes.
func largeCreate() []byte {
	var b bytes.Buffer
	b.WriteString(`{"event": "create", "data": {"id": "e06357", "label": "rain gauge, north field", "templates": [1], "created": "2020-09-16T14:50:34.749230+00:00", "attrs": {"1": [`)
	for i := range 11 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"id": %d, "label": "measurement-%02d", "type": "dynamic", "value_type": "float", "static_value": "", "template_id": "1", "created": "2020-09-16T14:50:09.297163+00:00", "is_static_overridden": false}`, i+1, i+1)
	}
	b.WriteString(`]}}, "meta": {"service": "admin"}}`)
	return b.Bytes()
}

// wholeDevice is what a program would have encoding/json decode a create event into.
type wholeDevice struct {
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

// BenchmarkDecodeAtLeast3xEncodingJSON compares Decode with encoding/json and a
// struct of the whole event. Both alternate within the benchmark named ratio,
// so that the machine's other work spoils neither.
func BenchmarkDecodeAtLeast3xEncodingJSON(b *testing.B) {
	value := largeCreate()
	ours := func() {
		if _, err := dojotevents.Decode(value); err != nil {
			b.Fatal(err)
		}
	}
	theirs := func() {
		var d wholeDevice
		if err := json.Unmarshal(value, &d); err != nil {
			b.Fatal(err)
		}
	}
	for _, bb := range []struct {
		name string
		f    func()
	}{{"dojotevents", ours}, {"encoding-json", theirs}} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				bb.f()
			}
		})
	}
	b.Run("ratio", func(b *testing.B) {
		var spent [2]time.Duration
		for b.Loop() {
			for i, f := range []func(){ours, theirs} {
				start := time.Now()
				for range 20 {
					f()
				}
				spent[i] += time.Since(start)
			}
		}
		b.ReportMetric(float64(spent[1])/float64(spent[0]), "times-faster")
	})
}

func TestDecodeAllocations(t *testing.T) {
	value := largeCreate()
	if n := testing.AllocsPerRun(100, func() { _, _ = dojotevents.Decode(value) }); n > 4 {
		t.Errorf("Decode allocates %v times, want at most 4", n)
	}
}
