package mosquittoconf

import (
	"fmt"
	"strings"
)

// Vet returns what a broker of version v makes of the configuration that it
// does not say, in the order in which the broker reads it. A broker refuses a
// file for which there is a [Refused] finding, and loads any other, unless the
// files that the configuration names keep it from that: see [File.CheckFiles].
//
// Of any line: "unknown-option", "too-new", "removed", "deprecated", "ignored",
// "misplaced", "duplicate", "bad-value", "number-notation", "comment-in-value",
// "blank-in-path".
//
// Of listeners: "default-listener", "port-twice", "tls-incomplete",
// "tls-ignored", "psk-and-certificates", "ca-unset",
// "identity-without-certificate", "identity-and-subject", "crl-unused",
// "system-store", "protocol-versions", "tls-version-exact", "websockets-crl",
// "websockets-certificate", "websockets-address", "websockets-socket",
// "websockets-only", "http-api-only", "cafile-not-reloaded",
// "proxy-and-certificates", "max-connections-reload", "below-bridge",
// "include-moves-listeners".
//
// Of what clients may do: "per-listener-late", "global-option",
// "nobody-admitted", "names-unchecked", "no-access-rules",
// "anonymous-beside-acl", "anonymous-loopback", "acl-plugin-open",
// "plugin-option", "plugin-unused", "plugin-over-acl", "plugin-twice".
//
// Of bridges: "bridge-incomplete", "bridge-name", "bridge-tls-off",
// "bridge-pair", "bridge-once", "bridge-password", "bridge-insecure",
// "bridge-psk-unverified", "bridge-topic".
//
// Vet is exact for 2.0 and 2.1, which was tried on brokers 2.0.11, 2.0.21 and
// 2.1.2 with generated files. The exceptions: what [Parse] refuses already, of
// which a broker loads a file with a NUL byte, blindly; "include-moves-listeners",
// with which it loads or aborts; and what only the machine knows, for which see
// CheckFiles. For 1.4 to 1.6, which was tried on brokers 1.4.13 and 1.6.15 built
// with OpenSSL 3 and without websockets, there are two more exceptions: Parse
// refuses bad booleans, blanks behind a value and bytes in it that 1.4 takes;
// and 1.4 may crash for a bridge's key, which is a trap for CheckFiles.
func (f *File) Vet(v Version) []Finding {
	vet := &vetter{
		findings: &findings{},
		v:        v,
		global:   &holder{},
		scopes:   make(map[*File]*scopes),
		bridges:  make(map[string]*statement),
		loaded:   make(map[string]*statement),
		used:     make(map[string]bool),
		main:     f,
	}
	for i := range f.statements {
		vet.statement(&f.statements[i])
	}
	vet.vetListeners()
	vet.vetAccess()
	vet.vetBridges()
	vet.vetPlugins()
	return vet.sorted()
}

type vetter struct {
	*findings
	v    Version
	main *File

	global          *holder
	defaultListener *holder
	listenerList    []*holder // without the default one
	bridgeList      []*holder
	pluginList      []*holder

	scopes      map[*File]*scopes
	bridges     map[string]*statement // connection lines, by name
	loaded      map[string]*statement // plugin_load lines, by name
	used        map[string]bool       // names in plugin_use lines
	perListener bool
	security    *statement // the last security option
	remote      bool       // there is a listener, port or bind_address
	logFile     bool
}

// scopes are where a broker is in a file.
type scopes struct {
	listener, bridge, plugin *holder
	listeners                int        // that there were when listener was begun
	enginePassword           *statement // tls_engine_kpass_sha1, in whichever listener
}

// holder is what options belong to: the broker, a listener, a bridge or a
// plugin.
type holder struct {
	begin   *statement // nil for the broker and the default listener
	port    int
	address string
	first   *statement // of its options
	set     []setting
	plugin  []*statement // a plugin's own options
}

// setting is an option of a holder, of several lines the last one.
type setting struct {
	key string // the canonical one
	*statement
}

func (h *holder) add(s *statement) {
	if h.first == nil {
		h.first = s
	}
	if s.option == pluginOption || s.option == authOption {
		h.plugin = append(h.plugin, s)
		return
	}
	key := canonical(s.Key)
	for i := range h.set {
		if h.set[i].key == key {
			h.set[i].statement = s
			return
		}
	}
	if h.set == nil {
		h.set = make([]setting, 0, 12) // a listener with TLS has ten
	}
	h.set = append(h.set, setting{key, s})
}

