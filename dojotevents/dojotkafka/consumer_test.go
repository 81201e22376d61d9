package dojotkafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

func TestOrder(t *testing.T) {
	f := newFixture(t)
	const partitions, each = 3, 500
	topic := dojotevents.Topic(f.tenant + "-wide")
	f.createTopic(topic, partitions)
	for p := range int32(partitions) {
		var values []string
		for _, id := range numbered(each) {
			values = append(values, value(t, dojoteventstest.CreateEvent(f.tenant+"-wide", id)))
		}
		f.publish(topic, p, values...)
	}
	c := f.consumer()
	c.Topics = []string{"^" + f.tenant + "-wide"}
	in := newInbox(t)
	r := start(t, c, in.handle)
	next := make(map[int32]int64)
	for _, record := range in.take(partitions * each) {
		if record.Offset != next[record.Partition] || record.Event.DeviceID != fmt.Sprintf("%06x", record.Offset) {
			t.Fatalf("got %v (%v), want offset %d of that partition", record.Position, record.Event, next[record.Partition])
		}
		next[record.Partition]++
		if record.Timestamp.IsZero() || len(record.Value) == 0 || record.Topic != topic {
			t.Fatalf("record without topic, time or value: %v", record)
		}
	}
	r.stop()
	in.empty()
	for p := range int32(partitions) {
		if got := f.committed(topic, p); got != each {
			t.Errorf("committed offset of partition %d = %d, want %d", p, got, each)
		}
	}
	if n := len(in.batches); n >= partitions*each/10 {
		t.Errorf("%d records came in %d batches, want far fewer", partitions*each, n)
	}
}

func TestStatsAndLag(t *testing.T) {
	f := newFixture(t)
	f.publishIDs("a1", "a2")
	f.publish(f.topic, 0, "poison")
	entered, release := make(chan int, 10), make(chan struct{})
	r := start(t, f.consumer(), func(_ context.Context, batch []dojotkafka.Record) error {
		entered <- len(batch)
		<-release
		return nil
	})
	if n := <-entered; n != 2 {
		t.Fatalf("first batch has %d records, want 2", n)
	}
	got := r.consumer.Stats()
	if age := got.Age(time.Now()); age <= 0 || age > patience || got.Age(got.Oldest.Add(-time.Hour)) != 0 {
		t.Errorf("age of the oldest event = %v, want a little", age)
	}
	got.Oldest = time.Time{}
	if diff := cmp.Diff(dojotkafka.Stats{Consumed: 3, Lag: 3}, got); diff != "" {
		t.Errorf("while the handler runs (-want +got):\n%s", diff)
	}
	if got := f.committed(f.topic, 0); got != -1 {
		t.Errorf("committed offset while the handler runs = %d, want none", got)
	}
	close(release)
	want := dojotkafka.Stats{Consumed: 3, Applied: 2, SetAside: 1}
	if got.Age(time.Now()) != 0 {
		t.Error("age isn't zero without an oldest event")
	}
	eventually(t, "batch counted", func() bool { return r.consumer.Stats() == want })
	eventually(t, "batch committed", func() bool { return f.committed(f.topic, 0) == 3 })
}

// A consumer that ends while its handler fails has committed nothing of that
// batch; the next one gets it.
func TestRestartRedelivers(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture) {
		f.publishIDs("a1", "a2")
		in := newInbox(t)
		r := start(t, f.consumer(), in.handle)
		wantIDs(t, in.take(2), "a1", "a2")
		r.stop()

		failed := make(chan struct{}, 100)
		r = start(t, f.consumer(), func(ctx context.Context, batch []dojotkafka.Record) error {
			failed <- struct{}{}
			return errors.New("disk full")
		})
		f.publishIDs("b1", "b2")
		<-failed
		r.stop()
		if got := f.committed(f.topic, 0); got != 2 {
			t.Errorf("committed offset after a failing handler = %d, want 2", got)
		}

		in = newInbox(t)
		r = start(t, f.consumer(), in.handle)
		wantIDs(t, in.take(2), "b1", "b2")
		r.stop()
		in.empty()
		if got := f.committed(f.topic, 0); got != 4 {
			t.Errorf("committed offset at the end = %d, want 4", got)
		}
	})
}

