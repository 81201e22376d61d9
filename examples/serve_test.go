package examples_test

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
	"github.com/dojot/mqtt-manager-go/ejbca"
	"github.com/dojot/mqtt-manager-go/ejbca/localca"
	"github.com/dojot/mqtt-manager-go/internal/mosquitto"
	"github.com/dojot/mqtt-manager-go/internal/mqttclient"
	"github.com/dojot/mqtt-manager-go/provision"
)

// surroundings are what serve expects to find, each started when the test
// says so.
type surroundings struct {
	t                         *testing.T
	dir                       string // of the manager
	listen, api, caAddr, port string
	ca                        *ejbca.Client
	kafka                     *dojoteventstest.Kafka
}

func newSurroundings(t *testing.T) *surroundings {
	t.Helper()
	caAddr := "127.0.0.1:" + freePort(t)
	return &surroundings{
		t: t, dir: t.TempDir(), port: freePort(t),
		listen: "127.0.0.1:" + freePort(t), api: "127.0.0.1:" + freePort(t), caAddr: caAddr,
		ca: &ejbca.Client{BaseURL: "http://" + caAddr},
	}
}

func (s *surroundings) startCA() {
	s.t.Helper()
	ca, err := localca.Open(s.t.TempDir(), localca.Options{KeySize: 2048})
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := net.Listen("tcp", s.caAddr)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: ca}
	go server.Serve(l)
	s.t.Cleanup(func() {
		server.Close()
		ca.Close()
	})
}

func (s *surroundings) startKafka() {
	s.t.Helper()
	port, err := strconv.Atoi(s.port)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.kafka, err = dojoteventstest.NewKafka(dojoteventstest.Options{Port: port, Tenants: []string{"admin"}}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.kafka.Close)
}

// startBroker runs a broker by the manager's configuration, as somebody else
// would, until the test ends.
func (s *surroundings) startBroker(binary mosquitto.Binary) *os.Process {
	s.t.Helper()
	broker := exec.Command(binary.Path, "-c", filepath.Join(s.dir, "mosquitto.conf"))
	ended := make(chan struct{})
	launch(s.t, broker, func() {
		defer close(ended)
		broker.Wait()
	})
	s.t.Cleanup(func() {
		broker.Process.Kill()
		<-ended
	})
	return broker.Process
}

// serve starts the manager with the original's variables.
func (s *surroundings) serve(args ...string) *process {
	s.t.Helper()
	s.t.Setenv("MQTTREST_EJBCA_URL", "http://"+s.caAddr)
	s.t.Setenv("MQTTREST_CA_NAME", "IOTmidCA")
	s.t.Setenv("MQTTREST_KEY_LENGHT", "3072")
	s.t.Setenv("MQTTREST_KAFKA_HOST", "127.0.0.1:"+s.port)
	return start(s.t, s.dir, "manager", append([]string{"serve", "--listen", s.listen, "--api", s.api, "--dir", s.dir}, args...)...)
}

// asRoot keeps the broker root where the tests are: their folders are closed
// to others.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--broker-user", "root"}
	}
	return nil
}

func (s *surroundings) call(method, path string) (status int, answer string) {
	s.t.Helper()
	p := platform{t: s.t, api: strings.TrimPrefix(s.api, "127.0.0.1:")}
	return p.call(method, path, nil)
}

func (s *surroundings) put(device string) (status int, answer string) {
	s.t.Helper()
	return s.call("PUT", "/v1/devices/admin/"+device)
}

// device enrols a device and connects it.
func (s *surroundings) device(name string) *mqttclient.Client {
	s.t.Helper()
	if err := s.ca.PutUser(s.t.Context(), &ejbca.User{Name: name, Password: "dojot"}); err != nil {
		s.t.Fatal(err)
	}
	id := provision.Identity{CommonName: name, Files: provision.DeviceFiles(filepath.Join(s.dir, "certs"), name, "IOTmidCA")}
	if _, err := id.Ensure(s.t.Context(), &ejbca.Issuer{Client: s.ca, User: name, Password: "dojot"}); err != nil {
		s.t.Fatal(err)
	}
	config, err := provision.TLSConfig(id.Files)
	if err != nil {
		s.t.Fatal(err)
	}
	config.ServerName = "localhost"
	client, err := mqttclient.Dial(s.t.Context(), mqttclient.Options{Addr: s.listen, TLS: config})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	return client
}

