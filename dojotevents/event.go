package dojotevents

import (
	"encoding/json"
	"log/slog"
	"strconv"
)

// Subject is the dojot subject under which device-manager publishes, and the
// name of the one topic of all tenants that it published to before topics had
// tenants.
const Subject = "dojot.device-manager.device"

// Topic returns the name of the topic with tenant's device events. The name
// is not checked against Kafka's rules for topics.
func Topic(tenant string) string { return tenant + "." + Subject }

// Kind says what happened.
type Kind string

// The kinds that device-manager sends, but for Actuate, which is only in
// dojot's documentation: the event of an actuation is Configure.
const (
	Create         Kind = "create"          // a device was created
	Update         Kind = "update"          // a device was changed
	Remove         Kind = "remove"          // a device was removed; only its id may be relied on
	Configure      Kind = "configure"       // a device is to receive a message
	Actuate        Kind = "actuate"         // as Configure, by the name in the documentation
	TemplateUpdate Kind = "template.update" // a template was changed; names no single device
)

// canonical returns the kind that k is another name for.
func (k Kind) canonical() Kind {
	switch k {
	case "created":
		return Create
	case "updated":
		return Update
	case "removed", "delete", "deleted":
		return Remove
	}
	return k
}

func (k Kind) needsDevice() bool {
	switch k {
	case Create, Update, Remove, Configure, Actuate:
		return true
	}
	return false
}

func (k Kind) needsTenant() bool { return k.needsDevice() || k == TemplateUpdate }

// Event is one device event.
type Event struct {
	Kind     Kind
	Tenant   string // meta.service
	DeviceID string // data.id, unique within its tenant only

	// Data and Meta are the members data and meta as they were sent, nil
	// when there were none. They may hold keys in clear: don't log them.
	Data json.RawMessage
	Meta json.RawMessage
}

// String returns kind, tenant and device, quoted where they must be, without
// Data and Meta.
func (e Event) String() string {
	return printable(string(e.Kind)) + " " + printable(e.Tenant) + ":" + printable(e.DeviceID)
}

// LogValue returns kind, tenant and device, without Data and Meta.
func (e Event) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("kind", string(e.Kind)),
		slog.String("tenant", e.Tenant),
		slog.String("device", e.DeviceID))
}

func printable(s string) string {
	if q := strconv.Quote(s); len(q) != len(s)+2 {
		return q
	}
	return s
}
