package mosquittoconf

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// all are the listeners that the broker opens.
func (t *vetter) all() []*holder {
	if t.defaultListener == nil || !t.opensDefault() {
		return t.declared
	}
	return append([]*holder{t.defaultListener}, t.declared...)
}

// opensDefault reports whether the default listener is one of several. Up to
// 2.0 some options do not open it.
func (t *vetter) opensDefault() bool {
	if t.v.atLeast(2, 1, 0) {
		return true
	}
	for _, s := range t.defaultListener.statements {
		o := options[s.Key]
		switch {
		case s.Key == "protocol":
			if s.Value != "mqtt" {
				return true
			}
		case s.Key == "require_certificate" || s.Key == "use_identity_as_username" || s.Key == "use_subject_as_username" || s.Key == "use_username_as_clientid":
			if isTrue(s.Value) {
				return true
			}
		case s.Key == "max_connections" && atoi(s.Value) < 0:
		case s.Key == "allow_zero_length_clientid" && isTrue(s.Value):
		case s.Key == "acl_file" || s.Key == "allow_anonymous" || s.Key == "auto_id_prefix":
		case o.quiet:
		default:
			return true
		}
	}
	return false
}

func (t *vetter) listeners() {
	if d := t.defaultListener; d != nil {
		first := d.statements
		switch {
		case len(first) == 0:
		case !t.remote && t.v.atLeast(2, 0, 0) && !t.v.atLeast(2, 0, 12) && t.opensDefault():
			t.trap(first[0], "default-listener", fmt.Sprintf("%s is above the first listener: it opens port %d on all interfaces, to clients without a name, too", first[0].Key, d.port), "put a listener line above it")
		case !t.remote && t.v.atLeast(2, 0, 0):
			t.trap(first[0], "default-listener", fmt.Sprintf("%s is for a listener, and there is none: the broker ignores it and serves plain MQTT on the loopback interface", first[0].Key), "put a listener line above it")
		case !t.opensDefault():
			t.trap(first[0], "default-listener", fmt.Sprintf("%s is above the first listener and has no effect", first[0].Key), "put it below a listener line")
		case !d.has("bind_address"):
			severity, what := Trap, fmt.Sprintf("%s is above the first listener and opens port %d on all interfaces", first[0].Key, d.port)
			if s, ok := d.last("port"); ok {
				severity, what, first = Warning, fmt.Sprintf("port %d listens on all interfaces", d.port), []statement{s}
			}
			t.add(severity, first[0], "default-listener", what, "use listener, with an address if it is not for everybody")
		}
	}
	listeners := t.all()
	if !t.remote && t.v.atLeast(2, 0, 12) {
		listeners = nil
	}
	websockets := 0
	for i, l := range listeners {
		at := l.begin
		if at.line == nil {
			at = l.statements[0]
		}
		if l.begin.line == nil {
			if s, ok := l.last("bind_address"); ok {
				l.address = s.Value
			}
		}
		for _, other := range listeners[:i] {
			if l.port != 0 && l.port == other.port && (l.address == other.address || l.address == "" || other.address == "") {
				t.refused(at, "port-twice", fmt.Sprintf("port %d is in use by another listener already", l.port), "use another port or address")
			}
		}
		if s, ok := l.last("protocol"); ok && strings.HasPrefix(s.Value, "websockets") {
			websockets++
			t.websockets(s, l)
		}
		t.tls(l)
		t.identity(l)
		if s, ok := l.last("max_connections"); ok && atoi(s.Value) >= 0 && t.v.atLeast(2, 0, 0) && !t.v.atLeast(2, 1, 0) {
			t.warn(s, "max-connections-reload", "a SIGHUP removes the limit of max_connections", "upgrade to 2.1, or limit connections outside of the broker")
		}
		if s, ok := l.last("enable_proxy_protocol"); ok && s.Value == "2" && (l.true("use_subject_as_username") || l.has("certfile", "keyfile")) {
			t.refused(s, "proxy-and-certificates", "enable_proxy_protocol 2 in a listener with certfile, keyfile or use_subject_as_username", "let the proxy do TLS")
		}
	}
	if websockets > 0 && websockets == len(listeners) && !t.v.atLeast(2, 0, 12) && t.v.atLeast(2, 0, 0) {
		t.refused(listeners[0].begin, "websockets-only", "with websockets listeners alone, this broker does not start", "add a listener for MQTT on 127.0.0.1")
	}
}

