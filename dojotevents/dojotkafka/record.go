package dojotkafka

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// Position is where in Kafka a record is.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String returns topic:partition:offset.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.Topic, p.Partition, p.Offset) }

// LogValue returns the same as String.
func (p Position) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Record is one record of a topic. It prints and logs as its position, and
// encoding/json leaves out what it says.
type Record struct {
	Position
	Event     dojotevents.Event // zero if the value didn't decode
	Timestamp time.Time         // when it was produced, or when the broker got it
	Value     []byte            `json:"-"` // as it was sent; may hold keys in clear
}

// Format prints the position, whatever the verb.
func (r Record) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// RecordError is how a handler gives up a record for good: it will not
// succeed, however often it is tried. Several are returned by errors.Join.
type RecordError struct {
	Position // of the record in question, which must be one of the batch
	Err      error
}

func (e *RecordError) Error() string { return fmt.Sprintf("%v: %v", e.Position, e.Err) }

func (e *RecordError) Unwrap() error { return e.Err }

// recordErrors returns the errors that err consists of, or ok false if any
// part of it isn't about a single record.
func recordErrors(err error) (errs []*RecordError, ok bool) {
	switch e := err.(type) {
	case *RecordError:
		return []*RecordError{e}, true
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			more, ok := recordErrors(part)
			if !ok {
				return nil, false
			}
			errs = append(errs, more...)
		}
		return errs, len(errs) > 0
	case interface{ Unwrap() error }:
		return recordErrors(e.Unwrap())
	}
	return nil, false
}

// ErrTenant is why a record is set aside whose event names another tenant than
// the one whose topic it is in.
var ErrTenant = errors.New("the event's tenant is not that of its topic")

func received(r *kgo.Record) Record {
	return Record{
		Position:  Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
		Timestamp: r.Timestamp,
		Value:     r.Value,
	}
}

// open decodes a record's value, which must not be another tenant's event, if
// the topic is that of a tenant.
func (r *Record) open(tenant string) error {
	e, err := dojotevents.Decode(r.Value)
	if err != nil {
		return err
	}
	r.Event = e
	if tenant != "" && e.Tenant != "" && e.Tenant != tenant {
		return ErrTenant
	}
	return nil
}
