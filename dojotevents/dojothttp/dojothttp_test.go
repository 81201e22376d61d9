package dojothttp_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojothttp"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

func newPlatform(t testing.TB, tenants ...string) *dojoteventstest.Platform {
	p := dojoteventstest.NewPlatform(tenants...)
	t.Cleanup(p.Close)
	return p
}

// reply has a platform answer everything with a status and a body.
func reply(p *dojoteventstest.Platform, status int, body string) {
	p.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	})
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%06x", i)
	}
	return out
}

func TestDevices(t *testing.T) {
	p := newPlatform(t)
	odd := "a/b?c=d&é\n" // what dojot lets a tenant be called
	p.AddDevices("admin", ids(45)...)
	p.AddDevices(odd, "a1")
	m := &dojothttp.DeviceManager{URL: p.URL, PageSize: 20}
	var got []string
	requests := 0
	p.Intercept(func(http.ResponseWriter, *http.Request) bool { requests++; return false })
	for e, err := range m.Devices(t.Context(), "admin", "none", odd) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != dojotevents.Create || !strings.Contains(string(e.Data), `"templates":[1]`) {
			t.Errorf("got %v with %s, want a create event with the device", e, e.Data)
		}
		if e.Tenant == "admin" {
			got = append(got, e.DeviceID)
		} else if e.Tenant != odd || e.DeviceID != "a1" {
			t.Errorf("got %v, want a1 of the tenant with the odd name", e)
		}
		if _, err := dojotevents.Encode(e); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(ids(45), got); diff != "" {
		t.Errorf("devices of admin (-want +got):\n%s", diff)
	}
	if requests != 5 {
		t.Errorf("%d requests, want 3 pages of admin and one of each other", requests)
	}
	for range m.Devices(t.Context(), "admin") {
		break // must not panic, nor ask for the rest
	}
	if requests != 6 {
		t.Errorf("%d requests after a list that was left, want 6", requests)
	}
}

func TestDevicesErrors(t *testing.T) {
	const secret = "c2VjcmV0"
	page := func(devices, pagination string) string {
		return `{"devices":[` + devices + `],"pagination":` + pagination + `}`
	}
	const last = `{"page":1,"total":1,"has_next":false,"next_page":null}`
	tests := []struct {
		name, body string
		status     int
		want       string
		events     int
	}{
		{"not JSON", `<html>` + secret, 200, "not JSON at byte 1", 0},
		{"a list", `["` + secret + `"]`, 200, "another shape", 0},
		{"no devices", `{"pagination":` + last + `}`, 200, "no devices or no pagination", 0},
		{"no pagination", `{"devices":[]}`, 200, "no devices or no pagination", 0},
		{"goes in circles", page(`{"id":"a"}`, `{"has_next":true,"next_page":1}`), 200, "without saying which", 0},
		{"goes nowhere", page(`{"id":"a"}`, `{"has_next":true,"next_page":null}`), 200, "without saying which", 0},
		{"never ends", page(``, `{"has_next":true,"next_page":2}`), 200, "empty and not the last", 0},
		{"refused", `{"message":"no such tenant"}`, 401, `401 Unauthorized: "no such tenant"`, 0},
		{"gateway", `<html>` + secret, 502, "502 Bad Gateway", 0},
		{"one device without id", page(`{"id":"a"},{"k":"`+secret+`"},{"id":"b"}`, last), 200, "data.id: missing", 2},
		{"one device isn't one", page(`{"id":"a"},"`+secret+`"`, last), 200, "data: wrong type", 1},
		{"device twice over", page(`{"id":"a","id":"b"}`, last), 200, "data.id: more than one", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlatform(t)
			reply(p, tt.status, tt.body)
			m := &dojothttp.DeviceManager{URL: p.URL}
			events := 0
			var errs []error
			for _, err := range m.Devices(t.Context(), "admin") {
				if err == nil {
					events++
				} else {
					errs = append(errs, err)
				}
			}
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want) {
				t.Errorf("errors = %v, want one with %s", errs, tt.want)
			}
			if events != tt.events {
				t.Errorf("%d events, want %d", events, tt.events)
			}
			if strings.Contains(fmt.Sprint(errs), secret) {
				t.Errorf("error shows the answer: %v", errs)
			}
			var status *dojothttp.StatusError
			if tt.status != 200 && (!errors.As(errs[0], &status) || status.StatusCode != tt.status) {
				t.Errorf("error = %v, want a StatusError of %d", errs[0], tt.status)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	p := dojoteventstest.NewPlatform()
	p.Close()
	for _, url := range []string{p.URL, "", "device-manager:5000", "ftp://device-manager", "http://", "http://user:secret@127.0.0.1:1",
		"user:secret@device-manager:5000", "ftp://user:secret@device-manager", "http://user:secr et@device-manager"} {
		_, err := (&dojothttp.Auth{URL: url}).Tenants(t.Context())
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Tenants at %q = %v, want an error without the password", url, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&dojothttp.Auth{URL: p.URL}).Tenants(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
}

func TestTopicsAndTenants(t *testing.T) {
	p := newPlatform(t, "admin", "harbour_7")
	auth := &dojothttp.Auth{URL: p.URL + "/"}
	tenants, err := auth.Tenants(t.Context())
	if err != nil || !slices.Equal(tenants, []string{"admin", "harbour_7"}) {
		t.Errorf("tenants = %v, %v, want admin and harbour_7", tenants, err)
	}
	broker := &dojothttp.DataBroker{URL: p.URL}
	resolve := broker.Resolver(auth.Tenants, dojotevents.Subject, dojotevents.CertificatesSubject)
	want := map[string]string{
		"admin.dojot.device-manager.device":               "admin",
		"harbour_7.dojot.device-manager.device":           "harbour_7",
		"admin.dojot.x509-identity-mgmt.certificates":     "admin",
		"harbour_7.dojot.x509-identity-mgmt.certificates": "harbour_7",
	}
	got, err := resolve(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, topics (-want +got):\n%s", err, diff)
	}

	// Data-broker is down for new questions; what it said holds.
	p.AddDevices("new")
	p.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/topic/") {
			http.Error(w, `{"error":"Failed to process topic"}`, 500)
			return true
		}
		return false
	})
	got, err = resolve(t.Context())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("topics while data-broker is down (-want +got):\n%s", diff)
	}
	if err == nil || strings.Count(err.Error(), `tenant "new"`) != 2 || !strings.Contains(err.Error(), "Failed to process topic") {
		t.Errorf("error = %v, want one for each subject of the new tenant", err)
	}
	for _, body := range []string{`{}`, `{"topic":7}`, `[]`} {
		reply(p, 200, body)
		if topic, err := broker.Topic(t.Context(), "other", "s"); err == nil {
			t.Errorf("topic for %s = %q, want an error", body, topic)
		}
		if tenants, err := auth.Tenants(t.Context()); err == nil {
			t.Errorf("tenants for %s = %q, want an error", body, tenants)
		}
	}
}

