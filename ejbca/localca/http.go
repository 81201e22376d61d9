package localca

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	berrors "go.etcd.io/bbolt/errors"
)

// version answers GET /ejbca/version. Callers use it to see that the service
// is there; it names the API that is served.
const version = "EJBCA 6.3 REST compatible (localca)"

// maxBody is far above a request with an RSA key of 8192 bits and a hundred
// SANs.
const maxBody = 64 << 10

// message is the answer of every request that has nothing to hand out.
type message struct {
	Message string `json:"message"`
	Status  int    `json:"status"`
}

// answerOK says that something is done.
var answerOK = message{"ok", http.StatusOK}

// fault is an answer other than 200.
type fault message

func (f *fault) Error() string { return f.Message }

func badRequest(format string, args ...any) error {
	return &fault{fmt.Sprintf(format, args...), http.StatusBadRequest}
}

// soapFault words an error as the original hands on those of EJBCA.
func soapFault(format string, args ...any) error {
	return badRequest("soap message: "+format, args...)
}

var (
	errNoCertificates = &fault{"no certificates found", http.StatusNotFound}
	errWrongUser      = soapFault("Wrong username or password")
)

// routes are those of EJBCA-REST 0.4; a star stands for one segment, which the
// handler gets unescaped.
var routes = []struct {
	method, path string
	handle       func(*CA, *http.Request, []string) (any, error)
}{
	{http.MethodGet, "ejbca/version", (*CA).getVersion},
	{http.MethodGet, "ca", (*CA).getCAs},
	{http.MethodGet, "ca/*", (*CA).getCA},
	{http.MethodGet, "ca/*/crl", (*CA).getCRL},
	{http.MethodPut, "ca/*/crl", (*CA).putCRL},
	{http.MethodGet, "ca/*/certificate/*/status", (*CA).getStatus},
	{http.MethodGet, "ca/*/certificate/*", (*CA).getCertificate},
	{http.MethodDelete, "ca/*/certificate/*", (*CA).revoke},
	{http.MethodPost, "user", (*CA).putUser},
	{http.MethodGet, "user/*", (*CA).getUser},
	{http.MethodDelete, "user/*", (*CA).deleteUser},
	{http.MethodGet, "user/*/find", (*CA).findCertificates},
	{http.MethodPost, "sign/*/pkcs10", (*CA).sign},
}

// ServeHTTP serves the REST API. It asks for the token if there is one, and
// authenticates nobody else.
func (ca *CA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	var answer any
	var err error
	if ca.token.Admits(r) {
		answer, err = ca.route(w, r)
	} else {
		w.Header().Set("WWW-Authenticate", "Bearer")
		err = errUnauthorized
	}
	status := http.StatusOK
	if err != nil {
		f := ca.faultOf(r, err)
		answer, status = f, f.Status
	}
	writeAnswer(w, status, answer)
}

func writeAnswer(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer) // who doesn't listen any more needs no error
}

var errUnauthorized = &fault{"Unauthorized, expected the header Authorization: Bearer <token>", http.StatusUnauthorized}

// faultOf says what the peer is told: all of what it did wrong, nothing of
// what we did.
func (ca *CA) faultOf(r *http.Request, err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		ca.log.Debug("request refused", "method", r.Method, "path", r.URL.EscapedPath(), "status", f.Status, "message", f.Message)
		return f
	}
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return &fault{"the CA is closed", http.StatusServiceUnavailable}
	}
	if r.Context().Err() == nil {
		ca.log.Error("request failed", "method", r.Method, "path", r.URL.EscapedPath(), "err", err)
	}
	return &fault{"Request failed", http.StatusInternalServerError}
}

func (ca *CA) route(w http.ResponseWriter, r *http.Request) (any, error) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed []string
	path := segments(r.URL)
	for _, route := range routes {
		args, matches := match(route.path, path)
		if !matches {
			continue
		}
		if route.method != method {
			allowed = append(allowed, route.method)
			continue
		}
		for _, arg := range args {
			// All that a path names is a name, a DN or a number: text.
			if !utf8.ValidString(arg) || strings.ContainsFunc(arg, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return nil, badRequest("control characters in the address: %q", arg)
			}
		}
		// Handlers would see none of a part that can't be read, and take a
		// reason that was asked for as missing.
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			return nil, badRequest("malformed query: %v", err)
		}
		return route.handle(ca, r, args)
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return nil, &fault{"Method not allowed, expected " + strings.Join(allowed, " or "), http.StatusMethodNotAllowed}
	}
	return nil, &fault{"no such path", http.StatusNotFound}
}

// segments splits the path as it came, so that an escaped slash separates
// nothing. One trailing slash is optional. Nil is a path that no route has.
func segments(u *url.URL) []string {
	path := strings.Split(strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/"), "/")
	for i, escaped := range path {
		segment, err := url.PathUnescape(escaped)
		if err != nil || segment == "" {
			return nil
		}
		path[i] = segment
	}
	return path
}

// match compares a route with a path and returns what stands for the stars.
func match(route string, path []string) (args []string, matches bool) {
	n := 0
	for want := range strings.SplitSeq(route, "/") {
		switch {
		case n == len(path):
			return nil, false
		case want == "*":
			args = append(args, path[n])
		case want != path[n]:
			return nil, false
		}
		n++
	}
	return args, n == len(path)
}

// readObject reads the body of a POST. JSON that is no object has no members.
func readObject(r *http.Request) (map[string]json.RawMessage, error) {
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, badRequest("invalid mimetype")
	}
	data, err := io.ReadAll(r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, &fault{fmt.Sprintf("request is longer than %d bytes", maxBody), http.StatusRequestEntityTooLarge}
	}
	var members map[string]json.RawMessage
	if err == nil && utf8.Valid(data) {
		err = json.Unmarshal(data, &members)
		if notObject := (*json.UnmarshalTypeError)(nil); err == nil || errors.As(err, &notObject) {
			return members, nil
		}
	}
	return nil, badRequest("malformed JSON")
}

// named returns the CA that a path names.
func (ca *CA) named(name string) (*authority, error) {
	if a := ca.byName(name); a != nil {
		return a, nil
	}
	return nil, soapFault("CA with name %s does not exist.", name)
}

func (ca *CA) getVersion(*http.Request, []string) (any, error) {
	return map[string]string{"version": version}, nil
}

func (ca *CA) getCAs(*http.Request, []string) (any, error) {
	type shown struct {
		ID   int32  `json:"id"`
		Name string `json:"name"`
	}
	all := make([]shown, len(ca.cas))
	for i, a := range ca.cas {
		all[i] = shown{caID(a.dn), a.name}
	}
	return map[string][]shown{"CAs": all}, nil
}

// getCA is GET /ca/<name>: like the original, the CA's own certificate, though
// that promised its chain.
func (ca *CA) getCA(_ *http.Request, args []string) (any, error) {
	a, err := ca.named(args[0])
	if err != nil {
		return nil, err
	}
	return map[string]string{"certificate": base64Lines(a.cert.Raw)}, nil
}