func (t *vetter) websockets(s statement, l *holder) {
	if t.v.atLeast(2, 1, 0) {
		return
	}
	if crl, ok := l.last("crlfile"); ok {
		t.trap(crl, "websockets-crl", "a websockets listener ignores crlfile: revoked clients get in", "upgrade to 2.1, or use MQTT over TLS")
	}
	if l.port == 0 {
		t.trap(s, "websockets-socket", "a websockets listener on a Unix socket opens a random TCP port on all interfaces instead", "give it a port and an address")
	} else if l.address != "" && !t.v.atLeast(2, 0, 21) {
		t.trap(s, "websockets-address", fmt.Sprintf("a websockets listener ignores its address %.60q and listens on all interfaces", l.address), "upgrade to 2.0.21, or close the port to others")
	}
}

// tls judges whether a listener has TLS or only seems to.
func (t *vetter) tls(l *holder) {
	cert, hasCert := l.last("certfile")
	key, hasKey := l.last("keyfile")
	ca, hasCA := l.last("cafile", "capath")
	on := hasCert && hasKey
	if !t.v.atLeast(2, 0, 0) {
		on = on && hasCA
	}
	if !on {
		for _, s := range []struct {
			s  statement
			ok bool
		}{{cert, hasCert}, {key, hasKey}, {ca, hasCA}} {
			if !s.ok {
				continue
			}
			message, remedy := fmt.Sprintf("the listener has %s but not both of certfile and keyfile", s.s.Key), "set certfile and keyfile, or remove the other TLS options"
			if t.v.atLeast(2, 0, 21) {
				t.refused(s.s, "tls-incomplete", message, remedy)
			} else {
				if hasCert && hasKey {
					message = "the listener has neither cafile nor capath, which switch TLS on in 1.x"
				}
				t.trap(s.s, "tls-incomplete", message+": it speaks plain MQTT", remedy)
			}
			return
		}
	}
	psk := l.has("psk_hint")
	if s, ok := l.last("tls_version"); ok && (on || psk) {
		versions := []string{"tlsv1.3", "tlsv1.2", "tlsv1.1"}
		if !t.v.atLeast(1, 6, 0) {
			versions = []string{"tlsv1.2", "tlsv1.1", "tlsv1"}
		}
		if !slices.Contains(versions, s.Value) {
			t.refused(s, "bad-value", fmt.Sprintf("tls_version is %.40q", s.Value), "want one of "+strings.Join(versions, ", "))
		} else if !t.v.atLeast(2, 0, 9) {
			t.warn(s, "tls-version-exact", fmt.Sprintf("up to 2.0.8 tls_version admits %s only, not what is newer", s.Value), "upgrade")
		}
	}
	if on || psk {
		return
	}
	for _, k := range []string{"crlfile", "require_certificate", "use_identity_as_username", "use_subject_as_username"} {
		if s, ok := l.last(k); ok && (k == "crlfile" || isTrue(s.Value)) {
			effect := "has no effect"
			if strings.HasPrefix(k, "use_") && l.true("require_certificate") && t.v.atLeast(2, 1, 0) {
				effect = "refuses every client"
			}
			t.trap(s, "tls-ignored", fmt.Sprintf("%s %s: the listener speaks plain MQTT", k, effect), "set certfile and keyfile, or remove the line")
		}
	}
}