// What a handler did after the consumer was told to end is committed.
func TestStopCommits(t *testing.T) {
	f := newFixture(t)
	f.publishIDs("a1")
	entered := make(chan struct{})
	r := start(t, f.consumer(), func(ctx context.Context, batch []dojotkafka.Record) error {
		close(entered)
		<-ctx.Done() // the end of Run comes while we work
		return nil
	})
	<-entered
	r.stop()
	if got := f.committed(f.topic, 0); got != 1 {
		t.Errorf("committed offset = %d, want 1", got)
	}
	if state, topics := f.members(); len(topics) != 0 {
		t.Errorf("group is %s with %d members after the end, want none", state, len(topics))
	}
}

func TestPoison(t *testing.T) {
	const secret = "c2VjcmV0"
	f := newFixture(t)
	f.publish(f.topic, 0,
		value(t, dojoteventstest.CreateEvent(f.tenant, "a1")),
		`{"event":"create","data":{"id":"x","k":"`+secret+`"}`,
		value(t, dojoteventstest.CreateEvent(f.tenant, "a2")),
		`{"event":"update","data":{"k":"`+secret+`"},"meta":{"service":"`+f.tenant+`"}}`,
		``,
		value(t, dojoteventstest.RemoveEvent("another", "a1")),
		`{"event":"news"}`,
		value(t, dojoteventstest.CreateEvent(f.tenant, "a3")),
	)
	type aside struct {
		offset int64
		field  string
		reason error
	}
	tests := []aside{
		{1, "", dojotevents.ErrSyntax},
		{3, "data.id", dojotevents.ErrMissing},
		{4, "", dojotevents.ErrSyntax},
		{5, "", dojotkafka.ErrTenant},
	}

	t.Run("given to SetAside", func(t *testing.T) {
		var mu sync.Mutex
		var got []dojotkafka.Record
		var reasons []error
		c := f.consumer()
		c.Group += "-1"
		c.SetAside = func(ctx context.Context, r dojotkafka.Record, reason error) {
			mu.Lock()
			defer mu.Unlock()
			got, reasons = append(got, r), append(reasons, reason)
		}
		in := newInbox(t)
		r := start(t, c, in.handle)
		wantIDs(t, in.take(4), "a1", "a2", "", "a3")
		r.stop()
		in.empty()
		if len(got) != len(tests) {
			t.Fatalf("set aside: %v, want %d records", got, len(tests))
		}
		for i, want := range tests {
			if got[i].Offset != want.offset || !errors.Is(reasons[i], want.reason) {
				t.Errorf("set aside %v for %v, want offset %d for %v", got[i], reasons[i], want.offset, want.reason)
			}
			if de := (*dojotevents.DecodeError)(nil); want.field != "" && (!errors.As(reasons[i], &de) || de.Field != want.field) {
				t.Errorf("set aside for %v, want field %s", reasons[i], want.field)
			}
		}
		if !strings.Contains(string(got[0].Value), secret) {
			t.Errorf("set aside without its value: %q", got[0].Value)
		}
		if want := (dojotkafka.Stats{Consumed: 8, Applied: 4, SetAside: 4}); c.Stats() != want {
			t.Errorf("stats = %+v, want %+v", c.Stats(), want)
		}
	})

	t.Run("logged", func(t *testing.T) {
		var log logged
		c := f.consumer()
		c.Group += "-2"
		c.Logger = log.logger()
		in := newInbox(t)
		r := start(t, c, in.handle)
		in.take(4)
		r.stop()
		for _, want := range tests {
			if position := fmt.Sprintf("record=%s:0:%d reason=", f.topic, want.offset); strings.Count(log.String(), position) != 1 {
				t.Errorf("log doesn't have one line with %s:\n%s", position, &log)
			}
		}
		if strings.Contains(log.String(), secret) || strings.Contains(log.String(), "another") {
			t.Errorf("log shows what events say:\n%s", &log)
		}
	})
}

