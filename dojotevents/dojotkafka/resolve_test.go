package dojotkafka_test

import (
	"context"
	"testing"

	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

func TestResolve(t *testing.T) {
	f := newFixture(t)
	const uuid = "6a1f0b0e-2d7c-4a57-9a0c-0b9f3cf1d8a4"
	first, second := f.tenant+uuid, f.tenant+"later"
	f.createTopic(first, 1)
	f.createTopic(second, 1)
	asked := 0
	more := make(chan struct{})
	c := f.consumer()
	c.Topics = nil
	c.Resolve = func(context.Context) (map[string]string, error) {
		asked++
		if asked == 1 {
			return nil, context.DeadlineExceeded
		}
		topics := map[string]string{first: f.tenant}
		select {
		case <-more:
			topics[second] = "other"
		default:
		}
		return topics, nil
	}
	type set struct {
		dojotkafka.Record
		reason error
	}
	aside := make(chan set, 10)
	c.SetAside = func(_ context.Context, r dojotkafka.Record, reason error) { aside <- set{r, reason} }
	event := func(tenant, id string) string {
		return `{"event":"create","data":{"id":"` + id + `"},"meta":{"service":"` + tenant + `"}}`
	}
	f.publish(first, 0, event(f.tenant, "a1"), event("other", "a2"), event(f.tenant, "a3"))
	f.publish(second, 0, event("other", "b1"))
	f.publishIDs("not asked for")
	in := newInbox(t)
	r := start(t, c, in.handle)
	wantIDs(t, in.take(2), "a1", "a3")
	if got := <-aside; got.Offset != 1 || got.reason != dojotkafka.ErrTenant {
		t.Errorf("set aside %v for %v, want offset 1 for %v", got.Position, got.reason, dojotkafka.ErrTenant)
	}
	close(more)
	wantIDs(t, in.take(1), "b1")
	r.stop()

	f.publish(first, 0, event(f.tenant, "a4"))
	r = start(t, c, in.handle) // knows its topics already
	wantIDs(t, in.take(1), "a4")
	r.stop()
	in.empty()
}

// A topic that turns out to be another tenant's, too, is nobody's in particular
// from then on.
func TestResolveOneTopicForTwo(t *testing.T) {
	f := newFixture(t)
	shared, own := f.tenant+"-shared", f.tenant+"-own"
	f.createTopic(shared, 1)
	f.createTopic(own, 1)
	answers := []map[string]string{{shared: "one"}, {shared: "two", own: "two"}}
	c := f.consumer()
	c.Topics = nil
	c.Resolve = func(context.Context) (map[string]string, error) {
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		return answer, nil
	}
	c.SetAside = func(_ context.Context, r dojotkafka.Record, reason error) {
		t.Errorf("%v is set aside: %v", r, reason)
	}
	in := newInbox(t)
	start(t, c, in.handle)
	f.publish(own, 0, `{"event":"remove","data":{"id":"a1"},"meta":{"service":"two"}}`)
	wantIDs(t, in.take(1), "a1") // both answers have been given
	f.publish(shared, 0,
		`{"event":"remove","data":{"id":"b1"},"meta":{"service":"one"}}`,
		`{"event":"remove","data":{"id":"b2"},"meta":{"service":"two"}}`)
	wantIDs(t, in.take(2), "b1", "b2")
}
