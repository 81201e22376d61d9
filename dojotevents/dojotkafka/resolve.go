package dojotkafka

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/dojot/mqtt-manager-go/dojotevents"
)

// How long Resolve may take, which asks for several things of each tenant.
const resolveTimeout = time.Minute

// resolved is what Resolve has said so far.
type resolved struct {
	mu      sync.Mutex
	tenants map[string]string // by topic
}

// add notes a tenant's topic. One that was another's is that of none in
// particular from then on.
func (r *resolved) add(topic, tenant string) (isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tenants == nil {
		r.tenants = make(map[string]string)
	}
	if owner, known := r.tenants[topic]; known {
		if owner != tenant {
			r.tenants[topic] = ""
		}
		return false
	}
	r.tenants[topic] = tenant
	return true
}

func (r *resolved) topics() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.tenants))
}

// tenant returns the only one whose events may be in a topic, or "".
func (r *resolved) tenant(topic string) string {
	r.mu.Lock()
	tenant := r.tenants[topic]
	r.mu.Unlock()
	if tenant == "" {
		tenant, _ = dojotevents.TopicTenant(topic)
	}
	return tenant
}

// followTopics consumes what Resolve names, until ctx ends.
func (c *Consumer) followTopics(ctx context.Context, cl *kgo.Client) {
	failures := 0
	for {
		asking, cancel := context.WithTimeout(ctx, resolveTimeout)
		topics, err := c.Resolve(asking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		var added []string
		for topic, tenant := range topics {
			if topic != "" && topic != c.DeadLetterTopic && c.resolved.add(topic, tenant) {
				added = append(added, topic)
			}
		}
		if len(added) > 0 {
			cl.AddConsumeTopics(added...)
			c.log().Info("kafka: consuming further topics", "topics", len(added))
		}
		pause := c.topicRefresh()
		if err == nil {
			failures = 0
		} else {
			pause = backoff(failures)
			failures++
			c.log().Warn("topics not resolved, next try in "+pause.Round(time.Millisecond).String(), "err", err)
		}
		if wait(ctx, pause) != nil {
			return
		}
	}
}
