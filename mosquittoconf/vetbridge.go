package mosquittoconf

import (
	"fmt"
	"strings"
)

func (t *vetter) connection(s *statement) {
	name, _ := cutWord(s.Value)
	if before := t.bridges[name]; before != nil {
		t.refused(s, "duplicate", fmt.Sprintf("the bridge %.60q is in line %d already", name, before.Line), "give it another name")
	}
	t.bridges[name] = s
	if strings.ContainsAny(name, "+#") {
		t.trap(s, "bridge-name", fmt.Sprintf("a bridge called %.60q does not connect", name), "leave out + and #")
	}
}

// vetBridges judges what only whole bridges show.
func (t *vetter) vetBridges() {
	ids := make(map[string]*statement)
	for _, b := range t.bridgeList {
		if !b.has("address") {
			t.refused(b.begin, "bridge-incomplete", "the bridge has no address", "add an address line")
		}
		if !b.has("topic") {
			t.refused(b.begin, "bridge-incomplete", "the bridge has no topic", "add a topic line")
		}
		t.bridgeTLS(b)
		if s := b.last("remote_password"); s != nil && !b.has("remote_username") {
			t.trap(s, "bridge-password", "with a password and no name, the bridge does not connect", "set remote_username")
		}
		if s := b.lastTrue("bridge_insecure"); s != nil {
			t.warn(s, "bridge-insecure", "the bridge does not compare the server's name with its certificate", "give the server a certificate with its name")
		}
		id, at := "the default of "+b.begin.Value, b.begin
		if s := b.last("remote_clientid"); s != nil {
			id, at = "local."+s.Value, s
		}
		if s := b.last("local_clientid"); s != nil {
			id, at = s.Value, s
		}
		if other := ids[id]; other != nil {
			t.refused(at, "duplicate", fmt.Sprintf("the bridge's local client id is that of line %d", other.Line), "set local_clientid")
		}
		ids[id] = at
	}
}

func (t *vetter) bridgeTLS(b *holder) {
	psk, identity := b.last("bridge_psk"), b.last("bridge_identity")
	switch {
	case psk != nil && identity == nil:
		t.refused(psk, "bridge-incomplete", "bridge_psk without bridge_identity", "set both")
	case identity != nil && psk == nil:
		t.refused(identity, "bridge-incomplete", "bridge_identity without bridge_psk", "set both")
	case psk != nil && !t.v.atLeast(2, 0, 21):
		t.trap(psk, "bridge-psk-unverified", "the bridge takes any server, whose certificate it does not check, for the one with the key", "use certificates, or upgrade to 2.0.21")
	}
	if psk == nil && !b.has("bridge_cafile", "bridge_capath") && !b.true("bridge_tls_use_os_certs") {
		if s := b.last("bridge_certfile", "bridge_keyfile", "bridge_tls_version", "bridge_alpn"); s != nil {
			t.trap(s, "bridge-tls-off", fmt.Sprintf("%s does not switch TLS on: the bridge speaks plain MQTT", s.Key), "set bridge_cafile or bridge_capath")
		}
		return
	}
	cert, key := b.last("bridge_certfile"), b.last("bridge_keyfile")
	switch {
	case cert != nil && key == nil:
		t.trap(cert, "bridge-pair", "bridge_certfile without bridge_keyfile: the bridge has no certificate to show", "set both")
	case key != nil && cert == nil:
		t.trap(key, "bridge-pair", "bridge_keyfile without bridge_certfile: the bridge has no certificate to show", "set both")
	}
}

// addresses judges "HOST[:PORT] …".
func (t *vetter) addresses(s *statement) {
	count := 0
	for word, left := cutWord(s.Value); word != "" && word[0] != '#'; word, left = cutWord(left) {
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

// restartTimeout judges "SECONDS", from 1.6 "BASE CAP", from 2.1 "BASE CAP STABLE".
func (t *vetter) restartTimeout(s *statement) {
	first, left := cutWord(s.Value)
	second, left := cutWord(left)
	third, _ := cutWord(left)
	base := max(atoi(first), 1)
	if t.v.atLeast(2, 1, 0) {
		base = min(base, 3600)
	}
	switch {
	case !t.v.atLeast(1, 6, 0): // one number, whichever
	case second != "" && atoi(second) < base:
		t.badValue(s, s.Value, "an upper limit that is not below the first number")
	case atoi(third) < 0 && t.v.atLeast(2, 1, 0):
		t.badValue(s, s.Value, "no negative period")
	}
}

// topic judges "FILTER [DIRECTION [QOS [LOCAL [REMOTE]]]]" of a bridge.
func (t *vetter) topic(s *statement) {
	bad := func(message, want string) {
		t.refused(s, "bridge-topic", message, "want "+want)
	}
	filter, left, _ := strings.Cut(s.Value, " ")
	quoted := strings.HasPrefix(filter, `"`) && !strings.HasPrefix(filter, `""`)
	if quoted && t.v.atLeast(2, 1, 0) {
		second, rest, closed := strings.Cut(left, `"`)
		if !closed {
			bad("topic without a closing quote", `FILTER or "FILTER WITH BLANKS"`)
			return
		}
		filter, left = filter[1:]+" "+second, rest
	}
	direction, left := cutWord(left)
	switch strings.ToLower(direction) {
	case "", "in", "out", "both":
	default:
		bad(fmt.Sprintf("direction of topic is %.40q", direction), "in, out or both")
		return
	}
	qos, left := cutWord(left)
	switch {
	case qos == "", qos == "0", qos == "1", qos == "2":
	case uint8(atoi(qos)) > 2:
		bad(fmt.Sprintf("QoS of topic is %.40q", qos), "0, 1 or 2")
		return
	case qos[0] == '#':
		left = ""
	default:
		t.trap(s, "bridge-topic", fmt.Sprintf("QoS of topic is %.40q, which is read as %d", qos, uint8(atoi(qos))), "want 0, 1 or 2")
	}
	local, left := topicPrefix(left)
	remote, left := topicPrefix(left)
	if extra, _ := cutWord(left); extra != "" && extra[0] != '#' {
		t.trap(s, "bridge-topic", fmt.Sprintf("%.40q is ignored", extra), "give at most two prefixes")
	}
	for _, p := range [...]string{local, remote} {
		if p != "" && !isTopic(p) {
			bad(fmt.Sprintf("prefix of topic is %.60q", p), "a topic without wildcards")
			return
		}
	}
	switch {
	case quoted && !t.v.atLeast(2, 1, 0):
		t.trap(s, "bridge-topic", fmt.Sprintf("the quote belongs to the topic %.60q", filter), "topics with blanks need 2.1")
	case filter == `""` && (local == "" || remote == ""):
		bad(`topic "" without both prefixes`, "a local and a remote topic")
	case filter != `""` && !isFilter(filter):
		t.trap(s, "bridge-topic", fmt.Sprintf("%.60q is no valid filter, and is sent as it is", filter), "make + and # whole levels, # the last")
	}
}

// topicPrefix returns the prefix that left begins with, empty if there is none
// or a comment begins.
func topicPrefix(left string) (prefix, rest string) {
	prefix, rest = cutWord(left)
	switch {
	case prefix == `""`:
		prefix = ""
	case strings.HasPrefix(prefix, "#"):
		return "", ""
	}
	return prefix, rest
}
