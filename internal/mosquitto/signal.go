package mosquitto

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
	command, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return fmt.Errorf("%s: process %d: %w", p.Path, pid, err)
	}
	if !isMosquitto(string(command)) {
		return fmt.Errorf("%s: process %d is not a mosquitto", p.Path, pid)
	}
	return syscall.Kill(pid, syscall.SIGHUP)
}

// isMosquitto judges a /proc/…/cmdline, in which NUL ends each word. The
// broker may be started through a loader, so any word before the first option
// may be its path.
func isMosquitto(cmdline string) bool {
	for _, word := range strings.Split(cmdline, "\x00") {
		if word == "-c" {
			return false
		}
		if strings.HasPrefix(filepath.Base(word), "mosquitto") {
			return true
		}
	}
	return false
}

// Restart cannot be done by a PID file.
func (p PIDFile) Restart(context.Context) error { return errNotOurs }

// Command controls a broker that somebody else runs, by a command that makes
// it reload: "systemctl reload mosquitto", say.
type Command []string

// Signal runs the command. What it prints is part of the error if it fails.
func (c Command) Signal(ctx context.Context) error {
	if len(c) == 0 {
		return errors.New("the reload command is empty")
	}
	out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%q: %w: %q", []string(c), err, out[:min(len(out), 500)])
	}
	return nil
}

// Restart cannot be done by a reload command.
func (c Command) Restart(context.Context) error { return errNotOurs }
