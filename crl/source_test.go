package crl_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/crl"
)

func TestHTTPSource(t *testing.T) {
	list := midCA().list(t, 1, t0, 66)
	mux := http.NewServeMux()
	serve := func(path string, body []byte) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
	}
	serve("/der", list.Raw)
	serve("/pem", crl.EncodePEM(list))
	serve("/base64", []byte(base64.StdEncoding.EncodeToString(list.Raw)))
	serve("/html", []byte("<html>not here</html>"))
	serve("/empty", nil)
	serve("/large", make([]byte, 2000))
	mux.HandleFunc("GET /endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write(bytes.Repeat([]byte("A"), 1000)) // and no Content-Length
		}
	})
	mux.HandleFunc("GET /cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write(list.Raw[:100])
	})
	mux.Handle("GET /moved", http.RedirectHandler("/der", http.StatusFound))
	mux.Handle("GET /loop", http.RedirectHandler("/loop", http.StatusFound))
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, tc := range []struct {
		url  string
		want string // in the error; "" for none
	}{
		{server.URL + "/der", ""},
		{server.URL + "/pem", ""},
		{server.URL + "/base64", ""},
		{server.URL + "/moved", ""},
		{server.URL + "/html", "neither DER nor PEM nor base64"},
		{server.URL + "/empty", "it is empty"},
		{server.URL + "/large", "too large: 2000 bytes (want at most 1500)"},
		{server.URL + "/endless", "too large: more than 1500 bytes"},
		{server.URL + "/cut", "unexpected EOF"},
		{server.URL + "/missing", `answered "404 Not Found" (want 200)`},
		{server.URL + "/loop", "redirects"},
		{"http://127.0.0.1:1/der", "connect"},
		{"ldap://ca.example/", `distribution point "ldap://ca.example/" (want http`},
		{"/etc/mosquitto/ca.crl", "want http"},
		{"http://", "want http"},
		{"http://u:secret@127.0.0.1:1/", "http://…@127.0.0.1:1/"},
		{"http://127.0.0.1:1/?token=secret", "http://127.0.0.1:1/: "},
		{"u:secret@127.0.0.1:1/", `"…@127.0.0.1:1/" (want http`},
		{"http://u:secret%@127.0.0.1:1/", `"http://…@127.0.0.1:1/" (want http`},
		{":", "want http"},
	} {
		t.Run(strings.TrimPrefix(tc.url, server.URL), func(t *testing.T) {
			got, err := (&crl.HTTPSource{URL: tc.url, MaxSize: 1500}).CRL(t.Context())
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want == "" && !bytes.Equal(got.Raw, list.Raw):
				t.Error("got another list")
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("%v tells the password", err)
			}
		})
	}
}

func TestHTTPSourceStops(t *testing.T) {
	reached := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	if _, err := (&crl.HTTPSource{URL: server.URL}).CRL(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestFileSource(t *testing.T) {
	list := midCA().list(t, 1, t0, 66)
	path := filepath.Join(t.TempDir(), "ca.crl")
	source := &crl.FileSource{Path: path}
	if _, err := source.CRL(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	write(t, path, crl.EncodePEM(list))
	if got, err := source.CRL(t.Context()); err != nil || !bytes.Equal(got.Raw, list.Raw) {
		t.Errorf("got %v, %v", got, err)
	}
	source.MaxSize = 100
	if _, err := source.CRL(t.Context()); !errors.Is(err, crl.ErrTooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want ErrTooLarge with the file's name", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.CRL(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestFileSourceOfOtherKind(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, t.TempDir(), "/dev/zero"} {
		_, err := (&crl.FileSource{Path: path}).CRL(t.Context())
		if err == nil || !strings.Contains(err.Error(), path+": not a regular file but ") {
			t.Errorf("%s: got %v, want an error that says what it is", path, err)
		}
	}
}

// Nobody has signed for what a source reads, so it is not taken apart further
// than need be.
func TestSourceLeavesEntries(t *testing.T) {
	serials := make([]int64, 10_000)
	for i := range serials {
		serials[i] = int64(i) + 1
	}
	list := midCA().list(t, 1, t0, serials...)
	source := &crl.FileSource{Path: filepath.Join(t.TempDir(), "ca.crl")}
	write(t, source.Path, list.Raw)
	got, err := source.CRL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ix := newIndex(t, got.Raw); len(got.RevokedCertificateEntries) != 0 || ix.Len() != len(serials) {
		t.Errorf("got %d entries, %d in Raw, want none and %d", len(got.RevokedCertificateEntries), ix.Len(), len(serials))
	}
	if allocs := testing.AllocsPerRun(1, func() { _, _ = source.CRL(t.Context()) }); allocs > 1000 {
		t.Errorf("%v allocations", allocs)
	}
}

// lastRead is an answer whose body calls a function when it is at its end.
type lastRead struct{ call func() }

func (l lastRead) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Body: io.NopCloser(l)}, nil
}

func (l lastRead) Read([]byte) (int, error) {
	l.call()
	return 0, io.EOF
}

func TestSourceStopsBeforeParsing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	source := &crl.HTTPSource{URL: "http://ca.example/", Client: &http.Client{Transport: lastRead{cancel}}}
	if _, err := source.CRL(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// A device's certificate says where its CA's list is, and a broker's crlfile
// is kept fresh from there.
func TestDistributionPoints(t *testing.T) {
	ca := midCA()
	list := ca.list(t, 1, time.Now().Add(-time.Minute))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(list.Raw) }))
	defer server.Close()
	leaf := parseDERCert(t, ca.issue(t, ca.key, func(c *x509.Certificate) {
		c.CRLDistributionPoints = []string{"ldap://ca.example/", "http://127.0.0.1:1/", server.URL}
	}).Certificate[0])
	points := crl.DistributionPoints(leaf)
	if len(points) != 2 {
		t.Fatalf("got %d sources, want 2", len(points))
	}
	f := openFile(t, filepath.Join(t.TempDir(), "ca.crl"), time.Now(), ca)
	r := &crl.Refresher{Source: points[0], Fallbacks: points[1:], File: f}
	if changed, err := r.Refresh(t.Context()); !changed || err != nil {
		t.Errorf("got %v, %v", changed, err)
	}
}