// last returns the statement of a canonical key that counts, or of the first
// of several keys that there is; nil if there is none.
func (h *holder) last(keys ...string) *statement {
	for _, key := range keys {
		for _, s := range h.set {
			if s.key == key {
				return s.statement
			}
		}
	}
	return nil
}

// lastTrue is last for a boolean that must be true.
func (h *holder) lastTrue(key string) *statement {
	if s := h.last(key); s != nil && isTrue(s.Value) {
		return s
	}
	return nil
}

func (h *holder) has(keys ...string) bool { return h.last(keys...) != nil }
func (h *holder) true(key string) bool    { return h.lastTrue(key) != nil }

// canonical is the key by which a broker's setting is known.
func canonical(key string) string {
	switch key {
	case "addresses":
		return "address"
	case "clientid":
		return "remote_clientid"
	case "maximum_qos":
		return "max_qos"
	case "password":
		return "remote_password"
	case "retained_persistence":
		return "persistence"
	case "username":
		return "remote_username"
	}
	return key
}

func (t *vetter) statement(s *statement) {
	if !t.available(s) {
		return
	}
	if len(s.line.raw) > maxLine && !t.v.atLeast(1, 4, 15) {
		t.refused(s, "bad-value", fmt.Sprintf("line of %s has %d bytes, of which this broker takes the rest for another line", s.Key, len(s.line.raw)), fmt.Sprintf("want up to %d, in comments, too", maxLine))
		return
	}
	if t.ignores(s.Key) {
		return
	}
	if s.Key == "include_dir" && s.file != t.main {
		if t.v.atLeast(2, 1, 0) {
			t.refused(s, "misplaced", "include_dir in an included file", "move the line to the main file")
		} else {
			t.trap(s, "misplaced", "include_dir in an included file is ignored", "move the line to the main file")
		}
		return
	}
	at := t.scopes[s.file]
	if at == nil {
		at = new(scopes)
		t.scopes[s.file] = at
	}
	h := t.holderOf(s, at)
	if h == nil {
		return
	}
	if s.option.Scope == ListenerScope && h == at.listener {
		t.moved(s, at)
	}
	t.order(s, h, at)
	t.value(s)
	t.duplicate(s, h)
	h.add(s)
}

// maxLine is what 1.4.14 reads of a line at a time.
const maxLine = 1023

// available judges the key.
func (t *vetter) available(s *statement) bool {
	o := s.option
	switch {
	case o == nil:
		remedy := "remove the line"
		if near := nearest(s.Key); near != "" {
			remedy = fmt.Sprintf("did you mean %s?", near)
		}
		t.refused(s, "unknown-option", fmt.Sprintf("no broker up to 2.1 knows the option %.60q", s.Key), remedy)
		return false
	case t.v.Compare(o.Since) < 0:
		t.refused(s, "too-new", fmt.Sprintf("%s exists from %s on, and this broker is %s", s.Key, o.Since, t.v), "remove the line, or upgrade the broker")
		return false
	case o.Removed != Version{} && t.v.Compare(o.Removed) >= 0:
		t.refused(s, "removed", fmt.Sprintf("%s is gone since %s", s.Key, o.Removed), "remove the line")
		return false
	case t.ignores(s.Key):
		t.warn(s, "ignored", fmt.Sprintf("%s has no effect in this version", s.Key), "remove the line")
	case o.Deprecated != Version{} && t.v.Compare(o.Deprecated) >= 0:
		message := fmt.Sprintf("%s is deprecated since %s", s.Key, o.Deprecated)
		if o.Removed != (Version{}) {
			message += fmt.Sprintf(" and will be gone in %s", o.Removed)
		}
		t.warn(s, "deprecated", message, replacement(s.Key))
	}
	return true
}

// ignores reports whether the broker accepts a key with any value, and does
// nothing with it.
func (t *vetter) ignores(key string) bool {
	switch key {
	case "ffdc_output", "max_log_entries", "store_clean_interval", "trace_level", "trace_output":
		return true // while they exist
	case "retry_interval":
		return t.v.atLeast(1, 6, 0)
	case "dhparamfile", "websockets_log_level":
		return t.v.atLeast(2, 1, 0)
	}
	return false
}

