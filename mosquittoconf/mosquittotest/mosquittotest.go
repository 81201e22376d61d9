// Package mosquittotest runs a real mosquitto broker for a test or a demo, the
// way net/http/httptest runs an HTTP server: on a free port of the loopback
// interface, with its log at hand, and with nothing left behind after Close.
//
//	broker, err := mosquittotest.Start(mosquittotest.Options{
//		Conf: "allow_anonymous true\nacl_file access.acl\n",
//		Dir:  dir,
//	})
//	if err != nil {
//		return err
//	}
//	defer broker.Close()
//	conn, err := net.Dial("tcp", broker.Addr())
//
// The broker is the installed one, or the one that the environment variable
// MOSQUITTO names, so that the same tests run against any version. It is a
// child of the calling process and, on Linux, dies with it.
//
// With Options.TLS the broker has a throw-away CA, and Broker.ClientTLS gives
// each client a certificate of it. The package does not speak MQTT.
package mosquittotest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
)

// Options say what to run. The zero Options run the installed broker with one
// plain listener that admits nobody, which is what a broker does on its own from
// 2.0 on; 1.x admits everybody.
type Options struct {
	// Binary is the broker's program. Empty means the one that the environment
	// variable MOSQUITTO names, else mosquitto on PATH or in /usr/sbin.
	Binary string

	// Version is the broker's that the test is for, such as "2.0.11", or
	// "2.0" for any patch level. Start fails if the program is of another one.
	// Empty means any.
	Version string

	// TLS makes the first listener one of TLS, by a CA of its own, which asks
	// clients for certificates and takes their common name for the user name.
	TLS bool

	// ACL is the text of an access file. Empty means none.
	ACL string

	// Dir is the working directory of the broker, where the relative paths of
	// its configuration start. Empty means a temporary folder that Close
	// removes.
	Dir string

	// Conf is put after the line "listener PORT 127.0.0.1", so options of a
	// listener belong to that one until Conf has a listener of its own, for
	// which FreePort finds a port. Conf must not reduce the log: Start, Reload
	// and WaitLog read it.
	Conf string

	// Global is put before the listener line, for what must precede it, such
	// as per_listener_settings.
	Global string
}

const (
	// startTimeout is long because 2.0 needs 45 seconds for an ACL file of
	// 100,000 users.
	startTimeout = 2 * time.Minute
	// stopTimeout is how long a broker has for an orderly end.
	stopTimeout = 10 * time.Second
	// portTries bounds how often another process may take the port that was
	// free a moment ago.
	portTries = 5
)

// Broker is a running broker. Its methods may be called concurrently.
type Broker struct {
	binary  mosquitto.Binary
	addr    string
	conf    string
	ca      *authority // nil without TLS
	own     string     // temporary folder, removed at Close
	process *os.Process
	log     journal
	done    chan struct{}
	err     error // how the process ended; read it after done

	reload    sync.Mutex
	closeOnce sync.Once
	closeErr  error
}

// ExitError is a broker that has ended, and what it had to say.
type ExitError struct {
	Err error  // *exec.ExitError; nil for exit status 0
	Log string // all of it
}

func (e *ExitError) Error() string {
	status := "exit status 0"
	if e.Err != nil {
		status = e.Err.Error()
	}
	return fmt.Sprintf("mosquitto ended (%s); its log:\n%s", status, e.Log)
}

func (e *ExitError) Unwrap() error { return e.Err }

// Start runs a broker and returns when its listeners are open and it handles
// signals. Started as root, the broker stays root, unless the configuration
// names a user: the files of a test are private to the user who runs it.
//
// A broker that refuses its configuration is an *ExitError.
func Start(o Options) (*Broker, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	binary, err := mosquitto.Find(ctx, cmp.Or(o.Binary, os.Getenv("MOSQUITTO")))
	if err != nil {
		return nil, err
	}
	if o.Version != "" && binary.Version != o.Version && !strings.HasPrefix(binary.Version, o.Version+".") {
		return nil, fmt.Errorf("%s is mosquitto %s (want %s; name it in the environment variable MOSQUITTO)", binary.Path, binary.Version, o.Version)
	}
	for try := 1; ; try++ {
		b, err := start(ctx, binary, o)
		exit, ended := errors.AsType[*ExitError](err)
		if ended && try < portTries && strings.Contains(exit.Log, "Address already in use") {
			continue
		}
		return b, err
	}
}

