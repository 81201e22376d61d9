package acl

import "strings"

const (
	maxTopic  = 65535 // bytes (MQTT 5.0, 1.5.4)
	maxLevels = 200   // slashes that brokers from 1.6.9 on accept
)

// filterFault says why s is not a topic filter to the broker, or "". The
// broker looks neither at the encoding nor for control bytes.
func filterFault(s string) string {
	if len(s) > maxTopic {
		return "longer than 65535 bytes"
	}
	if strings.Count(s, "/") > maxLevels {
		return "more than 200 slashes"
	}
	for level, more := "", true; more; {
		level, s, more = strings.Cut(s, "/")
		switch {
		case level == "#" && more:
			return `"#" must be the last level`
		case len(level) > 1 && strings.ContainsAny(level, "+#"):
			return `"+" and "#" must fill a whole level`
		}
	}
	return ""
}

// topicFault says why no client can publish to or receive topic, or "".
func topicFault(topic string) string {
	switch {
	case topic == "":
		return "empty"
	case len(topic) > maxTopic:
		return "longer than 65535 bytes"
	case strings.Count(topic, "/") > maxLevels:
		return "more than 200 slashes"
	}
	for i, r := range topic {
		switch {
		case r == '+' || r == '#':
			return "a filter and not a topic"
		case r == '\uFFFD' && !strings.HasPrefix(topic[i:], "\uFFFD"):
			return "not valid UTF-8"
		case !presentable(r):
			return "not free of control characters and noncharacters"
		}
	}
	return ""
}

// names are the texts that levels %u and %c of a pattern stand for; an empty
// one stands for nothing.
type names struct{ user, id string }

// matches tells whether filter matches topic (MQTT 5.0, 4.7). Levels are
// compared by bytes, and those that are %u or %c with what n says of them.
func matches(filter, topic string, n names) bool {
	if filter == "" || (filter[0] == '$') != (topic[0] == '$') {
		return false
	}
	for {
		fl, frest, fmore := strings.Cut(filter, "/")
		if fl == "#" {
			return true
		}
		tl, trest, tmore := strings.Cut(topic, "/")
		switch {
		case fl == "%u" && n.user != "":
			fl = n.user
		case fl == "%c" && n.id != "":
			fl = n.id
		}
		if fl != tl && fl != "+" {
			return false
		}
		switch {
		case !tmore:
			return !fmore || frest == "#" // "a/#" matches "a"
		case !fmore:
			return false
		}
		filter, topic = frest, trest
	}
}
