package dojothttp

import (
	"context"
	"fmt"
	"net/http"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// Auth asks dojot's auth service for tenants. It may be used concurrently.
type Auth struct {
	URL        string       // such as "http://auth:5000"
	HTTPClient *http.Client // nil: http.DefaultClient, so give ctx a deadline
}

// Tenants returns the names of all tenants. They may hold any character.
func (a *Auth) Tenants(ctx context.Context) ([]string, error) {
	var answer struct {
		Tenants []string `json:"tenants"`
	}
	if err := get(ctx, a.HTTPClient, a.URL, dojotevents.ManagementTenant, nil, &answer, "admin", "tenants"); err != nil {
		return nil, fmt.Errorf("listing tenants: %w", err)
	}
	if answer.Tenants == nil {
		return nil, fmt.Errorf("listing tenants: the answer has no list called tenants")
	}
	return answer.Tenants, nil
}
