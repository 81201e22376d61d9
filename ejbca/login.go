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
	login   *login // under way; nil when none is
	token   string
	renewAt time.Time
	denied  error     // of the last login, until pause
	pause   time.Time // until when there is no login that is likely to be in vain
}

// loginPause is how long nobody tries again what is likely to be in vain.
// Whoever logs in too often with a wrong password may be locked out.
const loginPause = time.Minute

// login is one that others wait for. It is over before they look at it.
type login struct {
	over    chan struct{} // closed when it is
	token   string
	err     error
	givenUp bool // by the one who tried: it says nothing to the others
}

// Token returns a token that is valid for a while: the last one, or that of a
// new login when less than a quarter of its life (but at most a minute) is
// left, or when it is the one that was refused. It fits [Client.Token]. Callers
// that come during a login wait for it and share what comes of it.
//
// A refused token leads to a new login once a minute at most; otherwise it is
// returned again, as the next one would be refused as well. After a login that
// was [ErrDenied] there is none for a minute, and the same error.
func (c *Credentials) Token(ctx context.Context, refused string) (string, error) {
	for {
		c.mu.Lock()
		now := c.now()
		inVain := now.Before(c.pause)
		if refused != "" && refused == c.token {
			if inVain {
				c.mu.Unlock()
				return refused, nil
			}
			c.token, c.pause = "", now.Add(loginPause)
		}
		token, denied := c.token, c.denied
		if token != "" && now.Before(c.renewAt) {
			c.mu.Unlock()
			return token, nil
		}
		if denied != nil && inVain {
			c.mu.Unlock()
			return "", denied
		}
		l, mine := c.login, c.login == nil
		if mine {
			l = &login{over: make(chan struct{})}
			c.login = l
		}
		c.mu.Unlock()
		if mine {
			c.renew(ctx, l)
			return l.token, l.err
		}
		select {
		case <-l.over:
			if !l.givenUp {
				return l.token, l.err
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (c *Credentials) renew(ctx context.Context, l *login) {
	asked := c.now()
	var claims Claims
	l.token, l.err = c.Login(ctx)
	if l.err == nil {
		claims, l.err = ParseToken(l.token)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(l.over)
	c.login, c.denied = nil, nil
	if l.err != nil {
		l.token, l.givenUp = "", ctx.Err() != nil
		if errors.Is(l.err, ErrDenied) {
			c.denied, c.pause = l.err, c.now().Add(loginPause)
		}
		return
	}
	// The token's life counts from here, so that clocks may differ. One that
	// doesn't say when it ends is used once.
	life := claims.Expires.Sub(asked)
	if !claims.Issued.IsZero() {
		life = claims.Expires.Sub(claims.Issued)
	}
	c.token, c.renewAt = l.token, asked.Add(life-min(life/4, time.Minute))
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
