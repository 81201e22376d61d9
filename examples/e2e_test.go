// Package examples_test drives the compiled examples as their users would:
// manager, retriever and simulator as processes, with a real mosquitto.
package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
	"github.com/dojot/mqtt-manager-go/provision"
)

// bin is the folder with the compiled examples.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "mqtt-manager-examples-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		build := exec.Command("go", "build", "-o", bin, "./manager", "./retriever", "./simulator")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the examples: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// patience bounds every wait. What is waited for takes milliseconds, a key of
// RSA seconds; a machine that runs other tests besides may take its time.
const patience = 3 * time.Minute

// freePort returns a port for a process that is told where to listen.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := mosquittotest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// broker returns the options that choose the broker under test.
func broker() []string {
	if path := os.Getenv("MOSQUITTO"); path != "" {
		return []string{"--mosquitto", path}
	}
	return nil
}

// process is a running example.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}

	mu   sync.Mutex
	out  strings.Builder // both streams
	more chan struct{}   // closed and replaced with each line
}

func start(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(filepath.Join(bin, name), args...), exited: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Dir = dir
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	launch(t, p.cmd, func() {
		defer close(p.exited)
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			p.mu.Lock()
			p.out.WriteString(lines.Text() + "\n")
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		p.cmd.Wait()
	})
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s %q:\n%s", name, args, p.output())
		}
	})
	return p
}

// launch starts cmd in a process group of its own and calls attend beside the
// test, which is to wait for its end. If this process is killed, so is cmd.
func launch(t *testing.T, cmd *exec.Cmd, attend func()) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel kills it with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			attend()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// await returns when text has been printed.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		has, more := strings.Contains(p.out.String(), text), p.more
		p.mu.Unlock()
		if has {
			return
		}
		select {
		case <-more:
		case <-p.exited:
			if !strings.Contains(p.output(), text) {
				t.Fatalf("ended without printing %q", text)
			}
			return
		case <-late:
			t.Fatalf("%q was not printed within %v", text, patience)
		}
	}
}

func (p *process) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%q does not end", p.cmd.Args)
	}
}

// stop ends the process as Ctrl-C does, and expects it to be content.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.awaitEnd(t)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d after an interrupt, want 0", code)
	}
}

// run runs an example to its end.
func run(t *testing.T, dir, stdin, name string, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// eventually repeats try until it returns nil.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks at a condition
	}
}

// platform is dojot's side of one manager in development mode.
type platform struct {
	t                           *testing.T
	dir                         string // where the processes run
	listen, api, gateway, kafka string // ports
	manager                     *process
}

func newPlatform(t *testing.T, options ...string) *platform {
	t.Helper()
	p := &platform{t: t, dir: t.TempDir(), listen: freePort(t), api: freePort(t), gateway: freePort(t), kafka: freePort(t)}
	giveCA(t, p.dir)
	p.startManager(options...)
	return p
}

func (p *platform) startManager(options ...string) {
	p.t.Helper()
	p.manager = start(p.t, p.dir, "manager", slices.Concat([]string{"dev",
		"--listen", "127.0.0.1:" + p.listen, "--api", "127.0.0.1:" + p.api,
		"--gateway", "127.0.0.1:" + p.gateway, "--kafka-port", p.kafka}, options, broker())...)
	p.manager.await(p.t, "Ctrl-C ends everything.")
}

// devCA is a folder with a CA as dev has it, but for its key, which is made
// sooner.
var devCA = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(bin, "ca")
	ca, err := localca.Open(dir, localca.Options{KeySize: 2048})
	if err != nil {
		return "", err
	}
	return dir, ca.Close()
})

