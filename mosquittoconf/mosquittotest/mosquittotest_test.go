package mosquittotest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

func start(t *testing.T, o mosquittotest.Options) *mosquittotest.Broker {
	t.Helper()
	b, err := mosquittotest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// connack says what a broker answers to an anonymous MQTT 3.1.1 CONNECT: the
// return code, 0 for accepted.
func connack(addr string) (byte, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return greet(conn)
}

func greet(conn net.Conn) (byte, error) {
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c")); err != nil {
		return 0, err
	}
	var answer [4]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return 0, err
	}
	return answer[3], nil
}

func TestStartServesAtOnce(t *testing.T) {
	for _, tt := range []struct {
		conf string
		want byte
	}{
		{"allow_anonymous true", 0},
		{"allow_anonymous false", 5},
	} {
		b := start(t, mosquittotest.Options{Conf: tt.conf})
		if got, err := connack(b.Addr()); err != nil || got != tt.want {
			t.Errorf("conf %q: got CONNACK %d, %v, want %d", tt.conf, got, err, tt.want)
		}
		if !strings.Contains(b.Log(), "mosquitto version "+b.Version()+" starting") {
			t.Errorf("version %q is not that of the log:\n%s", b.Version(), b.Log())
		}
	}
}

// hello is connack over TLS for a client with the name, and what it is told.
func hello(b *mosquittotest.Broker, name string) (byte, error) {
	config, err := b.ClientTLS(name)
	if err != nil {
		return 0, err
	}
	conn, err := tls.Dial("tcp", b.Addr(), config)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return greet(conn)
}

func TestTLS(t *testing.T) {
	b := start(t, mosquittotest.Options{TLS: true, ACL: "user device1\ntopic a\n"})
	if want := "mqtts://" + b.Addr(); b.URL() != want {
		t.Errorf("got URL %q, want %q", b.URL(), want)
	}
	if got, err := hello(b, "device1"); err != nil || got != 0 {
		t.Errorf("device1: got CONNACK %d, %v", got, err)
	}
	if !strings.Contains(b.Log(), "u'device1'") {
		t.Errorf("the log does not name the user:\n%s", b.Log())
	}
	if got, err := hello(b, ""); err == nil {
		t.Errorf("no certificate: got CONNACK %d, want an error", got)
	}
	if err := b.Reload(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(b.Conf(), "require_certificate true") {
		t.Errorf("got configuration\n%s", b.Conf())
	}
	plain := start(t, mosquittotest.Options{})
	if _, err := plain.ClientTLS("x"); err == nil {
		t.Error("ClientTLS of a plain broker: got no error")
	}
	if want := "mqtt://" + plain.Addr(); plain.URL() != want {
		t.Errorf("got URL %q, want %q", plain.URL(), want)
	}
}

func TestVersion(t *testing.T) {
	b := start(t, mosquittotest.Options{})
	major, _, _ := strings.Cut(b.Version(), ".")
	start(t, mosquittotest.Options{Version: b.Version()})
	start(t, mosquittotest.Options{Version: major})
	if _, err := mosquittotest.Start(mosquittotest.Options{Version: "1.3"}); err == nil || !strings.Contains(err.Error(), b.Version()+" (want 1.3") {
		t.Errorf("another version: got error %v", err)
	}
}

func TestStartRefused(t *testing.T) {
	_, err := mosquittotest.Start(mosquittotest.Options{Conf: "no_such_option true"})
	var exit *mosquittotest.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("got error %v, want an *ExitError", err)
	}
	if !strings.Contains(exit.Log, "no_such_option") || !strings.Contains(err.Error(), exit.Log) {
		t.Errorf("the error lacks the broker's log: %v", err)
	}
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() == 0 {
		t.Errorf("got error %v, want an exit status", err)
	}
}

func TestStartMissingBinary(t *testing.T) {
	_, err := mosquittotest.Start(mosquittotest.Options{Binary: "/nowhere/mosquitto"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want fs.ErrNotExist", err)
	}
}

func TestDirIsWorkingDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "access.acl"), []byte("topic read a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, mosquittotest.Options{Dir: dir, Conf: "acl_file access.acl"})
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("the folder of the caller holds %v, %v", names, err)
	}
}