// Whatever is wrong with a record, those around it are delivered.
func TestBadInput(t *testing.T) {
	f := newFixture(t)
	bad := []struct {
		name, value string
		want        error
	}{
		{"not JSON", "\x00\x01", dojotevents.ErrSyntax},
		{"wrong shape", `[1]`, dojotevents.ErrType},
		{"no identity", `{"event":"remove","data":{},"meta":{"service":"x"}}`, dojotevents.ErrMissing},
		{"deep nesting", strings.Repeat("[", 100_000), dojotevents.ErrLimit},
		{"huge", `{"event":"` + strings.Repeat("x", 900_000) + `"}`, dojotevents.ErrLimit},
		{"not UTF-8", "{\"event\":\"ping\",\"x\":\"\xff\"}", dojotevents.ErrSyntax},
		{"name twice", `{"event":"remove","event":"create","data":{"id":"a"},"meta":{"service":"x"}}`, dojotevents.ErrDuplicate},
		{"no value", ``, dojotevents.ErrSyntax},
	}
	var want []string
	for i, b := range bad {
		want = append(want, fmt.Sprint("after", i))
		f.publish(f.topic, 0, b.value, value(t, dojoteventstest.CreateEvent(f.tenant, fmt.Sprint("after", i))))
	}
	var reasons []error
	c := f.consumer()
	c.SetAside = func(_ context.Context, _ dojotkafka.Record, reason error) { reasons = append(reasons, reason) }
	in := newInbox(t)
	r := start(t, c, in.handle)
	wantIDs(t, in.take(len(bad)), want...)
	r.stop()
	in.empty()
	if len(reasons) != len(bad) {
		t.Fatalf("%d records set aside, want %d: %v", len(reasons), len(bad), reasons)
	}
	for i, b := range bad {
		if !errors.Is(reasons[i], b.want) {
			t.Errorf("%s: set aside for %v, want %v", b.name, reasons[i], b.want)
		}
	}
}

// The topic that all tenants once shared belongs to none of them.
func TestSharedTopic(t *testing.T) {
	f := newFixture(t)
	shared := f.tenant + "-" + dojotevents.Subject
	f.createTopic(shared, 1)
	f.publish(shared, 0, value(t, dojoteventstest.CreateEvent("one", "a1")), value(t, dojoteventstest.CreateEvent("two", "a1")))
	c := f.consumer()
	c.Topics = []string{"^" + shared + "$"}
	in := newInbox(t)
	start(t, c, in.handle)
	var tenants []string
	for _, r := range in.take(2) {
		tenants = append(tenants, r.Event.Tenant)
	}
	if want := []string{"one", "two"}; !slices.Equal(tenants, want) {
		t.Errorf("tenants = %v, want %v", tenants, want)
	}
}

