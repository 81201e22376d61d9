package ejbca

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/httpurl"
)

// Claims is what a token of dojot says.
type Claims struct {
	Username string
	Tenant   string // claim "service"
	Issued   time.Time
	Expires  time.Time // zero when the token doesn't say
}

// ParseToken reads a token without verifying it: only dojot can, and a client
// has its token from dojot anyway.
func ParseToken(jwt string) (Claims, error) {
	// Errors say nothing of the content: a token is a secret.
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return Claims{}, fmt.Errorf("ejbca: token has %d parts (want 3, separated by points)", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, errors.New("ejbca: the token's claims aren't base64")
	}
	var c struct {
		Username string
		Service  string
		Iat, Exp json.Number
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return Claims{}, errors.New("ejbca: the token's claims aren't what was expected")
	}
	return Claims{Username: c.Username, Tenant: c.Service, Issued: unixTime(c.Iat), Expires: unixTime(c.Exp)}, nil
}

// unixTime reads a NumericDate (RFC 7519 section 2), which may have a
// fraction. What isn't one is no time.
func unixTime(n json.Number) time.Time {
	seconds, err := n.Float64()
	if err != nil || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// Credentials log in at dojot, by POST /auth, and keep the token fresh. They
// are safe for concurrent use as long as the exported fields stay as they are,
// and must not be copied.
type Credentials struct {
	// BaseURL is where dojot is, "https://dojot.example.com"; a trailing slash
	// makes no difference.
	BaseURL  string
	Username string
	Password string `json:"-"`
	// HTTPClient makes the requests. Nil means http.DefaultClient.
	HTTPClient *http.Client
	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	mu      sync.Mutex
	busy    chan struct{} // closed when the login under way is over; nil when none is
	token   string
	renewAt time.Time
}

// Token returns a token that is valid for a while: the last one, or, when less
// than a quarter of its life (but at most a minute) is left, that of a new
// login. It fits [Client.Token]. Callers that come during a login wait for it.
func (c *Credentials) Token(ctx context.Context) (string, error) {
	for {
		c.mu.Lock()
		if c.token != "" && c.now().Before(c.renewAt) {
			defer c.mu.Unlock()
			return c.token, nil
		}
		busy := c.busy
		if busy == nil {
			c.busy = make(chan struct{})
		}
		c.mu.Unlock()
		if busy == nil {
			return c.renew(ctx)
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (c *Credentials) renew(ctx context.Context) (string, error) {
	asked := c.now()
	token, err := c.Login(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.busy)
	c.busy = nil
	if err != nil {
		return "", err
	}
	claims, err := ParseToken(token)
	if err != nil {
		return "", err
	}
	// The token's life counts from here, so that clocks may differ. One that
	// doesn't say when it ends is used once.
	life := claims.Expires.Sub(asked)
	if !claims.Issued.IsZero() {
		life = claims.Expires.Sub(claims.Issued)
	}
	c.token, c.renewAt = token, asked.Add(life-min(life/4, time.Minute))
	return token, nil
}

func (c *Credentials) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Login logs in and returns the token. An unknown user, an inactive one and a
// wrong password are [ErrDenied].
func (c *Credentials) Login(ctx context.Context) (jwt string, err error) {
	client := &Client{BaseURL: c.BaseURL, HTTPClient: c.HTTPClient}
	body := map[string]string{"username": c.Username, "passwd": c.Password}
	op := fmt.Sprintf("log in as %q", c.Username)
	var answer struct{ JWT string }
	if err := client.do(ctx, request{op: op, method: http.MethodPost, path: []string{"auth"}, body: body, login: true, secret: c.Password}, &answer); err != nil {
		return "", err
	}
	if answer.JWT == "" {
		return "", fmt.Errorf("ejbca: %s: the answer has no jwt", op)
	}
	return answer.JWT, nil
}

// String describes the credentials without the password.
func (c *Credentials) String() string {
	return fmt.Sprintf("%q at %q", c.Username, httpurl.Shown(c.BaseURL))
}

// Format prints what String returns, whatever the verb.
func (c *Credentials) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is the credentials without the password.
func (c *Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }
