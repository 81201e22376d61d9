package dojotkafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
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

// Consumer is a member of a consumer group. Its fields are not to be changed
// once Run has been called.
type Consumer struct {
	Brokers []string // host:port of some of Kafka's brokers; at least one

	// Topics are those to consume: names, and regular expressions, which are
	// told from names by the ^ that they begin with. They are in Go's syntax
	// and match longer names, too, unless they end in $. Topics that match
	// may come later. None means DefaultTopics.
	Topics []string

	// Group is the consumer group whose committed offsets are used. Empty
	// means DefaultGroup.
	Group string

	// TopicRefresh is how soon at the latest a new topic, such as that of a
	// new tenant, is noticed, and a broker that has gone, and how long a topic
	// that can't be read is left alone. Zero means DefaultTopicRefresh; at
	// least 10 ms, at most an hour.
	TopicRefresh time.Duration

	// SetAside, if not nil, is called for every record that is given up,
	// with the reason: a *dojotevents.DecodeError, ErrTenant, or what
	// the handler said in a *RecordError. It runs after the handler has
	// dealt with the rest of the batch and before offsets are committed, so
	// that a record may be set aside again after a crash; its context doesn't
	// end with Run's. If it is nil, the record's position and the reason are
	// logged. Records that are ErrUnreadable are given up together: r is
	// the position of the first and nothing else.
	SetAside func(ctx context.Context, r Record, reason error)

	// DeadLetterTopic, if not empty, is a topic to which the records that are
	// given up are written, before SetAside is called: key, value and headers
	// as they were, unless they are too large for it, and the headers named by
	// the Header constants. It is for the same eyes as the topics consumed,
	// must exist unless Kafka creates topics by itself, and is never consumed.
	DeadLetterTopic string

	// MaxAttempts is how often a batch is tried at most. When that wasn't
	// enough, the handler gets parts of the batch, ever smaller, to find the
	// records that it fails for, and those are given up with its error.
	// Likewise a record that can't be written to DeadLetterTopic that often
	// is only logged and given to SetAside. Zero means that both are tried
	// until they succeed: nothing is skipped while, say, a disk is full, and
	// nothing else is handled.
	MaxAttempts int

	// Resolve, if not nil, names the topics to consume, and the tenant
	// of each, "" for none in particular, instead of Topics. It is asked at
	// the start and every TopicRefresh, has a minute for its answer, and may
	// add to what it said before; a topic for which it names another tenant
	// than before is taken for that of none in particular. What it returns
	// beside an error is used, too. Package dojothttp asks dojot's
	// data-broker.
	Resolve func(ctx context.Context) (tenants map[string]string, err error)

	// Replay has Run begin each partition at the oldest record that Kafka
	// still has, whatever the group has committed.
	Replay bool

	// ServerSideGroup lets Kafka's coordinator assign partitions (KIP-848),
	// which takes Kafka 4.0, better 4.3. With an older one, or if false, the
	// group's members do.
	ServerSideGroup bool

	TLS  *tls.Config // nil: connections are not encrypted
	SASL *SASL       // nil: connections are not authenticated

	Logger *slog.Logger // nil: silent

	progress progress
	starts   starts
	resolved resolved
	unpacker *unpacker // of the present Run
}

// Run consumes until ctx ends and returns ctx's error then, having committed
// what was done and left the group; with Kafka out of reach that takes up to
// ten seconds, and five more with a DeadLetterTopic. Any other error is one of
// configuration, at once.
//
// It calls handle with one batch at a time, of 1 to 10,000 records that
// decoded, those of each partition in its order. The records are the
// handler's to keep. Nil means that all of the batch is done; a [RecordError],
// or several in errors.Join, that those records never will be, and the rest
// is. After any other error handle gets the same batch again, after a quarter
// of a second first, twice as long each time, and half a minute at most, until
// it succeeds or has been tried MaxAttempts times.
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
	if c.Resolve != nil {
		following, stop := context.WithCancel(ctx)
		var ended sync.WaitGroup
		ended.Go(func() { c.followTopics(following, cl) })
		defer ended.Wait()
		defer stop()
	}
	var faulty resting
	for {
		polled, err := c.poll(ctx, cl, &faulty)
		if err == nil && len(polled.records) > 0 {
			err = c.process(ctx, cl, polled.records, handle)
		}
		if err == nil {
			err = c.skip(ctx, cl, polled.unreadable)
		}
		cl.AllowRebalance()
		if len(polled.recreated) > 0 {
			cl.PurgeTopicsFromClient(polled.recreated...) // a look at all topics finds them again
			cl.AddConsumeTopics(polled.recreated...)      // where there is no such look
		}
		if err == nil && len(polled.records) == 0 {
			err = c.awaitBroker(ctx, cl)
		}
		if err != nil {
			return err
		}
	}
}

func (c *Consumer) group() string { return cmp.Or(c.Group, DefaultGroup) }

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
		c.progress.reachable(err == nil, time.Now())
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

// polled is what poll has found.
type polled struct {
	records    []*kgo.Record
	unreadable []*kgo.ErrDecompressTooLarge // at which partitions stand still
	recreated  []string                     // topics that turned out to be others of the same name
}

// poll returns what has been fetched, or nothing after a while. It returns an
// error only if ctx has ended before.
func (c *Consumer) poll(ctx context.Context, cl *kgo.Client, faulty *resting) (polled, error) {
	faulty.resume(cl, c.topicRefresh())
	pollCtx, cancel := context.WithTimeout(ctx, c.topicRefresh())
	defer cancel()
	fetches := cl.PollRecords(pollCtx, maxBatch)
	if ctx.Err() != nil {
		return polled{}, ctx.Err()
	}
	if cl.BufferedFetchRecords() == 0 {
		c.unpacker.polled(time.Now())
	}
	p := polled{records: fetches.Records()}
	logged := make(map[string]bool) // one trouble may be reported by each partition
	fetches.EachError(func(topic string, partition int32, err error) {
		if unreadable, ok := errors.AsType[*kgo.ErrDecompressTooLarge](err); ok {
			p.unreadable = append(p.unreadable, unreadable)
			return
		}
		if errors.Is(err, errFull) {
			return
		}
		var where []any
		switch {
		case topic == "":
			if pollCtx.Err() != nil {
				return // nothing has come
			}
		case errors.Is(err, kerr.UnknownTopicID):
			where = []any{"topic", topic}
			if !slices.Contains(p.recreated, topic) {
				c.starts.again(topic)
				p.recreated = append(p.recreated, topic)
			}
		default:
			where = []any{"topic", topic, "partition", partition}
			faulty.pause(cl, topic, partition)
		}
		if text := err.Error(); !logged[text] {
			logged[text] = true
			c.log().Warn("kafka: consuming", append(where, "err", err)...)
		}
	})
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) > 0 {
			c.progress.polled(f.Records, f.HighWatermark)
		}
	})
	return p, nil
}
