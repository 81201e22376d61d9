package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dojot/mqtt-manager-go/ejbca"
)

// A daemon that was started before dojot waits for it.
func TestDaemonWaitsForDojot(t *testing.T) {
	r := newRig(t)
	dojot, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int32
	proxy := httputil.NewSingleHostReverseProxy(dojot)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if tries.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, q)
	}))
	defer front.Close()
	r.url = front.URL
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := &watched{until: "certificate made", then: cancel}
	if err := run(ctx, r.args("24f6", "--daemon"), nil, out, out); err != nil || !r.has("24f6.crt") {
		t.Errorf("got %v", err)
	}
	if said := out.String(); strings.Count(said, "waiting for dojot") != 1 || strings.Contains(said, secret) {
		t.Errorf("says\n%s", said)
	}
}

// It does not insist when it is denied.
func TestDaemonIsDenied(t *testing.T) {
	r := newRig(t)
	if out, err := r.run(t.Context(), "24f6", "--daemon", "-u", "nobody"); !errors.Is(err, ejbca.ErrDenied) {
		t.Errorf("got %v\n%s", err, out)
	}
}

// Asked to end while it waits, it ends.
func TestDaemonEndsBeforeDojotIsThere(t *testing.T) {
	r := newRig(t)
	r.url = "http://127.0.0.1:1"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := &watched{until: "waiting for dojot", then: cancel}
	if err := run(ctx, r.args("24f6", "--daemon"), nil, out, out); err != nil {
		t.Errorf("got %v\n%s", err, out)
	}
}
