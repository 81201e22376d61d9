package ejbca

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/httpurl"
)

// Limits of what a service may send.
const (
	maxAnswer = 1 << 20
	// maxCRLAnswer is twice a list of a million entries.
	maxCRLAnswer = 128 << 20
	maxTries     = 5
)

// Client is a client of EJBCA-REST. Only BaseURL is required. It is safe for
// concurrent use as long as its fields stay as they are.
type Client struct {
	// BaseURL is where the service is, "http://ejbca:5583" inside dojot; a
	// trailing slash makes no difference.
	BaseURL string
	// HTTPClient makes the requests. Nil means http.DefaultClient, which
	// waits for ever: give calls a context with a deadline then. Redirects are
	// followed only if it has a CheckRedirect.
	HTTPClient *http.Client
	// Token returns the token for the Authorization header, which dojot's
	// gateway wants. It is called for each request, with refused empty. When
	// the service answers 401, it is called once more with the token that was
	// refused: if it then returns another one, the request is made again, once
	// and whatever its method, for it hasn't been served yet; if it fails, its
	// error is the request's. Nil means no header.
	Token func(ctx context.Context, refused string) (string, error)
	// RetryBackoff returns how long to wait after the n-th failure, 1-based,
	// of a request that may be repeated; 0 or less gives up. resp is nil when
	// there was no answer, and has no body.
	//
	// Nil means half a second that doubles each time, up to 10 seconds, and
	// up to half as much again at random; or what the service asks for by
	// Retry-After if that is no more than a minute. It gives up after the
	// fifth failure.
	//
	// Requests that may be repeated are GET, and PUT for a new CRL. They are
	// repeated when the service can't be reached, breaks off, or answers 429,
	// 502, 503 or 504; never beyond the deadline of the context.
	RetryBackoff func(n int, resp *http.Response) time.Duration
}

// request is one call of the service.
type request struct {
	op     string
	method string
	path   []string // unescaped
	query  url.Values
	body   any    // marshalled to JSON; nil is none
	login  bool   // needs no token: it is how one gets it
	secret string // in body: no error repeats it
	limit  int64
}

// do makes the request, again where that is safe, and decodes the answer into
// answer if that isn't nil.
func (c *Client) do(ctx context.Context, r request, answer any) error {
	target, shown, err := c.target(r)
	if err != nil {
		return fmt.Errorf("ejbca: %s: %w", r.op, err)
	}
	var body []byte
	if r.body != nil {
		if body, err = json.Marshal(r.body); err != nil {
			return fmt.Errorf("ejbca: %s: %w", r.op, err)
		}
	}
	repeatable := r.method == http.MethodGet || r.method == http.MethodPut
	for n := 1; ; n++ {
		resp, err := c.withToken(ctx, r, func(token string) (*http.Response, error) {
			return c.once(ctx, r, target, shown, token, body, answer)
		})
		if err == nil || !repeatable || ctx.Err() != nil || !temporary(err) {
			return err
		}
		wait := c.backoff(n, resp)
		if deadline, limited := ctx.Deadline(); wait <= 0 || limited && time.Until(deadline) < wait {
			return err // the service's own words, instead of "deadline exceeded" later
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			// A cancelled call is no word about the service.
			return &Error{Op: r.op, URL: shown, Err: ctx.Err()}
		}
	}
}

// target is the address, with each segment escaped on its own. shown is what
// errors call it.
func (c *Client) target(r request) (target *url.URL, shown string, err error) {
	base, err := httpurl.Parse(c.BaseURL)
	if err != nil {
		return nil, "", fmt.Errorf("base URL %w", err)
	}
	segments := make([]string, len(r.path))
	for i, segment := range r.path {
		if segment == "" || segment == "." || segment == ".." {
			return nil, "", fmt.Errorf("name %q can't be part of an address", segment)
		}
		segments[i] = url.PathEscape(segment)
	}
	target = base.JoinPath(segments...)
	target.RawQuery = r.query.Encode()
	return target, strings.TrimRight(httpurl.Shown(c.BaseURL), "/") + "/" + strings.Join(segments, "/"), nil
}

