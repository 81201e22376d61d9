package localca_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

// Whatever is asked, the answer is JSON in the service's shape, and never
// that something broke.
func FuzzRequests(f *testing.F) {
	csr := newRequest(f, keys()[0], greedy())
	for _, seed := range [][3]string{
		{"POST", "/sign/a/pkcs10", signBody("secret", csr)},
		{"POST", "/sign/a/pkcs10", `{"passwd":"secret","certificate":"MAA="}`},
		{"POST", "/sign/a/pkcs10", `{"passwd":null,"certificate":{}}`},
		{"POST", "/user", `{"username":"b","password":"x","status":10,"subjectDN":"CN=a\\,b, O=c"}`},
		{"POST", "/user", `{"username":"a","clearPwd":[],"status":1e9}`},
		{"GET", "/user/a%2F%0A?valid=x", ""},
		{"DELETE", "/user/a?reason=KEYCOMPROMISE", ""},
		{"DELETE", "/ca/CN=IOTmidCA,O=EJBCA%20IOT,C=SE/certificate/-1?reason=", ""},
		{"GET", "/ca/CN=%5C/certificate/0/status", ""},
		{"PUT", "/ca/IOTmidCA/crl?%zz", ""},
		{"GET", "//ca/../ca/./IOTmidCA//", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	s := serve(f, newDir(f), localca.Options{})
	s.register("a")
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		switch method {
		case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
		default:
			return
		}
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL = u
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ca.ServeHTTP(w, r)
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		if w.Code != http.StatusOK {
			var m struct {
				Message string
				Status  int
			}
			if json.Unmarshal(w.Body.Bytes(), &m) != nil || m.Status != w.Code || m.Message == "" {
				t.Errorf("got %d %s, want its message and status", w.Code, w.Body)
			}
		}
	})
}