func TestRecordError(t *testing.T) {
	refuse := errors.New("device id holds a line break")
	tests := []struct {
		name string
		err  func(batch []dojotkafka.Record) error
		want []int64 // offsets set aside
	}{
		{"one", func(b []dojotkafka.Record) error {
			return &dojotkafka.RecordError{Position: b[1].Position, Err: refuse}
		}, []int64{1}},
		{"joined", func(b []dojotkafka.Record) error {
			return errors.Join(&dojotkafka.RecordError{Position: b[2].Position, Err: refuse}, &dojotkafka.RecordError{Position: b[0].Position, Err: refuse})
		}, []int64{0, 2}},
		{"the same twice, and wrapped", func(b []dojotkafka.Record) error {
			e := &dojotkafka.RecordError{Position: b[0].Position, Err: refuse}
			return fmt.Errorf("applying: %w", errors.Join(e, errors.Join(e)))
		}, []int64{0}},
		{"all", func(b []dojotkafka.Record) error {
			var errs []error
			for _, r := range b {
				errs = append(errs, &dojotkafka.RecordError{Position: r.Position, Err: refuse})
			}
			return errors.Join(errs...)
		}, []int64{0, 1, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.publish(f.topic, 0,
				value(t, dojoteventstest.CreateEvent(f.tenant, "a1")),
				value(t, dojoteventstest.CreateEvent(f.tenant, "a2")),
				value(t, dojoteventstest.CreateEvent(f.tenant, "a3")))
			c := f.consumer()
			var aside []int64
			c.SetAside = func(_ context.Context, r dojotkafka.Record, reason error) {
				if !errors.Is(reason, refuse) {
					t.Errorf("set aside for %v, want %v", reason, refuse)
				}
				aside = append(aside, r.Offset)
			}
			in := newInbox(t)
			r := start(t, c, func(ctx context.Context, batch []dojotkafka.Record) error {
				_ = in.handle(ctx, batch)
				return tt.err(batch)
			})
			in.take(3)
			r.stop()
			in.empty()
			if !slices.Equal(aside, tt.want) {
				t.Errorf("set aside offsets %v, want %v", aside, tt.want)
			}
			if got := f.committed(f.topic, 0); got != 3 {
				t.Errorf("committed offset = %d, want 3", got)
			}
			if got, want := c.Stats().Applied, int64(3-len(tt.want)); got != want {
				t.Errorf("applied = %d, want %d", got, want)
			}
		})
	}
}

// Any other error has the same batch delivered again, whatever the handler
// did to its slice.
func TestHandlerRetried(t *testing.T) {
	tests := []struct {
		name string
		err  func(batch []dojotkafka.Record) error
	}{
		{"other error", func([]dojotkafka.Record) error { return errors.New("disk full") }},
		{"partly other error", func(b []dojotkafka.Record) error {
			return errors.Join(&dojotkafka.RecordError{Position: b[0].Position, Err: errors.New("bad")}, errors.New("disk full"))
		}},
		{"record of another batch", func(b []dojotkafka.Record) error {
			return &dojotkafka.RecordError{Position: dojotkafka.Position{Topic: b[0].Topic, Offset: 99}, Err: errors.New("bad")}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.publish(f.topic, 0, "poison", value(t, dojoteventstest.CreateEvent(f.tenant, "a1")), value(t, dojoteventstest.CreateEvent(f.tenant, "a2")))
			var log logged
			c := f.consumer()
			c.Logger = log.logger()
			in := newInbox(t)
			try := 0
			release := make(chan struct{})
			r := start(t, c, func(ctx context.Context, batch []dojotkafka.Record) error {
				_ = in.handle(ctx, batch)
				if try++; try <= 2 {
					err := tt.err(batch)
					slices.Reverse(batch)
					return err
				}
				<-release
				return nil
			})
			wantIDs(t, in.take(6), "a1", "a2", "a1", "a2", "a1", "a2")
			if got := f.committed(f.topic, 0); got != -1 {
				t.Errorf("committed offset after two failures = %d, want none", got)
			}
			close(release)
			eventually(t, "all committed", func() bool { return f.committed(f.topic, 0) == 3 })
			r.stop()
			in.empty()
			if want := (dojotkafka.Stats{Consumed: 3, Applied: 2, SetAside: 1, Retried: 2}); c.Stats() != want {
				t.Errorf("stats = %+v, want %+v", c.Stats(), want)
			}
			if n := strings.Count(log.String(), "2 device events not applied, next try in "); n != 2 {
				t.Errorf("log has %d lines on failed tries, want 2:\n%s", n, &log)
			}
			if n := strings.Count(log.String(), "set aside"); n != 1 {
				t.Errorf("poison logged %d times, want once:\n%s", n, &log)
			}
		})
	}
}

