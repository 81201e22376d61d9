// Package dojotkafka consumes dojot's device events from Kafka.
//
//	c := &dojotkafka.Consumer{Brokers: []string{"kafka:9092"}}
//	err := c.Run(ctx, func(ctx context.Context, batch []dojotkafka.Record) error {
//		for _, r := range batch {
//			… r.Event …
//		}
//		return nil // done, and durable
//	})
//
// [Consumer.Run] hands over what has arrived in batches, in the order of each
// partition, and commits a batch's offsets once the handler has returned: an
// event is delivered at least once, and again after a crash, so that handlers
// must be idempotent. A slow handler gets larger batches, never an unbounded
// queue. A group that has no offsets yet starts at the oldest event that Kafka
// still has.
//
// # What can go wrong
//
// A record that isn't a device event, or whose tenant contradicts its topic's,
// is set aside: counted, reported, and passed. So is one that the handler
// gives up with a [RecordError]. Any other error of the handler means that
// nothing of the batch counts as done, and it gets the same batch again,
// after a while. A Kafka that can't be reached, at the start or later, is
// waited for.
//
// # What this package does not do
//
// It doesn't log or keep what events say: a device's key may be among it. It
// speaks to Kafka without TLS and SASL.
package dojotkafka