// A topic that data-broker names for several tenants is that of none in
// particular, or the events of all but one would be taken for another's.
func TestResolverOneTopicForTwo(t *testing.T) {
	p := newPlatform(t)
	p.AddDevices("admin")
	p.AddDevices("harbour_7")
	p.AddDevices("third")
	p.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/topic/") {
			return false
		}
		_, claims, _ := strings.Cut(r.Header.Get("Authorization"), ".")
		claims, _, _ = strings.Cut(claims, ".")
		topic := "shared"
		if text, _ := base64.StdEncoding.DecodeString(claims); strings.Contains(string(text), "third") {
			topic = "own"
		}
		fmt.Fprintf(w, `{"topic":%q}`, topic)
		return true
	})
	broker, auth := &dojothttp.DataBroker{URL: p.URL}, &dojothttp.Auth{URL: p.URL}
	resolve := broker.Resolver(auth.Tenants, dojotevents.Subject, dojotevents.CertificatesSubject)
	got, err := resolve(t.Context())
	if diff := cmp.Diff(map[string]string{"shared": "", "own": "third"}, got); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
	if err == nil || strings.Count(err.Error(), "shared") != 1 || !strings.Contains(err.Error(), `"admin"`) || !strings.Contains(err.Error(), `"harbour_7"`) {
		t.Errorf("error = %v, want one that names the topic and both tenants", err)
	}
}

