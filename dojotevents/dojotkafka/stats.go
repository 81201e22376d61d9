package dojotkafka

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Stats returns counts since the Consumer was made. It may be called at any
// time.
func (c *Consumer) Stats() Stats { return c.progress.stats() }

// Stats counts records, and says whether there will be more. One that is
// delivered twice counts twice.
type Stats struct {
	Consumed int64 `json:"consumed"`  // received from Kafka
	Applied  int64 `json:"applied"`   // done, says the handler
	SetAside int64 `json:"set_aside"` // given up

	// Retried counts attempts at whole batches that failed.
	Retried int64 `json:"retried"`

	// Lag is how many records of the partitions that this member has were
	// not yet done when Kafka was last heard of.
	Lag int64 `json:"lag"`

	// Oldest is when the oldest record that has been received and is not yet
	// done was produced; zero if there is none.
	Oldest time.Time `json:"oldest_unapplied,omitzero"`

	// Unreachable is since when Kafka has been out of reach; zero if it
	// answered when it was last asked, which is when no record has come for
	// TopicRefresh.
	Unreachable time.Time `json:"unreachable_since,omitzero"`
}

// Age returns how old the oldest record is that has been received and is not
// yet done; 0 if there is none, or if its producer's clock is ahead.
func (s Stats) Age(now time.Time) time.Duration {
	if s.Oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.Oldest))
}

// progress counts. The zero value is ready.
type progress struct {
	mu         sync.Mutex
	counts     Stats // but for Lag
	partitions map[partition]*extent
}

type partition struct {
	topic string
	id    int32
}

type extent struct{ next, end int64 } // offsets: not yet done, not yet written

func (p *progress) polled(records []*kgo.Record, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Consumed += int64(len(records))
	for _, r := range records {
		if p.counts.Oldest.IsZero() || r.Timestamp.Before(p.counts.Oldest) {
			p.counts.Oldest = r.Timestamp
		}
	}
	first := records[0]
	if p.partitions == nil {
		p.partitions = make(map[partition]*extent)
	}
	p.partitions[partition{first.Topic, first.Partition}] = &extent{next: first.Offset, end: end}
}

func (p *progress) done(records []*kgo.Record, givenUp int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Applied += int64(len(records) - givenUp)
	p.counts.SetAside += int64(givenUp)
	p.counts.Oldest = time.Time{} // there is one batch at a time
	for _, r := range records {
		if e := p.partitions[partition{r.Topic, r.Partition}]; e != nil {
			e.next = r.Offset + 1
		}
	}
}

// skipped counts what was given up unread: from an offset up to the next.
func (p *progress) skipped(of partition, offset, next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Consumed += next - offset
	p.counts.SetAside += next - offset
	if e := p.partitions[of]; e != nil {
		e.next = next
	}
}

func (p *progress) retried() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Retried++
}

// reachable says whether Kafka answered at a time.
func (p *progress) reachable(yes bool, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case yes:
		p.counts.Unreachable = time.Time{}
	case p.counts.Unreachable.IsZero():
		p.counts.Unreachable = at
	}
}

func (p *progress) forget(gone map[string][]int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for topic, ids := range gone {
		for _, id := range ids {
			delete(p.partitions, partition{topic, id})
		}
	}
}

func (p *progress) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	for _, e := range p.partitions {
		s.Lag += max(0, e.end-e.next)
	}
	return s
}
