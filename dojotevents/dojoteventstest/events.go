package dojoteventstest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// These builders give events as device-manager 0.4 and later sends them, all of
// the same device model, and as auth does. All builders always say the same of
// the same arguments.

// CreateEvent returns the event of a new device.
func CreateEvent(tenant, id string) dojotevents.Event {
	return event(dojotevents.Create, tenant, id, newDevice(id))
}

// UpdateEvent returns the event of a changed device. As after the generation of
// a pre-shared key, one of its attributes holds a key in clear.
func UpdateEvent(tenant, id string) dojotevents.Event {
	d := newDevice(id)
	d.Updated = "2020-09-17T08:02:11.530877+00:00"
	d.Attrs["1"] = append(d.Attrs["1"], deviceAttribute{
		attribute: attribute{
			ID: 3, Label: "shared_key", Type: "static", ValueType: "psk", StaticValue: "bm90IGEgcmVhbCBrZXk=",
			TemplateID: "1", Created: templateCreated,
		},
		Overridden: true,
	})
	return event(dojotevents.Update, tenant, id, d)
}

// RemoveEvent returns the event of a removed device, which holds the whole device.
func RemoveEvent(tenant, id string) dojotevents.Event {
	return event(dojotevents.Remove, tenant, id, newDevice(id))
}

// ConfigureEvent returns the event of a message for a device, sent at the given
// time: new values of attributes of the actuator type.
func ConfigureEvent(tenant, id string, at time.Time, attrs map[string]any) dojotevents.Event {
	e := event(dojotevents.Configure, tenant, id, struct {
		ID    string         `json:"id"`
		Attrs map[string]any `json:"attrs"`
	}{id, attrs})
	e.Meta = marshal(struct {
		Service   string `json:"service"`
		Timestamp int64  `json:"timestamp"` // milliseconds
	}{tenant, at.UnixMilli()})
	return e
}

// TemplateUpdateEvent returns the event of a changed template that devices use.
// Device-manager sends an update for each of them as well.
func TemplateUpdateEvent(tenant string, affected ...string) dojotevents.Event {
	if affected == nil {
		affected = []string{}
	}
	return event(dojotevents.TemplateUpdate, tenant, "", templateUpdate{
		Affected: affected,
		Template: template{
			ID: 1, Label: "weather station", Created: templateCreated,
			Attrs: templateAttrs(), DataAttrs: templateAttrs(), ConfigAttrs: []attribute{},
		},
	})
}

// TenantCreateEvent returns the event of a tenant that got its first user.
func TenantCreateEvent(tenant string) dojotevents.Event {
	return tenancyEvent(dojotevents.TenantCreate, "CREATE", tenant)
}

// TenantDeleteEvent returns the event of a tenant that has lost its last user.
func TenantDeleteEvent(tenant string) dojotevents.Event {
	return tenancyEvent(dojotevents.TenantDelete, "DELETE", tenant)
}

func tenancyEvent(kind dojotevents.Kind, sentAs, tenant string) dojotevents.Event {
	return dojotevents.Event{
		Kind: kind, Tenant: tenant, Envelope: dojotevents.EnvelopeTenancy,
		Data: marshal(struct {
			Type   string `json:"type"`
			Tenant string `json:"tenant"`
		}{sentAs, tenant}),
	}
}

const templateCreated = "2020-09-16T14:50:09.297163+00:00"

type attribute struct {
	ID          int    `json:"id"`
	Label       string `json:"label"`
	Type        string `json:"type"`
	ValueType   string `json:"value_type"`
	StaticValue string `json:"static_value"`
	TemplateID  string `json:"template_id"`
	Created     string `json:"created"`
}

type deviceAttribute struct {
	attribute
	Overridden bool `json:"is_static_overridden"`
}

type device struct {
	ID        string                       `json:"id"`
	Label     string                       `json:"label"`
	Templates []int                        `json:"templates"`
	Created   string                       `json:"created"`
	Updated   string                       `json:"updated,omitempty"`
	Attrs     map[string][]deviceAttribute `json:"attrs"` // by template id
}

type template struct {
	ID          int         `json:"id"`
	Label       string      `json:"label"`
	Created     string      `json:"created"`
	Attrs       []attribute `json:"attrs"`
	DataAttrs   []attribute `json:"data_attrs"`
	ConfigAttrs []attribute `json:"config_attrs"`
}

type templateUpdate struct {
	Affected []string `json:"affected"`
	Template template `json:"template"`
}

func templateAttrs() []attribute {
	return []attribute{
		{ID: 1, Label: "rain", Type: "dynamic", ValueType: "float", TemplateID: "1", Created: templateCreated},
		{ID: 2, Label: "target_temperature", Type: "actuator", ValueType: "float", TemplateID: "1", Created: templateCreated},
	}
}

func newDevice(id string) device {
	var attrs []deviceAttribute
	for _, a := range templateAttrs() {
		attrs = append(attrs, deviceAttribute{attribute: a})
	}
	return device{
		ID:        id,
		Label:     "weather station " + id,
		Templates: []int{1},
		Created:   "2020-09-16T14:50:34.749230+00:00",
		Attrs:     map[string][]deviceAttribute{"1": attrs},
	}
}

func event(kind dojotevents.Kind, tenant, id string, data any) dojotevents.Event {
	return dojotevents.Event{
		Kind:     kind,
		Tenant:   tenant,
		DeviceID: id,
		Data:     marshal(data),
		Meta:     marshal(map[string]string{"service": tenant}),
	}
}

// marshal panics for what JSON can't express: a value given to ConfigureEvent, by
// the programmer.
func marshal(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("dojoteventstest: %v", err))
	}
	return data
}