// A name is that of one topic, not a pattern.
func TestTopicsByName(t *testing.T) {
	f := newFixture(t)
	later := f.topic + "-later"
	for _, other := range []string{"x" + f.topic, f.topic + "x", strings.ReplaceAll(f.topic, ".", "-")} {
		f.createTopic(other, 1)
		f.publish(other, 0, `{"event":"not asked for"}`)
	}
	f.publishIDs("a1")
	c := f.consumer()
	c.Topics = []string{f.topic, later}
	in := newInbox(t)
	r := start(t, c, in.handle)
	wantIDs(t, in.take(1), "a1")
	f.createTopic(later, 1)
	f.publish(later, 0, `{"event":"ping","data":{"id":"b1"}}`)
	wantIDs(t, in.take(1), "b1")
	r.stop()
	in.empty()
}

func TestNewTopic(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture) {
		c := f.consumer()
		c.Topics = []string{"^" + f.tenant}
		in := newInbox(t)
		start(t, c, in.handle)
		f.publishIDs("a1")
		wantIDs(t, in.take(1), "a1") // running, and has seen all topics there are

		tenant := f.tenant + "-new"
		f.createTopic(dojotevents.Topic(tenant), 1)
		f.publish(dojotevents.Topic(tenant), 0, value(t, dojoteventstest.CreateEvent(tenant, "b1")))
		wantIDs(t, in.take(1), "b1")
		f.publishIDs("a2")
		wantIDs(t, in.take(1), "a2")
		in.empty()
	})
}

// A topic that appears while a batch is being tried again waits for it, and
// costs the batch nothing.
func TestNewTopicWhileRetrying(t *testing.T) {
	f := newFixture(t)
	c := f.consumer()
	c.Topics = []string{"^" + f.tenant}
	tenant := f.tenant + "-new"
	in := newInbox(t)
	try := 0
	entered, release := make(chan struct{}), make(chan struct{})
	f.publishIDs("a1")
	r := start(t, c, func(ctx context.Context, batch []dojotkafka.Record) error {
		if try++; try == 1 {
			close(entered)
			<-release
		}
		if try <= 3 { // for more than a second, ten times TopicRefresh
			return errors.New("disk full")
		}
		return in.handle(ctx, batch)
	})
	<-entered
	f.createTopic(dojotevents.Topic(tenant), 1)
	f.publish(dojotevents.Topic(tenant), 0, value(t, dojoteventstest.CreateEvent(tenant, "b1")))
	close(release)
	wantIDs(t, in.take(2), "a1", "b1")
	r.stop()
	in.empty()
	for _, topic := range []string{f.topic, dojotevents.Topic(tenant)} {
		if got := f.committed(topic, 0); got != 1 {
			t.Errorf("committed offset of %s = %d, want 1", topic, got)
		}
	}
}

// Members of a group share its partitions. When one leaves, another goes on
// where it was.
func TestTwoMembers(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture) {
		tenant2 := f.tenant + "-2"
		topic2 := dojotevents.Topic(tenant2)
		f.createTopic(topic2, 1)
		publish := func(id, id2 string) {
			f.publishIDs(id)
			f.publish(topic2, 0, value(t, dojoteventstest.CreateEvent(tenant2, id2)))
		}
		member := func(in *inbox) *run {
			c := f.consumer()
			c.Topics = []string{"^" + f.tenant}
			return start(t, c, in.handle)
		}
		in1, in2 := newInbox(t), newInbox(t)
		publish("a1", "b1")
		r1 := member(in1)
		in1.take(2)
		f.awaitMembers(2)

		r2 := member(in2)
		f.awaitMembers(1, 1)
		publish("a2", "b2")
		got := ids(append(in1.take(1), in2.take(1)...))
		slices.Sort(got)
		if want := []string{"a2", "b2"}; !slices.Equal(got, want) {
			t.Errorf("both members got %v, want %v", got, want)
		}

		r1.stop()
		publish("a3", "b3")
		got = ids(in2.take(2))
		slices.Sort(got)
		if want := []string{"a3", "b3"}; !slices.Equal(got, want) {
			t.Errorf("the member that stayed got %v, want %v", got, want)
		}
		r2.stop()
		in1.empty()
		in2.empty()
		if a, b := f.committed(f.topic, 0), f.committed(topic2, 0); a != 3 || b != 3 {
			t.Errorf("committed offsets = %d and %d, want 3 and 3", a, b)
		}
	})
}

