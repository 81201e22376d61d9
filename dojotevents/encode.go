package dojotevents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Encode writes e as a record's value, in its envelope. Data nil stands for
// the device's id alone, Meta nil for the tenant's name alone; otherwise they
// are written as they are. What Encode returns decodes to the same event; an
// event for which there is no such value is an error, such as one of a
// certificate without Data.
func Encode(e Event) ([]byte, error) {
	e.Kind = e.Kind.canonical()
	var value []byte
	var err error
	switch e.Envelope {
	case EnvelopeDevice:
		value, err = e.encodeDevice()
	case EnvelopeX509:
		value, err = e.encodeX509()
	case EnvelopeTenancy:
		value, err = e.encodeTenancy()
	default:
		err = fmt.Errorf("encoding: device event: envelope %d is unknown (want one of the constants)", e.Envelope)
	}
	if err != nil {
		return nil, err
	}
	got, err := Decode(value)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	if !got.equal(e) {
		return nil, errors.New("encoding: device event: kind, tenant, device or certificate contradicts data or meta")
	}
	return value, nil
}

func (e *Event) equal(o Event) bool {
	return e.Kind == o.Kind && e.Tenant == o.Tenant && e.DeviceID == o.DeviceID &&
		e.Fingerprint == o.Fingerprint && e.Application == o.Application && e.Envelope == o.Envelope &&
		bytes.Equal(e.Data, o.Data) && bytes.Equal(e.Meta, o.Meta)
}

func (e *Event) encodeDevice() ([]byte, error) {
	var err error
	if e.Data, err = member(e.Data, "id", e.DeviceID); err != nil {
		return nil, err
	}
	if e.Meta, err = member(e.Meta, "service", e.Tenant); err != nil {
		return nil, err
	}
	return assemble("event", e.Kind, "data", e.Data, "meta", e.Meta)
}

func (e *Event) encodeX509() ([]byte, error) {
	var err error
	e.Data = bytes.Trim(e.Data, whitespace)
	if len(e.Data) == 0 {
		e.Data = nil
	}
	if e.Meta, err = member(e.Meta, "tenant", e.Tenant); err != nil {
		return nil, err
	}
	if e.Meta == nil {
		e.Meta = json.RawMessage("{}")
	}
	data, err := assemble("eventType", e.Kind, "eventData", e.Data)
	if err != nil {
		return nil, err
	}
	return assemble("metadata", e.Meta, "data", json.RawMessage(data))
}

func (e *Event) encodeTenancy() ([]byte, error) {
	if e.Data == nil {
		var err error
		kind := strings.ToUpper(strings.TrimPrefix(string(e.Kind), tenancyPrefix))
		if e.Data, err = assemble("type", kind, "tenant", e.Tenant); err != nil {
			return nil, err
		}
	}
	e.Data = bytes.Trim(e.Data, whitespace)
	return e.Data, nil
}

// assemble returns an object of names and values in turn. A json.RawMessage
// is written as it is, nil not at all.
func assemble(members ...any) ([]byte, error) {
	var b bytes.Buffer
	separator := "{"
	for ; len(members) > 0; members = members[2:] {
		raw, ok := members[1].(json.RawMessage)
		if ok && raw == nil {
			continue
		}
		if !ok {
			var err error
			if raw, err = json.Marshal(members[1]); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(&b, "%s%q:%s", separator, members[0], raw)
		separator = ","
	}
	b.WriteByte('}')
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
