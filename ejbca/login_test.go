package ejbca_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

// newGateway is dojot from outside: login, and the CA behind it.
func newGateway(t *testing.T) (url string, logins *atomic.Int32, gateway *ejbcatest.Gateway) {
	t.Helper()
	s, _ := newServer(t)
	gateway = ejbcatest.NewGateway(s, ejbcatest.Account{Username: "admin", Password: "sesame"}, ejbcatest.Account{Username: "bob", Password: "b", Tenant: "acme"})
	logins = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth" {
			logins.Add(1)
		}
		gateway.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, logins, gateway
}

func TestLogin(t *testing.T) {
	url, _, _ := newGateway(t)
	for _, tc := range []struct{ name, user, password, want string }{
		{"right", "admin", "sesame", ""},
		{"wrong password", "admin", "Sesame", `status 403 "AuthorizationError"`},
		{"unknown user", "eve", "sesame", `status 401 "AuthenticationError"`},
		{"no user", "", "sesame", `status 400 "missing username"`},
		{"no password", "admin", "", `status 400 "missing password"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			login := &ejbca.Credentials{BaseURL: url + "/", Username: tc.user, Password: tc.password}
			token, err := login.Login(t.Context())
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				claims, err := ejbca.ParseToken(token)
				if err != nil || claims.Username != tc.user || claims.Tenant != "admin" || claims.Expires.Sub(claims.Issued) != 420*time.Second {
					t.Errorf("claims %+v, %v", claims, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "esame") {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if denied := strings.HasPrefix(tc.want, "status 40") && !strings.HasPrefix(tc.want, "status 400"); errors.Is(err, ejbca.ErrDenied) != denied {
				t.Errorf("%v is denied: %v, want %v", err, !denied, denied)
			}
		})
	}
}

func TestTokenStaysFresh(t *testing.T) {
	url, logins, gateway := newGateway(t)
	start := time.Now()
	var ahead atomic.Int64
	gateway.Now = func() time.Time { return start.Add(time.Duration(ahead.Load())) }
	login := &ejbca.Credentials{
		BaseURL: url, Username: "bob", Password: "b",
		// A device's clock that is a day behind doesn't matter.
		Now: func() time.Time { return gateway.Now().Add(-24 * time.Hour) },
	}
	c := &ejbca.Client{BaseURL: url, Token: login.Token}
	use := func(want int32) {
		t.Helper()
		if _, err := c.CAs(t.Context()); err != nil {
			t.Error(err)
		}
		if got := logins.Load(); got != want {
			t.Errorf("%d logins, want %d", got, want)
		}
	}
	use(1)
	use(1)
	ahead.Add(int64(350 * time.Second))
	use(1)
	ahead.Add(int64(11 * time.Second)) // 59 s left of 420
	use(2)
	ahead.Add(int64(time.Hour))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.CAs(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	use(3)
}

func TestTokenErrors(t *testing.T) {
	url, logins, _ := newGateway(t)
	login := &ejbca.Credentials{BaseURL: url, Username: "admin", Password: "x"}
	c := &ejbca.Client{BaseURL: url, Token: login.Token}
	now := time.Now()
	login.Now = func() time.Time { return now }
	for want := int32(1); want <= 2; want++ { // who guesses too often may be locked out
		for range 3 {
			if _, err := c.CAs(t.Context()); !errors.Is(err, ejbca.ErrDenied) || logins.Load() != want {
				t.Errorf("got %v after %d logins, want ErrDenied after %d", err, logins.Load(), want)
			}
		}
		now = now.Add(time.Minute)
	}
	// Without a token, the gateway denies.
	c.Token = nil
	if _, err := c.CAs(t.Context()); !errors.Is(err, ejbca.ErrDenied) || !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("got %v, want ErrDenied", err)
	}
}

// A gateway that was started anew knows none of its tokens.
func TestTokenRefused(t *testing.T) {
	s, plain := newServer(t)
	account := ejbcatest.Account{Username: "admin", Password: "sesame"}
	var gateway atomic.Pointer[ejbcatest.Gateway]
	restart := func(a ejbcatest.Account) { gateway.Store(ejbcatest.NewGateway(s, a)) }
	restart(account)
	var logins atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth" {
			logins.Add(1)
		}
		gateway.Load().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	now := time.Now()
	login := &ejbca.Credentials{
		BaseURL: server.URL, Username: "admin", Password: "sesame", Now: func() time.Time { return now },
	}
	c := &ejbca.Client{BaseURL: server.URL, Token: login.Token, RetryBackoff: plain.RetryBackoff}
	all := func(what string, kind error, wantLogins int32) {
		t.Helper()
		logins.Store(0)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				_, err := c.CAs(t.Context())
				if i%2 == 0 { // what isn't repeated otherwise
					err = c.PutUser(t.Context(), &ejbca.User{Name: fmt.Sprint("u", i), Password: "x"})
				}
				if !errors.Is(err, kind) {
					t.Errorf("%s: got %v, want %v", what, err, kind)
				}
			})
		}
		wg.Wait()
		if got := logins.Load(); got != wantLogins {
			t.Errorf("%s: %d logins, want %d", what, got, wantLogins)
		}
	}
	all("at first", nil, 1)
	restart(account)
	all("restarted", nil, 1)
	restart(account)
	all("restarted at once", ejbca.ErrDenied, 0)
	now = now.Add(time.Minute)
	all("a minute later", nil, 1)

	now = now.Add(time.Minute)
	restart(ejbcatest.Account{Username: "admin", Password: "Sesame"})
	all("another password", ejbca.ErrDenied, 1)
	restart(account)
	all("the old password again", ejbca.ErrDenied, 0)
	now = now.Add(time.Minute)
	all("a minute later", nil, 1)
}

// Where no token is good enough nobody logs in for ever, and where there is but
// one token nobody asks twice.
func TestTokenRefusedAlways(t *testing.T) {
	url, logins, _ := newGateway(t)
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	now := time.Now()
	login := &ejbca.Credentials{
		BaseURL: url, Username: "admin", Password: "sesame", Now: func() time.Time { return now },
	}
	same := func(context.Context, string) (string, error) { return "same", nil }
	for _, tc := range []struct {
		name             string
		token            func(context.Context, string) (string, error)
		after            time.Duration
		logins, requests int32
	}{
		{"first", login.Token, 0, 2, 2},
		{"again", login.Token, 59 * time.Second, 0, 1},
		{"later", login.Token, 2 * time.Second, 1, 2},
		{"the same token", same, 0, 0, 1},
		{"no token", nil, 0, 0, 1},
	} {
		now = now.Add(tc.after)
		logins.Store(0)
		requests.Store(0)
		_, err := (&ejbca.Client{BaseURL: server.URL, Token: tc.token}).CAs(t.Context())
		if !errors.Is(err, ejbca.ErrDenied) || logins.Load() != tc.logins || requests.Load() != tc.requests {
			t.Errorf("%s: got %v after %d logins and %d requests, want ErrDenied after %d and %d",
				tc.name, err, logins.Load(), requests.Load(), tc.logins, tc.requests)
		}
	}
}

// Neither for a token that doesn't say when it ends, and is used once.
func TestTokenWithoutEndRefusedAlways(t *testing.T) {
	logins := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/auth" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		logins++
		claims := base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(`{"username":"admin","jti":"%d"}`, logins)))
		fmt.Fprintf(w, `{"jwt":"e30.%s.c2ln"}`, claims)
	}))
	defer server.Close()
	now := time.Now()
	login := &ejbca.Credentials{BaseURL: server.URL, Username: "admin", Password: "sesame", Now: func() time.Time { return now }}
	client := &ejbca.Client{BaseURL: server.URL, Token: login.Token}
	for n := range 5 {
		if _, err := client.CAs(t.Context()); !errors.Is(err, ejbca.ErrDenied) {
			t.Fatalf("got %v, want ErrDenied", err)
		}
		if want := n + 2; logins != want { // one for each, and one for the first that was refused
			t.Errorf("%d logins for %d calls, want %d", logins, n+1, want)
		}
	}
}

// Those who wait for a login that fails don't all try their luck after it.
func TestTokenWaitersFailTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logins, release := 0, make(chan struct{})
		login := &ejbca.Credentials{BaseURL: "http://dojot", Username: "a", Password: "b", HTTPClient: &http.Client{
			Transport: answerer(func() (*http.Response, error) {
				logins++
				<-release
				return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
			}),
		}}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := login.Token(t.Context(), ""); !errors.Is(err, ejbca.ErrUnavailable) {
					t.Errorf("got %v, want ErrUnavailable", err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if logins != 1 {
			t.Errorf("%d logins, want 1", logins)
		}
		if _, err := login.Token(t.Context(), ""); !errors.Is(err, ejbca.ErrUnavailable) || logins != 2 {
			t.Errorf("got %v after %d logins, want ErrUnavailable after another one", err, logins)
		}
	})
}

// One that waits for another's login can give up, and takes over when the
// other gives up.
func TestTokenWaits(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	token := "x." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(time.Hour).Unix())) + ".x"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		io.WriteString(w, `{"jwt":"`+token+`"}`)
	}))
	defer server.Close()
	login := &ejbca.Credentials{BaseURL: server.URL, Username: "a", Password: "b"}
	ask := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := login.Token(ctx, "")
			done <- err
		}()
		return done
	}
	firstCtx, giveUp := context.WithCancel(t.Context())
	first := ask(firstCtx)
	<-arrived
	second := ask(t.Context())
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := <-ask(impatient); !errors.Is(err, context.Canceled) {
		t.Errorf("impatient: got %v", err)
	}
	giveUp()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("first: got %v", err)
	}
	<-arrived
	close(release)
	if err := <-second; err != nil {
		t.Errorf("second: got %v", err)
	}
}

func TestParseToken(t *testing.T) {
	claims := func(s string) string { return "h." + base64.RawURLEncoding.EncodeToString([]byte(s)) + ".secret" }
	for _, tc := range []struct {
		name, token string
		want        ejbca.Claims
		err         string
	}{
		{"dojot's", claims(`{"iss":"x","iat":1500000000,"exp":1500000420,"profile":"admin","groups":[1],"userid":1,"jti":"y","service":"acme","username":"bob"}`),
			ejbca.Claims{Username: "bob", Tenant: "acme", Issued: time.Unix(1500000000, 0), Expires: time.Unix(1500000420, 0)}, ""},
		{"fraction", claims(`{"exp":1500000420.5}`), ejbca.Claims{Expires: time.Unix(1500000420, 0)}, ""},
		{"never ends", claims(`{}`), ejbca.Claims{}, ""},
		{"beyond time", claims(`{"exp":1e300}`), ejbca.Claims{}, ""},
		{"two parts", "a.secret", ejbca.Claims{}, "2 parts"},
		{"empty", "", ejbca.Claims{}, "1 parts"},
		{"not base64", "a.secret!.b", ejbca.Claims{}, "base64"},
		{"not JSON", claims("secret"), ejbca.Claims{}, "claims"},
		{"not an object", claims(`["secret"]`), ejbca.Claims{}, "claims"},
		{"wrong type", claims(`{"service":["secret"]}`), ejbca.Claims{}, "claims"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ejbca.ParseToken(tc.token)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v, want %s", err, tc.err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("a.e30.b")
	f.Add("a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1e18,"iat":"x"}`)) + ".b")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := ejbca.ParseToken(token); err != nil && !strings.HasPrefix(err.Error(), "ejbca: ") {
			t.Error(err)
		}
	})
}
