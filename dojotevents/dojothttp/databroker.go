package dojothttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

// DataBroker asks dojot's data-broker for topics. It may be used concurrently;
// its fields are not to be changed once it is in use.
type DataBroker struct {
	URL        string       // such as "http://data-broker"
	HTTPClient *http.Client // nil: http.DefaultClient, so give ctx a deadline

	mu    sync.Mutex
	known map[[2]string]string // by tenant and subject
}

// Topic returns the topic of a tenant's events of a subject. Data-broker creates
// it when needed, and never changes its mind, so that it is asked only once.
func (b *DataBroker) Topic(ctx context.Context, tenant, subject string) (string, error) {
	key := [2]string{tenant, subject}
	b.mu.Lock()
	topic, ok := b.known[key]
	b.mu.Unlock()
	if ok {
		return topic, nil
	}
	var answer struct {
		Topic string `json:"topic"`
	}
	if err := get(ctx, b.HTTPClient, b.URL, tenant, nil, &answer, "topic", subject); err != nil {
		return "", fmt.Errorf("topic of tenant %q for %s: %w", tenant, subject, err)
	}
	if answer.Topic == "" {
		return "", fmt.Errorf("topic of tenant %q for %s: data-broker names none", tenant, subject)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = make(map[[2]string]string)
	}
	b.known[key] = answer.Topic
	return answer.Topic, nil
}

// Resolver returns a function for dojotkafka.Consumer's Resolve: it asks for the
// tenants and for each one's topics, and returns their tenants by topic. A
// tenant that data-broker refuses keeps no other from being resolved. A topic
// that it names for two tenants, which it shouldn't, is returned as that of none
// in particular, beside an error that names both.
func (b *DataBroker) Resolver(tenants func(context.Context) ([]string, error), subjects ...string) func(context.Context) (map[string]string, error) {
	return func(ctx context.Context) (map[string]string, error) {
		names, err := tenants(ctx)
		if err != nil {
			return nil, err
		}
		byTopic := make(map[string]string)
		var errs []error
		for _, tenant := range names {
			for _, subject := range subjects {
				topic, err := b.Topic(ctx, tenant, subject)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				switch owner, known := byTopic[topic]; {
				case !known:
					byTopic[topic] = tenant
				case owner != tenant && owner != "":
					byTopic[topic] = ""
					errs = append(errs, fmt.Errorf("topic %q is that of tenant %q and of tenant %q, whose events can't be told apart by it", topic, owner, tenant))
				}
			}
			if ctx.Err() != nil {
				break
			}
		}
		return byTopic, errors.Join(errs...)
	}
}
