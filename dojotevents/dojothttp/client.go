package dojothttp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/dojot/mqtt-manager-go/internal/httpurl"
)

const (
	maxAnswer  = 64 << 20 // bytes; a page of devices with all their attributes
	maxMessage = 200      // bytes of a refusal that are shown
)

// StatusError is an answer with another status than 200.
type StatusError struct {
	URL        string // asked
	StatusCode int
	Message    string // the service's own words, if it had any
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("GET %s: %d %s", e.URL, e.StatusCode, http.StatusText(e.StatusCode))
	if e.Message != "" {
		text += fmt.Sprintf(": %q", e.Message)
	}
	return text
}

// Token returns the token with which a service of dojot's speaks for a tenant to
// another one.
func Token(tenant string) string {
	claims, err := json.Marshal(map[string]string{"username": "mqtt-manager", "service": tenant})
	if err != nil {
		panic("dojothttp: " + err.Error()) // strings always marshal
	}
	b64 := base64.StdEncoding.EncodeToString
	return b64([]byte("model")) + "." + b64(claims) + "." + b64([]byte("signature"))
}

// get asks base for path, as tenant, and decodes the answer into v.
func get(ctx context.Context, client *http.Client, base, tenant string, query url.Values, v any, path ...string) error {
	u, err := httpurl.Parse(base)
	if err != nil {
		return fmt.Errorf("bad URL %w", err)
	}
	for i, p := range path {
		path[i] = url.PathEscape(p)
	}
	u = u.JoinPath(path...)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if tenant != "" {
		req.Header.Set("Authorization", "Bearer "+Token(tenant))
	}
	if client == nil {
		client = http.DefaultClient
	}
	shown := httpurl.Shown(u.String())
	resp, err := client.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err // without the URL, which may have a token in it
		}
		return fmt.Errorf("GET %s: %w", shown, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: reading the answer: %w", shown, err)
	case resp.StatusCode != http.StatusOK:
		return &StatusError{URL: shown, StatusCode: resp.StatusCode, Message: message(body)}
	case len(body) > maxAnswer:
		return fmt.Errorf("GET %s: answer is larger than %d bytes", shown, maxAnswer)
	}
	if err := json.Unmarshal(body, v); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("GET %s: answer is not JSON at byte %d", shown, syntax.Offset)
		}
		return fmt.Errorf("GET %s: answer is JSON of another shape", shown)
	}
	return nil
}

// message returns what a refusal says: dojot's services put it in a member
// called message or error.
func message(body []byte) string {
	var m struct {
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	if m.Message == "" {
		m.Message = m.Error
	}
	return m.Message[:min(len(m.Message), maxMessage)]
}