// withToken makes the request by once, and again if the token was refused and
// there is another one.
func (c *Client) withToken(ctx context.Context, r request, once func(token string) (*http.Response, error)) (*http.Response, error) {
	if c.Token == nil || r.login {
		return once("")
	}
	token, err := c.Token(ctx, "")
	if err != nil {
		return nil, err
	}
	resp, err := once(token)
	if resp == nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	other, tokenErr := c.Token(ctx, token)
	if tokenErr != nil {
		return nil, tokenErr
	}
	if other == token {
		return resp, err
	}
	return once(other)
}

// once makes the request once, with the token unless that is empty. resp has
// no body left.
func (c *Client) once(ctx context.Context, r request, target *url.URL, shown, token string, body []byte, answer any) (resp *http.Response, err error) {
	fail := &Error{Op: r.op, URL: shown}
	defer func() {
		// A cancelled call is no word about the service.
		if e := (*Error)(nil); errors.As(err, &e) && e.StatusCode == 0 && ctx.Err() != nil {
			e.Err = ctx.Err()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, r.method, target.String(), bytes.NewReader(body))
	if err != nil {
		fail.Err = err
		return nil, fail
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "mqtt-manager-go/ejbca")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	hidden := secrets{r.secret, token}
	if password, has := target.User.Password(); has {
		sent := base64.StdEncoding.EncodeToString([]byte(target.User.Username() + ":" + password))
		hidden = append(hidden, password, sent)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err = c.withoutRedirects().Do(req)
	if err != nil {
		// The address is in our own error.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		fail.Err = hidden.hideIn(err)
		return nil, fail
	}
	defer resp.Body.Close()
	limit := r.limit
	if limit == 0 {
		limit = maxAnswer
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		// A page that breaks off still says what its status says.
		fail.StatusCode = resp.StatusCode
		fail.say(data, hidden)
		if to, err := resp.Location(); err == nil {
			to = &url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path, RawPath: to.RawPath}
			fail.Message = shorten(hidden.hide("redirect to " + to.String()))
		}
		fail.RetryAfter = retryAfter(resp)
		return resp, fail
	case err != nil:
		fail.Err = fmt.Errorf("reading the answer: %w", err)
		return resp, fail
	}
	fail.StatusCode = resp.StatusCode
	if int64(len(data)) > limit {
		fail.Err = fmt.Errorf("answer is longer than %d bytes", limit)
		return resp, fail
	}
	if answer == nil {
		return resp, nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		fail.Err = fmt.Errorf("answer isn't what was expected: %w", err)
		if !r.login { // whose answers hold a token
			fail.Err = fmt.Errorf("%w, in %q", fail.Err, messageOf(data, hidden))
		}
		return resp, fail
	}
	return resp, nil
}

// withoutRedirects returns the HTTP client, unless it knows better, as one that
// takes a redirect for an answer: the service has none, and passwords and
// tokens are for nobody else.
func (c *Client) withoutRedirects() *http.Client {
	client := c.HTTPClient
	if client == nil {
		client = http.DefaultClient
	}
	if client.CheckRedirect != nil {
		return client
	}
	strict := *client
	strict.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &strict
}

// temporary says whether the same request may succeed soon.
func temporary(err error) bool {
	var e *Error
	return errors.Is(err, ErrUnavailable) || errors.As(err, &e) && e.StatusCode == http.StatusTooManyRequests
}

func (c *Client) backoff(n int, resp *http.Response) time.Duration {
	if c.RetryBackoff != nil {
		return c.RetryBackoff(n, resp)
	}
	if n >= maxTries {
		return 0
	}
	if asked := retryAfter(resp); asked > time.Minute {
		return 0
	} else if asked > 0 {
		return asked
	}
	wait := min(500*time.Millisecond<<(n-1), 10*time.Second)
	return wait + rand.N(wait/2)
}

// retryAfter reads the header of RFC 9110 section 10.2.3.
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	h := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(h, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(h); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
