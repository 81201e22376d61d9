package dojotkafka_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// fixture is a Kafka, a tenant with a topic and a group that no other test
// has.
type fixture struct {
	t          *testing.T
	brokers    []string
	tenant     string // all topics of a test, and groups, have it in their names
	topic      string
	group      string
	serverSide bool // whether the group is
	client     *kgo.Client
	admin      *kadm.Client
}

// newFixture returns a fixture at the Kafka of $KAFKA_BROKERS, if there is one,
// else at a fake of its own.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	brokers := realBrokers()
	if len(brokers) == 0 {
		f, _ := newFake(t)
		return f
	}
	f := fixtureAt(t, brokers)
	t.Cleanup(f.tidy)
	f.createTopic(f.topic, 1)
	return f
}

// eachProtocol runs a test with a group whose members assign its partitions, and
// with one whose coordinator does.
func eachProtocol(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Run("classic", func(t *testing.T) { test(t, newFixture(t)) })
	t.Run("server-side", func(t *testing.T) {
		f := newFixture(t)
		if !f.supports(kmsg.ConsumerGroupHeartbeat, 0) {
			t.Skip("this Kafka has no server-side groups")
		}
		f.serverSide = true
		test(t, f)
	})
}

// supports reports whether all brokers know a version of a request.
func (f *fixture) supports(request kmsg.Key, version int16) bool {
	f.t.Helper()
	brokers, err := f.admin.ApiVersions(f.context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, broker := range brokers {
		if newest, ok := broker.KeyMaxVersion(int16(request)); !ok || newest < version {
			return false
		}
	}
	return true
}

func realBrokers() []string {
	return strings.FieldsFunc(os.Getenv("KAFKA_BROKERS"), func(r rune) bool { return r == ',' })
}

// newFake returns a fixture on a cluster that can be told to fail, which no real
// one can.
func newFake(t *testing.T, opts ...kfake.Opt) (*fixture, *kfake.Cluster) {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "50"}), // how soon a server-side group changes
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	f := fixtureAt(t, cluster.ListenAddrs())
	f.createTopic(f.topic, 1)
	return f, cluster
}

func fixtureAt(t *testing.T, brokers []string) *fixture {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(10*time.Millisecond),
		kgo.UnknownTopicRetries(-1), // brokers hear of a new topic one by one
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	tenant := "t" + strings.ToLower(rand.Text())
	return &fixture{
		t:       t,
		brokers: brokers,
		tenant:  tenant,
		topic:   dojotevents.Topic(tenant),
		group:   "group-" + tenant,
		client:  client,
		admin:   kadm.NewClient(client),
	}
}

// tidy deletes what the test has left in Kafka.
func (f *fixture) tidy() {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // the test's has ended
	defer cancel()
	topics, err := f.admin.ListTopics(ctx)
	for _, name := range topics.Names() {
		if strings.Contains(name, f.tenant) {
			_, e := f.admin.DeleteTopic(ctx, name)
			err = errors.Join(err, e)
		}
	}
	groups, e := f.admin.ListGroups(ctx)
	err = errors.Join(err, e)
	for _, name := range groups.Groups() {
		if strings.Contains(name, f.tenant) {
			_, e := f.admin.DeleteGroup(ctx, name)
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		f.t.Logf("topics and groups of %s are left: %v", f.tenant, err)
	}
}

func (f *fixture) context() context.Context {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *fixture) createTopic(topic string, partitions int32) {
	f.t.Helper()
	if _, err := f.admin.CreateTopic(f.context(), partitions, -1, nil, topic); err != nil {
		f.t.Fatal(err)
	}
}

// consumer returns one that sees only the fixture's topic.
func (f *fixture) consumer() *dojotkafka.Consumer {
	return &dojotkafka.Consumer{
		Brokers:      f.brokers,
		Topics:       []string{f.topic},
		Group:        f.group,
		TopicRefresh: 100 * time.Millisecond,

		ServerSideGroup: f.serverSide,
	}
}

// members returns the state of the fixture's group, and how many topics each of
// its members has.
func (f *fixture) members() (state string, topics []int) {
	f.t.Helper()
	if f.serverSide {
		// Not by the admin client, which tells topics by their names: kfake
		// gives their numbers alone.
		request := kmsg.NewPtrConsumerGroupDescribeRequest()
		request.Groups = []string{f.group}
		answer, err := request.RequestWith(f.context(), f.client)
		if err == nil {
			err = kerr.ErrorForCode(answer.Groups[0].ErrorCode)
		}
		if err != nil {
			f.t.Fatal(err)
		}
		for _, m := range answer.Groups[0].Members {
			topics = append(topics, len(m.Assignment.TopicPartitions))
		}
		return answer.Groups[0].State, topics
	}
	groups, err := f.admin.DescribeGroups(f.context(), f.group)
	if err = errors.Join(err, groups.Error()); err != nil {
		f.t.Fatal(err)
	}
	for _, m := range groups[f.group].Members {
		assigned, _ := m.Assigned.AsConsumer()
		if assigned == nil {
			assigned = new(kmsg.ConsumerMemberAssignment)
		}
		topics = append(topics, len(assigned.Topics))
	}
	return groups[f.group].State, topics
}

// awaitMembers waits until each member of the group has as many topics as is
// said.
func (f *fixture) awaitMembers(topics ...int) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("members with %v topics", topics), func() bool {
		state, got := f.members()
		slices.Sort(got)
		return strings.EqualFold(state, "stable") && slices.Equal(got, topics)
	})
}

