package dojotkafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	minTopicRefresh = 10 * time.Millisecond
	maxTopicRefresh = time.Hour

	// A batch often costs its handler a reload of the broker, which takes
	// seconds on a large one, whatever the size of the batch: have many
	// events ready. 8 MiB are some 3500 of them, if they aren't compressed;
	// in records that are empty they are 200 MiB of memory.
	maxBatch = 10_000
	maxFetch = 8 << 20

	// Far more than Kafka takes unless it is told otherwise.
	maxDeadLetter = 16 << 20

	// A member that crashed keeps its partitions for sessionTimeout, during
	// which its successor gets nothing. Heartbeats don't wait for handlers.
	sessionTimeout    = 10 * time.Second
	heartbeatInterval = 2 * time.Second

	// Another member that joins waits for a handler that runs, which is the
	// time that a handler has got before its batch is given to another.
	rebalanceTimeout = 2 * time.Minute

	// How long a commit may take, and leaving the group at the end of Run.
	finishTimeout = 5 * time.Second

	// How long at most a request to Kafka waits before it is tried again.
	maxRequestBackoff = 2 * time.Second

	// How long a broker that accepts connections may be silent before it
	// counts as not reachable.
	pingTimeout = 10 * time.Second
)

// open returns a client and what closes it.
func (c *Consumer) open(ctx context.Context) (*kgo.Client, func(), error) {
	if len(c.Brokers) == 0 {
		return nil, nil, errors.New("no brokers (want host:port of at least one)")
	}
	topics, err := c.topics()
	if err != nil {
		return nil, nil, err
	}
	refresh := c.topicRefresh()
	if refresh < minTopicRefresh || refresh > maxTopicRefresh {
		return nil, nil, fmt.Errorf("TopicRefresh is %v (want %v to %v, or zero)", refresh, minTopicRefresh, maxTopicRefresh)
	}
	if c.MaxAttempts < 0 {
		return nil, nil, fmt.Errorf("MaxAttempts is %d (want a positive number, or zero for no limit)", c.MaxAttempts)
	}
	if c.unpacker, err = newUnpacker(); err != nil {
		return nil, nil, err
	}
	c.starts.reset(c.Replay)

	// The client outlives ctx by as much as it takes to commit and leave.
	clientCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	opts := []kgo.Opt{
		kgo.WithContext(clientCtx),
		kgo.SeedBrokers(c.Brokers...),
		kgo.DisableClientMetrics(),
		kgo.ConsumerGroup(c.group()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AdjustFetchOffsetsFn(c.starts.adjust),
		kgo.MetadataMaxAge(refresh),
		kgo.MetadataMinAge(min(refresh, time.Second)),
		kgo.RetryBackoffFn(func(failures int) time.Duration { return min(backoff(failures), maxRequestBackoff, refresh) }),
		kgo.FetchMaxBytes(maxFetch),
		kgo.FetchMaxPartitionBytes(maxFetch),
		kgo.WithDecompressor(c.unpacker),
		kgo.WithHooks(c.unpacker),
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
	}
	opts = append(opts, topics...)
	if c.DeadLetterTopic != "" {
		opts = append(opts,
			kgo.AllowAutoTopicCreation(),
			// A record is written again after a crash anyway.
			kgo.DisableIdempotentWrite(),
			kgo.ProducerBatchMaxBytes(maxDeadLetter))
	}
	if c.ServerSideGroup {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	security, err := c.security()
	if err == nil {
		var cl *kgo.Client
		if cl, err = kgo.NewClient(append(opts, security...)...); err == nil {
			return cl, func() {
				stop := time.AfterFunc(finishTimeout, cancel)
				cl.CloseAllowingRebalance()
				stop.Stop()
				cancel()
			}, nil
		}
	}
	cancel()
	return nil, nil, err
}

// topics returns the options that say what to consume.
func (c *Consumer) topics() ([]kgo.Opt, error) {
	if c.Resolve != nil {
		if len(c.Topics) > 0 {
			return nil, errors.New("both Topics and Resolve are set (want one of them)")
		}
		return []kgo.Opt{kgo.ConsumeTopics(c.resolved.topics()...)}, nil // of an earlier Run; followTopics adds more
	}
	var patterns []string
	if len(c.Topics) == 0 {
		patterns = []string{DefaultTopics}
	}
	for _, topic := range c.Topics {
		switch {
		case topic == "":
			return nil, errors.New("one of Topics is empty (want a name, or a regular expression that begins with ^)")
		case topic[0] != '^':
			topic = exactly(topic)
		}
		patterns = append(patterns, topic)
	}
	opts := []kgo.Opt{kgo.ConsumeRegex(), kgo.ConsumeTopics(patterns...)}
	if c.DeadLetterTopic != "" {
		opts = append(opts, kgo.ConsumeExcludeTopics(exactly(c.DeadLetterTopic)))
	}
	return opts, nil
}

// exactly returns a regular expression that matches a name and nothing else.
func exactly(name string) string { return "^" + regexp.QuoteMeta(name) + "$" }