func start(ctx context.Context, binary mosquitto.Binary, o Options) (_ *Broker, err error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		binary: binary,
		addr:   fmt.Sprintf("127.0.0.1:%d", port),
		done:   make(chan struct{}),
	}
	if b.own, err = os.MkdirTemp("", "mosquittotest"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	// Open to others because a broker with a "user" of its own reads its
	// configuration again at every reload.
	if err := os.Chmod(b.own, 0o755); err != nil {
		return nil, err
	}
	conf, err := b.configuration(o, port)
	if err != nil {
		return nil, err
	}
	b.conf = conf
	path := filepath.Join(b.own, "mosquitto.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	if err := b.run(path, cmp.Or(o.Dir, b.own)); err != nil {
		return nil, err
	}
	if err := b.serving(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// serving returns when the broker has opened its listeners and installed its
// signal handlers.
func (b *Broker) serving(ctx context.Context) error {
	if !strings.HasPrefix(b.binary.Version, "1.") {
		return b.WaitLog(ctx, "mosquitto version "+b.binary.Version+" running")
	}
	// Most of 1.x does not say so, but looks at connections only then.
	for {
		_, err := b.connection(ctx, 0)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		select {
		case <-b.done:
			return &ExitError{Err: b.err, Log: b.Log()}
		case <-ctx.Done():
			return fmt.Errorf("%w; the log:\n%s", err, b.Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// connection makes one and returns when the log, from byte from on, has one,
// and where it has it. The broker logs nothing while it reads its files.
func (b *Broker) connection(ctx context.Context, from int) (int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", b.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return b.waitLog(ctx, from, "New connection from ")
}

func (b *Broker) configuration(o Options, port int) (string, error) {
	// A broker that becomes another user could not read what is private.
	private := os.FileMode(0o600)
	if names(o.Global, "user") || names(o.Conf, "user") {
		private = 0o644
	}
	var s strings.Builder
	s.WriteString("log_dest stderr\nlog_type all\n")
	if os.Geteuid() == 0 && !names(o.Global, "user") && !names(o.Conf, "user") {
		me, err := user.Current()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "user %s\n", me.Username)
	}
	fmt.Fprintf(&s, "%s\nlistener %d 127.0.0.1\n", o.Global, port)
	if o.TLS {
		var err error
		if b.ca, err = newAuthority(); err != nil {
			return "", err
		}
		options, err := b.ca.install(b.own, private)
		if err != nil {
			return "", err
		}
		s.WriteString(options)
	}
	if o.ACL != "" {
		path := filepath.Join(b.own, "access.acl")
		if err := os.WriteFile(path, []byte(o.ACL), private); err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "acl_file %s\n", path)
	}
	s.WriteString(o.Conf + "\n")
	return s.String(), nil
}

// names reports whether conf has the option key, which may occur only once.
func names(conf, key string) bool {
	for line := range strings.Lines(conf) {
		if word, _, _ := strings.Cut(strings.Trim(line, " \r\n"), " "); word == key {
			return true
		}
	}
	return false
}

// run starts the process and the goroutine that waits for its end.
func (b *Broker) run(conf, dir string) error {
	cmd := exec.Command(b.binary.Path, "-c", conf)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &b.log, &b.log
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = childAttr()
	started := make(chan error)
	go func() {
		// The kernel's "parent" of a parent-death signal is the thread that
		// forked: keep it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		b.process = cmd.Process
		started <- err
		if err != nil {
			return
		}
		b.err = cmd.Wait()
		b.log.end()
		close(b.done)
	}()
	return <-started
}

// Addr returns host and port of the first listener.
func (b *Broker) Addr() string { return b.addr }

// URL returns the address of the first listener as MQTT clients write it:
// mqtt://127.0.0.1:PORT, or mqtts:// with Options.TLS.
func (b *Broker) URL() string {
	if b.ca != nil {
		return "mqtts://" + b.addr
	}
	return "mqtt://" + b.addr
}

// Conf returns the broker's configuration, as it is in its file.
func (b *Broker) Conf() string { return b.conf }

// Version returns the broker's version, such as "2.0.11".
func (b *Broker) Version() string { return b.binary.Version }

// PID returns the broker's process id, for those who signal it themselves.
func (b *Broker) PID() int { return b.process.Pid }

// Log returns what the broker has printed so far. Every line begins with the
// time, in seconds since 1970.
func (b *Broker) Log() string { return b.log.String() }

// WaitLog returns when the log, from its beginning, contains substr. If the
// broker ends without that, the error is an *ExitError; if ctx does, it is
// ctx's cause with the log.
func (b *Broker) WaitLog(ctx context.Context, substr string) error {
	_, err := b.waitLog(ctx, 0, substr)
	return err
}

// waitLog looks at the log from byte from on, and returns where substr ends.
func (b *Broker) waitLog(ctx context.Context, from int, substr string) (int, error) {
	end, err := b.log.wait(ctx, from, substr)
	switch {
	case errors.Is(err, errLogEnded):
		<-b.done
		return 0, &ExitError{Err: b.err, Log: b.Log()}
	case err != nil:
		return 0, fmt.Errorf("waiting for %q in the log of mosquitto: %w; the log:\n%s", substr, err, b.Log())
	}
	return end, nil
}

// Reload sends SIGHUP and returns when the broker has reread its files: it has
// logged the reload's beginning and has then accepted a new connection at
// Addr, which it cannot before the reload is over. The broker may have disliked
// what it read; see Log. A broker that ends instead is an *ExitError.
//
// It needs the first listener to be an MQTT listener, with TLS or without; up
// to 2.0 those for websockets do not log connections.
func (b *Broker) Reload() error {
	// A signal that arrives during a reload is lost.
	b.reload.Lock()
	defer b.reload.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	from := b.log.len()
	if err := b.process.Signal(syscall.SIGHUP); err != nil {
		return b.ended(err)
	}
	b.wake()
	from, err := b.waitLog(ctx, from, "Reloading config.")
	if err != nil {
		return err
	}
	_, err = b.connection(ctx, from)
	if _, dialing := errors.AsType[*net.OpError](err); dialing {
		// Refused, or reset if the broker ended while it was being made.
		return b.ended(err)
	}
	return err
}

// ended prefers the reason for which the broker is gone to the symptom.
func (b *Broker) ended(err error) error {
	select {
	case <-b.done:
		return &ExitError{Err: b.err, Log: b.Log()}
	case <-time.After(time.Second):
		return err
	}
}

// Done is closed when the broker's process has ended, for whatever reason.
func (b *Broker) Done() <-chan struct{} { return b.done }

// Close ends the broker, if it still runs, and removes the temporary folder.
// The log stays readable. Further calls return what the first one did.
func (b *Broker) Close() error {
	b.closeOnce.Do(func() { b.closeErr = b.close() })
	return b.closeErr
}

func (b *Broker) close() error {
	if b.process != nil {
		b.stop()
	}
	return os.RemoveAll(b.own)
}

func (b *Broker) stop() {
	deadline := time.After(stopTimeout)
	for {
		b.kill(syscall.SIGTERM)
		b.wake()
		select {
		case <-b.done:
			return
		case <-deadline:
			b.kill(syscall.SIGKILL)
			<-b.done
			return
		case <-time.After(100 * time.Millisecond):
			// 2.0 forgets a SIGTERM that comes right after it has logged that
			// it runs.
		}
	}
}

// wake makes the broker look at its signals now: 2.0 does so when something
// has arrived, else every 100 ms.
func (b *Broker) wake() {
	if conn, err := net.Dial("tcp", b.addr); err == nil {
		conn.Close()
	}
}

// kill signals the broker's process group, unless the broker has ended: then
// its id may belong to somebody else.
func (b *Broker) kill(sig syscall.Signal) {
	select {
	case <-b.done:
	default:
		syscall.Kill(-b.process.Pid, sig)
	}
}