func TestGlobalPrecedesListener(t *testing.T) {
	second, err := mosquittotest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mosquittotest.Start(mosquittotest.Options{
		Global: "per_listener_settings true",
		Conf:   fmt.Sprintf("allow_anonymous false\nlistener %d 127.0.0.1\nallow_anonymous true", second),
	})
	if err != nil && strings.Contains(err.Error(), "Unknown configuration variable") {
		t.Skip("1.4 has no per_listener_settings")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := connack(b.Addr()); err != nil || got != 5 {
		t.Errorf("first listener: got CONNACK %d, %v, want 5", got, err)
	}
	if got, err := connack(fmt.Sprintf("127.0.0.1:%d", second)); err != nil || got != 0 {
		t.Errorf("second listener: got CONNACK %d, %v, want 0", got, err)
	}
}

// A signal that comes before the broker can handle it ends it, so many starts
// show that Start waits long enough.
func TestReloadRightAfterStart(t *testing.T) {
	for range 20 {
		b := start(t, mosquittotest.Options{})
		if err := b.Reload(); err != nil {
			t.Fatal(err)
		}
		b.Close()
	}
}

func TestReloadIsOverWhenItReturns(t *testing.T) {
	dir := t.TempDir()
	included := filepath.Join(dir, "conf.d", "anonymous.conf")
	if err := os.Mkdir(filepath.Dir(included), 0o700); err != nil {
		t.Fatal(err)
	}
	allow := func(yes bool) {
		t.Helper()
		if err := os.WriteFile(included, fmt.Appendf(nil, "allow_anonymous %t\n", yes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	allow(false)
	b := start(t, mosquittotest.Options{Dir: dir, Conf: "include_dir conf.d"})
	for i := range 20 {
		yes := i%2 == 0
		allow(yes)
		if err := b.Reload(); err != nil {
			t.Fatal(err)
		}
		got, err := connack(b.Addr())
		if err != nil || (got == 0) != yes {
			t.Fatalf("reload %d: got CONNACK %d, %v with allow_anonymous %t", i, got, err, yes)
		}
	}
}

func TestReloadsTakeTurns(t *testing.T) {
	b := start(t, mosquittotest.Options{})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := b.Reload(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := strings.Count(b.Log(), "Reloading config."); got != 10 {
		t.Errorf("10 calls made %d reloads", got)
	}
}

func TestEndedBroker(t *testing.T) {
	b := start(t, mosquittotest.Options{})
	if err := syscall.Kill(b.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-b.Done()
	var exit *mosquittotest.ExitError
	if err := b.Reload(); !errors.As(err, &exit) {
		t.Errorf("Reload: got error %v, want an *ExitError", err)
	}
	if err := b.WaitLog(t.Context(), "no such line"); !errors.As(err, &exit) {
		t.Errorf("WaitLog: got error %v, want an *ExitError", err)
	}
	if err := b.WaitLog(t.Context(), "starting"); err != nil {
		t.Errorf("WaitLog for a line of the past: %v", err)
	}
}

func TestWaitLogStopsWithContext(t *testing.T) {
	b := start(t, mosquittotest.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.WaitLog(ctx, "no such line"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want context.DeadlineExceeded", err)
	}
}

func TestClose(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	b := start(t, mosquittotest.Options{})
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-b.Done():
	default:
		t.Error("Done is open after Close")
	}
	if conn, err := net.Dial("tcp", b.Addr()); err == nil {
		conn.Close()
		t.Error("the listener is open after Close")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if !strings.Contains(b.Log(), "terminating") {
		t.Errorf("the log does not show an orderly end:\n%s", b.Log())
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("MOSQUITTOTEST_PARENT") != "" {
		b, err := mosquittotest.Start(mosquittotest.Options{})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(b.PID())
		select {}
	}
	os.Exit(m.Run())
}
