package dojotkafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// DefaultTopics matches the topic of each tenant's device events,
	// <tenant>.dojot.device-manager.device, and the one that all tenants
	// shared before there were those.
	DefaultTopics = `^(.+\.)?dojot\.device-manager\.device$`

	// DefaultGroup is the consumer group that MQTT managers have always
	// been.
	DefaultGroup = "mqtt-manager"

	// DefaultTopicRefresh is how often new topics are looked for.
	DefaultTopicRefresh = 5 * time.Second
)

const (
	minTopicRefresh = 10 * time.Millisecond
	maxTopicRefresh = time.Hour

	// A batch often costs its handler a reload of the broker, which takes
	// seconds on a large one, whatever the size of the batch: have many
	// events ready. 16 MiB are some 7000 of them.
	maxBatch          = 10_000
	maxPartitionBytes = 16 << 20

	// A member that crashed keeps its partitions for sessionTimeout, during
	// which its successor gets nothing. Heartbeats don't wait for handlers.
	sessionTimeout    = 10 * time.Second
	heartbeatInterval = 2 * time.Second

	// Another member that joins waits for a handler that runs, which is the
	// time that a handler has got before its batch is given to another.
	rebalanceTimeout = 2 * time.Minute

	// How long a commit may take, and leaving the group at the end of Run.
	finishTimeout = 5 * time.Second

	// How long a broker that accepts connections may be silent before it
	// counts as not reachable.
	pingTimeout = 10 * time.Second
)

// Consumer is a member of a consumer group. Its fields are not to be changed
// once Run has been called.
type Consumer struct {
	Brokers []string // host:port of some of Kafka's brokers; at least one

	// Topics are regular expressions, in Go's syntax, of the topics to
	// consume. They match anywhere in a name unless they have ^ and $. Nil
	// means DefaultTopics.
	Topics []string

	// Group is the consumer group whose committed offsets are used. Empty
	// means DefaultGroup.
	Group string

	// TopicRefresh is how soon at the latest a new topic, such as that of a
	// new tenant, is noticed, and a broker that has gone. Zero means
	// DefaultTopicRefresh; at least 10 ms, at most an hour.
	TopicRefresh time.Duration

	// SetAside, if not nil, is called for every record that is given up,
	// with the reason: a *dojotevents.DecodeError, ErrTenant, or what
	// the handler said in a *RecordError. It runs after the handler has
	// dealt with the rest of the batch and before offsets are committed, so
	// that a record may be set aside again after a crash; its context doesn't
	// end with Run's. If it is nil, the record's position and the reason are
	// logged.
	SetAside func(ctx context.Context, r Record, reason error)

	Logger *slog.Logger // nil: silent

	progress progress
}

// Run consumes until ctx ends and returns ctx's error then, having committed
// what was done and left the group; with Kafka out of reach that takes up to
// ten seconds. Any other error is one of configuration, at once.
//
// It calls handle with one batch at a time, of 1 to 10,000 records that
// decoded, those of each partition in its order. The records are the
// handler's to keep. Nil means that all of the batch is done; a [RecordError],
// or several in errors.Join, that those records never will be, and the rest
// is. After any other error handle gets the same batch again, after a quarter
// of a second first, twice as long each time, and half a minute at most.
//
// A Consumer can run again once Run has returned, but not twice at a time.
func (c *Consumer) Run(ctx context.Context, handle func(ctx context.Context, batch []Record) error) error {
	cl, closeClient, err := c.open(ctx)
	if err != nil {
		return fmt.Errorf("kafka consumer: %w", err)
	}
	defer closeClient()

	if err := c.awaitBroker(ctx, cl); err != nil {
		return err
	}
	for {
		polled, err := c.poll(ctx, cl)
		if err == nil && len(polled) > 0 {
			err = c.process(ctx, cl, polled, handle)
		}
		cl.AllowRebalance()
		if err == nil && len(polled) == 0 {
			err = c.awaitBroker(ctx, cl)
		}
		if err != nil {
			return err
		}
	}
}

// open returns a client and what closes it.
func (c *Consumer) open(ctx context.Context) (*kgo.Client, func(), error) {
	if len(c.Brokers) == 0 {
		return nil, nil, errors.New("no brokers (want host:port of at least one)")
	}
	topics := c.Topics
	if topics == nil {
		topics = []string{DefaultTopics}
	}
	refresh := c.topicRefresh()
	if refresh < minTopicRefresh || refresh > maxTopicRefresh {
		return nil, nil, fmt.Errorf("TopicRefresh is %v (want %v to %v, or zero)", refresh, minTopicRefresh, maxTopicRefresh)
	}

	// The client outlives ctx by as much as it takes to commit and leave.
	clientCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cl, err := kgo.NewClient(
		kgo.WithContext(clientCtx),
		kgo.SeedBrokers(c.Brokers...),
		kgo.DisableClientMetrics(),
		kgo.ConsumerGroup(cmp.Or(c.Group, DefaultGroup)),
		kgo.ConsumeRegex(),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMaxAge(refresh),
		kgo.MetadataMinAge(min(refresh, time.Second)),
		kgo.FetchMaxPartitionBytes(maxPartitionBytes),
		// A new topic waits for the fetch that is under way to end.
		kgo.FetchMaxWait(min(refresh, 500*time.Millisecond)),
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.RebalanceTimeout(rebalanceTimeout),

		// Only what process has marked is ever committed: by process
		// itself, later if that failed, and when partitions move on. They
		// can't while a batch is in work.
		kgo.AutoCommitMarks(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, gone map[string][]int32) {
			c.commit(ctx, cl)
			c.progress.forget(gone)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
			c.progress.forget(gone)
		}),
	)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return cl, func() {
		stop := time.AfterFunc(finishTimeout, cancel)
		cl.CloseAllowingRebalance()
		stop.Stop()
		cancel()
	}, nil
}

