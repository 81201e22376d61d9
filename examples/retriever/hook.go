package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/dojot/mqtt-manager-go/provision"
)

// hookTime is how long a hook that was asked to end may still run.
const hookTime = 10 * time.Second

// runHook runs a program with its arguments as they are, without a shell: a
// device's name must not become a command. What it is about is in its
// environment.
func runHook(ctx context.Context, argv []string, device string, files provision.Files, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(),
		"RETRIEVER_DEVICE="+device, "RETRIEVER_KEY="+files.Key, "RETRIEVER_CERT="+files.Cert, "RETRIEVER_CA="+files.CA)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = hookTime
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%q: %w", argv[0], err)
	}
	return nil
}
