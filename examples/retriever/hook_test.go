package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dojot/mqtt-manager-go/provision"
)

func TestHookThatHangs(t *testing.T) {
	limit := hookLimit
	hookLimit = time.Millisecond
	defer func() { hookLimit = limit }()
	r := newRig(t)
	out, err := r.run(t.Context(), "24f6", "--", "sleep", "1000000")
	if status(err) != exitHook || !errors.As(err, new(*provision.HookError)) || !strings.Contains(err.Error(), `"sleep": it took longer than 1ms`) {
		t.Errorf("got %v\n%s", err, out)
	}
	if !r.has("24f6.crt.pending") {
		t.Error("it will not be run again")
	}
}

// What a hook has started ends with it.
func TestHookEndsWithAllItStarted(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- runHook(ctx, []string{"sh", "-c", `exec 3>"$1"; sleep 1000000; :`, "-", pipe}, "24f6", provision.Files{}, io.Discard)
	}()
	held, err := os.Open(pipe) // as soon as the shell has
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cancel()
	if err := <-ended; err == nil {
		t.Error("it is said to have succeeded")
	}
	if _, err := io.ReadAll(held); err != nil { // until all who hold it are gone
		t.Error(err)
	}
}

// A run that has no hook leaves one that failed to the next run that has.
func TestHookIsNotForgotten(t *testing.T) {
	r := newRig(t)
	p12 := []string{"--p12-password-file", filepath.Join(r.dir, "p12pw")}
	if out, err := r.run(t.Context(), "24f6", "--", "false"); status(err) != exitHook {
		t.Fatalf("got %v\n%s", err, out)
	}
	if out, err := r.run(t.Context(), "24f6", "--plan", "--", "true"); err != nil || !strings.Contains(out, "run \"true\" for 24f6 (an earlier hook has not succeeded)\n") {
		t.Errorf("--plan: %v\n%s", err, out)
	}
	if out, err := r.run(t.Context(), "24f6", append(p12, "--plan")...); err != nil || !strings.Contains(out, "make "+filepath.Join(r.certs, "24f6.p12")+"\n") {
		t.Errorf("--plan: %v\n%s", err, out)
	}
	if out, err := r.run(t.Context(), "24f6", p12...); err != nil || !r.has("24f6.p12") {
		t.Fatalf("got %v\n%s", err, out)
	}
	if out, err := r.run(t.Context(), "24f6", "--", "echo", "told"); err != nil || !strings.Contains(out, "told\n") {
		t.Errorf("got %v\n%s", err, out)
	}
	out, err := r.run(t.Context(), "24f6", append(p12, "--plan", "--", "true")...)
	if err != nil || strings.Contains(out, "run ") || strings.Contains(out, ".p12") {
		t.Errorf("nothing is left to do, --plan: %v\n%s", err, out)
	}
}

// The hook finds the PKCS #12 file of the certificate that it is told of.
func TestHookFindsTheP12(t *testing.T) {
	r := newRig(t)
	if out, err := r.run(t.Context(), "24f6", "--p12-password-file", filepath.Join(r.dir, "p12pw"), "--", "test", "-s", filepath.Join(r.certs, "24f6.p12")); err != nil {
		t.Errorf("got %v\n%s", err, out)
	}
}