func replacement(key string) string {
	switch key {
	case "acl_file", "password_file":
		return "nothing yet; from 2.1 there is a plugin for it"
	case "port", "bind_address":
		return "use listener"
	case "auto_id_prefix":
		return "use listener_auto_id_prefix"
	}
	return "remove the line before upgrading to 3.0"
}

// nearest returns a known key that differs from key in one letter left out,
// added, changed or swapped, or in case; "" if there is none.
func nearest(key string) string {
	lower := strings.ToLower(key)
	if options[lower] != nil {
		return lower
	}
	near := ""
	for k := range options {
		if (near == "" || k < near) && oneEdit(k, lower) {
			near = k
		}
	}
	return near
}

func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	swapped := i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	return swapped || i < len(a) && a[i+1:] == b[i+1:]
}

// holderOf finds what a statement belongs to. It is nil if the broker stops
// here.
func (t *vetter) holderOf(s *statement, at *scopes) *holder {
	switch s.Key {
	case "listener":
		t.remote = true
		at.listener = &holder{begin: s}
		at.listener.port, at.listener.address = t.listenerValue(s)
		t.listenerList = append(t.listenerList, at.listener)
		return at.listener
	case "port", "bind_address":
		t.remote = true
		if t.v.atLeast(2, 1, 0) {
			if at.listener != nil && at.listener != t.defaultListener {
				t.trap(s, "misplaced", fmt.Sprintf("from here on, options of a listener are those of the default listener, not of line %d", at.listener.begin.Line), "use listener")
			}
			at.listener = t.ensureDefault()
		}
		return t.ensureDefault()
	case "connection":
		at.bridge = &holder{begin: s}
		t.bridgeList = append(t.bridgeList, at.bridge)
		t.connection(s)
		return at.bridge
	case "plugin", "auth_plugin", "global_plugin", "plugin_load":
		at.plugin = &holder{begin: s}
		t.pluginList = append(t.pluginList, at.plugin)
		if (s.Key == "plugin" || s.Key == "auth_plugin") && t.securityHolder(s, at) == nil {
			return nil
		}
		if s.Key == "plugin_load" {
			t.pluginLoad(s)
		}
		return at.plugin
	}
	switch s.option.Scope {
	case ListenerScope:
		return t.listenerHolder(s, at)
	case ConnectionScope:
		if at.bridge == nil {
			t.refused(s, "misplaced", fmt.Sprintf("%s without a connection above it", s.Key), "put the line below a connection")
		}
		return at.bridge
	case PluginScope:
		if at.plugin == nil && s.Key == "auth_plugin_deny_special_chars" && !t.v.atLeast(1, 5, 0) {
			return t.global // which does nothing with it
		}
		if at.plugin == nil {
			t.refused(s, "misplaced", fmt.Sprintf("%s without a plugin above it", s.Key), "put the line below a plugin")
		}
		return at.plugin
	}
	if s.option.Security {
		return t.securityHolder(s, at)
	}
	return t.global
}

func (t *vetter) ensureDefault() *holder {
	if t.defaultListener == nil {
		t.defaultListener = &holder{port: defaultPort}
	}
	return t.defaultListener
}

func (t *vetter) listenerHolder(s *statement, at *scopes) *holder {
	needs := s.option.section
	if at.listener != nil && (needs != realListener || at.listener != t.defaultListener) {
		return at.listener
	}
	if !t.v.atLeast(2, 1, 0) {
		if s.Key == "mount_point" && len(t.listenerList) == 0 {
			t.refused(s, "misplaced", "mount_point without a listener above it", "put the line below a listener")
			return nil
		}
		return t.ensureDefault()
	}
	if needs != anyListener {
		t.refused(s, "misplaced", fmt.Sprintf("%s without a listener above it", s.Key), "put the line below a listener")
		return nil
	}
	at.listener = t.ensureDefault()
	return at.listener
}

func (t *vetter) securityHolder(s *statement, at *scopes) *holder {
	h := t.global
	if t.perListener {
		h = at.listener
		if h == nil && t.v.atLeast(2, 1, 0) {
			t.refused(s, "misplaced", fmt.Sprintf("with per_listener_settings, %s without a listener above it", s.Key), "put the line below a listener")
			return nil
		}
		if h == nil {
			h = t.ensureDefault()
		}
	}
	t.security = s
	return h
}

