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
	if len(s) > maxLevels && strings.Count(s, "/") > maxLevels {
		return "more than 200 slashes"
	}
	if !hasWildcard(s) {
		return ""
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
	case len(topic) > maxLevels && strings.Count(topic, "/") > maxLevels:
		return "more than 200 slashes"
	}
	for i := 0; i < len(topic); i++ {
		switch b := topic[i]; {
		case b == '+' || b == '#':
			return "a filter and not a topic"
		case b < 0x20 || b == 0x7f:
			return "not free of control characters and noncharacters"
		case b >= 0x80:
			return textFault(topic[i:])
		}
	}
	return ""
}

// textFault is topicFault for the part of a topic that is not ASCII.
func textFault(s string) string {
	for i, r := range s {
		switch {
		case r == '+' || r == '#':
			return "a filter and not a topic"
		case r == '\uFFFD' && !strings.HasPrefix(s[i:], "\uFFFD"):
			return "not valid UTF-8"
		case !presentable(r):
			return "not free of control characters and noncharacters"
		}
	}
	return ""
}

// hasWildcard tells whether s has a "+" or "#" in it. These two differ in one
// bit, so that eight bytes at once can be compared with both.
func hasWildcard(s string) bool {
	const (
		ones    = 0x0101010101010101
		high    = 0x80 * ones
		notPlus = (0xff &^ 8) * ones
		hash    = '#' * ones
	)
	for ; len(s) >= 8; s = s[8:] {
		x := uint64At(s)&notPlus ^ hash // a byte is 0 where s has one of them
		if (x-ones)&^x&high != 0 {
			return true
		}
	}
	for i := range len(s) {
		if s[i]&^8 == '#' {
			return true
		}
	}
	return false
}

// matches tells whether a valid filter matches topic, which is not empty
// (MQTT 5.0, 4.7). Before 1.6, where plusHash is false, a "/#" behind a "+"
// didn't match nothing.
func matches(filter, topic string, plusHash bool) bool {
	if topic[0] == '$' && filter[0] != '$' {
		return false
	}
	rest, all, ok := advance(filter, topic, true, plusHash)
	return ok && (all || rest == "")
}

// advance matches a part of a filter with the beginning of topic and returns
// the rest of it, or all if the filter matches whatever follows. End tells
// whether the part is the filter's last.
func advance(part, topic string, end, plusHash bool) (rest string, all, ok bool) {
	for i := 0; i < len(part); i++ {
		switch c := part[i]; {
		case c == '#':
			return "", true, true
		case c == '+':
			n := strings.IndexByte(topic, '/')
			if n < 0 {
				n = len(topic)
			}
			topic = topic[n:]
			if topic == "" && i+1 < len(part) {
				all = end && plusHash && part[i+1:] == "/#"
				return "", all, all
			}
		case topic == "":
			all = end && part[i:] == "/#" // "a/#" matches "a"
			return "", all, all
		case topic[0] != c:
			return "", false, false
		default:
			topic = topic[1:]
		}
	}
	return topic, false, true
}

// Places for names in filters that are compared, before the letter of the name.
// No topic has these bytes.
const (
	levelPlace = "\x00" // of a name that fills one level and doesn't begin with "$"
	anyPlace   = "\x01" // of whatever name, which may have several levels
)

// covers tells whether filter f matches every topic that filter g matches,
// for the same names in the places of both.
func covers(f, g string) bool {
	if f == g {
		return true
	}
	if g == "" || f == "" || strings.HasPrefix(g, anyPlace) || g[0] == '$' && f[0] != '$' {
		return false
	}
	for {
		fl, frest, fmore := strings.Cut(f, "/")
		gl, grest, gmore := strings.Cut(g, "/")
		switch {
		case fl == "#":
			return true
		case fl == gl:
		case fl != "+", gl == "#", strings.Contains(gl, anyPlace):
			return false
		}
		switch {
		case !gmore:
			return !fmore || frest == "#"
		case !fmore:
			return false
		}
		f, g = frest, grest
	}
}

// overlap tells whether there can be a topic that both filters match.
func overlap(f, g string) bool {
	_, ok := meet(f, g)
	return ok
}

// meet returns a filter of the topics that two filters match, if there are
// any. Of a place for a name and what stands there in the other filter, it has
// the latter.
func meet(f, g string) (both string, ok bool) {
	if f == "" || g == "" {
		return "", false
	}
	if (f[0] == '$') != (g[0] == '$') && !strings.HasPrefix(f, anyPlace) && !strings.HasPrefix(g, anyPlace) {
		return "", false
	}
	for {
		fl, frest, fmore := strings.Cut(f, "/")
		gl, grest, gmore := strings.Cut(g, "/")
		switch {
		case fl == "#":
			return both + g, true
		case gl == "#":
			return both + f, true
		case !meetLevels(fl, gl):
			return "", false
		case strings.Contains(fl, anyPlace):
			return both + g, true
		case strings.Contains(gl, anyPlace):
			return both + f, true
		}
		level := gl
		if gl == "+" || strings.Contains(gl, levelPlace) && fl != "+" {
			level = fl
		}
		both += level
		switch {
		case !fmore && !gmore, !fmore && grest == "#", !gmore && frest == "#":
			return both, true
		case !fmore, !gmore:
			return "", false
		}
		both += "/"
		f, g = frest, grest
	}
}

// meetLevels tells whether levels of two filters can match the same, or begin
// the same where the place of a name may be several levels.
func meetLevels(f, g string) bool {
	fhead, ftail, fplace := aroundPlaces(f)
	ghead, gtail, gplace := aroundPlaces(g)
	switch {
	case f == g, f == "+", g == "+":
		return true
	case fplace && gplace:
		return (strings.HasPrefix(fhead, ghead) || strings.HasPrefix(ghead, fhead)) &&
			(strings.HasSuffix(ftail, gtail) || strings.HasSuffix(gtail, ftail))
	case fplace:
		return len(g) >= len(fhead)+len(ftail) && strings.HasPrefix(g, fhead) && strings.HasSuffix(g, ftail)
	case gplace:
		return meetLevels(g, f)
	}
	return false
}

// aroundPlaces returns what must be at the beginning and at the end of a level
// with places for names.
func aroundPlaces(level string) (head, tail string, ok bool) {
	first, last := strings.IndexAny(level, levelPlace+anyPlace), strings.LastIndexAny(level, levelPlace+anyPlace)
	if first < 0 {
		return "", "", false
	}
	if head = level[:first]; !strings.Contains(level, anyPlace) {
		tail = level[last+2:]
	}
	return head, tail, true
}
