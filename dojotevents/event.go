package dojotevents

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

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

// The kinds that x509-identity-mgmt sends, in dojot 0.5 and later. That
// platform's access lists are made of them.
const (
	OwnershipCreate Kind = "ownership.create" // a certificate was given to a device or an application
	OwnershipUpdate Kind = "ownership.update" // it was given to another; previousBelongsTo in Data says whose it was
	OwnershipDelete Kind = "ownership.delete" // it was revoked or removed
	TrustedCACreate Kind = "trustedca.create" // a tenant's own CA is to be trusted
	TrustedCADelete Kind = "trustedca.delete" // no more
)

// The kinds that auth sends, whose own names for them are CREATE and DELETE.
const (
	TenantCreate Kind = "tenancy.create" // a tenant got its first user
	TenantDelete Kind = "tenancy.delete" // a tenant's last user has gone
)

const tenancyPrefix = "tenancy."

// Envelope is the shape of an event's document.
type Envelope uint8

const (
	EnvelopeDevice  Envelope = iota // {"event": …, "data": {"id": …, …}, "meta": {"service": …}}
	EnvelopeX509                    // {"metadata": {"tenant": …, …}, "data": {"eventType": …, "eventData": {…}}}
	EnvelopeTenancy                 // {"type": …, "tenant": …}
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

// knownKind returns the kind whose name is written in raw without escapes, if it
// is a frequent one.
func knownKind(raw []byte) (k Kind, ok bool) {
	switch string(raw) {
	case `"create"`:
		return Create, true
	case `"update"`:
		return Update, true
	case `"remove"`:
		return Remove, true
	case `"configure"`:
		return Configure, true
	}
	return "", false
}

// envelope returns the one in which events of a kind come.
func (k Kind) envelope() (e Envelope, known bool) {
	switch k {
	case Create, Update, Remove, Configure, Actuate, TemplateUpdate:
		return EnvelopeDevice, true
	case OwnershipCreate, OwnershipUpdate, OwnershipDelete, TrustedCACreate, TrustedCADelete:
		return EnvelopeX509, true
	case TenantCreate, TenantDelete:
		return EnvelopeTenancy, true
	}
	return 0, false
}

func (k Kind) needsDevice() bool {
	switch k {
	case Create, Update, Remove, Configure, Actuate:
		return true
	}
	return false
}

// needsTenant leaves out the certificates, of which those of applications have
// no tenant.
func (k Kind) needsTenant() bool {
	return k.needsDevice() || k == TemplateUpdate || k == TrustedCACreate || k == TrustedCADelete
}

func (k Kind) needsFingerprint() bool {
	e, known := k.envelope()
	return known && e == EnvelopeX509
}

// Event is one event.
type Event struct {
	Kind     Kind
	Tenant   string // meta.service, metadata.tenant or tenant
	DeviceID string // data.id, or the device that owns the certificate; unique within its tenant only

	// Fingerprint is that of a certificate, or of a trusted CA's, as it was
	// sent: the SHA-256 of its DER in hexadecimal digits, which dojot writes in
	// upper case and with colons. Application is what owns the certificate, if
	// not a device. The owner is that in data.eventData.belongsTo, and of
	// OwnershipDelete the one that was, in previousBelongsTo.
	Fingerprint string
	Application string

	// Envelope is the document's shape. EnvelopeDevice is the zero value.
	Envelope Envelope

	// Data and Meta are the members data and meta, or data.eventData and
	// metadata, as they were sent, nil when there were none. Of an event
	// about a tenant, Data is the whole document. They may hold keys in
	// clear: don't log them. Encode writes them, encoding/json doesn't.
	Data json.RawMessage `json:"-"`
	Meta json.RawMessage `json:"-"`
}

// String returns kind, tenant and device, quoted where they must be, without
// Data and Meta.
func (e Event) String() string {
	return printable(string(e.Kind)) + " " + printable(e.Tenant) + ":" + printable(e.DeviceID)
}

// Format prints what String returns, whatever the verb.
func (e Event) Format(f fmt.State, _ rune) { io.WriteString(f, e.String()) }

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
