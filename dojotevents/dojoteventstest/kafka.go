package dojoteventstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// Options say what a Kafka starts with. The zero value is an empty one in
// memory, on a free port.
type Options struct {
	// Dir is a folder to keep everything in. It is created if need be, for
	// its owner only, since events may hold keys. What Kafka has acknowledged
	// is in it even after a crash. One process at a time may use it. Empty
	// means memory.
	Dir string

	Port int // to listen on, on 127.0.0.1; 0 means a free one

	// Tenants are those whose topics exist from the start, beside the one that
	// all tenants once shared. Other topics are made when a client first
	// publishes to them.
	Tenants []string
}

// Kafka is a running broker with the topics of dojot's device events, of one
// partition each. Its methods may be called concurrently.
type Kafka struct {
	cluster  *kfake.Cluster
	addr     string
	producer *kgo.Client
}

// NewKafka starts a Kafka, which runs until Close.
func NewKafka(opts Options) (*Kafka, error) {
	kafkaOpts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.Ports(opts.Port),
		kfake.AllowAutoTopicCreation(),
		kfake.DefaultNumPartitions(1),
	}
	if opts.Dir != "" {
		if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("starting kafka: %w", err)
		}
		kafkaOpts = append(kafkaOpts, kfake.DataDir(opts.Dir), kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(kafkaOpts...)
	if err != nil {
		return nil, fmt.Errorf("starting kafka: %w", err)
	}
	k := &Kafka{cluster: cluster, addr: cluster.ListenAddrs()[0]}
	if err := k.createTopics(opts.Tenants); err != nil {
		cluster.Close()
		return nil, fmt.Errorf("starting kafka: %w", err)
	}
	k.producer, err = kgo.NewClient(
		kgo.SeedBrokers(k.addr),
		kgo.AllowAutoTopicCreation(),
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(10*time.Millisecond), // a new topic is published to at once
	)
	if err != nil {
		cluster.Close()
		return nil, fmt.Errorf("starting kafka: %w", err)
	}
	return k, nil
}

func (k *Kafka) createTopics(tenants []string) error {
	topics := []string{dojotevents.Subject}
	for _, tenant := range tenants {
		topics = append(topics, dojotevents.Topic(tenant))
	}
	for _, topic := range topics {
		if k.cluster.TopicInfo(topic) != nil {
			continue
		}
		if err := k.cluster.CreateTopic(topic, 1, nil); err != nil {
			return fmt.Errorf("topic %q: %w", topic, err)
		}
	}
	return nil
}

// Addr returns host:port of the broker.
func (k *Kafka) Addr() string { return k.addr }

// Brokers returns the same as Addr, as clients want it.
func (k *Kafka) Brokers() []string { return []string{k.addr} }

// Publish sends events to the topics that dojot has for them, in order, and
// returns when Kafka has them all: each tenant has one for its devices, one for
// its certificates and one for its trusted CAs; news of tenants are in one.
func (k *Kafka) Publish(ctx context.Context, events ...dojotevents.Event) error {
	records := make([]*kgo.Record, 0, len(events))
	for _, e := range events {
		value, err := dojotevents.Encode(e)
		if err != nil {
			return fmt.Errorf("publishing %v: %w", e, err)
		}
		topic, err := topicOf(e)
		if err != nil {
			return fmt.Errorf("publishing %v: %w", e, err)
		}
		records = append(records, &kgo.Record{Topic: topic, Value: value})
	}
	return k.produce(ctx, records)
}

// topicOf returns the topic that dojot has for an event.
func topicOf(e dojotevents.Event) (string, error) {
	switch {
	case e.Envelope == dojotevents.EnvelopeTenancy:
		return dojotevents.SubjectTopic(dojotevents.ManagementTenant, dojotevents.TenancySubject), nil
	case e.Kind == dojotevents.TrustedCACreate, e.Kind == dojotevents.TrustedCADelete:
		return dojotevents.SubjectTopic(e.Tenant, dojotevents.TrustedCAsSubject), nil
	case e.Envelope == dojotevents.EnvelopeX509:
		return dojotevents.SubjectTopic(e.Tenant, dojotevents.CertificatesSubject), nil
	case e.Tenant == "":
		return "", errors.New("event has no tenant, and so no topic")
	}
	return dojotevents.Topic(e.Tenant), nil
}

// PublishRaw sends values to a topic, in order, and returns when Kafka has
// them all. They need not be events.
func (k *Kafka) PublishRaw(ctx context.Context, topic string, values ...[]byte) error {
	records := make([]*kgo.Record, 0, len(values))
	for _, value := range values {
		records = append(records, &kgo.Record{Topic: topic, Value: slices.Clone(value)})
	}
	return k.produce(ctx, records)
}

func (k *Kafka) produce(ctx context.Context, records []*kgo.Record) error {
	if err := k.producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	return nil
}

// Close stops the broker, having written everything to Options.Dir.
func (k *Kafka) Close() {
	k.producer.Close()
	k.cluster.Close()
}
