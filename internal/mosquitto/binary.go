package mosquitto

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Binary is an installed broker.
type Binary struct {
	Path    string // absolute
	Version string // as the broker says of itself: "2.0.11"
}

// usualPlaces are asked after PATH, which rarely holds the sbin folders for a
// user who is not root.
var usualPlaces = []string{"/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"}

// askTimeout is how long a program has to tell its version. A broker needs
// milliseconds; the rest is for a busy machine.
const askTimeout = 20 * time.Second

// Find returns the broker at path, or for an empty path the first of:
// mosquitto on PATH, /usr/sbin/mosquitto, /usr/local/sbin/mosquitto. It runs
// the program with -h to learn its version.
//
// If there is none, the error is both exec.ErrNotFound and fs.ErrNotExist and
// says how to install one.
func Find(ctx context.Context, path string) (Binary, error) {
	path, err := locate(path)
	if err != nil {
		return Binary{}, err
	}
	version, err := askVersion(ctx, path)
	if err != nil {
		return Binary{}, err
	}
	return Binary{Path: path, Version: version}, nil
}

func locate(path string) (string, error) {
	names := []string{path}
	if path == "" {
		names = append([]string{"mosquitto"}, usualPlaces...)
	}
	for _, name := range names {
		found, err := exec.LookPath(name)
		switch {
		case err == nil || errors.Is(err, exec.ErrDot):
			return filepath.Abs(found)
		case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		default:
			return "", fmt.Errorf("mosquitto broker: %w", err)
		}
	}
	where := fmt.Sprintf("no program %q", path)
	if path == "" {
		where = "none on PATH nor at " + strings.Join(usualPlaces, " or ")
	}
	return "", missingError("mosquitto broker: " + where +
		"; it is in the Debian package mosquitto (apt-get install mosquitto)")
}

// missingError answers to both names that the standard library has for a
// program that is not there.
type missingError string

func (e missingError) Error() string { return string(e) }

func (missingError) Is(target error) bool {
	return target == exec.ErrNotFound || target == fs.ErrNotExist
}

// askVersion reads the first line of the help, "mosquitto version 2.0.11". The
// exit status says nothing: it is 3 in 2.0 and 0 in 2.1.
func askVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var out head
	cmd := exec.CommandContext(ctx, path, "-h")
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("asking %s for its version: %w", path, context.Cause(ctx))
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return "", fmt.Errorf("asking %s for its version: %w", path, err)
	}
	line, _, _ := bytes.Cut(out.data, []byte("\n"))
	version, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("mosquitto version "))
	if !ok || len(version) == 0 || version[0] < '0' || version[0] > '9' {
		return "", fmt.Errorf("%s is no mosquitto broker: %s -h begins with %q (want %q)",
			path, filepath.Base(path), line, "mosquitto version 2.0.11")
	}
	// 1.4 adds when it was built.
	number, _, _ := bytes.Cut(version, []byte(" "))
	return string(number), nil
}

// head keeps the beginning of what a program prints, whatever the amount.
type head struct{ data []byte }

const headSize = 256

func (h *head) Write(p []byte) (int, error) {
	h.data = append(h.data, p[:min(len(p), headSize-len(h.data))]...)
	return len(p), nil
}
