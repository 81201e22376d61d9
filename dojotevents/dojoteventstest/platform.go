package dojoteventstest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// Platform serves what dojot's services answer over HTTP, as far as those need
// it who follow devices: device-manager's GET /device, data-broker's
// GET /topic/<subject> and auth's GET /admin/tenants, on one loopback port. As
// in dojot, a token names a tenant, and nobody checks its signature. Its methods
// may be called concurrently.
type Platform struct {
	URL string // of each of the services

	server *httptest.Server

	mu        sync.Mutex
	devices   map[string][]string // ids by tenant
	topics    map[string]string   // by tenant and subject
	named     func(tenant, subject string) string
	intercept func(http.ResponseWriter, *http.Request) bool
}

// NewPlatform starts a Platform of some tenants, without devices, which runs
// until Close. It panics if it can't listen on the loopback interface.
func NewPlatform(tenants ...string) *Platform {
	p := &Platform{devices: make(map[string][]string), topics: make(map[string]string), named: dojotevents.SubjectTopic}
	for _, tenant := range tenants {
		p.devices[tenant] = nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /device", p.listDevices)
	mux.HandleFunc("GET /topic/{subject}", p.topic)
	mux.HandleFunc("GET /admin/tenants", p.tenants)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		intercept := p.intercept
		p.mu.Unlock()
		if intercept == nil || !intercept(w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	p.URL = p.server.URL
	return p
}

// Close stops the Platform, when it has answered what it was asked.
func (p *Platform) Close() { p.server.Close() }

// Intercept has f see every request first, and answer those for which it returns
// true. Nil ends that.
func (p *Platform) Intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intercept = f
}

// AddDevices lists further devices of a tenant, who is made if need be. It
// publishes nothing.
func (p *Platform) AddDevices(tenant string, ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices[tenant] = append(p.devices[tenant], ids...)
}

// RemoveDevices takes devices of a tenant off the list. It publishes nothing.
func (p *Platform) RemoveDevices(tenant string, ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices[tenant] = slices.DeleteFunc(p.devices[tenant], func(id string) bool { return slices.Contains(ids, id) })
}

// RandomTopics has data-broker answer as it did until dojot 0.4: each tenant and
// subject has a topic whose name says nothing.
func (p *Platform) RandomTopics() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.named = func(string, string) string { return strings.ToLower(rand.Text()) }
}

// Publish sends events of a tenant to the topic that data-broker has for the
// subject of device events.
func (p *Platform) Publish(ctx context.Context, k *Kafka, events ...dojotevents.Event) error {
	for _, e := range events {
		value, err := dojotevents.Encode(e)
		if err != nil {
			return err
		}
		if err := k.PublishRaw(ctx, p.topicOf(e.Tenant, dojotevents.Subject), value); err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) topicOf(tenant, subject string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := tenant + "\x00" + subject
	if p.topics[key] == "" {
		p.topics[key] = p.named(tenant, subject)
	}
	return p.topics[key]
}

func (p *Platform) listDevices(w http.ResponseWriter, r *http.Request) {
	tenant, ok := authorized(w, r)
	if !ok {
		return
	}
	page, size := number(r, "page_num", 1), number(r, "page_size", 20)
	if page < 1 || size < 1 {
		answer(w, http.StatusBadRequest, map[string]any{"message": "Page numbers must be greater than 1", "status": 400})
		return
	}
	p.mu.Lock()
	ids := slices.Sorted(slices.Values(p.devices[tenant]))
	p.mu.Unlock()
	pages := (len(ids) + size - 1) / size
	devices := []device{}
	if page <= pages { // beyond is a page without devices
		for _, id := range ids[(page-1)*size : min(page*size, len(ids))] {
			devices = append(devices, newDevice(id))
		}
	}
	pagination := map[string]any{"page": page, "total": pages, "has_next": page < pages, "next_page": nil}
	if page < pages {
		pagination["next_page"] = page + 1
	}
	answer(w, http.StatusOK, map[string]any{"devices": devices, "pagination": pagination})
}

func (p *Platform) topic(w http.ResponseWriter, r *http.Request) {
	if tenant, ok := authorized(w, r); ok {
		answer(w, http.StatusOK, map[string]string{"topic": p.topicOf(tenant, r.PathValue("subject"))})
	}
}

func (p *Platform) tenants(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := []string{}
	for tenant := range p.devices {
		names = append(names, tenant)
	}
	slices.Sort(names)
	answer(w, http.StatusOK, map[string]any{"tenants": names})
}

// authorized returns the tenant that the request's token names, or refuses.
func authorized(w http.ResponseWriter, r *http.Request) (tenant string, ok bool) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" {
		answer(w, http.StatusUnauthorized, map[string]string{"message": "Authentication (JWT) required for API"})
		return "", false
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		answer(w, http.StatusUnauthorized, map[string]string{"message": "Invalid authentication token given"})
		return "", false
	}
	var claims struct {
		Username string `json:"username"`
		Service  string `json:"service"`
	}
	decoded, err := base64.StdEncoding.DecodeString(parts[1])
	if err != nil {
		decoded, err = base64.RawURLEncoding.DecodeString(parts[1])
	}
	if err != nil || json.Unmarshal(decoded, &claims) != nil || claims.Username == "" || claims.Service == "" {
		answer(w, http.StatusUnauthorized, map[string]string{"message": "Authentication (JWT) required for API"})
		return "", false
	}
	return claims.Service, true
}

func number(r *http.Request, key string, otherwise int) int {
	text := r.URL.Query().Get(key)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // to a client that may have gone
}