// publish sends values to a partition of a topic.
func (f *fixture) publish(topic string, partition int32, values ...string) {
	f.t.Helper()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)})
	}
	if err := f.client.ProduceSync(f.context(), records...).FirstErr(); err != nil {
		f.t.Fatal(err)
	}
}

// publishIDs sends a create event for each id to the fixture's topic.
func (f *fixture) publishIDs(ids ...string) {
	f.t.Helper()
	for _, id := range ids {
		f.publish(f.topic, 0, value(f.t, dojoteventstest.CreateEvent(f.tenant, id)))
	}
}

// committed returns the offset of a partition that the group has committed,
// -1 for none.
func (f *fixture) committed(topic string, partition int32) int64 {
	f.t.Helper()
	offsets, err := f.admin.FetchOffsets(f.context(), f.group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return -1
	}
	if err != nil {
		f.t.Fatal(err)
	}
	if o, ok := offsets.Lookup(topic, partition); ok {
		return o.At
	}
	return -1
}

func value(t *testing.T, e dojotevents.Event) string {
	t.Helper()
	v, err := dojotevents.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// run is a consumer at work.
type run struct {
	t        *testing.T
	consumer *dojotkafka.Consumer
	cancel   context.CancelFunc
	ended    chan error
}

// start runs a consumer until stop, or the end of the test.
func start(t *testing.T, c *dojotkafka.Consumer, handle func(context.Context, []dojotkafka.Record) error) *run {
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{t: t, consumer: c, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- c.Run(ctx, handle) }()
	t.Cleanup(r.stop)
	return r
}

// stop ends Run and checks what it returns.
func (r *run) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err, ok := <-r.ended:
		if ok && !errors.Is(err, context.Canceled) {
			r.t.Errorf("Run = %v, want %v", err, context.Canceled)
		}
		if ok {
			close(r.ended)
		}
	case <-time.After(patience):
		r.t.Fatal("Run doesn't end")
	}
}

// inbox collects what a handler gets.
type inbox struct {
	t       *testing.T
	records chan dojotkafka.Record
	batches chan int
}

func newInbox(t *testing.T) *inbox {
	return &inbox{t: t, records: make(chan dojotkafka.Record, 100_000), batches: make(chan int, 100_000)}
}

func (in *inbox) handle(_ context.Context, batch []dojotkafka.Record) error {
	in.batches <- len(batch)
	for _, r := range batch {
		in.records <- r
	}
	return nil
}

// take waits for n records.
func (in *inbox) take(n int) []dojotkafka.Record {
	in.t.Helper()
	var got []dojotkafka.Record
	timeout := time.After(patience)
	for len(got) < n {
		select {
		case r := <-in.records:
			got = append(got, r)
		case <-timeout:
			in.t.Fatalf("got %d records in time, want %d: %v", len(got), n, ids(got))
		}
	}
	return got
}

// empty fails the test if there are records that nobody took.
func (in *inbox) empty() {
	in.t.Helper()
	select {
	case r := <-in.records:
		in.t.Errorf("one record too many: %v %v", r.Position, r.Event)
	default:
	}
}

func ids(records []dojotkafka.Record) []string {
	out := make([]string, 0, len(records))
	for _, r := range records {
		out = append(out, r.Event.DeviceID)
	}
	return out
}

func wantIDs(t *testing.T, got []dojotkafka.Record, want ...string) {
	t.Helper()
	if !slices.Equal(ids(got), want) {
		t.Errorf("got events of devices %v, want %v", ids(got), want)
	}
}

// eventually waits for a condition that nothing reports.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("still not true: %s", what)
		}
	}
}

// logged is a log that can be waited for.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%06x", i)
	}
	return out
}