// moved judges an option of a listener above an include_dir in which there are
// listeners, too: the broker's table of them has moved, and it does not know.
func (t *vetter) moved(s *statement, at *scopes) {
	n := len(t.listenerList)
	if t.defaultListener != nil && t.v.atLeast(2, 1, 0) {
		n++
	}
	if s.Key == "listener" || at.listeners == 0 {
		at.listeners = n
	}
	if s.file == t.main && at.listeners != n {
		t.trap(s, "include-moves-listeners", fmt.Sprintf("%s is for a listener above an include_dir that has listeners, too: the broker loses the option, or aborts", s.Key),
			"put include_dir above the first listener or at the end")
		at.listeners = n
	}
}

// order judges a statement by what came before it.
func (t *vetter) order(s *statement, h *holder, at *scopes) {
	switch s.Key {
	case "per_listener_settings":
		if t.perListener && t.v.atLeast(2, 1, 0) {
			return // it cannot be taken back
		}
		t.perListener = isTrue(s.Value)
		if t.perListener && t.security != nil {
			t.refused(s, "per-listener-late", fmt.Sprintf("per_listener_settings below %s in line %d", t.security.Key, t.security.Line), "make it the first line")
		}
	case "check_retain_source":
		if !t.v.atLeast(2, 0, 0) {
			t.security = s // it counts as one here
		}
	case "cafile", "certfile":
		if h.has("psk_hint") {
			t.refused(s, "psk-and-certificates", s.Key+" in a listener with psk_hint", "use two listeners")
		}
	case "tls_engine_kpass_sha1":
		if before := at.enginePassword; before != nil && !t.v.atLeast(2, 1, 0) {
			t.refused(s, "duplicate", fmt.Sprintf("%s is set in line %d already, and this broker takes one in a file", s.Key, before.Line), "keep one")
		}
		at.enginePassword = s
	case "psk_file":
		if t.v.atLeast(2, 1, 0) && at.listener != nil && at.listener.has("certfile") {
			t.refused(s, "psk-and-certificates", "psk_file below a listener with certfile", "put the line above the first listener")
		}
	case "bridge_cafile", "bridge_capath", "bridge_certfile", "bridge_keyfile":
		if h.has("bridge_psk", "bridge_identity") {
			t.refused(s, "psk-and-certificates", s.Key+" in a bridge with bridge_psk or bridge_identity", "use one of them")
		}
	case "bridge_psk", "bridge_identity":
		if h.has("bridge_cafile", "bridge_capath", "bridge_certfile", "bridge_keyfile") {
			t.refused(s, "psk-and-certificates", s.Key+" in a bridge with certificates", "use one of them")
		}
	case "plugin_use":
		t.used[s.Value] = true
		if t.loaded[s.Value] == nil {
			t.refused(s, "plugin-unused", fmt.Sprintf("no plugin_load above has the name %.60q", s.Value), "load it first")
		}
	}
	if s.option.Scope == ListenerScope && s.Key != "listener" && at.bridge != nil && h.begin != nil && at.bridge.begin.Line > h.begin.Line {
		t.warn(s, "below-bridge", fmt.Sprintf("%s below connection %s belongs to the listener in line %d", s.Key, at.bridge.begin.Value, h.begin.Line),
			"move it to the listener; a bridge's options begin with bridge_")
	}
}

// duplicate judges a second statement of a key.
func (t *vetter) duplicate(s *statement, h *holder) {
	if s.Key == "log_dest" {
		if word, _ := cutWord(s.Value); word == "file" {
			if t.logFile {
				t.refused(s, "duplicate", "a second log_dest file", "keep one")
			}
			t.logFile = true
		}
	}
	if s.option.Repeats || s.Key == "tls_engine_kpass_sha1" && !t.v.atLeast(2, 1, 0) {
		return // order judges the latter
	}
	before := h.last(canonical(s.Key))
	if before == nil {
		return
	}
	refuses := s.option.strict
	if !t.v.atLeast(2, 1, 0) {
		refuses = s.option.Type == TextValue && s.Key != "user" && s.Key != "tls_keyform"
	}
	message := fmt.Sprintf("%s is set in %s:%d already", s.Key, before.file.name, before.Line)
	if refuses || canonical(s.Key) == "address" {
		t.refused(s, "duplicate", message, "keep one")
	} else {
		t.warn(s, "duplicate", message+"; the last one counts", "keep one")
	}
}
