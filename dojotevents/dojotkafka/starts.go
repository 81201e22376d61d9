package dojotkafka

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// starts knows which partitions are to begin at their start, whatever offset
// the group has committed: all if everything is to be replayed, and those of a
// topic that was deleted and made again, whose committed offsets, should any
// have survived, count the records of the old one.
type starts struct {
	mu     sync.Mutex
	replay bool
	anew   map[string]bool
	begun  map[partition]bool // something of it has been committed since
}

func (s *starts) reset(replay bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replay = replay
	s.anew = make(map[string]bool)
	s.begun = make(map[partition]bool)
}

// again notes that a topic isn't the one it was.
func (s *starts) again(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anew[topic] = true
	for p := range s.begun {
		if p.topic == topic {
			delete(s.begun, p)
		}
	}
}

// done notes that a committed offset holds from now on.
func (s *starts) done(records []*kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.replay && len(s.anew) == 0 {
		return
	}
	for _, r := range records {
		s.begun[partition{r.Topic, r.Partition}] = true
	}
}

// adjust changes the offsets at which partitions are about to be consumed.
func (s *starts) adjust(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, partitions := range offsets {
		for id := range partitions {
			if (s.replay || s.anew[topic]) && !s.begun[partition{topic, id}] {
				partitions[id] = kgo.NewOffset().AtStart()
			}
		}
	}
	return offsets, nil
}
