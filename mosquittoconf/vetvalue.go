package mosquittoconf

import (
	"fmt"
	"slices"
	"strings"
)

// value judges a statement's value by itself.
func (t *vetter) value(s statement, o Option) {
	bad := func(want string) {
		t.refused(s, "bad-value", fmt.Sprintf("%s is %.80q", s.Key, s.Value), "want "+want)
	}
	switch o.Type {
	case NumberValue:
		t.number(s, o)
	case TextValue:
		if i := strings.Index(s.Value, " #"); i >= 0 && s.Key != "connection" {
			t.trap(s, "comment-in-value", fmt.Sprintf("%.60q is part of the value of %s", s.Value[i+1:], s.Key), "put the comment into a line of its own")
		}
		if len(s.Value) > maxUint16 {
			bad("up to 65535 bytes")
		}
	}
	word, rest, _ := strings.Cut(s.Value, " ")
	// The first token of what follows the key's space, for those options of
	// which a broker takes the whole rest.
	whole := strings.TrimRight(s.line.rest, "\r\n")
	switch s.Key {
	case "bridge_protocol_version":
		if whole != s.Value || !o.accepts(whole) || whole == "mqttv50" && !t.v.atLeast(2, 0, 0) {
			t.refused(s, "bad-value", fmt.Sprintf("%s is %.80q", s.Key, whole), "want one of "+o.words+", without further blanks")
		}
	case "log_dest":
		switch {
		case word == "dlt" && t.v.atLeast(2, 0, 0):
		case !o.accepts(word):
			bad("one of " + o.words)
		case word == "file" && strings.TrimLeft(rest, " \t") == "":
			bad("a path behind file")
		}
	case "log_type", "protocol", "start_type", "socket_domain", "bridge_reload_type":
		if !o.accepts(word) || word == "http_api" && !t.v.atLeast(2, 1, 0) || word == "internal" && !t.v.atLeast(1, 6, 0) {
			bad("one of " + o.words)
		}
		if s.Key == "start_type" && word == "once" {
			t.trap(s, "bridge-once", "with start_type once, the bridge does not connect", "use automatic")
		}
	case "persistent_client_expiration":
		units := "hdwmy"
		if t.v.atLeast(2, 1, 0) {
			units = "shdwmy"
		}
		if !strings.ContainsAny(word[len(word)-1:], units) || atoi(word[:len(word)-1]) <= 0 {
			bad("a number and one of h, d, w, m, y")
		}
	case "mount_point":
		if !isTopic(s.Value) {
			bad("a topic without wildcards")
		}
	case "auto_id_prefix", "listener_auto_id_prefix":
		if len(s.Value) > 50 && t.v.atLeast(2, 1, 0) {
			bad("up to 50 bytes")
		}
	case "tls_engine_kpass_sha1":
		if len(s.Value) != 40 || strings.Trim(s.Value, "0123456789abcdefABCDEF") != "" {
			bad("40 hexadecimal digits")
		}
	case "include_dir":
		if whole != s.Value {
			t.trap(s, "blank-in-path", fmt.Sprintf("the blanks of %.80q are part of the folder's name", whole), "remove them")
		}
	case "accept_protocol_versions":
		admitted := strings.FieldsFunc(s.Value, func(r rune) bool { return strings.ContainsRune(", \t", r) })
		if !slices.ContainsFunc(admitted, func(w string) bool { return w == "3" || w == "4" || w == "5" }) {
			t.trap(s, "protocol-versions", fmt.Sprintf("accept_protocol_versions %.40q admits no client", s.Value), "want 3, 4 and 5, or some of them")
		}
	case "address", "addresses":
		t.addresses(s)
	case "topic":
		t.topic(s)
	case "restart_timeout":
		t.restartTimeout(s)
	case "bridge_tcp_keepalive":
		fields := words(s.Value)
		for i := range 3 {
			if i >= len(fields) {
				bad("three numbers")
				return
			}
			if n, ok := strtol(fields[i]); !ok || n <= 0 {
				bad("three numbers above 0")
				return
			}
		}
	}
	if o.Scope == PluginScope && o.Repeats && !begins(s.Key) {
		_, name, _ := strings.Cut(s.Key, "_opt_")
		if len(name) < 3 {
			t.refused(s, "bad-value", fmt.Sprintf("%s names an option of %d bytes", s.Key, len(name)), "want at least 3")
		}
	}
}

