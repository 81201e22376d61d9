package dojotkafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents"
	"github.com/dojot/mqtt-manager-go/dojotevents/dojotkafka"
)

// BenchmarkConsumerAtLeast70PercentOfPolling compares a Consumer whose handler
// does nothing with a group member that does nothing but poll and commit as it
// is by default. Each reads the same topic in the same Kafka; what counts is
// the time from the start, joining the group included, to the last record, in
// the best round of each. Decoding, which polling doesn't do, is hidden behind
// the next fetch only as long as there is an idle processor: run it alone.
func BenchmarkConsumerAtLeast70PercentOfPolling(b *testing.B) {
	const total = 40_000
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	const topic = "admin." + dojotevents.Subject
	if err := cluster.CreateTopic(topic, 1, nil); err != nil {
		b.Fatal(err)
	}
	fill(b, cluster, topic, total)

	var spent [2]time.Duration
	var rounds int
	for b.Loop() {
		for i, consume := range []func(b *testing.B, cluster *kfake.Cluster, group, topic string, total int) time.Duration{consumerTime, pollingTime} {
			d := consume(b, cluster, fmt.Sprintf("group-%d-%d", i, rounds), topic, total)
			if rounds == 0 || d < spent[i] {
				spent[i] = d
			}
		}
		rounds++
	}
	const events = float64(total)
	b.ReportMetric(events/spent[0].Seconds(), "events/s")
	b.ReportMetric(events/spent[1].Seconds(), "polled/s")
	b.ReportMetric(100*float64(spent[1])/float64(spent[0]), "%-of-polling")
	b.ReportMetric(0, "ns/op")
}

// fill publishes events of about 2.4 KB.
func fill(b *testing.B, cluster *kfake.Cluster, topic string, total int) {
	b.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DisableClientMetrics(),
		kgo.ProducerBatchCompression(kgo.NoCompression())) // or the records would be next to nothing
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	attribute := `{"id": 7, "label": "measurement", "type": "dynamic", "value_type": "float", "static_value": "", "template_id": "1", "created": "2020-09-16T14:50:09.297163+00:00", "is_static_overridden": false}`
	attributes := strings.Repeat(attribute+", ", 10) + attribute
	var records []*kgo.Record
	for i := range total {
		value := fmt.Sprintf(`{"event": "create", "data": {"id": "%06x", "label": "rain gauge", "templates": [1], "created": "2020-09-16T14:50:34.749230+00:00", "attrs": {"1": [%s]}}, "meta": {"service": "admin"}}`, i, attributes)
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(value)})
	}
	if err := cl.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
		b.Fatal(err)
	}
}

func consumerTime(b *testing.B, cluster *kfake.Cluster, group, topic string, total int) time.Duration {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	c := &dojotkafka.Consumer{Brokers: cluster.ListenAddrs(), Group: group}
	start := time.Now()
	var last time.Time
	n := 0
	err := c.Run(ctx, func(_ context.Context, batch []dojotkafka.Record) error {
		if n += len(batch); n == total {
			last = time.Now()
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || n != total {
		b.Fatalf("Run = %v after %d of %d events", err, n, total)
	}
	return last.Sub(start)
}

func pollingTime(b *testing.B, cluster *kfake.Cluster, group, topic string, total int) time.Duration {
	start := time.Now()
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DisableClientMetrics(),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxPartitionBytes(16<<20))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for n := 0; n < total; {
		fetches := cl.PollRecords(b.Context(), 10_000)
		if err := fetches.Err(); err != nil {
			b.Fatal(err)
		}
		n += fetches.NumRecords()
	}
	return time.Since(start)
}
