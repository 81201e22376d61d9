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
// Device-manager gives its events no keys: Kafka itself keeps a device's events
// in order only if the topic has one partition, as with dojot's compose files.
//
// Topics are found by name, by pattern, which brings those of tenants as they
// come ([Consumer.Topics]), or by asking ([Consumer.Resolve]).
//
// # What can go wrong
//
// A record that isn't a device event, or whose tenant contradicts its topic's,
// is set aside: counted, reported, written to a dead-letter topic if there is
// one, and passed. So is one that the handler gives up with a [RecordError], and
// so are records that were compressed together and can't be unpacked
// ([ErrUnreadable]).
// Any other error of the handler means that nothing of the batch counts as
// done, and it gets the same batch again, after a while, until it succeeds or
// [Consumer.MaxAttempts] is reached. Set that, and a dead-letter topic, if the
// handler may fail for a record without knowing that it always will: without a
// bound such a record stops its consumer. A Kafka that can't be reached, at the
// start or later, is waited for.
//
// A group whose offsets Kafka no longer has goes on at the oldest record, and a
// topic that was deleted and made again is consumed from its start (Kafka 3.1
// and later; before, topics had nothing but their names). Before
// partitions move to another member, the batch in work is finished and
// committed, if that takes less than two minutes.
//
// # Memory
//
// Whatever producers send, a Consumer uses no more than 600 MiB of memory for
// each of Kafka's brokers: half for the records in work, half for those that are
// ready to be. Of each half, 200 MiB are for 8 MiB of records as they were sent,
// should they all be empty, and 100 for what is unpacked. Events of the usual
// size take less than a tenth of that, or a quarter if they are compressed.
// Not counted is what a handler keeps, and a batch that is larger by itself,
// which Kafka takes only if it is told to.
//
// # What this package does not do
//
// It doesn't log or keep what events say, except in the dead-letter topic: a
// device's key may be among it.
package dojotkafka
