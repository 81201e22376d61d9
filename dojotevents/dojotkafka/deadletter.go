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
	HeaderTimestamp = "dojot.origin.timestamp" // milliseconds since 1970; not with ErrUnreadable
	HeaderGroup     = "dojot.origin.group"     // the consumer group that gave it up
	HeaderCause     = "dojot.cause"            // the reason's text, of at most 1024 bytes

	// HeaderSize is there only if Kafka refused the value for its size, in
	// bytes, so that the record has none.
	HeaderSize = "dojot.origin.size"

	// These are there only if Kafka refused what was left then, too, so that
	// the record has neither a key nor the headers that it came with. The
	// headers' names count.
	HeaderKeySize     = "dojot.origin.key.size"
	HeaderHeadersSize = "dojot.origin.headers.size"
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
	for n := 0; ; n++ {
		var err error
		if letters, err = c.produce(ctx, cl, letters); len(letters) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c.MaxAttempts > 0 && n+1 >= c.MaxAttempts {
			c.log().Error(fmt.Sprintf("%d records not written to the dead-letter topic, given up", len(letters)), "topic", c.DeadLetterTopic, "err", err)
			return nil
		}
		d := backoff(n)
		c.log().Warn(fmt.Sprintf("%d records not written to the dead-letter topic, next try in %v", len(letters), d.Round(time.Millisecond)),
			"topic", c.DeadLetterTopic, "err", err)
		if err := wait(ctx, d); err != nil {
			return err
		}
	}
}

// produce returns those that Kafka has not taken.
func (c *Consumer) produce(ctx context.Context, cl *kgo.Client, letters []deadLetter) ([]deadLetter, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	records := make([]*kgo.Record, 0, len(letters))
	of := make(map[*kgo.Record]deadLetter, len(letters))
	for _, l := range letters {
		r := c.deadRecord(l, nothing)
		records = append(records, r)
		of[r] = l
	}
	var (
		left []deadLetter
		why  error
	)
	for _, result := range cl.ProduceSync(ctx, records...) {
		l, err := of[result.Record], result.Err
		// Perhaps they were only too large together.
		for _, without := range []omission{nothing, theValue, allThatCame} {
			if errors.Is(err, kerr.MessageTooLarge) {
				err = cl.ProduceSync(ctx, c.deadRecord(l, without)).FirstErr()
			}
		}
		if err != nil {
			left = append(left, l)
			why = err
		}
	}
	return left, why
}

// omission is what a record in the dead-letter topic lacks of the original.
type omission int

const (
	nothing omission = iota
	theValue
	allThatCame // which leaves at most 3 kB
)

func (c *Consumer) deadRecord(l deadLetter, without omission) *kgo.Record {
	r := &kgo.Record{Topic: c.DeadLetterTopic}
	if without < theValue {
		r.Value = l.polled.Value
	}
	if without < allThatCame {
		r.Key, r.Headers = l.polled.Key, slices.Clone(l.polled.Headers)
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
	if without >= allThatCame {
		size := 0
		for _, h := range l.polled.Headers {
			size += len(h.Key) + len(h.Value)
		}
		add(HeaderKeySize, strconv.Itoa(len(l.polled.Key)))
		add(HeaderHeadersSize, strconv.Itoa(size))
	}
	if without >= theValue {
		add(HeaderSize, strconv.Itoa(len(l.polled.Value)))
	}
	return r
}
