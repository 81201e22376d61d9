package mosquittoconf

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// listeners are those that the broker opens.
func (t *vetter) listeners() []*holder {
	if t.defaultListener == nil || !t.opensDefault() {
		return t.listenerList
	}
	return append([]*holder{t.defaultListener}, t.listenerList...)
}

// opensDefault reports whether the default listener is one of several. Up to
// 2.0 some options do not open it.
func (t *vetter) opensDefault() bool {
	if t.v.atLeast(2, 1, 0) {
		return true
	}
	return slices.ContainsFunc(t.defaultListener.set, func(s setting) bool {
		switch s.key {
		case "protocol":
			return s.Value != "mqtt"
		case "require_certificate", "use_identity_as_username", "use_subject_as_username", "use_username_as_clientid":
			return isTrue(s.Value)
		case "max_connections":
			return atoi(s.Value) >= 0
		case "allow_zero_length_clientid":
			return !isTrue(s.Value)
		case "acl_file", "allow_anonymous", "auto_id_prefix":
			return false
		}
		return !s.option.quiet
	})
}

// vetListeners judges what only whole listeners show.
func (t *vetter) vetListeners() {
	if t.defaultListener != nil && t.defaultListener.first != nil {
		t.vetDefault(t.defaultListener)
	}
	listeners := t.listeners()
	if !t.remote && t.v.atLeast(2, 0, 12) {
		listeners = nil
	}
	type place struct {
		port    int
		address string
	}
	taken := make(map[place]bool) // with address "*": any
	websockets, api := 0, 0
	for _, l := range listeners {
		at := l.begin
		if at == nil {
			at = l.first
			if s := l.last("bind_address"); s != nil {
				l.address = s.Value
			}
		}
		if l.port != 0 && (taken[place{l.port, l.address}] || taken[place{l.port, ""}] || l.address == "" && taken[place{l.port, "*"}]) {
			t.refused(at, "port-twice", fmt.Sprintf("port %d is in use by another listener already", l.port), "use another port or address")
		}
		taken[place{l.port, l.address}], taken[place{l.port, "*"}] = true, true
		if s := l.last("protocol"); s != nil && strings.HasPrefix(s.Value, "websockets") {
			websockets++
			t.websockets(s, l)
		}
		if s := l.last("protocol"); s != nil && strings.HasPrefix(s.Value, "http_api") {
			api++
		}
		t.tls(l)
		if s := l.last("max_connections"); s != nil && atoi(s.Value) >= 0 && t.v.atLeast(2, 0, 0) && !t.v.atLeast(2, 1, 0) {
			t.warn(s, "max-connections-reload", "a SIGHUP removes the limit of max_connections", "upgrade to 2.1, or limit connections outside of the broker")
		}
		if s := l.last("enable_proxy_protocol"); s != nil && s.Value == "2" && (l.true("use_subject_as_username") || l.has("certfile", "keyfile")) {
			t.refused(s, "proxy-and-certificates", "enable_proxy_protocol 2 in a listener with certfile, keyfile or use_subject_as_username", "let the proxy do TLS")
		}
	}
	if websockets > 0 && websockets == len(listeners) && !t.v.atLeast(2, 0, 12) && t.v.atLeast(2, 0, 0) {
		t.refused(listeners[0].begin, "websockets-only", "with websockets listeners alone, this broker does not start", "add a listener for MQTT on 127.0.0.1")
	}
	if api > 0 && api == len(listeners) && t.v.atLeast(2, 1, 0) {
		t.refused(listeners[0].begin, "http-api-only", "with http_api listeners alone, the broker does not start", "add a listener for MQTT")
	}
}

// vetDefault judges that there is a default listener.
func (t *vetter) vetDefault(d *holder) {
	const remedy = "put a listener line above it"
	trap := func(format string, args ...any) {
		t.trap(d.first, "default-listener", d.first.Key+fmt.Sprintf(format, args...), remedy)
	}
	switch {
	case !t.remote && t.v.atLeast(2, 0, 12), !t.remote && t.v.atLeast(2, 0, 0) && !t.opensDefault():
		trap(" is for a listener, and there is none: the broker ignores it and serves plain MQTT on the loopback interface")
	case !t.remote && t.v.atLeast(2, 0, 0):
		trap(" is above the first listener: it opens port %d on all interfaces, to clients without a name, too", d.port)
	case !t.opensDefault():
		trap(" is above the first listener and has no effect")
	case d.has("bind_address"):
	case d.has("port"):
		t.warn(d.last("port"), "default-listener", fmt.Sprintf("port %d listens on all interfaces", d.port), "use listener, with an address if it is not for everybody")
	default:
		trap(" is above the first listener and opens port %d on all interfaces", d.port)
	}
}

func (t *vetter) websockets(s *statement, l *holder) {
	if t.v.atLeast(2, 1, 0) {
		return
	}
	if crl := l.last("crlfile"); crl != nil {
		t.trap(crl, "websockets-crl", "a websockets listener ignores crlfile: revoked clients get in", "upgrade to 2.1, or use MQTT over TLS")
	}
	if cert := l.last("certfile"); cert != nil && t.v.atLeast(2, 0, 0) {
		t.warn(cert, "websockets-certificate", "a websockets listener keeps its certificate over a SIGHUP: a renewed one needs a restart", "upgrade to 2.1, or restart the broker")
	}
	if l.port == 0 {
		t.trap(s, "websockets-socket", "a websockets listener on a Unix socket opens a random TCP port on all interfaces instead", "give it a port and an address")
	} else if l.address != "" && !t.v.atLeast(2, 0, 21) {
		t.trap(s, "websockets-address", fmt.Sprintf("a websockets listener ignores its address %.60q and listens on all interfaces", l.address), "upgrade to 2.0.21, or close the port to others")
	}
}

