package mosquittoconf

import (
	"fmt"
	"slices"
	"strings"
)

// vetAccess judges who may do what.
func (t *vetter) vetAccess() {
	listeners := t.listeners()
	if !t.perListener && len(listeners) > 1 {
		for _, s := range [...]*statement{t.global.lastTrue("allow_anonymous"), t.global.last("acl_file"), t.global.last("password_file")} {
			if s == nil {
				continue
			}
			if l := t.above(s); l != nil {
				t.trap(s, "global-option", fmt.Sprintf("%s is for all listeners, not only for that in line %d", s.Key, l.begin.Line), "move it above the first listener; in 2.1 there is listener_allow_anonymous")
			}
		}
	}
	for _, l := range listeners {
		t.admission(l)
	}
	holders := []*holder{t.global}
	if t.perListener {
		holders = listeners
	}
	for _, h := range holders {
		if s := h.lastTrue("allow_anonymous"); s != nil && h.has("acl_file") && !t.named(h, listeners) {
			t.warn(s, "anonymous-beside-acl", "whoever reaches a listener without TLS client certificates has the rights of clients without a name", "set allow_anonymous false, unless acl_file is written for that")
		}
	}
	if s := t.global.last("password_file"); s != nil && !t.remote && t.v.atLeast(2, 0, 0) {
		if !t.global.has("allow_anonymous") || t.global.true("allow_anonymous") || !t.v.atLeast(2, 0, 21) {
			t.trap(s, "anonymous-loopback", "without a listener, clients of this machine get in without a password", "add a listener line")
		}
	}
}

// admission judges whether a listener lets in whom it should. Plugins may have
// a say in that, and then nothing is known.
func (t *vetter) admission(l *holder) {
	security, at := t.global, l.begin
	if t.perListener {
		security = l
	}
	if at == nil {
		at = l.first
	}
	api := l.last("protocol")
	if len(t.pluginList) > 0 || api != nil && strings.HasPrefix(api.Value, "http_api") {
		return
	}
	anonymous := security.last("allow_anonymous")
	switch {
	case security.has("password_file", "psk_file") || l.has("psk_hint"):
	case l.true("use_identity_as_username"), l.true("use_subject_as_username"):
	case anonymous != nil && isTrue(anonymous.Value), l.true("listener_allow_anonymous"):
	case t.v.atLeast(2, 0, 0):
		if t.remote {
			t.trap(at, "nobody-admitted", "no client gets in: none has a name that the broker could check, and allow_anonymous is not true", "set password_file, or use_identity_as_username and require_certificate, or allow_anonymous true")
		}
		return
	case anonymous != nil:
		t.trap(anonymous, "names-unchecked", "a client gets in under any name that it gives: there is no password_file", "set password_file, or use_identity_as_username and require_certificate")
	}
	if !security.has("acl_file") {
		t.warn(at, "no-access-rules", "there is no acl_file: every client that gets in may publish and receive everything", "set acl_file")
	}
}

// above returns the listener below whose line s stands.
func (t *vetter) above(s *statement) *holder {
	for _, l := range slices.Backward(t.listenerList) {
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
