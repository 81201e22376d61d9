package dojotkafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Headers of a record in a dead-letter topic: where it was and why it is here.
// Numbers are in decimal digits.
const (
	HeaderTopic     = "dojot.origin.topic"
	HeaderPartition = "dojot.origin.partition"
	HeaderOffset    = "dojot.origin.offset"
	HeaderTimestamp = "dojot.origin.timestamp" // milliseconds since 1970; not with ErrBatchTooLarge
	HeaderGroup     = "dojot.origin.group"     // the consumer group that gave it up
	HeaderCause     = "dojot.cause"            // the reason's text, of at most 1024 bytes

	// HeaderSize is there only if Kafka refused the value for its size, in
	// bytes, so that the record has none.
	HeaderSize = "dojot.origin.size"
)

const maxCause = 1024

// deadLetter is a record that is given up.
type deadLetter struct {
	polled *kgo.Record
	record Record
	reason error
}

// setAside reports records that are given up. It returns an error only if ctx
// has ended while they were not in the dead-letter topic.
func (c *Consumer) setAside(ctx context.Context, cl *kgo.Client, letters []deadLetter) error {
	if c.DeadLetterTopic != "" && len(letters) > 0 {
		if err := c.writeDeadLetters(ctx, cl, letters); err != nil {
			return err
		}
	}
	for _, l := range letters {
		if c.SetAside != nil {
			c.SetAside(context.WithoutCancel(ctx), l.record, l.reason)
		} else {
			c.log().Warn("device event set aside", "record", l.record.Position, "reason", l.reason)
		}
	}
	return nil
}

func (c *Consumer) writeDeadLetters(ctx context.Context, cl *kgo.Client, letters []deadLetter) error {
	records := make([]*kgo.Record, 0, len(letters))
	for _, l := range letters {
		records = append(records, c.deadRecord(l))
	}
	for n := 0; ; n++ {
		var err error
		if records, err = produce(ctx, cl, records); len(records) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.MaxAttempts > 0 && n+1 >= c.MaxAttempts {
			c.log().Error(fmt.Sprintf("%d records not written to the dead-letter topic, given up", len(records)), "topic", c.DeadLetterTopic, "err", err)
			return nil
		}
		d := backoff(n)
		c.log().Warn(fmt.Sprintf("%d records not written to the dead-letter topic, next try in %v", len(records), d.Round(time.Millisecond)),
			"topic", c.DeadLetterTopic, "err", err)
		if err := wait(ctx, d); err != nil {
			return err
		}
	}
}

// produce returns the records that Kafka has not taken.
func produce(ctx context.Context, cl *kgo.Client, records []*kgo.Record) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var (
		left []*kgo.Record
		why  error
	)
	for _, result := range cl.ProduceSync(ctx, records...) {
		r, err := result.Record, result.Err
		if errors.Is(err, kerr.MessageTooLarge) {
			// Perhaps they were only too large together.
			r = again(r)
			err = cl.ProduceSync(ctx, r).FirstErr()
		}
		if errors.Is(err, kerr.MessageTooLarge) && r.Value != nil {
			size := len(r.Value)
			r = again(r)
			r.Value = nil
			r.Headers = append(slices.Clip(r.Headers), kgo.RecordHeader{Key: HeaderSize, Value: []byte(strconv.Itoa(size))})
			err = cl.ProduceSync(ctx, r).FirstErr()
		}
		if err != nil {
			left = append(left, again(r))
			why = err
		}
	}
	return left, why
}

// again returns a record that can be produced, unlike one that was.
func again(r *kgo.Record) *kgo.Record {
	return &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}
}

func (c *Consumer) deadRecord(l deadLetter) *kgo.Record {
	r := &kgo.Record{
		Topic:   c.DeadLetterTopic,
		Key:     l.polled.Key,
		Value:   l.polled.Value,
		Headers: slices.Clone(l.polled.Headers),
	}
	cause := l.reason.Error()
	if len(cause) > maxCause {
		cause = strings.ToValidUTF8(cause[:maxCause], "")
	}
	add := func(key, value string) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	add(HeaderTopic, l.polled.Topic)
	add(HeaderPartition, strconv.Itoa(int(l.polled.Partition)))
	add(HeaderOffset, strconv.FormatInt(l.polled.Offset, 10))
	if !l.polled.Timestamp.IsZero() {
		add(HeaderTimestamp, strconv.FormatInt(l.polled.Timestamp.UnixMilli(), 10))
	}
	add(HeaderGroup, c.group())
	add(HeaderCause, cause)
	return r
}
