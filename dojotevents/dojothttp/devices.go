package dojothttp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// DeviceManager asks dojot's device-manager for devices. It may be used
// concurrently.
type DeviceManager struct {
	URL        string       // such as "http://device-manager:5000"
	HTTPClient *http.Client // nil: http.DefaultClient, so give ctx a deadline
	PageSize   int          // devices asked for at a time; zero means 500
}

const defaultPageSize = 500

// Devices asks for all devices of tenants, page by page, and yields each as the
// event that created it would look. An error about a single device, a
// *dojotevents.DecodeError, stands in its place; any other ends the list of
// that tenant.
func (m *DeviceManager) Devices(ctx context.Context, tenants ...string) iter.Seq2[dojotevents.Event, error] {
	return func(yield func(dojotevents.Event, error) bool) {
		for _, tenant := range tenants {
			if !m.devices(ctx, tenant, yield) {
				return
			}
		}
	}
}

// devices yields the devices of a tenant, and reports whether to go on.
func (m *DeviceManager) devices(ctx context.Context, tenant string, yield func(dojotevents.Event, error) bool) bool {
	size := m.PageSize
	if size <= 0 {
		size = defaultPageSize
	}
	for page := 1; ; {
		var answer struct {
			Devices    []json.RawMessage `json:"devices"`
			Pagination *struct {
				HasNext bool `json:"has_next"`
				Next    *int `json:"next_page"`
			} `json:"pagination"`
		}
		query := url.Values{"page_num": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(size)}}
		err := get(ctx, m.HTTPClient, m.URL, tenant, query, &answer, "device")
		switch {
		case err != nil:
		case answer.Devices == nil || answer.Pagination == nil:
			err = fmt.Errorf("page %d has no devices or no pagination", page)
		case answer.Pagination.HasNext && (answer.Pagination.Next == nil || *answer.Pagination.Next <= page):
			err = fmt.Errorf("page %d has a next one without saying which", page)
		case answer.Pagination.HasNext && len(answer.Devices) == 0:
			err = fmt.Errorf("page %d is empty and not the last", page)
		}
		if err != nil {
			return yield(dojotevents.Event{}, fmt.Errorf("listing devices of tenant %q: %w", tenant, err))
		}
		for _, raw := range answer.Devices {
			e, err := created(tenant, raw)
			if err != nil {
				err = fmt.Errorf("listing devices of tenant %q: %w", tenant, err)
			}
			if !yield(e, err) {
				return false
			}
		}
		if !answer.Pagination.HasNext {
			return true
		}
		page = *answer.Pagination.Next
	}
}

// created returns the event of a device in a list.
func created(tenant string, device json.RawMessage) (dojotevents.Event, error) {
	meta, err := json.Marshal(map[string]string{"service": tenant})
	if err != nil {
		return dojotevents.Event{}, err
	}
	var b bytes.Buffer
	b.WriteString(`{"event":"create","data":`)
	b.Write(device)
	b.WriteString(`,"meta":`)
	b.Write(meta)
	b.WriteByte('}')
	return dojotevents.Decode(b.Bytes())
}