// giveCA spares a dev that will run in dir the making of the CA's key, which
// may take minutes on a machine that is busy.
func giveCA(t *testing.T, dir string) {
	t.Helper()
	ca, err := devCA()
	if err == nil {
		err = os.CopyFS(filepath.Join(dir, "dojot-dev", "ca"), os.DirFS(ca))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *platform) url(path string) string { return "http://127.0.0.1:" + p.api + path }

// call makes a request of the manager's API.
func (p *platform) call(method, path string, body io.Reader) (status int, answer string) {
	p.t.Helper()
	status, answer, err := p.try(method, path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return status, answer
}

// try is call for other goroutines than the test's.
func (p *platform) try(method, path string, body io.Reader) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url(path), body)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

func (p *platform) devices() string {
	p.t.Helper()
	_, body := p.call("GET", "/v1/devices", nil)
	var list struct {
		Devices []struct{ Tenant, ID string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		p.t.Fatalf("%v in %q", err, body)
	}
	var names []string
	for _, d := range list.Devices {
		names = append(names, d.Tenant+"/"+d.ID)
	}
	return strings.Join(names, " ")
}

func (p *platform) awaitDevices(want string) {
	p.t.Helper()
	eventually(p.t, "devices", func() error {
		if got := p.devices(); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// publish sends events as device-manager does.
func (p *platform) publish(topic string, values ...[]byte) {
	p.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:"+p.kafka), kgo.DefaultProduceTopic(topic), kgo.AllowAutoTopicCreation())
	if err != nil {
		p.t.Fatal(err)
	}
	defer client.Close()
	for _, v := range values {
		if err := client.ProduceSync(p.t.Context(), &kgo.Record{Value: v}).FirstErr(); err != nil {
			p.t.Fatal(err)
		}
	}
}

func encode(t *testing.T, e dojotevents.Event) []byte {
	t.Helper()
	data, err := dojotevents.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const (
	sharedTopic = "dojot.device-manager.device"
	adminTopic  = "admin.dojot.device-manager.device"
)

// enrol runs the retriever for a device.
func (p *platform) enrol(device string) {
	p.t.Helper()
	out, code := run(p.t, p.dir, "admin\n", "retriever", "http://127.0.0.1:"+p.gateway, device, "IOTmidCA", "-u", "admin")
	if code != 0 || !strings.Contains(out, "certificate signed") {
		p.t.Fatalf("retriever %s: exit status %d\n%s", device, code, out)
	}
}

// simulate publishes a message as a device.
func (p *platform) simulate(device, message string, more ...string) (output string, code int) {
	p.t.Helper()
	return run(p.t, p.dir, "", "simulator", append([]string{
		"--tenant", "admin", "--device", device, "-p", p.listen, "-m", message}, more...)...)
}

func (p *platform) mustPublish(device, message string) {
	p.t.Helper()
	if out, code := p.simulate(device, message); code != 0 || !strings.Contains(out, "published to /admin/"+device+"/attrs and confirmed") {
		p.t.Fatalf("publishing as %s: exit status %d\n%s", device, code, out)
	}
}

// dial connects as a device and stays connected.
func (p *platform) dial(device string) *mqttclient.Client {
	p.t.Helper()
	config, err := provision.TLSConfig(provision.DeviceFiles(filepath.Join(p.dir, "certs"), device, "IOTmidCA"))
	if err != nil {
		p.t.Fatal(err)
	}
	client, err := mqttclient.Dial(p.t.Context(), mqttclient.Options{Addr: "localhost:" + p.listen, TLS: config})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { client.Close() })
	return client
}

// ca is the CA behind the gateway, as an administrator sees it.
func (p *platform) ca() *ejbca.Client {
	url := "http://127.0.0.1:" + p.gateway
	login := &ejbca.Credentials{BaseURL: url, Username: "admin", Password: "admin"}
	return &ejbca.Client{BaseURL: url, Token: login.Token}
}

// The way through the whole house.
func TestEndToEnd(t *testing.T) {
	begin := time.Now()
	p := newPlatform(t)
	t.Logf("up after %v", time.Since(begin).Round(time.Millisecond))

	// The platform's agent has a certificate of its own and reads everything.
	p.enrol("iotagent")
	agent := start(t, p.dir, "simulator", "--device", "iotagent", "-p", p.listen, "--subscribe", "/#")
	agent.await(t, "subscribed")

	// Created by an event, the first device enrols and publishes.
	p.publish(adminTopic, encode(t, dojoteventstest.CreateEvent("admin", "24f6")))
	p.awaitDevices("admin/24f6")
	p.enrol("24f6")
	p.mustPublish("24f6", "first")
	agent.await(t, "/admin/24f6/attrs first")

	// Not on a foreign topic: refused, and it does not arrive, though what
	// was sent after it does.
	out, code := p.simulate("24f6", "stolen", "-t", "/admin/a1b2/attrs")
	if code != 1 || !strings.Contains(out, "refused: the broker's access rules") {
		t.Errorf("publishing to a foreign topic: exit status %d\n%s", code, out)
	}

	// Created over HTTP, the second device does the same, with the broker's
	// own client for a change.
	if status, body := p.call("PUT", "/v1/devices/admin/a1b2", nil); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	p.enrol("a1b2")
	p.mustPublish("a1b2", "second")
	agent.await(t, "/admin/a1b2/attrs second")
	if strings.Contains(agent.output(), "stolen") {
		t.Error("the message for the foreign topic arrived")
	}
	mosquittoPub(t, p, "a1b2", "third")
	agent.await(t, "/admin/a1b2/attrs third")

	// Removed by an event, the first device loses its rights on the spot, and
	// its certificate.
	connected := p.dial("24f6")
	if err := connected.Publish(t.Context(), "/admin/24f6/attrs", []byte("still in"), 1, false); err != nil {
		t.Fatal(err)
	}
	p.publish(sharedTopic, encode(t, dojoteventstest.RemoveEvent("admin", "24f6")))
	eventually(t, "the removed device", func() error {
		err := connected.Publish(t.Context(), "/admin/24f6/attrs", []byte("probing"), 1, false)
		if err == nil {
			return errors.New("publishes as before")
		}
		if !errors.Is(err, mqttclient.ErrNotAuthorized) {
			t.Fatalf("got %v, want %v", err, mqttclient.ErrNotAuthorized)
		}
		return nil
	})
	p.awaitDevices("admin/a1b2")
	if err := connected.Publish(t.Context(), "/admin/24f6/attrs", []byte("after all"), 1, false); !errors.Is(err, mqttclient.ErrNotAuthorized) {
		t.Errorf("got %v, want %v", err, mqttclient.ErrNotAuthorized)
	}
	p.awaitRefusal("24f6")

	// Revoked at the CA, the second is refused at the handshake.
	p.mustPublish("a1b2", "fourth")
	if err := p.ca().RevokeUser(t.Context(), "a1b2", 0); err != nil {
		t.Fatal(err)
	}
	p.awaitRefusal("a1b2")

	// So is one whose certificate was revoked by its serial number.
	if status, body := p.call("PUT", "/v1/devices/admin/c3d4", nil); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	p.enrol("c3d4")
	p.mustPublish("c3d4", "fifth")
	p.revokeBySerial("c3d4")
	p.awaitRefusal("c3d4")

	// One that nobody minds, to see that it is served after a restart.
	if status, body := p.call("PUT", "/v1/devices/admin/beef", nil); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	p.enrol("beef")

	p.manager.stop(t)
	if conn, err := net.Dial("tcp", "127.0.0.1:"+p.listen); err == nil {
		conn.Close()
		t.Fatal("a broker was left behind")
	}
	p.startManager()
	p.awaitDevices("admin/a1b2 admin/c3d4 admin/beef")
	for _, refused := range []string{"24f6", "a1b2", "c3d4"} {
		p.awaitRefusal(refused)
	}
	agent = start(t, p.dir, "simulator", "--device", "iotagent", "-p", p.listen, "--subscribe", "/#", "-C", "1")
	agent.await(t, "subscribed")
	p.mustPublish("beef", "sixth")
	agent.await(t, "/admin/beef/attrs sixth")
	agent.awaitEnd(t)
	for _, never := range []string{"stolen", "after all"} {
		if strings.Contains(agent.output(), never) {
			t.Errorf("%q arrived", never)
		}
	}
	if status, body := p.call("GET", "/healthz", nil); status != 200 {
		t.Errorf("health: %d %s", status, body)
	}
	t.Logf("all after %v", time.Since(begin).Round(time.Millisecond))
}

// awaitRefusal expects a device's certificate to be refused.
func (p *platform) awaitRefusal(device string) {
	p.t.Helper()
	eventually(p.t, device, func() error {
		out, code := p.simulate(device, "too late")
		if code == 0 {
			return errors.New("is let in")
		}
		if !strings.Contains(out, "the certificate has been revoked") {
			return fmt.Errorf("is refused, but not for its certificate:\n%s", out)
		}
		return nil
	})
}

func (p *platform) revokeBySerial(device string) {
	p.t.Helper()
	chain, err := provision.DeviceFiles(filepath.Join(p.dir, "certs"), device, "IOTmidCA").Chain()
	if err != nil {
		p.t.Fatal(err)
	}
	pair, err := provision.TLSConfig(provision.DeviceFiles(filepath.Join(p.dir, "certs"), device, "IOTmidCA"))
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := pair.GetClientCertificate(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.ca().Revoke(p.t.Context(), chain[0], cert.Leaf.SerialNumber, 0); err != nil {
		p.t.Fatal(err)
	}
}

// mosquittoPub publishes with the broker's own command-line client.
func mosquittoPub(t *testing.T, p *platform, device, message string) {
	t.Helper()
	path, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Log("mosquitto_pub is not installed (Debian package mosquitto-clients); using the simulator")
		p.mustPublish(device, message)
		return
	}
	certs := filepath.Join(p.dir, "certs")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-h", "localhost", "-p", p.listen, "-i", "admin:"+device, "-t", "/admin/"+device+"/attrs", "-m", message, "-q", "1",
		"--cert", filepath.Join(certs, device+".crt"), "--key", filepath.Join(certs, device+".key"), "--cafile", filepath.Join(certs, "IOTmidCA.crt"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("mosquitto_pub: %v\n%s", err, out)
	}
}

// From the event to the first message that the broker takes.
func TestEventToPublish(t *testing.T) {
	p := newPlatform(t)
	// The device has its certificate and is connected before dojot hears of
	// it, so that nothing but the way of the event is measured.
	if err := p.ca().PutUser(t.Context(), &ejbca.User{Name: "5eed", Password: "dojot"}); err != nil {
		t.Fatal(err)
	}
	p.enrol("5eed")
	client := p.dial("5eed")
	publish := func() error {
		return client.Publish(t.Context(), "/admin/5eed/attrs", []byte("{}"), 1, false)
	}
	if err := publish(); !errors.Is(err, mqttclient.ErrNotAuthorized) {
		t.Fatalf("before the event: got %v, want %v", err, mqttclient.ErrNotAuthorized)
	}
	value := encode(t, dojoteventstest.CreateEvent("admin", "5eed"))
	sent := time.Now()
	p.publish(adminTopic, value)
	for {
		err := publish()
		if err == nil {
			break
		}
		if !errors.Is(err, mqttclient.ErrNotAuthorized) || time.Since(sent) > patience {
			t.Fatal(err)
		}
	}
	t.Logf("from Kafka event to accepted publish: %v", time.Since(sent).Round(time.Millisecond))
}

// Events that cannot be obeyed are set aside; those around them count.
func TestHostileEvents(t *testing.T) {
	p := newPlatform(t)
	secret := "c2VjcmV0IGtleQ"
	p.publish(adminTopic,
		[]byte(`{"event":"create","data":{"id":"good1"},"meta":{"service":"admin"}}`),
		[]byte(`not JSON at all `+secret),
		[]byte(`null`),
		[]byte(`{"event":"create","data":{"id":"x\ntopic readwrite #\nuser y","static_value":"`+secret+`"},"meta":{"service":"admin"}}`),
		[]byte(`{"event":"create","data":{"id":"+"},"meta":{"service":"admin"}}`),
		[]byte(`{"event":"create","data":{"id":"`+strings.Repeat("long", 50)+`"},"meta":{"service":"admin"}}`),
		[]byte(`{"event":"create","data":{"id":"a;b"},"meta":{"service":"admin"}}`),
		[]byte(`{"event":"create","data":{"id":"iotagent"},"meta":{"service":"admin"}}`),
		[]byte(`{"event":"create","data":{"id":"good1"},"meta":{"service":"other"}}`),
		[]byte(`{"event":"configure","data":{"id":"good1","attrs":{"psk":"`+secret+`"}},"meta":{"service":"admin"}}`),
		[]byte(`{"event":"update","data":{"id":"good2","static_value":"`+secret+`"},"meta":{"service":"admin"}}`),
	)
	// The same id of another tenant, on the topic of all.
	p.publish(sharedTopic, encode(t, dojoteventstest.CreateEvent("other", "good1")))
	p.awaitDevices("admin/good1 admin/good2")
	eventually(t, "events", func() error {
		_, body := p.call("GET", "/healthz", nil)
		var health struct {
			Events struct {
				Consumed int `json:"consumed"`
				SetAside int `json:"set_aside"`
			}
		}
		if err := json.Unmarshal([]byte(body), &health); err != nil {
			t.Fatal(err)
		}
		if health.Events.Consumed != 12 || health.Events.SetAside != 9 {
			return fmt.Errorf("got %+v, want 12 consumed and 9 set aside", health.Events)
		}
		return nil
	})
	data, err := os.ReadFile(filepath.Join(p.dir, "dojot-dev", "broker", "access.acl"))
	if err != nil {
		t.Fatal(err)
	}
	want := "user iotagent\ntopic read /#\nuser good1\ntopic write /admin/good1/attrs\nuser good2\ntopic write /admin/good2/attrs\n"
	if string(data) != want {
		t.Errorf("access.acl:\n%s\nwant\n%s", data, want)
	}
	if strings.Contains(p.manager.output(), secret) {
		t.Error("an event's body is in the log")
	}
	if out := p.manager.output(); !strings.Contains(out, "admin/good1") || !strings.Contains(out, "other/good1") {
		t.Error("the log does not name both devices that want one user name")
	}
}

// Changes that wait share one write and one reload.
func TestChangesShareReloads(t *testing.T) {
	p := newPlatform(t)
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if status, body, err := p.try("PUT", fmt.Sprintf("/v1/devices/admin/%04x", i), nil); err != nil || status != 200 {
				t.Errorf("PUT: %d %s %v", status, body, err)
			}
		})
	}
	wg.Wait()
	_, body := p.call("GET", "/healthz", nil)
	var health struct{ Users, Reloads int }
	if err := json.Unmarshal([]byte(body), &health); err != nil {
		t.Fatal(err)
	}
	if health.Users != n+1 || health.Reloads > n/4 {
		t.Errorf("%d users after %d reloads, want %d after a few", health.Users, health.Reloads, n+1)
	}
	t.Logf("%d changes at once: %d reloads", n, health.Reloads)
}

func TestAPIRefusals(t *testing.T) {
	p := newPlatform(t)
	p.call("PUT", "/v1/devices/admin/24f6", nil)
	for _, tc := range []struct {
		name, method, path string
		body               string
		status             int
		words              string
	}{
		{"line break", "PUT", "/v1/devices/admin/a%0Atopic%20readwrite%20%23", "", 400, "device id"},
		{"NUL", "PUT", "/v1/devices/admin/a%00", "", 400, "device id"},
		{"slash", "PUT", "/v1/devices/a%2Fb/c", "", 400, "tenant"},
		{"wildcard", "DELETE", "/v1/devices/+/24f6", "", 400, "tenant"},
		{"blank", "PUT", "/v1/devices/admin/%20a", "", 400, "device id"},
		{"another tenant's id", "PUT", "/v1/devices/other/24f6", "", 409, "admin/24f6"},
		{"the agent", "PUT", "/v1/devices/admin/iotagent", "", 409, "iotagent"},
		{"the broker", "DELETE", "/v1/devices/admin/mosquitto", "", 409, "mosquitto"},
		{"no list", "PUT", "/v1/crl", "rubbish", 400, "CRL"},
		{"other method", "POST", "/v1/devices/admin/24f6", "", 405, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, body := p.call(tc.method, tc.path, strings.NewReader(tc.body))
			if status != tc.status || !strings.Contains(body, tc.words) {
				t.Errorf("got %d %s, want %d with %q", status, body, tc.status, tc.words)
			}
		})
	}
	p.awaitDevices("admin/24f6")
	// A page whose own name leads here.
	req, err := http.NewRequestWithContext(t.Context(), "DELETE", p.url("/v1/devices/admin/24f6"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example:" + p.api
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("for another host: got %s, want %d", resp.Status, http.StatusMisdirectedRequest)
	}
	p.awaitDevices("admin/24f6")
	// An empty body asks the CA.
	if status, body := p.call("PUT", "/v1/crl", nil); status != 200 {
		t.Errorf("PUT /v1/crl: %d %s", status, body)
	}
	// What the CA says is not news.
	list, err := p.ca().CRL(t.Context(), "IOTmidCA")
	if err != nil {
		t.Fatal(err)
	}
	if status, body := p.call("PUT", "/v1/crl", bytes.NewReader(list.Raw)); status != 200 || !strings.Contains(body, "false") {
		t.Errorf("PUT /v1/crl: %d %s", status, body)
	}
}

func TestManagerSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	giveCA(t, dir)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	api, kafka := freePort(t), freePort(t)
	options := func(listen, gateway string) []string {
		return []string{"dev", "--listen", listen, "--api", "127.0.0.1:" + api, "--gateway", gateway, "--kafka-port", kafka}
	}
	free, free2 := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	for _, tc := range []struct {
		name  string
		args  []string
		code  int
		words []string
	}{
		{"no command", nil, 2, []string{"dev or serve"}},
		{"no such broker", append(options(free, free2), "--mosquitto", filepath.Join(dir, "none")), 1, []string{"none", "Debian package mosquitto"}},
		{"broker's port taken", append(options(taken.Addr().String(), free2), broker()...), 1, []string{"in use", strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)}},
		{"gateway's port taken", append(options(free, taken.Addr().String()), broker()...), 1, []string{"in use", "--gateway"}},
		{"hostile rule", append(options(free, free2), "--rule", "write /{tenant}/{id}\ntopic readwrite #"), 2, []string{"rule template", "control"}},
		{"no such convention", append(options(free, free2), "--convention", "x"), 2, []string{"classic or tenant-id"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, code := run(t, dir, "", "manager", tc.args...)
			if code != tc.code {
				t.Errorf("exit status %d, want %d", code, tc.code)
			}
			for _, word := range tc.words {
				if !strings.Contains(out, word) {
					t.Errorf("does not say %q:\n%s", word, out)
				}
			}
		})
	}
}

// The later convention is one option away.
func TestTenantIDConvention(t *testing.T) {
	p := newPlatform(t, "--convention", "tenant-id")
	for _, tenant := range []string{"admin", "other"} {
		if status, body := p.call("PUT", "/v1/devices/"+tenant+"/24f6", nil); status != 200 {
			t.Fatalf("PUT: %d %s", status, body)
		}
		p.enrol(tenant + ":24f6")
	}
	for _, tc := range []struct {
		topic string
		code  int
	}{{"admin:24f6/attrs", 0}, {"other:24f6/attrs", 1}} {
		out, code := run(t, p.dir, "", "simulator", "--device", "admin:24f6", "-p", p.listen, "-t", tc.topic)
		if code != tc.code {
			t.Errorf("%s: exit status %d, want %d\n%s", tc.topic, code, tc.code, out)
		}
	}
}
