package mosquitto_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
)

func TestChildIsStartedAgain(t *testing.T) {
	r := newRig(t)
	ctx := r.start()
	reloader := r.reloader(r.child, fit)
	if err := reloader.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.child.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := reloader.Reload(ctx); err != nil {
		t.Errorf("after its sudden end: %v", err)
	}
	if got := r.log.count("the broker ended"); got != 1 {
		t.Errorf("its end was logged %d times, want 1", got)
	}
}

func TestChildThatCannotStart(t *testing.T) {
	t.Run("bad file", func(t *testing.T) {
		r := newRig(t)
		r.writeACL("rubbish\n")
		err := r.child.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "access.acl") {
			t.Errorf("got %v, want what the broker said of access.acl", err)
		}
	})
	t.Run("port taken", func(t *testing.T) {
		r := newRig(t)
		l, err := net.Listen("tcp", r.child.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(r.child.Addr)
		if err := r.child.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "port "+port+" is in use") {
			t.Errorf("got %v, want the port named", err)
		}
	})
	t.Run("folder closed to its user", func(t *testing.T) {
		if _, err := user.Lookup("mosquitto"); os.Geteuid() != 0 || err != nil {
			t.Skip("needs root and a system user mosquitto")
		}
		r := newRig(t)
		r.child.User = "mosquitto"
		if err := r.child.Run(t.Context()); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "as user mosquitto") {
			t.Errorf("got %v, want os.ErrPermission and the user", err)
		}
	})
	t.Run("no binary", func(t *testing.T) {
		r := newRig(t)
		r.child.Binary.Path = r.path("none")
		if err := r.child.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want os.ErrNotExist", err)
		}
	})
}

// Why a broker ends is in the log, and is an error there.
func TestBrokersErrorsAreLogged(t *testing.T) {
	r := newRig(t)
	ctx := r.start()
	if err := r.reloader(r.child, fit).Reload(ctx); err != nil {
		t.Fatal(err)
	}
	r.writeACL("rubbish\n")
	if err := r.child.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	r.log.await(t, "level=ERROR", `msg="Error: Invalid line in acl_file`)
	r.log.await(t, "the broker ended", "exit status", "Error: Invalid line in acl_file")
}

func TestSignalWithoutBroker(t *testing.T) {
	r := newRig(t)
	if err := r.child.Signal(t.Context()); err != nil {
		t.Errorf("a broker that does not run reads its files when it starts; got %v", err)
	}
	if err := r.child.Restart(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
}

// A PID file that is stale or forged must hit nobody.
func TestPIDFile(t *testing.T) {
	r := newRig(t)
	ctx := r.start()
	reloader := r.reloader(r.child, fit)
	if err := reloader.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	stranger := exec.Command("tail", "-f", "/dev/null", "mosquitto")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stranger.Process.Kill()
		stranger.Wait()
	}()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	pids := mosquitto.PIDFile{Path: r.path("pid")}
	if err := pids.Signal(ctx); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v, want os.ErrNotExist", err)
	}
	for _, tc := range []struct{ name, content, words string }{
		{"empty", "", "not a process id"},
		{"everybody", "-1", "not a process id"},
		{"the group", "0", "not a process id"},
		{"init", "1", "not a process id"},
		{"words", "mosquitto", "not a process id"},
		{"a process whose name begins like it", strconv.Itoa(os.Getpid()), "not a mosquitto"}, // mosquitto.test
		{"gone", strconv.Itoa(gone.Process.Pid), "process"},
		{"a stranger whose arguments speak of it", strconv.Itoa(stranger.Process.Pid), "not a mosquitto"},
	} {
		r.write("pid", tc.content)
		if err := pids.Signal(ctx); err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: got %v, want an error with %q", tc.name, err, tc.words)
		}
	}
}

func TestCommand(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "told")
	for _, tc := range []struct {
		name    string
		command mosquitto.Command
		words   string
	}{
		{"good", mosquitto.Command{"touch", mark}, ""},
		{"fails", mosquitto.Command{"sh", "-c", "echo no such unit >&2; exit 5"}, "no such unit"},
		{"empty", nil, "empty"},
		{"missing", mosquitto.Command{"/no/such/command"}, "no such file"},
	} {
		err := tc.command.Signal(t.Context())
		if (err == nil) != (tc.words == "") || err != nil && !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.words)
		}
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (mosquitto.Command{"sleep", "60"}).Signal(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled command: got %v, want %v", err, context.Canceled)
	}
}

// What a command leaves behind has its output, and must not be waited for.
func TestCommandWithBackgroundProcess(t *testing.T) {
	for _, tc := range []struct {
		name, then string
		ends       bool
	}{{"which ends", "", true}, {"which waits for it", "; wait", false}} {
		t.Run(tc.name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			script := "tail -f /dev/null & echo $! >" + pidFile + ".new && mv " + pidFile + ".new " + pidFile + tc.then
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			told := make(chan error, 1)
			go func() { told <- mosquitto.Command{"sh", "-c", script}.Signal(ctx) }()
			var pid int
			eventually(t, func() (err error) {
				data, err := os.ReadFile(pidFile)
				if err == nil {
					pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
				}
				return err
			})
			defer syscall.Kill(pid, syscall.SIGKILL)
			if !tc.ends {
				cancel() // as the manager's end does
			}
			select {
			case err := <-told:
				if tc.ends && err != nil || !tc.ends && !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			case <-time.After(patience):
				t.Fatal("it is still waited for")
			}
		})
	}
}
