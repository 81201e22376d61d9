package mosquitto

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Child is a broker that this process runs and keeps running.
type Child struct {
	Binary Binary
	Config string       // path of mosquitto.conf
	Dir    string       // the working directory, from which its relative paths start
	Addr   string       // host:port that it will listen on, to say so when it is taken
	User   string       // whose process it is if this one is root's; empty is root's, too
	Logger *slog.Logger // gets what the broker prints

	mu       sync.Mutex
	process  *exec.Cmd // nil while it is not running
	stopped  chan struct{}
	listened bool // it did once, so that to start it again makes sense
}

// A broker that ended is started again after a pause that doubles from the
// first to the second of these, and starts over once it ran for the third.
const (
	firstPause = 200 * time.Millisecond
	longPause  = 30 * time.Second
	settled    = time.Minute
)

// stopPatience is how long the broker may take to write its persistence file
// when it is asked to end.
const stopPatience = 10 * time.Second

// Run starts the broker and starts it again whenever it ends by itself. When
// ctx ends, it stops the broker, waits for it and returns nil. A broker that
// ends before it first listened is not tried again: Run returns what it
// printed.
func (c *Child) Run(ctx context.Context) error {
	// The kernel ends the child with the thread that started it, so that no
	// broker outlives a manager that was killed. The thread must therefore
	// live as long as this call.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if err := portFree(c.Addr); err != nil {
		return err
	}
	pause := firstPause
	for {
		started := time.Now()
		printed, err := c.runOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.mu.Lock()
		listened := c.listened
		c.mu.Unlock()
		if !listened {
			return fmt.Errorf("mosquitto %s did not start: %w: %s", c.Binary.Version, err, printed)
		}
		if time.Since(started) > settled {
			pause = firstPause
		}
		c.Logger.Error("the broker ended; starting it again", "cause", err, "printed", printed, "in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
			pause = min(2*pause, longPause)
		}
	}
}

// runOnce runs the broker until it ends, and returns the last of what it
// printed.
func (c *Child) runOnce(ctx context.Context) (printed string, err error) {
	cmd := exec.Command(c.Binary.Path, "-c", c.Config)
	cmd.Dir = c.Dir
	// A process group of its own: Ctrl-C in a terminal must reach the manager
	// alone, which then ends its parts in order. And its user from the
	// beginning: the kernel forgets to end a process that changes its user.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if cmd.SysProcAttr.Credential, err = credential(c.User); err != nil {
		return "", err
	}
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		if cmd.SysProcAttr.Credential != nil {
			err = fmt.Errorf("as user %s: %w", c.User, err)
		}
		return "", err
	}
	stopped := make(chan struct{})
	c.mu.Lock()
	c.process, c.stopped = cmd, stopped
	c.mu.Unlock()

	var watchers sync.WaitGroup
	exited := make(chan struct{})
	watchers.Go(func() { c.terminate(ctx, cmd, exited) })
	watchers.Go(func() {
		if awaitListener(c.Addr, exited) {
			c.mu.Lock()
			c.listened = true
			c.mu.Unlock()
		}
	})
	printed = c.forward(pipe) // until the broker closes its end
	err = cmd.Wait()
	close(exited)
	watchers.Wait()

	c.mu.Lock()
	c.process = nil
	c.mu.Unlock()
	close(stopped)
	if err == nil {
		err = errors.New("exit status 0")
	}
	return printed, err
}

// terminate asks the broker to end when ctx does, and insists after a while.
func (c *Child) terminate(ctx context.Context, cmd *exec.Cmd, exited <-chan struct{}) {
	select {
	case <-exited:
		return
	case <-ctx.Done():
	}
	deadline := time.After(stopPatience)
	for {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
			return
		case <-deadline:
			c.Logger.Error("the broker does not end; killing it")
			cmd.Process.Kill()
			return
		case <-time.After(200 * time.Millisecond):
			// Mosquitto 2.0 forgets a SIGTERM that comes while it starts.
		}
	}
}

// awaitListener reports whether addr accepts a connection before exited.
func awaitListener(addr string, exited <-chan struct{}) bool {
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// forward logs the broker's lines, each at the level that it begins with after
// its time, and returns the last ones.
func (c *Child) forward(r io.Reader) string {
	const keep = 5
	var last []string
	lines := bufio.NewReaderSize(r, 4096)
	for {
		// A line longer than the buffer is logged in pieces.
		line, _, err := lines.ReadLine()
		if text := withoutTime(string(bytes.TrimSpace(line))); text != "" {
			c.Logger.Log(context.Background(), levelOf(text), text)
			if last = append(last, text); len(last) > keep {
				last = last[1:]
			}
		}
		if err != nil {
			return strings.Join(last, "; ")
		}
	}
}

// withoutTime removes what the broker begins its lines with, "1795828288: ": a
// log has its own.
func withoutTime(line string) string {
	seconds, text, ok := strings.Cut(line, ": ")
	if _, err := strconv.ParseInt(seconds, 10, 64); !ok || err != nil {
		return line
	}
	return text
}

// levelOf leaves what OpenSSL says for those who look closely: most of it is
// about one client, anybody can cause it, and it does not say who did.
func levelOf(line string) slog.Level {
	switch {
	case strings.HasPrefix(line, "Error"):
		return slog.LevelError
	case strings.HasPrefix(line, "Warning"):
		return slog.LevelWarn
	case strings.HasPrefix(line, "Denied"):
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

// Signal sends SIGHUP. A broker that is not running needs none: it reads its
// files when it is started again.
func (c *Child) Signal(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return nil
	}
	err := c.process.Process.Signal(syscall.SIGHUP)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Restart ends the broker, without asking it twice, and returns when it has
// ended; Run starts it again.
func (c *Child) Restart(ctx context.Context) error {
	c.mu.Lock()
	process, stopped := c.process, c.stopped
	// Whoever asks for this has seen it listen, if nobody else has yet.
	c.listened = c.listened || process != nil
	c.mu.Unlock()
	if process == nil {
		return nil
	}
	if err := process.Process.Kill(); err != nil {
		return err
	}
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// portFree explains a port that is taken: the broker itself says only
// "Address already in use", without the address.
func portFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			_, port, _ := net.SplitHostPort(addr)
			return fmt.Errorf("port %s is in use (%s): is another broker running?", port, addr)
		}
		return fmt.Errorf("listening on %s: %w", addr, err)
	}
	return l.Close()
}
