package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/dojot/mqtt-manager-go/provision"
)

// hookLimit is how long a hook may take: one that hangs must not hold up the
// devices that come after. It is a variable for tests.
var hookLimit = 5 * time.Minute

// hookTime is how long a hook that was asked to end may still run, and less
// than enrol waits for it.
const hookTime = 2 * time.Second

// runHook runs a program with its arguments as they are, without a shell: a
// device's name must not become a command. What it is about is in its
// environment. What it has started ends with it, if it has to be ended.
func runHook(ctx context.Context, argv []string, device string, files provision.Files, stderr io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, hookLimit, errors.New("it took longer than "+hookLimit.String()))
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(),
		"RETRIEVER_DEVICE="+device, "RETRIEVER_KEY="+files.Key, "RETRIEVER_CERT="+files.Cert, "RETRIEVER_CA="+files.CA)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = hookTime
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
		if cmd.Process != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // those who did not heed
		}
	}
	return fmt.Errorf("%q: %w", argv[0], err)
}