// words splits where a broker does: at spaces, and at no other white space.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
}

// number judges how the broker reads a number, and which ones it takes.
func (t *vetter) number(s statement, o Option) {
	n := atoi(s.Value)
	if t.v.atLeast(2, 1, 0) && s.Key != "memory_limit" {
		var ok bool
		if n, ok = strtol(s.Value); !ok {
			t.refused(s, "bad-value", fmt.Sprintf("%s is %.80q", s.Key, s.Value), "want a number up to 2147483647")
			return
		}
	}
	if s.Key == "port" && t.defaultListener != nil {
		t.defaultListener.port = int(n)
	}
	lowest, highest := o.min, o.max
	switch s.Key {
	case "max_keepalive":
		if !t.v.atLeast(2, 0, 13) {
			lowest = 10
		}
	case "retain_expiry_interval":
		if t.v.atLeast(2, 1, 0) {
			lowest, highest = 1, maxInt
		}
	case "keepalive_interval", "max_inflight_messages":
		lowest = -maxInt - 1
	case "memory_limit":
		if strings.HasPrefix(s.Value, "-") && n != 0 {
			n = -1
		} else {
			n = 0 // it is read as 64 bits
		}
	case "message_size_limit":
		if n < 0 {
			n = maxInt // it is read without a sign
		}
	}
	if highest != 0 && (int(n) < lowest || int(n) > highest) {
		t.refused(s, "bad-value", fmt.Sprintf("%s is %.80q", s.Key, s.Value), fmt.Sprintf("want %d to %d", lowest, highest))
		return
	}
	if !isDecimal(s.Value) && s.Key != "memory_limit" {
		t.trap(s, "number-notation", fmt.Sprintf("%s is %.80q, which this broker reads as %d", s.Key, s.Value, n), "write it in decimal digits alone")
	}
}

// maxSocketPath is Linux's limit, without the final NUL.
const maxSocketPath = 107

// listenerValue judges "PORT [ADDRESS]".
func (t *vetter) listenerValue(s statement) (port int, address string) {
	word, _, _ := strings.Cut(s.Value, " ")
	_, address = parseListener(s.Value)
	n := atoi(word)
	if t.v.atLeast(2, 1, 0) {
		var ok bool
		if n, ok = strtol(word); !ok {
			t.refused(s, "bad-value", fmt.Sprintf("port of listener is %.40q", word), "want 0 to 65535")
			return 0, address
		}
	}
	switch {
	case n < 0 || n > maxUint16:
		t.refused(s, "bad-value", fmt.Sprintf("port of listener is %.40q", word), "want 0 to 65535")
	case n == 0 && address == "":
		t.refused(s, "bad-value", fmt.Sprintf("listener %.40q is port 0 without the path of a socket", s.Value), "give a port or a path")
	case n == 0 && len(address) > maxSocketPath:
		t.refused(s, "bad-value", fmt.Sprintf("path of the socket has %d bytes", len(address)), fmt.Sprintf("want up to %d", maxSocketPath))
	case !isDecimal(word):
		t.trap(s, "number-notation", fmt.Sprintf("port of listener is %.40q, which this broker reads as %d", word, n), "write it in decimal digits alone")
	}
	return int(n), address
}

func (t *vetter) addresses(s statement) {
	count := 0
	for _, word := range words(s.Value) {
		if word[0] == '#' {
			break
		}
		count++
		i := strings.LastIndexByte(word, ':')
		if i < 0 {
			continue
		}
		if port := atoi(word[i+1:]); port < 1 || port > maxUint16 {
			t.refused(s, "bad-value", fmt.Sprintf("port of bridge address is %.40q", word[i+1:]), "want 1 to 65535; an IPv6 address needs a port behind it")
			return
		}
	}
	if count == 0 {
		t.refused(s, "bad-value", s.Key+" names no address", "want HOST or HOST:PORT")
	}
}

