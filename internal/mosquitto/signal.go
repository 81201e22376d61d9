package mosquitto

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var errNotOurs = errors.New("this broker is run by somebody else")

// PIDFile controls a broker that somebody else runs, by its pid_file.
type PIDFile struct{ Path string }

// Signal sends SIGHUP to the process that the file names, if that process is
// a mosquitto: a stale file must not hit a stranger.
func (p PIDFile) Signal(context.Context) error {
	data, err := os.ReadFile(p.Path)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(data[:min(len(data), 32)]))
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s: %q is not a process id", p.Path, text)
	}
	ours, err := isMosquitto(pid)
	if err != nil {
		return fmt.Errorf("%s: process %d: %w", p.Path, pid, err)
	}
	if !ours {
		return fmt.Errorf("%s: process %d is not a mosquitto", p.Path, pid)
	}
	return syscall.Kill(pid, syscall.SIGHUP)
}

// isMosquitto judges a process by the name of its program, which anybody may
// read. To mistake another for a broker is to end it: SIGHUP ends most.
func isMosquitto(pid int) (bool, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return false, err
	}
	if strings.TrimSpace(string(name)) == "mosquitto" {
		return true, nil
	}
	// A broker with libraries of its own is an argument of their loader.
	if !strings.HasPrefix(string(name), "ld-") {
		return false, nil
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(strings.Split(string(cmdline), "\x00"), func(word string) bool {
		return filepath.Base(word) == "mosquitto"
	}), nil
}

// Restart cannot be done by a PID file.
func (p PIDFile) Restart(context.Context) error { return errNotOurs }

// Command controls a broker that somebody else runs, by a command that makes
// it reload: "systemctl reload mosquitto", say.
type Command []string

// commandPatience is how long the command may take. One that asks systemd or a
// container's runtime needs seconds.
const commandPatience = time.Minute

// Signal runs the command. What it prints is part of the error if it fails.
func (c Command) Signal(ctx context.Context) error {
	if len(c) == 0 {
		return errors.New("the reload command is empty")
	}
	ctx, cancel := context.WithTimeout(ctx, commandPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c[0], c[1:]...)
	// What it leaves running may keep its output open for ever.
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		if ctx.Err() != nil {
			err = ctx.Err() // not only "killed"
		}
		return fmt.Errorf("%q: %w: %q", []string(c), err, out[:min(len(out), 500)])
	}
	return nil
}

// Restart cannot be done by a reload command.
func (c Command) Restart(context.Context) error { return errNotOurs }
