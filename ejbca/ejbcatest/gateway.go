package ejbcatest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// tokenLife is dojot's default.
	tokenLife = 420 * time.Second
	maxLogin  = 16 << 10
)

// Account is a user of dojot.
type Account struct {
	Username string
	Password string `json:"-"`
	// Tenant is claim "service" of the user's tokens. Empty means "admin".
	Tenant string
}

// String describes the account without its password.
func (a Account) String() string { return fmt.Sprintf("%q of tenant %q", a.Username, a.Tenant) }

// Format prints what String returns, whatever the verb.
func (a Account) Format(f fmt.State, _ rune) { io.WriteString(f, a.String()) }

// LogValue is the account without its password.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Gateway plays dojot's gateway and login service, for development and tests
// only: it keeps passwords in memory, doesn't slow down who guesses them, and
// lets every user do everything. POST /auth turns a user name and a password
// into a token; any other request needs one that is still valid, signed by
// this Gateway, and is then passed on. It is safe for concurrent use.
type Gateway struct {
	// Now is the clock. Nil means time.Now. Set it before use.
	Now func() time.Time

	next     http.Handler
	accounts map[string]Account
	secret   []byte
}

// NewGateway returns a gateway to next for these accounts. Its secret is new
// and random: tokens of another Gateway aren't valid.
func NewGateway(next http.Handler, accounts ...Account) *Gateway {
	g := &Gateway{next: next, accounts: make(map[string]Account), secret: make([]byte, 32)}
	rand.Read(g.secret)
	for _, a := range accounts {
		if a.Tenant == "" {
			a.Tenant = "admin"
		}
		g.accounts[a.Username] = a
	}
	return g
}

// claims are those of dojot's tokens.
type claims struct {
	jwt.RegisteredClaims        // iss, iat, exp, jti
	Profile              string `json:"profile"`
	Groups               []int  `json:"groups"`
	UserID               int    `json:"userid"`
	Service              string `json:"service"`
	Username             string `json:"username"`
}

// ServeHTTP logs in or passes on.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.TrimSuffix(r.URL.Path, "/") == "/auth" {
		g.login(w, r)
		return
	}
	if message := g.refusal(r); message != "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, map[string]string{"message": message})
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g *Gateway) now() time.Time {
	if g.Now != nil {
		return g.Now()
	}
	return time.Now()
}

// refusal says why the request's token is no good; empty means it is.
func (g *Gateway) refusal(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "Unauthorized"
	}
	_, err := jwt.ParseWithClaims(token, &claims{},
		func(*jwt.Token) (any, error) { return g.secret, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(g.now))
	if err != nil {
		return "Invalid or expired token"
	}
	return ""
}

// login is dojot's POST /auth.
func (g *Gateway) login(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, message string) {
		answer(w, status, map[string]any{"message": message, "status": status})
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		fail(http.StatusMethodNotAllowed, "method not allowed, expected POST")
		return
	}
	var body struct{ Username, Passwd string }
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLogin))
	if err != nil || json.Unmarshal(data, &body) != nil {
		fail(http.StatusBadRequest, "malformed JSON")
		return
	}
	account, known := g.accounts[body.Username]
	switch {
	case body.Username == "":
		fail(http.StatusBadRequest, "missing username")
	case body.Passwd == "":
		fail(http.StatusBadRequest, "missing password")
	case !known:
		fail(http.StatusUnauthorized, "AuthenticationError")
	case !equal(account.Password, body.Passwd):
		fail(http.StatusForbidden, "AuthorizationError")
	default:
		token, err := g.token(account)
		if err != nil {
			fail(http.StatusInternalServerError, "Request failed")
			return
		}
		answer(w, http.StatusOK, map[string]string{"jwt": token})
	}
}

func (g *Gateway) token(a Account) (string, error) {
	now := g.now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    "ejbcatest",
			ID:        rand.Text(),
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
		},
		Profile:  "testing",
		Groups:   []int{1},
		UserID:   1,
		Service:  a.Tenant,
		Username: a.Username,
	}).SignedString(g.secret)
}

// equal takes the same time for any two texts of the same lengths.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
