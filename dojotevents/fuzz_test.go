package dojotevents_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// FuzzDecode holds Decode to its word: every error is a *DecodeError; what is
// accepted is JSON in UTF-8 in which encoding/json finds the same device; and
// it encodes to a value that decodes to the same event.
func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		f.Add(sample(f, filepath.Base(file)))
	}
	f.Add([]byte(`{"\u0065vent":"ping","data":[{"id":"\ud800"}],"meta":{"service":7}}`))
	f.Add([]byte(" {\"event\" : \"remove\",\"data\":{\"id\":\"\\\"\\\\\",\"x\":[1,-2.5e3,null,true]},\"meta\":{\"service\":\"b\"}}\n"))
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := dojotevents.Decode(value)
		if err != nil {
			var decodeErr *dojotevents.DecodeError
			if !errors.As(err, &decodeErr) {
				t.Fatalf("error %v is a %T, want a *DecodeError", err, err)
			}
			return
		}
		if !json.Valid(value) || !utf8.Valid(value) {
			t.Fatalf("accepted what isn't JSON: %q", value)
		}

		var document, data, meta map[string]json.RawMessage
		if err := json.Unmarshal(value, &document); err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(document["data"], &data) // other kinds may have something else here
		_ = json.Unmarshal(document["meta"], &meta)
		var want dojotevents.Event
		_ = json.Unmarshal(document["event"], &want.Kind)
		_ = json.Unmarshal(data["id"], &want.DeviceID)
		_ = json.Unmarshal(meta["service"], &want.Tenant)
		want.Data, want.Meta = document["data"], document["meta"]
		got := e
		if got.Kind == dojotevents.Remove || got.Kind == dojotevents.Create || got.Kind == dojotevents.Update {
			want.Kind = got.Kind // may have had another name
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("not what encoding/json reads (-json +got):\n%s", diff)
		}

		again, err := dojotevents.Encode(e)
		if err != nil {
			t.Fatalf("%v doesn't encode: %v", e, err)
		}
		second, err := dojotevents.Decode(again)
		if err != nil {
			t.Fatalf("%s doesn't decode: %v", again, err)
		}
		if diff := cmp.Diff(e, second); diff != "" {
			t.Fatalf("after a round trip (-before +after):\n%s", diff)
		}
	})
}
