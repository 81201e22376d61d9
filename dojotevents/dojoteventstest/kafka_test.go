package dojoteventstest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/mosquittoconf/mosquittotest"
)

// childDir, when set, makes the test binary a process that runs a Kafka and
// is to be killed.
const childDir = "DOJOTEVENTSTEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{Dir: dir, Tenants: []string{"admin"}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(kafka.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin) // until killed, or the parent has gone
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, opts dojoteventstest.Options) *dojoteventstest.Kafka {
	t.Helper()
	kafka, err := dojoteventstest.NewKafka(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	return kafka
}

// consume returns n values of a topic, from its start.
func consume(t *testing.T, addr, topic string, n int) []string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.DisableClientMetrics(), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx := testContext(t)
	var values []string
	for len(values) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(values), n, err)
		}
		for _, r := range fetches.Records() {
			values = append(values, string(r.Value))
		}
	}
	return values
}

func admin(t *testing.T, addr string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func TestKafka(t *testing.T) {
	kafka := start(t, dojoteventstest.Options{Tenants: []string{"admin"}})
	ctx := testContext(t)
	events := []dojotevents.Event{
		dojoteventstest.CreateEvent("admin", "e06357"),
		dojoteventstest.CreateEvent("later", "e06357"), // no topic yet
		dojoteventstest.RemoveEvent("admin", "e06357"),
	}
	if err := kafka.Publish(ctx, events...); err != nil {
		t.Fatal(err)
	}
	if err := kafka.PublishRaw(ctx, "admin.dojot.device-manager.device", []byte("not an event")); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range events {
		value, err := dojotevents.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(value))
	}
	if diff := cmp.Diff([]string{want[0], want[2], "not an event"}, consume(t, kafka.Brokers()[0], "admin.dojot.device-manager.device", 3)); diff != "" {
		t.Errorf("records of admin (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{want[1]}, consume(t, kafka.Addr(), "later.dojot.device-manager.device", 1)); diff != "" {
		t.Errorf("records of later (-want +got):\n%s", diff)
	}
}

func TestPublishTopics(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	cert := server.Certificate()
	tests := []struct {
		topic string
		event dojotevents.Event
	}{
		{"admin.dojot.device-manager.device", dojoteventstest.TemplateUpdateEvent("admin")},
		{"admin.dojot.x509-identity-mgmt.certificates", dojoteventstest.OwnershipCreateEvent("admin", "e06357", cert)},
		{"dojot.x509-identity-mgmt.certificates", dojotevents.Event{Kind: "ownership.other", Envelope: dojotevents.EnvelopeX509}},
		{"admin.dojot.x509-identity-mgmt.trusted-cas", dojoteventstest.TrustedCACreateEvent("admin", cert)},
		{"dojot-management.dojot.tenancy", dojoteventstest.TenantCreateEvent("admin")},
	}
	kafka := start(t, dojoteventstest.Options{})
	for _, tt := range tests {
		if err := kafka.Publish(testContext(t), tt.event); err != nil {
			t.Error(err)
			continue
		}
		want, err := dojotevents.Encode(tt.event)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{string(want)}, consume(t, kafka.Addr(), tt.topic, 1)); diff != "" {
			t.Errorf("records of %s (-want +got):\n%s", tt.topic, diff)
		}
	}
}

func TestPublishErrors(t *testing.T) {
	kafka := start(t, dojoteventstest.Options{})
	tests := []struct {
		name  string
		event dojotevents.Event
	}{
		{"no tenant", dojotevents.Event{Kind: "ping"}},
		{"not an event", dojotevents.Event{Kind: dojotevents.Create, Tenant: "admin"}},
	}
	for _, tt := range tests {
		if err := kafka.Publish(testContext(t), tt.event); err == nil {
			t.Errorf("%s: published, want an error", tt.name)
		}
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil {
		kafka.Close()
		t.Fatal("NewKafka on a port in use succeeded, want an error")
	}
	if !strings.Contains(err.Error(), "in use") {
		t.Errorf("error = %v, want it to say that the port is in use", err)
	}
}

// state is what must outlive a broker.
func putState(t *testing.T, addr string) {
	t.Helper()
	ctx := testContext(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	topic := dojotevents.Topic("admin")
	for _, value := range []string{"one", "two", "three"} {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 0, 2, -1)
	if err := kadm.NewClient(cl).CommitAllOffsets(ctx, "mqtt-manager", offsets); err != nil {
		t.Fatal(err)
	}
}

func checkState(t *testing.T, addr string) {
	t.Helper()
	topic := dojotevents.Topic("admin")
	if diff := cmp.Diff([]string{"one", "two", "three"}, consume(t, addr, topic, 3)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	offsets, err := admin(t, addr).FetchOffsets(testContext(t), "mqtt-manager")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup(topic, 0); !ok || o.At != 2 {
		t.Errorf("committed offset = %d (found %v), want 2", o.At, ok)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	port, err := mosquittotest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{Dir: dir, Port: port, Tenants: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	putState(t, kafka.Addr())
	kafka.Close()

	again := start(t, dojoteventstest.Options{Dir: dir, Port: port, Tenants: []string{"admin", "new"}})
	if again.Addr() != kafka.Addr() {
		t.Errorf("address after a restart = %s, want %s", again.Addr(), kafka.Addr())
	}
	checkState(t, again.Addr())
	topics, err := admin(t, again.Addr()).ListTopics(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if !topics.Has(dojotevents.Subject) {
		t.Errorf("topics = %v, want the shared one among them", topics.Names())
	}
	if !topics.Has(dojotevents.Topic("new")) {
		t.Errorf("topics = %v, want that of the tenant added at the restart among them", topics.Names())
	}
}

func TestKilled(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe() // its end tells the child that we have gone
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		putState(t, strings.TrimSpace(addr))
	}
	if kerr := child.Process.Kill(); kerr != nil {
		t.Fatal(kerr)
	}
	_ = child.Wait() // killed
	if err != nil {
		t.Fatal(err)
	}
	checkState(t, start(t, dojoteventstest.Options{Dir: dir}).Addr())
}
