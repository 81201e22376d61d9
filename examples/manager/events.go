package main

import (
	"context"
	"errors"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojothttp"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
	"github.com/dojot/mqtt-manager-go/internal/fleet"
)

func (m *manager) consumer(brokers []string) *dojotkafka.Consumer {
	c := &dojotkafka.Consumer{Brokers: brokers, Group: m.group, TLS: m.kafkaTLS, SASL: m.sasl, Logger: m.log}
	if m.dataBroker != "" {
		broker := &dojothttp.DataBroker{URL: m.dataBroker, HTTPClient: dojotClient}
		c.Resolve = broker.Resolver(m.tenants, dojotevents.Subject)
	}
	return c
}

// handle applies a batch of events in one write and one reload. Events that
// are not about a device's existence pass.
func (m *manager) handle(ctx context.Context, batch []dojotkafka.Record) error {
	var changes []fleet.Change
	var origin []int // of each change in batch
	for i, record := range batch {
		change := fleet.Change{Device: deviceOf(record.Event)}
		switch record.Event.Kind {
		case dojotevents.Create, dojotevents.Update:
		case dojotevents.Remove:
			change.Remove = true
		default:
			continue
		}
		changes = append(changes, change)
		origin = append(origin, i)
	}
	if len(changes) == 0 {
		return nil
	}
	refused, err := fleet.ChangeErrors(m.fleet.Apply(ctx, changes...))
	if err != nil {
		return err
	}
	m.log.Info("device events applied", "events", len(changes)-len(refused), "refused", len(refused))
	var errs []error
	for _, r := range refused {
		errs = append(errs, &dojotkafka.RecordError{Position: batch[origin[r.Index]].Position, Err: r})
	}
	return errors.Join(errs...)
}