// Serve starts before anything that it needs is there, and waits for each.
func TestServeWaits(t *testing.T) {
	s := newSurroundings(t)
	manager := s.serve(append(broker(), asRoot()...)...)
	manager.await(t, "waiting for the CA at http://"+s.caAddr)
	s.startCA()
	manager.await(t, "the broker is up")
	manager.await(t, "kafka not reachable")
	// Without Kafka, devices can be changed over HTTP.
	if status, body := s.put("24f6"); status != 200 {
		t.Errorf("PUT without Kafka: %d %s", status, body)
	}
	client := s.device("24f6")
	if err := client.Publish(t.Context(), "/admin/24f6/attrs", nil, 1, false); err != nil {
		t.Error(err)
	}
	// Nor is that a reason to start the manager, and its broker, anew.
	if status, body := s.call("GET", "/healthz"); status != 200 || !strings.Contains(body, "kafka: not reachable since ") ||
		!strings.Contains(body, `"status":"degraded"`) {
		t.Errorf("health without Kafka: %d %s", status, body)
	}
	s.startKafka()
	if err := s.kafka.Publish(t.Context(), dojoteventstest.RemoveEvent("admin", "24f6")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the removed device", func() error {
		err := client.Publish(t.Context(), "/admin/24f6/attrs", nil, 1, false)
		if !errors.Is(err, mqttclient.ErrNotAuthorized) {
			return fmt.Errorf("got %v, want %v", err, mqttclient.ErrNotAuthorized)
		}
		return nil
	})
	if status, body := s.call("GET", "/healthz"); status != 200 || !strings.Contains(body, `"status":"ok"`) {
		t.Errorf("health with Kafka: %d %s", status, body)
	}
	// The misspelt variable counts.
	config, err := provision.TLSConfig(provision.BrokerFiles(s.dir))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := config.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if bits := pair.PrivateKey.(*rsa.PrivateKey).N.BitLen(); bits != 3072 {
		t.Errorf("the broker's key has %d bits, want 3072", bits)
	}
	manager.stop(t)
	if conn, err := net.Dial("tcp", s.listen); err == nil {
		conn.Close()
		t.Error("a broker was left behind")
	}
}

// A Kafka that asks who is there, over TLS.
func TestServeWithSecureKafka(t *testing.T) {
	certificate := httptest.NewTLSServer(nil)
	defer certificate.Close()
	const topic = "admin.dojot.device-manager.device"
	kafka, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: certificate.TLS.Certificates}), kfake.EnableSASL(),
		kfake.Superuser(dojotkafka.ScramSHA512, "manager", "open sesame"), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	dir := t.TempDir()
	caFile, passwordFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "password")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate().Raw})
	if err := errors.Join(os.WriteFile(caFile, ca, 0o600), os.WriteFile(passwordFile, []byte("open sesame\n"), 0o600)); err != nil {
		t.Fatal(err)
	}

	s := newSurroundings(t)
	s.startCA()
	manager := s.serve(append(append(broker(), asRoot()...), "--kafka", kafka.ListenAddrs()[0],
		"--kafka-ca", caFile, "--kafka-user", "manager", "--kafka-password-file", passwordFile)...)
	manager.await(t, "serving")
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Certificate())
	producer, err := kgo.NewClient(kgo.SeedBrokers(kafka.ListenAddrs()...), kgo.DialTLSConfig(&tls.Config{RootCAs: roots}), kgo.DisableClientMetrics(),
		kgo.SASL(scram.Auth{User: "manager", Pass: "open sesame"}.AsSha512Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	event, err := dojotevents.Encode(dojoteventstest.CreateEvent("admin", "24f6"))
	if err != nil {
		t.Fatal(err)
	}
	if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: event}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device", func() error {
		file, err := os.ReadFile(filepath.Join(s.dir, "access.acl"))
		if err == nil && !strings.Contains(string(file), "user 24f6\n") {
			err = fmt.Errorf("not in\n%s", file)
		}
		return err
	})
	manager.stop(t)
	if strings.Contains(manager.output(), "sesame") {
		t.Error("the password is in the log")
	}
}

