package mosquittoconf

import (
	"crypto/sha1" // for its size
	"fmt"
	"slices"
	"strings"
)

// value judges a statement's value by itself.
func (t *vetter) value(s *statement) {
	o := s.option
	switch o.Type {
	case BoolValue:
		return // Parse has judged it
	case NumberValue:
		t.number(s)
		return
	case TextValue:
		if i := strings.Index(s.Value, " #"); i >= 0 && s.Key != "connection" {
			t.trap(s, "comment-in-value", fmt.Sprintf("%.60q is part of the value of %s", s.Value[i+1:], s.Key), "put the comment into a line of its own")
		}
		if len(s.Value) > maxUint16 {
			t.badValue(s, s.Value, "up to 65535 bytes")
		}
	}
	whole := s.line.rest         // what a broker takes for some values
	word, rest := cutWord(whole) // a tab is part of a word
	switch s.Key {
	case "bridge_protocol_version":
		if whole != s.Value || !o.accepts(whole) || whole == "mqttv50" && !t.v.atLeast(2, 0, 0) {
			t.badValue(s, whole, "one of "+o.words+", without further blanks")
		}
	case "log_dest":
		switch {
		case word == "dlt" && t.v.atLeast(2, 0, 0):
		case !o.accepts(word):
			t.badValue(s, s.Value, "one of "+o.words)
		case word == "file" && strings.TrimLeft(rest, " \t") == "":
			t.badValue(s, s.Value, "a path behind file")
		}
	case "log_type", "protocol", "start_type", "socket_domain", "bridge_reload_type":
		if !o.accepts(word) || word == "http_api" && !t.v.atLeast(2, 1, 0) || word == "internal" && !t.v.atLeast(1, 6, 0) {
			t.badValue(s, s.Value, "one of "+o.words)
		}
		if s.Key == "start_type" && word == "once" && t.v.atLeast(2, 0, 0) {
			t.trap(s, "bridge-once", "with start_type once, the bridge does not connect", "use automatic")
		}
	case "persistent_client_expiration":
		units := "hdwmy"
		if t.v.atLeast(2, 1, 0) {
			units = "shdwmy"
		}
		if !strings.ContainsAny(word[len(word)-1:], units) || atoi(word[:len(word)-1]) <= 0 {
			t.badValue(s, s.Value, "a number and one of h, d, w, m, y")
		}
	case "mount_point":
		if strings.ContainsAny(s.Value, "+#") || !isTopic(s.Value) && t.v.atLeast(1, 6, 9) {
			t.badValue(s, s.Value, "a topic without wildcards")
		}
	case "auto_id_prefix", "listener_auto_id_prefix":
		if len(s.Value) > maxIDPrefix && t.v.atLeast(2, 1, 0) {
			t.badValue(s, s.Value, fmt.Sprintf("up to %d bytes", maxIDPrefix))
		}
	case "tls_engine_kpass_sha1":
		if hexBytes(s.Value) != sha1.Size {
			t.badValue(s, s.Value, "40 hexadecimal digits")
		}
	case "plugin", "global_plugin", "plugin_load":
		if t.v.atLeast(2, 1, 0) && (whole != strings.TrimRight(whole, " ") || s.Key == "plugin_load" && strings.HasPrefix(rest, " ")) {
			t.refused(s, "blank-in-path", fmt.Sprintf("blanks of %.80q are part of the plugin's path", whole), "remove them")
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
		left := s.Value
		for range 3 {
			word, left = cutWord(left)
			if n, ok := strtol(word); !ok || n <= 0 {
				t.badValue(s, s.Value, "three numbers above 0")
				return
			}
		}
	}
	if o == pluginOption || o == authOption {
		if name := s.Key[len(o.Key):]; len(name) < 3 {
			t.refused(s, "bad-value", fmt.Sprintf("%s names an option of %d bytes", s.Key, len(name)), "want at least 3")
		}
	}
}

// hexBytes counts those of a number in hexadecimal digits that s begins with,
// as a broker does: pairs of zeros in front, and what the rest needs.
func hexBytes(s string) int {
	zeros := 0
	for strings.HasPrefix(s, "00") {
		zeros, s = zeros+1, s[2:]
	}
	number := strings.TrimLeft(s[:len(s)-len(strings.TrimLeft(s, "0123456789abcdefABCDEF"))], "0")
	return zeros + (len(number)+1)/2
}

// maxIDPrefix is what 2.1 takes for auto_id_prefix.
const maxIDPrefix = 50

// badValue reports a value, or the part of it that is wrong.
func (t *vetter) badValue(s *statement, value, want string) {
	t.refused(s, "bad-value", fmt.Sprintf("%s is %.80q", s.Key, value), "want "+want)
}

// number judges how the broker reads a number, and which ones it takes.
func (t *vetter) number(s *statement) {
	n := atoi(s.Value)
	if t.v.atLeast(2, 1, 0) && s.Key != "memory_limit" {
		var ok bool
		if n, ok = strtol(s.Value); !ok {
			t.badValue(s, s.Value, "a number up to 2147483647")
			return
		}
	}
	if s.Key == "port" && t.defaultListener != nil {
		t.defaultListener.port = int(n)
	}
	lowest, highest := s.option.min, s.option.max
	switch s.Key {
	case "max_keepalive":
		if !t.v.atLeast(2, 0, 13) {
			lowest = 10
		}
	case "retain_expiry_interval":
		if t.v.atLeast(2, 1, 0) {
			lowest, highest = 1, maxInt
		}
	case "max_topic_alias", "keepalive_interval":
		if !t.v.atLeast(2, 0, 0) {
			highest = 0 // any will do
		}
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
		t.badValue(s, s.Value, fmt.Sprintf("%d to %d", lowest, highest))
		return
	}
	if s.Key != "memory_limit" {
		t.notation(s, s.Value, n)
	}
}

// notation judges a number that not every version reads as a person does.
func (t *vetter) notation(s *statement, value string, n int32) {
	if !isDecimal(value) {
		t.trap(s, "number-notation", fmt.Sprintf("%s is %.80q, which this broker reads as %d", s.Key, value, n), "write it in decimal digits alone")
	}
}

// maxSocketPath is Linux's limit, without the final NUL.
const maxSocketPath = 107

// listenerValue judges "PORT [ADDRESS]".
func (t *vetter) listenerValue(s *statement) (port int, address string) {
	word, _ := cutWord(s.Value)
	_, address = parseListener(s.Value)
	n := atoi(word)
	if t.v.atLeast(2, 1, 0) {
		var ok bool
		if n, ok = strtol(word); !ok {
			n = -1
		}
	}
	_, rest := cutWord(s.line.rest)
	switch {
	case n < 0 || n > maxUint16:
		t.badValue(s, s.Value, "a port of 0 to 65535")
	case n == 0 && !t.v.atLeast(2, 0, 0):
		t.badValue(s, s.Value, "a port of 1 to 65535")
	case rest != address && !t.v.atLeast(1, 5, 0):
		t.badValue(s, s.Value, "nothing behind the address, no blanks either")
	case n == 0 && address == "":
		t.badValue(s, s.Value, "a port, or 0 and the path of a socket")
	case n == 0 && len(address) > maxSocketPath:
		t.refused(s, "bad-value", fmt.Sprintf("path of the socket has %d bytes", len(address)), fmt.Sprintf("want up to %d", maxSocketPath))
	default:
		t.notation(s, word, n)
	}
	return int(n), address
}

// isTopic reports whether brokers take s for a topic without wildcards.
func isTopic(s string) bool {
	return s != "" && len(s) <= maxUint16 && strings.IndexByte(s, '+') < 0 && strings.IndexByte(s, '#') < 0 && strings.Count(s, "/") <= 200
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
