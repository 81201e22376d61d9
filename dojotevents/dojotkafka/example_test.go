package dojotkafka_test

import (
	"context"
	"fmt"
	"log"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojoteventstest"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

func ExampleConsumer() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	kafka, err := dojoteventstest.NewKafka(dojoteventstest.Options{Tenants: []string{"admin"}})
	if err != nil {
		log.Fatal(err)
	}
	defer kafka.Close()
	err = kafka.Publish(ctx,
		dojoteventstest.CreateEvent("admin", "e06357"),
		dojoteventstest.CreateEvent("admin", "efac"),
		dojoteventstest.RemoveEvent("admin", "e06357"))
	if err != nil {
		log.Fatal(err)
	}

	consumer := &dojotkafka.Consumer{Brokers: kafka.Brokers()}
	err = consumer.Run(ctx, func(ctx context.Context, batch []dojotkafka.Record) error {
		for _, r := range batch {
			switch r.Event.Kind {
			case dojotevents.Create, dojotevents.Update:
				fmt.Println("allow", r.Event.Tenant, r.Event.DeviceID)
			case dojotevents.Remove:
				fmt.Println("forget", r.Event.Tenant, r.Event.DeviceID)
			}
			if r.Offset == 2 {
				cancel() // enough for an example
			}
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// allow admin e06357
	// allow admin efac
	// forget admin e06357
	// context canceled
}