// tls judges whether a listener has TLS or only seems to.
func (t *vetter) tls(l *holder) {
	pair, ca := l.has("certfile") && l.has("keyfile"), l.last("cafile", "capath")
	on := pair && (ca != nil || t.v.atLeast(2, 0, 0)) // 1.x goes by the CA
	if !on && (ca != nil || l.has("certfile", "keyfile")) {
		t.tlsIncomplete(l, pair, ca)
		return
	}
	psk := l.has("psk_hint")
	if s := l.last("tls_version"); s != nil && (on || psk) {
		t.tlsVersion(s)
	}
	if s := l.last("ciphers_tls1.3"); s != nil && on && strings.ContainsAny(s.Value, " \t") {
		t.badValue(s, s.Value, "names joined by colons")
	}
	switch {
	case on:
		t.identity(l)
	case !psk:
		t.tlsIgnored(l)
	}
}

func (t *vetter) tlsIncomplete(l *holder, pair bool, ca *statement) {
	s := l.last("certfile", "keyfile")
	if s == nil {
		s = ca
	}
	message, remedy := fmt.Sprintf("the listener has %s but not both of certfile and keyfile", s.Key), "set certfile and keyfile, or remove the other TLS options"
	if pair {
		message, remedy = "the listener has neither cafile nor capath, which switch TLS on in 1.x", "set cafile"
	}
	if t.v.atLeast(2, 0, 21) {
		t.refused(s, "tls-incomplete", message, remedy)
	} else {
		t.trap(s, "tls-incomplete", message+": it speaks plain MQTT", remedy)
	}
}

func (t *vetter) tlsVersion(s *statement) {
	versions := []string{"tlsv1.3", "tlsv1.2", "tlsv1.1"}
	if !t.v.atLeast(1, 6, 0) {
		versions = []string{"tlsv1.2", "tlsv1.1", "tlsv1"}
	}
	if !slices.Contains(versions, s.Value) {
		t.badValue(s, s.Value, "one of "+strings.Join(versions, ", "))
	} else if !t.v.atLeast(2, 0, 9) {
		t.warn(s, "tls-version-exact", fmt.Sprintf("up to 2.0.8 tls_version admits %s only, not what is newer", s.Value), "upgrade")
	}
}

// tlsIgnored judges a listener without TLS.
func (t *vetter) tlsIgnored(l *holder) {
	for _, key := range [...]string{"crlfile", "require_certificate", "use_identity_as_username", "use_subject_as_username"} {
		s := l.lastTrue(key)
		if key == "crlfile" {
			s = l.last(key)
		}
		if s == nil {
			continue
		}
		effect := "has no effect"
		if strings.HasPrefix(key, "use_") && l.true("require_certificate") && t.v.atLeast(2, 1, 0) {
			effect = "refuses every client"
		}
		t.trap(s, "tls-ignored", fmt.Sprintf("%s %s: the listener speaks plain MQTT", key, effect), "set certfile and keyfile, or remove the line")
	}
}

// systemStores are where distributions keep the CAs of the web.
var systemStores = []string{"/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem"}

// identity judges what a TLS listener makes of client certificates.
func (t *vetter) identity(l *holder) {
	required := l.lastTrue("require_certificate")
	cn, subject := l.lastTrue("use_identity_as_username"), l.lastTrue("use_subject_as_username")
	if required == nil {
		for _, s := range [...]*statement{cn, subject} {
			if s != nil {
				t.trap(s, "identity-without-certificate", "no client is asked for a certificate, so every one is refused for the lack of a name", "set require_certificate true")
				break
			}
		}
		if s := l.last("crlfile"); s != nil {
			t.trap(s, "crl-unused", "crlfile has no effect: no client is asked for a certificate", "set require_certificate true, or remove the line")
		}
	}
	if cn != nil && subject != nil {
		t.trap(subject, "identity-and-subject", "use_identity_as_username wins: the user name is the common name", "keep one of them")
	}
	if required == nil {
		return
	}
	if !l.has("cafile", "capath") {
		t.trap(required, "ca-unset", "clients must have certificates, but there is no CA to check them: every client is refused", "set cafile")
	}
	if s := l.last("cafile"); s != nil && !l.has("crlfile") {
		t.warn(s, "cafile-not-reloaded", "without crlfile, a SIGHUP does not make the broker read cafile again: it goes on trusting a CA that is gone", "set crlfile, or restart the broker after a change")
	}
	for _, key := range [...]string{"cafile", "capath"} {
		if s := l.last(key); s != nil && slices.Contains(systemStores, filepath.Clean(s.Value)) {
			t.trap(s, "system-store", fmt.Sprintf("%s %s holds the CAs of the web: whoever has a certificate of one of them gets in", key, s.Value), "name the fleet's own CA")
		}
	}
}
