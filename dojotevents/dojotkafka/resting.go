package dojotkafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// resting are partitions that can't be fetched, say because nobody may read
// their topic. The client would ask for them again at once, and for ever.
type resting struct {
	since      time.Time // the last of them
	partitions map[string][]int32
}

// pause has a partition not fetched until resume.
func (r *resting) pause(cl *kgo.Client, topic string, partition int32) {
	if partition < 0 {
		return // about the whole topic, which metadata said: that is asked for at its own pace
	}
	if r.partitions == nil {
		r.partitions = make(map[string][]int32)
	}
	r.partitions[topic] = append(r.partitions[topic], partition)
	r.since = time.Now()
	cl.PauseFetchPartitions(map[string][]int32{topic: {partition}})
}

// resume has all fetched again that have been resting for a while.
func (r *resting) resume(cl *kgo.Client, while time.Duration) {
	if len(r.partitions) > 0 && time.Since(r.since) >= while {
		cl.ResumeFetchPartitions(r.partitions)
		r.partitions = nil
	}
}