// Another member joins while a handler works. The group waits for the handler,
// and what it did is committed before the partitions move.
func TestRebalanceDuringBatch(t *testing.T) {
	eachProtocol(t, func(t *testing.T, f *fixture) {
		topic2 := f.topic + "-2"
		f.createTopic(topic2, 1)
		member := func(handle func(context.Context, []dojotkafka.Record) error) *run {
			c := f.consumer()
			c.Topics = []string{"^" + f.tenant}
			return start(t, c, handle)
		}
		publish := func(id string) {
			f.publishIDs(id)
			f.publish(topic2, 0, `{"event":"ping","data":{"id":"`+id+`"}}`)
		}
		in1, in2 := newInbox(t), newInbox(t)
		entered, release := make(chan struct{}, 10), make(chan struct{})
		publish("a1")
		r1 := member(func(ctx context.Context, batch []dojotkafka.Record) error {
			entered <- struct{}{}
			<-release
			return in1.handle(ctx, batch)
		})
		<-entered
		member(in2.handle)
		eventually(t, "the second member is waiting for its share", func() bool {
			state, topics := f.members()
			return len(topics) == 2 && !strings.EqualFold(state, "stable")
		})
		in2.empty()
		close(release)
		in1.take(2)
		f.awaitMembers(1, 1)
		if a, b := f.committed(f.topic, 0), f.committed(topic2, 0); a != 1 || b != 1 {
			t.Errorf("committed offsets = %d and %d, want 1 and 1", a, b)
		}
		r1.stop()
		publish("a2")
		wantIDs(t, in2.take(2), "a2", "a2")
		in1.empty()
		in2.empty()
	})
}

func TestRunRefuses(t *testing.T) {
	tests := []struct {
		name     string
		consumer *dojotkafka.Consumer
		want     string
	}{
		{"no brokers", &dojotkafka.Consumer{}, "no brokers"},
		{"bad expression", &dojotkafka.Consumer{Brokers: []string{"127.0.0.1:1"}, Topics: []string{"^("}}, `invalid regular expression "^("`},
		{"topic without a name", &dojotkafka.Consumer{Brokers: []string{"127.0.0.1:1"}, Topics: []string{""}}, "empty"},
		{"bad address", &dojotkafka.Consumer{Brokers: []string{"kafka:nine"}}, "nine"},
		{"topics twice", &dojotkafka.Consumer{Brokers: []string{"127.0.0.1:1"}, Topics: []string{"x"}, Resolve: func(context.Context) (map[string]string, error) { return nil, nil }}, "both Topics and Resolve"},
		{"negative attempts", &dojotkafka.Consumer{Brokers: []string{"127.0.0.1:1"}, MaxAttempts: -1}, "MaxAttempts"},
		{"unknown mechanism", &dojotkafka.Consumer{Brokers: []string{"127.0.0.1:1"}, SASL: &dojotkafka.SASL{Mechanism: "GSSAPI", User: "u", Password: "p"}}, `unknown SASL mechanism "GSSAPI"`},
		{"no user", &dojotkafka.Consumer{Brokers: []string{"127.0.0.1:1"}, SASL: &dojotkafka.SASL{Mechanism: "PLAIN"}}, "no user"},
		{"negative refresh", &dojotkafka.Consumer{Brokers: []string{"127.0.0.1:1"}, TopicRefresh: -1}, "TopicRefresh"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := tt.consumer.Run(ctx, func(context.Context, []dojotkafka.Record) error { return nil })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want an error about %s", err, tt.want)
			}
		})
	}
}