func (t *vetter) restartTimeout(s statement) {
	fields := words(s.Value)
	bad := func(want string) {
		t.refused(s, "bad-value", fmt.Sprintf("restart_timeout is %.80q", s.Value), "want "+want)
	}
	base := max(atoi(fields[0]), 1)
	if t.v.atLeast(2, 1, 0) {
		base = min(base, 3600)
	}
	if len(fields) > 1 && atoi(fields[1]) < base {
		bad("an upper limit that is not below the first number")
		return
	}
	if len(fields) > 2 && t.v.atLeast(2, 1, 0) && atoi(fields[2]) < 0 {
		bad("no negative period")
	}
}

// isTopic reports whether brokers take s for a topic without wildcards.
func isTopic(s string) bool {
	return s != "" && len(s) <= maxUint16 && !strings.ContainsAny(s, "+#") && strings.Count(s, "/") <= 200
}

// isFilter reports whether s is a valid filter.
func isFilter(s string) bool {
	for more := true; more; {
		var level string
		level, s, more = strings.Cut(s, "/")
		if strings.ContainsAny(level, "+#") && level != "+" && (level != "#" || more) {
			return false
		}
	}
	return true
}

// topic judges "FILTER [DIRECTION [QOS [LOCAL [REMOTE]]]]" of a bridge.
func (t *vetter) topic(s statement) {
	filter, rest := s.Value, ""
	if i := strings.IndexByte(s.Value, ' '); i >= 0 {
		filter, rest = s.Value[:i], s.Value[i+1:]
	}
	bad := func(message, want string) {
		t.refused(s, "bridge-topic", message, "want "+want)
	}
	if strings.HasPrefix(filter, `"`) && !strings.HasPrefix(filter, `""`) {
		if t.v.atLeast(2, 1, 0) {
			end := strings.IndexByte(rest, '"')
			if end < 0 {
				bad("topic without a closing quote", `FILTER or "FILTER WITH BLANKS"`)
				return
			}
			filter, rest = filter[1:]+" "+rest[:end], rest[end+1:]
		} else {
			t.trap(s, "bridge-topic", fmt.Sprintf("the quote belongs to the topic %.60q", filter), "topics with blanks need 2.1")
		}
	}
	left := words(rest)
	next := func() (string, bool) {
		if len(left) == 0 {
			return "", false
		}
		w := left[0]
		left = left[1:]
		return w, true
	}
	prefix := func() string {
		w, _ := next()
		if strings.HasPrefix(w, "#") {
			left = nil
			return ""
		}
		if w == `""` {
			return ""
		}
		return w
	}
	var local, remote string
	if direction, ok := next(); ok {
		if d := strings.ToLower(direction); d != "in" && d != "out" && d != "both" {
			bad(fmt.Sprintf("direction of topic is %.40q", direction), "in, out or both")
			return
		}
		if qos, ok := next(); ok {
			comment := strings.HasPrefix(qos, "#")
			if comment {
				left = nil
			}
			if uint8(atoi(qos)) > 2 {
				bad(fmt.Sprintf("QoS of topic is %.40q", qos), "0, 1 or 2")
				return
			}
			if qos != "0" && qos != "1" && qos != "2" && !comment {
				t.trap(s, "bridge-topic", fmt.Sprintf("QoS of topic is %.40q, which is read as %d", qos, uint8(atoi(qos))), "want 0, 1 or 2")
			}
			local = prefix()
			remote = prefix()
			if len(left) > 0 && !strings.HasPrefix(left[0], "#") {
				t.trap(s, "bridge-topic", fmt.Sprintf("%.40q is ignored", left[0]), "give at most two prefixes")
			}
		}
	}
	for _, p := range []string{local, remote} {
		if p != "" && !isTopic(p) {
			bad(fmt.Sprintf("prefix of topic is %.60q", p), "a topic without wildcards")
			return
		}
	}
	switch {
	case filter == `""` && (local == "" || remote == ""):
		bad(`topic "" without both prefixes`, "a local and a remote topic")
	case filter != `""` && !isFilter(filter):
		t.trap(s, "bridge-topic", fmt.Sprintf("%.60q is no valid filter, and is sent as it is", filter), "make + and # whole levels, # the last")
	}
}