// The fake refuses as data-broker does, so that a client without a good token
// fails its tests.
func TestPlatformWantsTokens(t *testing.T) {
	p := newPlatform(t)
	for _, tt := range []struct{ token, want string }{
		{"", "Authentication (JWT) required for API"},
		{"x", "Invalid authentication token given"},
		{"a.b.c", "Authentication (JWT) required for API"},
		{dojothttp.Token("admin"), `{"topic":"admin.s"}`},
		{"Bearer " + dojothttp.Token("admin"), `{"topic":"admin.s"}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+"/topic/s", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", tt.token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), tt.want) {
			t.Errorf("token %q: %s, want %s", tt.token, body, tt.want)
		}
	}
}

// fleet is what somebody who follows devices keeps of them.
type fleet struct {
	mu      sync.Mutex
	devices map[string]bool // "tenant:id"
}

func (f *fleet) apply(e dojotevents.Event) {
	switch key := e.Tenant + ":" + e.DeviceID; e.Kind {
	case dojotevents.Create:
		f.devices[key] = true
	case dojotevents.Remove:
		delete(f.devices, key)
	}
}

func (f *fleet) present(yield func(tenant, id string) bool) {
	for key := range f.devices {
		if tenant, id, _ := strings.Cut(key, ":"); !yield(tenant, id) {
			return
		}
	}
}

// A consumer finds topics whose names say nothing, and what events didn't tell
// is made up for from the list of devices, while further events wait.
func TestFromScratch(t *testing.T) {
	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	p := newPlatform(t, "admin", "harbour_7")
	p.RandomTopics()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	f := fleet{devices: make(map[string]bool)}
	got := make(chan string, 10)
	auth := &dojothttp.Auth{URL: p.URL}
	broker := &dojothttp.DataBroker{URL: p.URL}
	consumer := &dojotkafka.Consumer{
		Brokers: kafka.Brokers(), TopicRefresh: 50 * time.Millisecond,
		Resolve: broker.Resolver(auth.Tenants, dojotevents.Subject),
	}
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(ctx, func(_ context.Context, batch []dojotkafka.Record) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, r := range batch {
				f.apply(r.Event)
				got <- r.Event.String()
			}
			return nil
		})
	}()
	publish := func(e dojotevents.Event) {
		t.Helper()
		if err := p.Publish(ctx, kafka, e); err != nil {
			t.Fatal(err)
		}
	}
	consumed := func(want string) {
		t.Helper()
		select {
		case e := <-got:
			if e != want {
				t.Errorf("consumed %s, want %s", e, want)
			}
		case err := <-ended:
			t.Fatalf("Run = %v before %s came", err, want)
		}
	}
	publish(dojoteventstest.CreateEvent("admin", "a1"))
	consumed("create admin:a1")
	publish(dojoteventstest.CreateEvent("harbour_7", "a1")) // and removed, of which there is no event
	consumed("create harbour_7:a1")

	p.AddDevices("admin", "a1", "a2", "a3")
	tenants, err := auth.Tenants(ctx)
	if err != nil {
		t.Fatal(err)
	}
	manager := &dojothttp.DeviceManager{URL: p.URL, PageSize: 1}
	f.mu.Lock()
	plan, err := dojotevents.NewPlan(manager.Devices(ctx, tenants...), f.present)
	if err != nil {
		t.Fatal(err)
	}
	p.RemoveDevices("admin", "a3") // after it was listed
	publish(dojoteventstest.RemoveEvent("admin", "a3"))
	if err := plan.Confirm(manager.Devices(ctx, tenants...)); err != nil {
		t.Fatal(err)
	}
	if want := "devices: 2 to create, 1 to remove, 1 unchanged"; plan.String() != want {
		t.Errorf("plan = %v, want %s", plan, want)
	}
	if len(f.devices) != 2 {
		t.Errorf("the plan alone changed devices: %v", f.devices)
	}
	for e := range plan.Events() {
		f.apply(e)
	}
	f.mu.Unlock()
	consumed("remove admin:a3")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want %v", err, context.Canceled)
	}
	if diff := cmp.Diff(map[string]bool{"admin:a1": true, "admin:a2": true}, f.devices); diff != "" {
		t.Errorf("devices at the end (-want +got):\n%s", diff)
	}
}

// FuzzDevices has a device-manager answer anything: the list ends, and each of
// its events encodes.
func FuzzDevices(f *testing.F) {
	f.Add([]byte(`{"devices":[{"id":"a"},{}],"pagination":{"has_next":false}}`))
	f.Add([]byte(`{"devices":[{"id":"a"}],"pagination":{"has_next":true,"next_page":2}}`))
	f.Add([]byte(`{"devices":[],"pagination":{"has_next":true,"next_page":-1}}`))
	p := newPlatform(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		first := true
		p.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			if first {
				_, _ = w.Write(body)
			} else {
				http.Error(w, "", http.StatusNotFound)
			}
			first = false
			return true
		})
		m := &dojothttp.DeviceManager{URL: p.URL}
		for e, err := range m.Devices(t.Context(), "admin") {
			if err != nil {
				continue
			}
			if _, err := dojotevents.Encode(e); err != nil || e.Tenant != "admin" || e.Kind != dojotevents.Create {
				t.Errorf("listed %v: %v", e, err)
			}
		}
	})
}
