package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

func TestAPIToken(t *testing.T) {
	ca := ejbcatest.NewServer()
	defer ca.Close()
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newTestManager(t, ca, "--api", ":9010", "--api-token-file", tokenFile)
	api := m.handler(&dojotkafka.Consumer{})
	for _, tc := range []struct {
		name, method, path, authorization string
		admitted                          bool
	}{
		{"no token", "PUT", "/v1/devices/admin/24f6", "", false},
		{"another one", "PUT", "/v1/devices/admin/24f6", "Bearer sesame", false},
		{"no token, listing", "GET", "/v1/devices", "", false},
		{"no token, list", "PUT", "/v1/crl", "", false},
		{"no token, no such path", "GET", "/", "", false},
		{"the token", "GET", "/v1/devices", "Bearer open sesame", true},
		{"health", "GET", "/healthz", "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, tc.path, nil)
			r.Header.Set("Authorization", tc.authorization)
			w := httptest.NewRecorder()
			api.ServeHTTP(w, r)
			if admitted := w.Code != http.StatusUnauthorized; admitted != tc.admitted {
				t.Errorf("got %d %s, want admitted %v", w.Code, w.Body, tc.admitted)
			}
			if !tc.admitted && (w.Header().Get("WWW-Authenticate") != "Bearer" || strings.Contains(w.Body.String(), "sesame")) {
				t.Errorf("headers %v, body %s", w.Header(), w.Body)
			}
		})
	}
	for d := range m.fleet.Devices {
		t.Errorf("device %s was added", d)
	}
}
