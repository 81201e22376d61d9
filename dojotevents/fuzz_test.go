package dojotevents_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// FuzzDecode holds Decode against encoding/json: the same texts are accepted as
// JSON, those refused are refused at the same byte, and what is found is the
// same, errors and their fields included. What is accepted encodes to a value
// that decodes to the same event.
func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		f.Add(sample(f, filepath.Base(file)))
	}
	f.Add([]byte(`{"\u0065vent":"ping","data":[{"id":"\ud800"}],"meta":{"service":7}}`))
	f.Add([]byte(" {\"event\" : \"remove\",\"data\":{\"id\":\"\\\"\\\\\",\"x\":[1,-2.5e3,0.0E-0,null,true]},\"meta\":{\"service\":\"b\"}}\n"))
	f.Add([]byte(`{"event":"remove","data":{"id":"a","id":"b"},"meta":{"service":"\u007f\u0000é"},"type":1}`))
	f.Add([]byte(`{"metadata":{},"data":{"eventType":"create","eventData":{"belongsTo":{"device":1,"application":"x"}}}}`))
	f.Add([]byte(`{"metadata":{"tenant":"a"},"data":{"eventType":"ownership.create","eventData":{"fingerprint":"AA","belongsTo":{"device":"\ud800"}}}}`))
	f.Add([]byte(`{"type":"x","tenant":""}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := dojotevents.Decode(value)
		var got *dojotevents.DecodeError
		if err != nil && !errors.As(err, &got) {
			t.Fatalf("error %v is a %T, want a *DecodeError", err, err)
		}
		if errors.Is(err, dojotevents.ErrLimit) && got.Field == "" {
			return // beyond our limits, which encoding/json doesn't have
		}
		if !json.Valid(value) || !utf8.Valid(value) {
			if got == nil || got.Field != "" || !errors.Is(got, dojotevents.ErrSyntax) {
				t.Fatalf("Decode = %v, %v for what isn't JSON in UTF-8: %q", e, err, value)
			}
			var syntax *json.SyntaxError
			if utf8.Valid(value) && errors.As(json.Unmarshal(value, new(any)), &syntax) && got.Offset != max(0, syntax.Offset-1) {
				t.Fatalf("fault noticed at byte %d, by encoding/json at %d: %q", got.Offset, max(0, syntax.Offset-1), value)
			}
			return
		}

		want, fault := reference(value)
		if fault != nil {
			if got == nil || got.Field != fault.Field || !errors.Is(got, fault.Err) {
				t.Fatalf("Decode = %v, %v, want %v", e, err, fault)
			}
			return
		}
		if err != nil {
			t.Fatalf("refused: %v, want %v", err, want)
		}
		if diff := cmp.Diff(want, e); diff != "" {
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

// reference decodes what is valid JSON with encoding/json alone, in the plainest
// way.
func reference(value []byte) (e dojotevents.Event, fault *dojotevents.DecodeError) {
	defer func() {
		if p := recover(); p != nil {
			e, fault = dojotevents.Event{}, p.(*dojotevents.DecodeError)
		}
	}()
	refuse := func(field string, err error) { panic(&dojotevents.DecodeError{Field: field, Err: err}) }

	// object returns the members of an object, nil if there is none.
	object := func(path string, raw json.RawMessage, ours ...string) map[string]json.RawMessage {
		d := json.NewDecoder(bytes.NewReader(raw))
		if token, _ := d.Token(); token != json.Delim('{') {
			return nil
		}
		members := make(map[string]json.RawMessage)
		var twice *dojotevents.DecodeError
		for d.More() {
			key, _ := d.Token()
			var v json.RawMessage
			if err := d.Decode(&v); err != nil {
				panic(err)
			}
			if _, ok := members[key.(string)]; ok && twice == nil {
				twice = &dojotevents.DecodeError{Field: path, Err: dojotevents.ErrDuplicate}
				for _, name := range ours {
					if name == key {
						twice.Field = strings.TrimPrefix(path+"."+name, ".")
					}
				}
			}
			members[key.(string)] = v
		}
		if twice != nil {
			panic(twice)
		}
		return members
	}
	// name returns the text of a member.
	name := func(path string, raw json.RawMessage, needed bool) string {
		var s *string
		var fault error
		switch {
		case raw == nil:
			fault = dojotevents.ErrMissing
		case json.Unmarshal(raw, &s) != nil || s == nil:
			fault = dojotevents.ErrType
		case *s == "":
			fault = dojotevents.ErrMissing
		case len(*s) > dojotevents.MaxName:
			fault = dojotevents.ErrLimit
		case strings.Contains(*s, "\ufffd"):
			fault = dojotevents.ErrSyntax
		default:
			return *s
		}
		if needed {
			refuse(path, fault)
		}
		return ""
	}
	inside := func(path, key string, raw json.RawMessage, members map[string]json.RawMessage, needed bool) string {
		switch {
		case members != nil:
			return name(path+"."+key, members[key], needed)
		case needed && raw == nil:
			refuse(path, dojotevents.ErrMissing)
		case needed:
			refuse(path, dojotevents.ErrType)
		}
		return ""
	}
	kind := func(path string, raw json.RawMessage, kinds string) dojotevents.Kind {
		k := name(path, raw, true)
		if synonym, ok := map[string]string{"created": "create", "updated": "update", "removed": "remove", "delete": "remove", "deleted": "remove"}[k]; ok {
			k = synonym
		}
		const all = " create update remove configure actuate template.update ownership.create ownership.update ownership.delete trustedca.create trustedca.delete tenancy.create tenancy.delete "
		if strings.Contains(all, " "+k+" ") && !strings.Contains(k, " ") && !strings.Contains(kinds, " "+k+" ") {
			refuse(path, dojotevents.ErrType)
		}
		return dojotevents.Kind(k)
	}

	doc := object("", value, "event", "data", "meta", "metadata", "type", "tenant")
	if doc == nil {
		refuse("", dojotevents.ErrType)
	}
	switch {
	case doc["event"] == nil && doc["metadata"] != nil:
		e.Envelope = dojotevents.EnvelopeX509
		data := object("data", doc["data"], "id", "eventType", "eventData")
		if data == nil {
			inside("data", "", doc["data"], nil, true)
		}
		e.Kind = kind("data.eventType", data["eventType"], " ownership.create ownership.update ownership.delete trustedca.create trustedca.delete ")
		e.Data, e.Meta = data["eventData"], doc["metadata"]
		inner := object("data.eventData", e.Data, "fingerprint", "caFingerprint", "belongsTo", "previousBelongsTo")
		fingerprint, known, trusted := "fingerprint", false, false
		switch e.Kind {
		case dojotevents.TrustedCACreate, dojotevents.TrustedCADelete:
			fingerprint, known, trusted = "caFingerprint", true, true
		case dojotevents.OwnershipCreate, dojotevents.OwnershipUpdate, dojotevents.OwnershipDelete:
			known = true
		}
		e.Fingerprint = inside("data.eventData", fingerprint, e.Data, inner, known)
		owner := "belongsTo"
		if e.Kind == dojotevents.OwnershipDelete && inner["previousBelongsTo"] != nil {
			owner = "previousBelongsTo"
		}
		members := object("data.eventData."+owner, inner[owner], "device", "application")
		named := func(key string) bool {
			var s string
			return known && json.Unmarshal(members[key], &s) == nil && s != ""
		}
		e.DeviceID = inside("data.eventData."+owner, "device", nil, members, named("device"))
		e.Application = inside("data.eventData."+owner, "application", nil, members, named("application"))
		e.Tenant = inside("metadata", "tenant", e.Meta, object("metadata", e.Meta, "tenant"), trusted || known && e.DeviceID != "")
	case doc["event"] == nil && doc["type"] != nil:
		e.Envelope = dojotevents.EnvelopeTenancy
		e.Kind = dojotevents.Kind("tenancy." + strings.ToLower(name("type", doc["type"], true)))
		e.Tenant = name("tenant", doc["tenant"], true)
		e.Data = bytes.Trim(value, " \t\r\n")
	default:
		e.Kind = kind("event", doc["event"], " create update remove configure actuate template.update ")
		e.Data, e.Meta = doc["data"], doc["meta"]
		needsDevice := false
		switch e.Kind {
		case dojotevents.Create, dojotevents.Update, dojotevents.Remove, dojotevents.Configure, dojotevents.Actuate:
			needsDevice = true
		}
		e.DeviceID = inside("data", "id", e.Data, object("data", e.Data, "id", "eventType", "eventData"), needsDevice)
		e.Tenant = inside("meta", "service", e.Meta, object("meta", e.Meta, "service"), needsDevice || e.Kind == dojotevents.TemplateUpdate)
	}
	return e, nil
}