func (c *Consumer) topicRefresh() time.Duration { return cmp.Or(c.TopicRefresh, DefaultTopicRefresh) }

func (c *Consumer) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// awaitBroker returns when Kafka answers, or with ctx's error.
func (c *Consumer) awaitBroker(ctx context.Context, cl *kgo.Client) error {
	for n := 0; ; n++ {
		pingCtx, cancel := context.WithTimeout(ctx, pingTimeout)
		err := cl.Ping(pingCtx)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			if n > 0 {
				c.log().Info("kafka reachable again", "brokers", c.Brokers)
			}
			return nil
		}
		d := backoff(n)
		c.log().Warn(fmt.Sprintf("kafka not reachable at %v, next try in %v", c.Brokers, d.Round(time.Millisecond)), "err", err)
		if err := wait(ctx, d); err != nil {
			return err
		}
	}
}

// poll returns what has been fetched, or nothing after a while.
func (c *Consumer) poll(ctx context.Context, cl *kgo.Client) ([]*kgo.Record, error) {
	pollCtx, cancel := context.WithTimeout(ctx, c.topicRefresh())
	defer cancel()
	fetches := cl.PollRecords(pollCtx, maxBatch)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	logged := make(map[string]bool) // one trouble may be reported by each partition
	fetches.EachError(func(topic string, partition int32, err error) {
		if text := err.Error(); pollCtx.Err() == nil && !logged[text] {
			logged[text] = true
			c.log().Warn("kafka: consuming", "topic", topic, "partition", partition, "err", err)
		}
	})
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) > 0 {
			c.progress.polled(p.Records, p.HighWatermark)
		}
	})
	return fetches.Records(), nil
}

// process has polled records dealt with and commits their offsets. It returns
// an error only if ctx has ended before.
func (c *Consumer) process(ctx context.Context, cl *kgo.Client, polled []*kgo.Record, handle func(context.Context, []Record) error) error {
	records := make([]Record, len(polled))
	batch := make([]Record, 0, len(polled))
	givenUp := make(map[Position]error)
	for i, p := range polled {
		r := &records[i]
		*r = Record{
			Position:  Position{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset},
			Timestamp: p.Timestamp,
			Value:     p.Value,
		}
		if err := r.open(); err != nil {
			givenUp[r.Position] = err
			continue
		}
		batch = append(batch, *r)
	}
	if len(batch) > 0 {
		if err := c.apply(ctx, batch, handle, givenUp); err != nil {
			return err
		}
	}

	for _, r := range records {
		if reason, ok := givenUp[r.Position]; ok {
			c.setAside(ctx, r, reason)
		}
	}
	c.progress.done(polled, len(givenUp))
	cl.MarkCommitRecords(polled...)
	c.commit(ctx, cl)
	return nil
}

// apply calls handle until it succeeds but for single records, which are
// added to givenUp.
func (c *Consumer) apply(ctx context.Context, batch []Record, handle func(context.Context, []Record) error, givenUp map[Position]error) error {
	for n := 0; ; n++ {
		err := handle(ctx, slices.Clone(batch))
		if err == nil {
			return nil
		}
		if failed, ok := recordErrors(err); ok && within(batch, failed) {
			for _, f := range failed {
				givenUp[f.Position] = f.Err
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d := backoff(n)
		c.log().Warn(fmt.Sprintf("%d device events not applied, next try in %v", len(batch), d.Round(time.Millisecond)),
			"first", batch[0].Position, "err", err)
		if err := wait(ctx, d); err != nil {
			return err
		}
	}
}

// within reports whether all failures are of records of the batch.
func within(batch []Record, failed []*RecordError) bool {
	positions := make(map[Position]struct{}, len(batch))
	for _, r := range batch {
		positions[r.Position] = struct{}{}
	}
	for _, f := range failed {
		if _, ok := positions[f.Position]; !ok {
			return false
		}
	}
	return true
}

func (c *Consumer) setAside(ctx context.Context, r Record, reason error) {
	if c.SetAside != nil {
		c.SetAside(context.WithoutCancel(ctx), r, reason)
		return
	}
	c.log().Warn("device event set aside", "record", r.Position, "reason", reason)
}

// commit commits what has been marked, even if ctx has ended meanwhile.
func (c *Consumer) commit(ctx context.Context, cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := cl.CommitMarkedOffsets(ctx); err != nil {
		c.log().Warn("kafka: offsets not committed, events may be delivered again", "err", err)
	}
}
