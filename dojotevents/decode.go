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
	MaxName  = 256     // bytes of a kind, a tenant or a device id
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

// Decode reads one record's value. The error, if any, is a *DecodeError.
// Data and Meta of the event share memory with value.
func Decode(value []byte) (Event, error) {
	if err := check(value); err != nil {
		return Event{}, err
	}
	document, err := object("", value, "event", "data", "meta")
	if err != nil {
		return Event{}, err
	}
	kind, err := nonEmpty("event", document["event"])
	if err != nil {
		return Event{}, err
	}
	e := Event{
		Kind: Kind(kind).canonical(),
		Data: document["data"],
		Meta: document["meta"],
	}
	if e.DeviceID, err = identifier(e.Data, "data", "id", e.Kind.needsDevice()); err != nil {
		return Event{}, err
	}
	if e.Tenant, err = identifier(e.Meta, "meta", "service", e.Kind.needsTenant()); err != nil {
		return Event{}, err
	}
	return e, nil
}

// check makes sure that value is one JSON value within the limits.
func check(value []byte) error {
	if len(value) > MaxSize {
		return &DecodeError{Err: fmt.Errorf("%w: %d bytes (want at most %d)", ErrLimit, len(value), MaxSize)}
	}
	for i := 0; i < len(value); {
		r, n := utf8.DecodeRune(value[i:])
		if r == utf8.RuneError && n == 1 {
			return &DecodeError{Offset: int64(i), Err: ErrSyntax}
		}
		i += n
	}
	if deeperThan(value, MaxDepth) {
		return &DecodeError{Err: fmt.Errorf("%w: objects and arrays nest too deep (want at most %d levels)", ErrLimit, MaxDepth)}
	}
	if !json.Valid(value) {
		// Unmarshal names the place; its text would quote the value.
		var syntax *json.SyntaxError
		var offset int64
		if errors.As(json.Unmarshal(value, new(json.RawMessage)), &syntax) {
			offset = max(0, syntax.Offset-1)
		}
		return &DecodeError{Offset: offset, Err: ErrSyntax}
	}
	return nil
}

// identifier returns the string called key of an object that is a member of
// the document. Where it isn't needed, one that isn't a string is left out.
func identifier(raw json.RawMessage, parent, key string, needed bool) (string, error) {
	path := parent + "." + key
	switch {
	case raw == nil && needed:
		return "", &DecodeError{Field: parent, Err: ErrMissing}
	case !needed && (raw == nil || raw[0] != '{'):
		return "", nil
	}
	members, err := object(parent, raw, key)
	if err != nil {
		return "", err
	}
	id, err := nonEmpty(path, members[key])
	if !needed && (errors.Is(err, ErrMissing) || errors.Is(err, ErrType)) {
		return "", nil
	}
	return id, err
}

// nonEmpty returns the text of a JSON string that names something.
func nonEmpty(path string, raw json.RawMessage) (string, error) {
	if raw == nil {
		return "", &DecodeError{Field: path, Err: ErrMissing}
	}
	if raw[0] != '"' {
		return "", &DecodeError{Field: path, Err: fmt.Errorf("%w (want a string)", ErrType)}
	}
	s := text(raw)
	switch {
	case s == "":
		return "", &DecodeError{Field: path, Err: fmt.Errorf("%w (want a string that isn't empty)", ErrMissing)}
	case len(s) > MaxName:
		return "", &DecodeError{Field: path, Err: fmt.Errorf("%w: %d bytes (want at most %d)", ErrLimit, len(s), MaxName)}
	case strings.ContainsRune(s, utf8.RuneError):
		// Half of a surrogate pair is read as U+FFFD: different names would
		// become the same.
		return "", &DecodeError{Field: path, Err: fmt.Errorf("%w: replacement character or half of a surrogate pair", ErrSyntax)}
	}
	return s, nil
}

// object returns the wanted members of a JSON object.
func object(path string, raw json.RawMessage, want ...string) (map[string]json.RawMessage, error) {
	first := bytes.TrimLeft(raw, whitespace)
	if first[0] != '{' {
		return nil, &DecodeError{Field: path, Err: fmt.Errorf("%w (want an object)", ErrType)}
	}
	found := make(map[string]json.RawMessage, len(want))
	seen := make(map[string]struct{})
	for key, value := range members(first) {
		k := text(key)
		wanted := false
		for _, w := range want {
			wanted = wanted || w == k
		}
		if _, twice := seen[k]; twice {
			// Only the names that are ours may appear in an error.
			if wanted {
				path = strings.TrimPrefix(path+"."+k, ".")
			}
			return nil, &DecodeError{Field: path, Err: ErrDuplicate}
		}
		seen[k] = struct{}{}
		if wanted {
			found[k] = value
		}
	}
	return found, nil
}
