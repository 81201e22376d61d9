package dojotevents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Encode writes e as a record's value. Data nil stands for the device's id
// alone, Meta nil for the tenant's name alone; otherwise they are written as
// they are. What Encode returns decodes to the same event; an event for
// which there is no such value is an error.
func Encode(e Event) ([]byte, error) {
	e.Kind = e.Kind.canonical()
	var err error
	if e.Data, err = member(e.Data, "id", e.DeviceID); err != nil {
		return nil, err
	}
	if e.Meta, err = member(e.Meta, "service", e.Tenant); err != nil {
		return nil, err
	}
	kind, err := json.Marshal(e.Kind)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(`{"event":`)
	b.Write(kind)
	if e.Data != nil {
		b.WriteString(`,"data":`)
		b.Write(e.Data)
	}
	if e.Meta != nil {
		b.WriteString(`,"meta":`)
		b.Write(e.Meta)
	}
	b.WriteByte('}')

	got, err := Decode(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	if got.Kind != e.Kind || got.Tenant != e.Tenant || got.DeviceID != e.DeviceID ||
		!bytes.Equal(got.Data, e.Data) || !bytes.Equal(got.Meta, e.Meta) {
		return nil, errors.New("encoding: device event: kind, tenant or device contradicts data or meta")
	}
	return b.Bytes(), nil
}

// member returns raw, or an object with nothing but a name in it.
func member(raw json.RawMessage, key, name string) (json.RawMessage, error) {
	if raw != nil {
		return bytes.Trim(raw, whitespace), nil
	}
	if name == "" {
		return nil, nil
	}
	return json.Marshal(map[string]string{key: name})
}
