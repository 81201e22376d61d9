package localca_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dojot/mqtt-manager-go/ejbca/localca"
)

func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestToken(t *testing.T) {
	s := serve(t, newDir(t), localca.Options{TokenFile: secretFile(t, "open sesame\n")})
	for header, want := range map[string]int{
		"Bearer open sesame":   200,
		"bearer open sesame":   200,
		"Bearer open sesame\n": 0, // no header at all
		"Bearer Open sesame":   401,
		"Bearer ":              401,
		"Basic open sesame":    401,
		"open sesame":          401,
		"":                     401,
	} {
		r := httptest.NewRequest("GET", "/ca", nil)
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		w := httptest.NewRecorder()
		s.ca.ServeHTTP(w, r)
		if want != 0 && w.Code != want {
			t.Errorf("%q: got %d %s, want %d", header, w.Code, w.Body, want)
		}
		if w.Code == 401 && (w.Header().Get("WWW-Authenticate") != "Bearer" || !strings.Contains(w.Body.String(), `"status":401`)) {
			t.Errorf("%q: got %s", header, w.Body)
		}
	}
}

func TestPassphrase(t *testing.T) {
	dir := t.TempDir()
	right, wrong := secretFile(t, "correct horse\n"), secretFile(t, "battery staple\n")
	options := localca.Options{KeySize: 256, PassphraseFile: right}
	ca, err := localca.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	cert := ca.Certificate()
	ca.Close()
	for _, path := range []string{"", wrong} {
		options.PassphraseFile = path
		if ca, err := localca.Open(dir, options); !errors.Is(err, localca.ErrPassphrase) {
			t.Errorf("got %v, want ErrPassphrase", err)
			if err == nil {
				ca.Close()
			}
		}
	}
	options.PassphraseFile = secretFile(t, "correct horse") // the line break doesn't count
	if ca, err = localca.Open(dir, options); err != nil {
		t.Fatal(err)
	}
	defer ca.Close()
	if !ca.Certificate().Equal(cert) {
		t.Error("got another CA")
	}
	for name, content := range map[string]string{"empty": "", "empty line": "\n", "two lines": "a\nb\n", "NUL": "a\x00"} {
		if ca, err := localca.Open(t.TempDir(), localca.Options{KeySize: 256, PassphraseFile: secretFile(t, content)}); err == nil || !strings.Contains(err.Error(), "want one line") {
			t.Errorf("%s: got %v", name, err)
			if err == nil {
				ca.Close()
			}
		}
	}
	if _, err := localca.Open(t.TempDir(), localca.Options{TokenFile: "/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

// address is a listener's that isn't on loopback.
type elsewhere struct{ net.Listener }

func (elsewhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5583} }

func TestServe(t *testing.T) {
	open := func(o localca.Options) *localca.CA {
		ca, err := localca.Open(newDir(t), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ca.Close() })
		return ca
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	ca := open(localca.Options{})
	if err := ca.Serve(t.Context(), elsewhere{listen()}); err == nil || !strings.Contains(err.Error(), "address 192.0.2.1:5583 isn't on loopback (want that, or a token)") {
		t.Errorf("got %v", err)
	}
	if err := ca.ListenAndServe(t.Context(), "0.0.0.0:0"); err == nil || !strings.Contains(err.Error(), "isn't on loopback") {
		t.Errorf("got %v", err)
	}
	if err := ca.ListenAndServe(t.Context(), "nowhere"); err == nil {
		t.Error("it listens nowhere")
	}
	withToken := open(localca.Options{TokenFile: secretFile(t, "x")})
	for _, tc := range []struct {
		name        string
		serve       func(context.Context, net.Listener) error
		misdirected int // what requests for another host get
	}{
		{"loopback", ca.Serve, http.StatusMisdirectedRequest},
		{"token, elsewhere", func(ctx context.Context, l net.Listener) error { return withToken.Serve(ctx, elsewhere{l}) }, http.StatusOK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			l := listen()
			go func() { ended <- tc.serve(ctx, l) }()
			req, err := http.NewRequest("GET", fmt.Sprintf("http://%v/ca", l.Addr()), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer x")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("got %s", resp.Status)
			}
			for host, want := range map[string]int{
				"localhost": 200, "LOCALHOST:5583": 200, "127.0.0.2:80": 200, "[::1]:5583": 200, "[::1]": 200,
				"evil.example:5583": tc.misdirected, "localhost.evil.example": tc.misdirected, "127.0.0.1.evil.example": tc.misdirected, "192.0.2.1": tc.misdirected,
			} {
				req.Host = host
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != want || !json.Valid(body) {
					t.Errorf("for host %s: got %s %s, want %d", host, resp.Status, body, want)
				}
			}
			http.DefaultClient.CloseIdleConnections()
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
	}
}

// pipes is a listener whose connections don't touch the network, so that time
// can pass in no time.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func TestSlowClients(t *testing.T) {
	dir := newDir(t)
	for _, tc := range []struct {
		name, sent string
		atMost     time.Duration
	}{
		{"sends nothing", "", 15 * time.Second},
		{"sends half a header", "POST /user HTTP/1.1\r\nHost: ca\r\nX-", 15 * time.Second},
		{"sends half a body", "POST /user HTTP/1.1\r\nHost: ca\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{", 35 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, err := localca.Open(dir, localca.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer ca.Close()
				l := make(pipes)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- ca.Serve(ctx, l) }()
				client, server := net.Pipe()
				l <- server
				start := time.Now()
				if _, err := io.WriteString(client, tc.sent); err != nil {
					t.Fatal(err)
				}
				bufio.NewReader(client).WriteTo(io.Discard) // until it is cut off
				if took := time.Since(start); took > tc.atMost {
					t.Errorf("cut off after %v, want %v at most", took, tc.atMost)
				}
				client.Close()
				stop()
				<-ended
			})
		})
	}
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// take returns what was written since the last time.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

func TestSchedule(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		var log journal
		ca, err := localca.Open(dir, localca.Options{DeltaLifetime: 6 * time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer ca.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- ca.Run(ctx) }()
		synctest.Wait()
		for _, step := range []struct {
			after       time.Duration
			full, delta int // made
		}{
			{3 * time.Hour, 0, 0},
			{time.Hour + time.Minute, 0, 1}, // 4 h, two thirds of 6
			{4 * time.Hour, 0, 1},
			{4 * time.Hour, 0, 1},
			{4*time.Hour + time.Minute, 1, 1}, // 16 h, two thirds of 24
			{16*time.Hour + time.Minute, 1, 4},
		} {
			log.take()
			time.Sleep(step.after)
			synctest.Wait()
			got := log.take()
			deltas := strings.Count(got, "CRL issued") - strings.Count(got, "base=0")
			if full := strings.Count(got, "base=0"); full != step.full || deltas != step.delta {
				t.Errorf("after %v more: %d lists and %d deltas, want %d and %d\n%s", step.after, full, deltas, step.full, step.delta, got)
			}
		}
		// A failure is tried again, and doesn't keep it busy.
		if err := ca.Close(); err != nil {
			t.Fatal(err)
		}
		log.take()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := strings.Count(log.take(), "no CRL on schedule"); n < 100 || n > 4000 {
			t.Errorf("tried %d times in a day", n)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}