// Topics whose names say nothing are asked of data-broker, and what Kafka no
// longer tells is asked of device-manager.
func TestServeAsksThePlatform(t *testing.T) {
	s := newSurroundings(t)
	s.startCA()
	s.startKafka()
	dojot := dojoteventstest.NewPlatform("admin", "other")
	defer dojot.Close()
	dojot.RandomTopics()
	serve := func(args ...string) *process {
		t.Helper()
		manager := s.serve(slices.Concat(broker(), asRoot(), []string{"--auth", dojot.URL}, args)...)
		manager.await(t, "serving")
		return manager
	}
	p := &platform{t: t, api: strings.TrimPrefix(s.api, "127.0.0.1:")}

	manager := serve("--data-broker", dojot.URL)
	if err := dojot.Publish(t.Context(), s.kafka,
		dojoteventstest.CreateEvent("admin", "24f6"), dojoteventstest.CreateEvent("other", "beef")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "devices", func() error {
		if got := p.devices(); got != "admin/24f6 other/beef" && got != "other/beef admin/24f6" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	manager.stop(t)

	// One that is there is not listed, one that is listed is not there, and
	// one wants a name that is taken.
	dojot.AddDevices("admin", "24f6", "a1b2")
	dojot.AddDevices("other", "24f6")
	manager = serve("--device-manager", dojot.URL)
	manager.await(t, "does not list a device\" device=other/beef remove=false")
	if got := p.devices(); !strings.Contains(got, "other/beef") || !strings.Contains(got, "admin/a1b2") {
		t.Errorf("devices: %s, want other/beef and admin/a1b2 among them", got)
	}
	if out := manager.output(); !strings.Contains(out, "device=other/24f6") {
		t.Error("the log does not name the device that cannot be added")
	}

	// One is removed when the list has been read, but not applied, and a
	// tenant is made after its devices were looked for. A platform that says
	// that it has no tenants is not believed.
	if status, body := p.call("PUT", "/v1/devices/late/cafe", nil); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	manager.stop(t)
	dojot.AddDevices("admin", "dead")
	var tenantLists atomic.Int32
	dojot.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/admin/tenants" {
			return false
		}
		switch tenantLists.Add(1) {
		case 1:
			io.WriteString(w, `{"tenants":[]}`)
			return true
		case 3:
			dojot.RemoveDevices("admin", "dead")
			dojot.AddDevices("late", "cafe")
		}
		return false
	})
	manager = serve("--device-manager", dojot.URL, "--remove-gone", "--reconcile-interval", "1s")
	p.awaitDevices("admin/24f6 admin/a1b2 late/cafe")
	manager.await(t, "lists no tenant")
	dojot.AddDevices("other", "face") // and Kafka says nothing
	p.awaitDevices("admin/24f6 admin/a1b2 late/cafe other/face")
	if out := manager.output(); !strings.Contains(out, "device=admin/dead remove=true") {
		t.Error("the log does not name the device that was removed meanwhile")
	}
	manager.stop(t)
}

