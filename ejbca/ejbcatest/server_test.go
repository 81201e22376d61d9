package ejbcatest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca/ejbcatest"
)

func BenchmarkNewServer(b *testing.B) {
	for b.Loop() {
		ejbcatest.NewServer().Close()
	}
}

func TestServer(t *testing.T) {
	s := ejbcatest.NewServer()
	c := s.Client()
	if names, err := c.CAs(t.Context()); err != nil || len(names) != 1 || names[0] != s.CAName {
		t.Errorf("got %q, %v", names, err)
	}
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool { return r.URL.Path == "/user/x" })
	if _, err := c.User(t.Context(), "x"); err == nil {
		t.Error("an empty answer is no user")
	}
	if err := c.UpdateCRL(t.Context(), s.CAName); err != nil {
		t.Error(err)
	}
	s.Advance(time.Hour)
	if list, err := c.CRL(t.Context(), s.CAName); err != nil || s.Now().Sub(list.ThisUpdate) < time.Hour {
		t.Errorf("got %v, %v, want a list that is an hour old", list, err)
	}
	want := "GET /ca, GET /user/x, PUT /ca/IOTmidCA/crl, GET /ca/IOTmidCA/crl"
	var got []string
	for _, r := range s.Requests() {
		got = append(got, r.Method+" "+r.Path)
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
	s.Close()
	if _, err := http.Get(s.URL); err == nil {
		t.Error("it listens after Close")
	}
}