// systemStores are where distributions keep the CAs of the web.
var systemStores = []string{"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem"}

// identity judges what a TLS listener makes of client certificates.
func (t *vetter) identity(l *holder) {
	if !l.has("certfile") || !l.has("keyfile") {
		return
	}
	require, _ := l.last("require_certificate")
	required := isTrue(require.Value)
	if required && !l.has("cafile", "capath") && t.v.atLeast(2, 0, 0) {
		t.trap(require, "ca-unset", "clients must have certificates, but there is no CA to check them: every client is refused", "set cafile")
	}
	if s, ok := l.last("use_identity_as_username"); ok && isTrue(s.Value) && !required {
		t.trap(s, "identity-without-certificate", "no client is asked for a certificate, so every one is refused for the lack of a name", "set require_certificate true")
	}
	if s, ok := l.last("use_subject_as_username"); ok && isTrue(s.Value) {
		if l.true("use_identity_as_username") {
			t.trap(s, "identity-and-subject", "use_identity_as_username wins: the user name is the common name", "keep one of them")
		} else if !required {
			t.trap(s, "identity-without-certificate", "no client is asked for a certificate, so every one is refused for the lack of a name", "set require_certificate true")
		}
	}
	if s, ok := l.last("crlfile"); ok && !required {
		t.trap(s, "crl-unused", "crlfile has no effect: no client is asked for a certificate", "set require_certificate true, or remove the line")
	}
	for _, k := range []string{"cafile", "capath"} {
		if s, ok := l.last(k); ok && required && slices.Contains(systemStores, filepath.Clean(s.Value)) {
			t.trap(s, "system-store", fmt.Sprintf("%s %s holds the CAs of the web: whoever has a certificate of one of them gets in", k, s.Value), "name the fleet's own CA")
		}
	}
}

// access judges who may do what.
func (t *vetter) access() {
	listeners := t.all()
	if !t.perListener && len(listeners) > 1 {
		for _, s := range t.global.statements {
			if s.Key == "allow_anonymous" && isTrue(s.Value) || s.Key == "acl_file" || s.Key == "password_file" {
				if l := t.above(s); l != nil {
					t.trap(s, "global-option", fmt.Sprintf("%s is for all listeners, not only for that in line %d", s.Key, l.begin.Line), "move it above the first listener; in 2.1 there is listener_allow_anonymous")
				}
			}
		}
	}
	holders := []*holder{t.global}
	if t.perListener {
		holders = listeners
	}
	for _, h := range holders {
		if s, ok := h.last("allow_anonymous"); ok && isTrue(s.Value) && h.has("acl_file") && !t.named(h, listeners) {
			t.warn(s, "anonymous-beside-acl", "whoever reaches a listener without TLS client certificates has the rights of clients without a name", "set allow_anonymous false, unless acl_file is written for that")
		}
	}
	if s, ok := t.global.last("password_file"); ok && !t.remote && t.v.atLeast(2, 0, 0) {
		anonymous, set := t.global.last("allow_anonymous")
		if !set || isTrue(anonymous.Value) || !t.v.atLeast(2, 0, 21) {
			t.trap(s, "anonymous-loopback", "without a listener, clients of this machine get in without a password", "add a listener line")
		}
	}
}

// above returns the listener below whose line s stands.
func (t *vetter) above(s statement) *holder {
	for _, l := range slices.Backward(t.declared) {
		if l.begin.file == s.file && l.begin.Line < s.Line {
			return l
		}
	}
	return nil
}

// named reports whether every listener to which h applies takes the name of
// each client from its certificate.
func (t *vetter) named(h *holder, listeners []*holder) bool {
	if h != t.global {
		listeners = []*holder{h}
	}
	return len(listeners) > 0 && !slices.ContainsFunc(listeners, func(l *holder) bool {
		return !l.has("certfile") || !l.true("require_certificate") || !l.true("use_identity_as_username") && !l.true("use_subject_as_username")
	})
}