// A broker that somebody else runs is signalled by its PID file, and nobody
// else is.
func TestServeByPIDFile(t *testing.T) {
	s := newSurroundings(t)
	s.startCA()
	s.startKafka()
	binary, err := mosquitto.Find(t.Context(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(s.dir, "mosquitto.pid")
	manager := s.serve(append(asRoot(), "--pid-file", pidFile, "--broker-version", binary.Version)...)
	manager.await(t, "waiting for the broker")

	broker := s.startBroker(binary)
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(pidFile, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The broker may be up before the file is there.
	manager.await(t, "mosquitto.pid: no such file")
	write(strconv.Itoa(broker.Pid) + "\n")
	manager.await(t, "the broker is up")

	eventually(t, "API", func() error {
		conn, err := net.Dial("tcp", s.api)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if status, body := s.put("24f6"); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	client := s.device("24f6")
	if err := client.Publish(t.Context(), "/admin/24f6/attrs", nil, 1, false); err != nil {
		t.Error(err)
	}

	for _, tc := range []struct{ content, words string }{
		{strconv.Itoa(os.Getpid()), "not a mosquitto"},
		{"rubbish", "not a process id"},
		{"0", "not a process id"},
		{"-1", "not a process id"},
	} {
		write(tc.content)
		if status, body := s.put("a1b2" + tc.content[:1]); status != 503 || !strings.Contains(body, tc.words) {
			t.Errorf("PID file %q: got %d %s, want 503 with %q", tc.content, status, body, tc.words)
		}
	}
	// What was written but not told is told with the next change.
	write(strconv.Itoa(broker.Pid))
	if status, body := s.put("24f6"); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	late := s.device("a1b2r")
	if err := late.Publish(t.Context(), "/admin/a1b2r/attrs", nil, 1, false); err != nil {
		t.Error(err)
	}
	// Nor is it told of files that would open or stop it.
	if err := os.WriteFile(filepath.Join(s.dir, "mosquitto.crt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if status, body := s.put("beef"); status != 503 || !strings.Contains(body, "mosquitto.crt") {
		t.Errorf("without its certificate: got %d %s, want 503 that names it", status, body)
	}
	manager.stop(t)
	if err := listening(s.listen); err != nil {
		t.Errorf("the broker of somebody else was stopped: %v", err)
	}
}

// A broker that somebody else runs can be told by a command, too.
func TestServeByCommand(t *testing.T) {
	s := newSurroundings(t)
	s.startCA()
	s.startKafka()
	binary, err := mosquitto.Find(t.Context(), os.Getenv("MOSQUITTO"))
	if err != nil {
		t.Fatal(err)
	}
	reload := filepath.Join(s.dir, "reload")
	manager := s.serve(append(asRoot(), "--reload-command", "sh "+reload, "--broker-version", binary.Version)...)
	manager.await(t, "waiting for the broker")

	broker := s.startBroker(binary)
	manager.await(t, "exit status") // of a shell without a script
	script := fmt.Sprintf("echo told >>%s.log; kill -HUP %d\n", reload, broker.Pid)
	if err := os.WriteFile(reload, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	manager.await(t, "serving")
	if status, body := s.put("24f6"); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	client := s.device("24f6")
	if err := client.Publish(t.Context(), "/admin/24f6/attrs", nil, 1, false); err != nil {
		t.Error(err)
	}
	if log, err := os.ReadFile(reload + ".log"); err != nil || len(log) == 0 {
		t.Errorf("the command was not run: %v", err)
	}
	manager.stop(t)
}

func listening(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Started as root, the broker becomes mosquitto, and can still read its files.
func TestServeAsRoot(t *testing.T) {
	account, err := user.Lookup("mosquitto")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("needs root and a system user mosquitto, which Debian's package makes")
	}
	s := newSurroundings(t)
	// The tests' own folders are closed to others.
	if s.dir, err = os.MkdirTemp("", "mqtt-manager-"); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(s.dir)
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.startCA()
	s.startKafka()
	manager := s.serve(append(broker(), "--verbose")...)
	manager.await(t, "serving")
	if status, body := s.put("24f6"); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	for _, name := range []string{"mosquitto.key", "mosquitto.crt", "ca.crt", "ca.crl", "access.acl"} {
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if uid := strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid)); uid != account.Uid {
			t.Errorf("%s belongs to user %s, want %s", name, uid, account.Uid)
		}
	}
	if out := manager.output(); strings.Contains(out, "Future versions will refuse") {
		t.Errorf("the broker warns of its files:\n%s", out)
	}
	manager.stop(t)
}

// A manager that is killed leaves no broker, and the next one goes on.
func TestKilled(t *testing.T) {
	p := newPlatform(t)
	if status, body := p.call("PUT", "/v1/devices/admin/24f6", nil); status != 200 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	if err := p.manager.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.manager.awaitEnd(t)
	eventually(t, "the broker", func() error {
		if listening("127.0.0.1:"+p.listen) == nil {
			return errors.New("is still there")
		}
		return nil
	})
	p.startManager()
	p.awaitDevices("admin/24f6")
	p.enrol("24f6")
	p.mustPublish("24f6", "again")
}
