package mosquitto_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
)

// keepBroker is the variable by which a test has this program run a broker, at
// that address, until it is killed.
const keepBroker = "KEEP_BROKER_AT"

func TestMain(m *testing.M) {
	addr := os.Getenv(keepBroker)
	if addr == "" {
		os.Exit(m.Run())
	}
	child := &mosquitto.Child{
		Binary: mosquitto.Binary{Path: os.Getenv("MOSQUITTO")}, Config: "mosquitto.conf",
		Addr: addr, User: "mosquitto",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	slog.Error("not started", "cause", child.Run(context.Background()))
	os.Exit(1)
}

// Root's manager cannot end its broker when it is killed, so the kernel must,
// though the broker is another user's.
func TestKilledAsRoot(t *testing.T) {
	account, err := user.Lookup("mosquitto")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("needs root and a system user mosquitto, which Debian's package makes")
	}
	r := newRig(t)
	// The tests' own folders are closed to others.
	dir, err := os.MkdirTemp("", "mosquitto-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	uid, err1 := strconv.Atoi(account.Uid)
	gid, err2 := strconv.Atoi(account.Gid)
	_, port, _ := net.SplitHostPort(r.child.Addr)
	pidFile := filepath.Join(dir, "pid")
	config := "listener " + port + " 127.0.0.1\nuser mosquitto\nlog_dest stderr\nallow_anonymous false\npid_file " + pidFile + "\n"
	err3 := os.WriteFile(filepath.Join(dir, "mosquitto.conf"), []byte(config), 0o644)
	if err := errors.Join(err1, err2, err3, os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	manager := exec.Command(os.Args[0])
	manager.Dir = dir
	manager.Env = append(os.Environ(), keepBroker+"="+r.child.Addr, "MOSQUITTO="+r.child.Binary.Path)
	manager.Stderr = r.log
	if err := manager.Start(); err != nil {
		t.Fatal(err)
	}
	listening := func() error {
		conn, err := net.Dial("tcp", r.child.Addr)
		if err == nil {
			conn.Close()
		}
		return err
	}
	eventually(t, listening)
	r.log.await(t, "New connection from") // up to now it may forget a SIGTERM
	var pid int
	if data, err := os.ReadFile(pidFile); err != nil {
		t.Fatal(err)
	} else if pid, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil {
		t.Fatal(err)
	}

	if err := manager.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		manager.Wait()
	})
	eventually(t, func() error {
		if listening() == nil {
			return errors.New("the broker is still there")
		}
		return nil
	})
}
