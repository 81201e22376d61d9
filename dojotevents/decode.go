package dojotevents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// What Decode accepts at most. Kafka itself refuses records beyond 1 MiB
// unless it is told otherwise; real events nest about six levels.
const (
	MaxSize  = 8 << 20 // bytes of a value
	MaxDepth = 64      // objects and arrays within each other
	MaxName  = 256     // bytes of a kind, a tenant, a device id and the like
)

// What can be wrong with a value. Each is wrapped in a *DecodeError.
var (
	ErrSyntax    = errors.New("not valid JSON in UTF-8")
	ErrMissing   = errors.New("missing")
	ErrType      = errors.New("wrong type")
	ErrDuplicate = errors.New("more than one member of that name")
	ErrLimit     = errors.New("too large")
)

// DecodeError says where a value isn't a device event. It contains no text
// of the value.
type DecodeError struct {
	Field  string // path of the member at fault, such as "meta.service"; "" is the whole value
	Offset int64  // index of the byte where the fault was noticed, if Field is "" and Err is ErrSyntax
	Err    error  // wraps ErrSyntax, ErrMissing, ErrType, ErrDuplicate or ErrLimit
}

func (e *DecodeError) Error() string {
	switch {
	case e.Field != "":
		return fmt.Sprintf("device event: %s: %v", e.Field, e.Err)
	case errors.Is(e.Err, ErrSyntax):
		return fmt.Sprintf("device event: byte %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("device event: %v", e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// Decode reads one record's value, in whichever envelope. The error, if any,
// is a *DecodeError. Data and Meta of the event share memory with value.
func Decode(value []byte) (Event, error) {
	if len(value) > MaxSize {
		return Event{}, &DecodeError{Err: fmt.Errorf("%w: %d bytes (want at most %d)", ErrLimit, len(value), MaxSize)}
	}
	s := scanner{text: value, shapes: &documentShapes}
	if s.document(); s.err != nil {
		return Event{}, s.err
	}
	d := &s.found
	if !d[inTop].object {
		return Event{}, &DecodeError{Err: fmt.Errorf("%w (want an object)", ErrType)}
	}
	err := d[inTop].check("")
	if err != nil {
		return Event{}, err
	}
	var e Event
	switch {
	case d.has(event) || !d.has(metadata) && !d.has(kindOfTenancy):
		e, err = d.device()
	case d.has(metadata):
		e, err = d.x509()
	default:
		e, err = d.tenancy(value)
	}
	if err != nil {
		return Event{}, err
	}
	return e, nil
}

// Indices of documentShapes.
const (
	inTop = iota
	inData
	inMeta
	inMetadata
)

// Indices of a document's members.
const (
	event = iota
	data
	meta
	metadata
	kindOfTenancy
	tenant
)

// Indices of the members of data.
const (
	id = iota
	eventType
	eventData
)

var documentShapes = shapes{
	inTop: {
		names: [maxWanted]string{"event", "data", "meta", "metadata", "type", "tenant"},
		in:    [maxWanted]int{data: inData, meta: inMeta, metadata: inMetadata},
	},
	inData:     {names: [maxWanted]string{id: "id", eventType: "eventType", eventData: "eventData"}},
	inMeta:     {names: [maxWanted]string{"service"}},
	inMetadata: {names: [maxWanted]string{"tenant"}},
}

// Indices of certificateShapes, and of the members of the first.
const (
	inEventData = iota
	inBelongsTo
	inPreviousBelongsTo
)

const (
	fingerprint = iota
	caFingerprint
	belongsTo
	previousBelongsTo
)

// Indices of the members of an owner.
const (
	ownerDevice = iota
	ownerApplication
)

var certificateShapes = shapes{
	inEventData: {
		names: [maxWanted]string{"fingerprint", "caFingerprint", "belongsTo", "previousBelongsTo"},
		in:    [maxWanted]int{belongsTo: inBelongsTo, previousBelongsTo: inPreviousBelongsTo},
	},
	inBelongsTo:         {names: [maxWanted]string{"device", "application"}},
	inPreviousBelongsTo: {names: [maxWanted]string{"device", "application"}},
}

func (d *document) has(i int) bool { return d[inTop].values[i] != nil }

// device reads device-manager's envelope.
func (d *document) device() (Event, error) {
	k, err := decodeKind("", "event", d[inTop].values[event], EnvelopeDevice)
	if err != nil {
		return Event{}, err
	}
	e := Event{Kind: k, Data: d[inTop].values[data], Meta: d[inTop].values[meta]}
	if e.DeviceID, err = d[inData].identifier("data", "id", id, d[inTop].values[data], k.needsDevice()); err != nil {
		return Event{}, err
	}
	if e.Tenant, err = d[inMeta].identifier("meta", "service", 0, d[inTop].values[meta], k.needsTenant()); err != nil {
		return Event{}, err
	}
	return e, nil
}

// x509 reads the envelope of x509-identity-mgmt.
func (d *document) x509() (Event, error) {
	if !d[inData].object {
		return Event{}, notObject("data", d[inTop].values[data])
	}
	if err := d[inData].check("data"); err != nil {
		return Event{}, err
	}
	k, err := decodeKind("data", "eventType", d[inData].values[eventType], EnvelopeX509)
	if err != nil {
		return Event{}, err
	}
	e := Event{Kind: k, Envelope: EnvelopeX509, Data: d[inData].values[eventData], Meta: d[inTop].values[metadata]}

	s := scanner{text: e.Data, shapes: &certificateShapes}
	if e.Data != nil {
		s.document() // again: it was found valid as part of the whole
	}
	const path = "data.eventData"
	inner := &s.found[inEventData]
	which, key := fingerprint, "fingerprint"
	if k == TrustedCACreate || k == TrustedCADelete {
		which, key = caFingerprint, "caFingerprint"
	}
	if e.Fingerprint, err = inner.identifier(path, key, which, e.Data, k.needsFingerprint()); err != nil {
		return Event{}, err
	}
	owner, ownerPath, ownerRaw := &s.found[inBelongsTo], path+".belongsTo", inner.values[belongsTo]
	if k == OwnershipDelete && inner.values[previousBelongsTo] != nil {
		owner, ownerPath, ownerRaw = &s.found[inPreviousBelongsTo], path+".previousBelongsTo", inner.values[previousBelongsTo]
	}
	// An owner whose name is none must not pass for no owner.
	owned := func(i int) bool { return k.needsFingerprint() && isText(owner.values[i]) }
	if e.DeviceID, err = owner.identifier(ownerPath, "device", ownerDevice, ownerRaw, owned(ownerDevice)); err != nil {
		return Event{}, err
	}
	if e.Application, err = owner.identifier(ownerPath, "application", ownerApplication, ownerRaw, owned(ownerApplication)); err != nil {
		return Event{}, err
	}
	needsTenant := k.needsTenant() || k.needsFingerprint() && e.DeviceID != ""
	if e.Tenant, err = d[inMetadata].identifier("metadata", "tenant", 0, d[inTop].values[metadata], needsTenant); err != nil {
		return Event{}, err
	}
	return e, nil
}

// tenancy reads the envelope of auth's news of tenants.
func (d *document) tenancy(value []byte) (Event, error) {
	k, err := name("", "type", d[inTop].values[kindOfTenancy])
	if err != nil {
		return Event{}, err
	}
	e := Event{
		Kind:     tenancyPrefix + Kind(strings.ToLower(k)),
		Envelope: EnvelopeTenancy,
		Data:     bytes.Trim(value, whitespace),
	}
	if e.Tenant, err = name("", "tenant", d[inTop].values[tenant]); err != nil {
		return Event{}, err
	}
	return e, nil
}

// decodeKind returns the kind of an event in an envelope.
func decodeKind(parent, key string, raw json.RawMessage, in Envelope) (Kind, error) {
	k, known := knownKind(raw)
	if !known {
		s, err := name(parent, key, raw)
		if err != nil {
			return "", err
		}
		k = Kind(s).canonical() // written with escapes, or not known
	}
	if other, ok := k.envelope(); ok && other != in {
		return "", &DecodeError{Field: join(parent, key), Err: fmt.Errorf("%w (want a kind of this envelope)", ErrType)}
	}
	return k, nil
}

// check refuses an object in which a name occurs twice. Only the names that are
// ours may appear in an error.
func (m *members) check(path string) error {
	if !m.twice {
		return nil
	}
	if m.culprit != "" {
		path = join(path, m.culprit)
	}
	return &DecodeError{Field: path, Err: ErrDuplicate}
}

// identifier returns the name that is a member of an object at path, by its key
// and index. Where it isn't needed, one that names nothing is left out.
func (m *members) identifier(path, key string, i int, raw json.RawMessage, needed bool) (string, error) {
	if !m.object {
		if needed {
			return "", notObject(path, raw)
		}
		return "", nil
	}
	if err := m.check(path); err != nil {
		return "", err
	}
	s, err := name(path, key, m.values[i])
	if !needed {
		return s, nil
	}
	return s, err
}

// isText reports whether a value is a string that isn't empty.
func isText(raw json.RawMessage) bool { return len(raw) > len(`""`) && raw[0] == '"' }

func notObject(path string, raw json.RawMessage) error {
	if raw == nil {
		return &DecodeError{Field: path, Err: ErrMissing}
	}
	return &DecodeError{Field: path, Err: fmt.Errorf("%w (want an object)", ErrType)}
}

// name returns the text of a JSON string that names something, the member key of
// the object at path parent.
func name(parent, key string, raw json.RawMessage) (string, error) {
	if raw == nil {
		return "", &DecodeError{Field: join(parent, key), Err: ErrMissing}
	}
	if raw[0] != '"' {
		return "", &DecodeError{Field: join(parent, key), Err: fmt.Errorf("%w (want a string)", ErrType)}
	}
	s := unquote(raw)
	switch {
	case s == "":
		return "", &DecodeError{Field: join(parent, key), Err: fmt.Errorf("%w (want a string that isn't empty)", ErrMissing)}
	case len(s) > MaxName:
		return "", &DecodeError{Field: join(parent, key), Err: fmt.Errorf("%w: %d bytes (want at most %d)", ErrLimit, len(s), MaxName)}
	case strings.ContainsRune(s, utf8.RuneError):
		// Half of a surrogate pair is read as U+FFFD: different names would
		// become the same.
		return "", &DecodeError{Field: join(parent, key), Err: fmt.Errorf("%w: replacement character or half of a surrogate pair", ErrSyntax)}
	}
	return s, nil
}

func join(parent, key string) string { return strings.TrimPrefix(parent+"."+key, ".") }
