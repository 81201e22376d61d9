package ejbcatest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

func TestGateway(t *testing.T) {
	ca := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "through") })
	now := time.Now()
	account := ejbcatest.Account{Username: "admin", Password: "admin"}
	g := ejbcatest.NewGateway(ca, account, ejbcatest.Account{Username: "nopassword"})
	g.Now = func() time.Time { return now }
	other := ejbcatest.NewGateway(ca, account)
	ask := func(h http.Handler, method, path, auth, body string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	login := func(h http.Handler) string {
		server := httptest.NewServer(h)
		defer server.Close()
		token, err := (&ejbca.Credentials{BaseURL: server.URL, Username: "admin", Password: "admin"}).Login(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	token, foreign := login(g), login(other)
	claims := jwt.MapClaims{"exp": now.Add(time.Minute).Unix(), "username": "admin", "service": "admin"}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	emptyKey, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte{})
	if err != nil {
		t.Fatal(err)
	}
	const (
		unauthorized = `{"message":"Unauthorized"}`
		invalid      = `{"message":"Invalid or expired token"}`
	)
	for _, tc := range []struct {
		name, method, path, auth, body string
		status                         int
		want                           string
	}{
		{"valid token", "GET", "/ca", "Bearer " + token, "", 200, "through"},
		{"scheme in lower case", "GET", "/ca", "bearer " + token, "", 200, "through"},
		{"no token", "GET", "/ca", "", "", 401, unauthorized},
		{"other scheme", "GET", "/ca", "Basic " + token, "", 401, unauthorized},
		{"token of another gateway", "GET", "/ca", "Bearer " + foreign, "", 401, invalid},
		{"unsigned token", "GET", "/ca", "Bearer " + unsigned, "", 401, invalid},
		{"token signed with nothing", "GET", "/ca", "Bearer " + emptyKey, "", 401, invalid},
		{"garbage", "GET", "/ca", "Bearer x", "", 401, invalid},
		{"login by GET", "GET", "/auth", "", "", 405, `{"message":"method not allowed, expected POST","status":405}`},
		{"login without JSON", "POST", "/auth", "", "x", 400, `{"message":"malformed JSON","status":400}`},
		{"endless login", "POST", "/auth", "", `{"username":"` + strings.Repeat("a", 20_000), 400, `{"message":"malformed JSON","status":400}`},
		{"unknown user", "POST", "/auth", "", `{"username":"x","passwd":"admin"}`, 401, `{"message":"AuthenticationError","status":401}`},
		{"wrong password", "POST", "/auth", "", `{"username":"admin","passwd":"Admin"}`, 403, `{"message":"AuthorizationError","status":403}`},
		{"no user", "POST", "/auth", "", `{"passwd":"admin"}`, 400, `{"message":"missing username","status":400}`},
		{"no password", "POST", "/auth", "", `{"username":"admin"}`, 400, `{"message":"missing password","status":400}`},
		{"empty password of an account without one", "POST", "/auth", "", `{"username":"nopassword","passwd":""}`, 400, `{"message":"missing password","status":400}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if status, got := ask(g, tc.method, tc.path, tc.auth, tc.body); status != tc.status || got != tc.want {
				t.Errorf("got %d %s, want %d %s", status, got, tc.status, tc.want)
			}
		})
	}
	now = now.Add(421 * time.Second)
	if status, got := ask(g, "GET", "/ca", "Bearer "+token, ""); status != 401 || got != invalid {
		t.Errorf("after 421 s: got %d %s, want 401", status, got)
	}
}
