package dojoteventstest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
)

// Any Kafka client can be tested against dojot's events.
func ExampleNewKafka() {
	ctx := context.Background()
	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{Tenants: []string{"admin"}})
	if err != nil {
		log.Fatal(err)
	}
	defer kafka.Close()
	err = kafka.Publish(ctx,
		dojoteventstest.CreateEvent("admin", "e06357"),
		dojoteventstest.RemoveEvent("admin", "e06357"))
	if err != nil {
		log.Fatal(err)
	}

	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Brokers()...), kgo.ConsumeTopics(dojotevents.Topic("admin")))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for n := 0; n < 2; {
		for _, record := range client.PollFetches(ctx).Records() {
			event, err := dojotevents.Decode(record.Value)
			fmt.Println(event, err)
			n++
		}
	}
	// Output:
	// create admin:e06357 <nil>
	// remove admin:e06357 <nil>
}
