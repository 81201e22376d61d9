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
// "system-store", "protocol-versions", "tls-version-exact", "websockets-crl", "websockets-address", "websockets-socket",
// "websockets-only", "proxy-and-certificates", "max-connections-reload",
// "below-bridge", "include-moves-listeners".
//
// Of what clients may do: "per-listener-late", "global-option",
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
// CheckFiles. For 1.x Vet knows the options, and the rest is as in 2.0.
func (f *File) Vet(v Version) []Finding {
	vet := &vetter{
		findings: &findings{},
		v:        v,
		global:   &holder{},
		current:  make(map[*File]*scopes),
		names:    make(map[string]statement),
		main:     f,
	}
	for _, s := range f.statements {
		vet.statement(s)
	}
	vet.listeners()
	vet.access()
	vet.bridges()
	vet.plugins()
	return vet.sorted()
}

// holder is what options belong to: the broker, a listener, a bridge or a
// plugin.
type holder struct {
	begin      statement // zero for the broker and the default listener
	port       int
	address    string
	statements []statement
	byKey      map[string]statement // by canonical key, the last one
}

func (h *holder) add(s statement) {
	if h.byKey == nil {
		h.byKey = make(map[string]statement)
	}
	if s.Key == "topic" && h.has("topic") {
		return // there may be thousands, and nobody asks for them
	}
	h.byKey[canonical(s.Key)] = s
	h.statements = append(h.statements, s)
}

// last returns the statement of a key that counts, or of the first of several
// keys that there is.
func (h *holder) last(keys ...string) (statement, bool) {
	for _, key := range keys {
		if s, ok := h.byKey[canonical(key)]; ok {
			return s, true
		}
	}
	return statement{}, false
}

func (h *holder) has(keys ...string) bool {
	_, ok := h.last(keys...)
	return ok
}

func (h *holder) true(key string) bool {
	s, _ := h.last(key)
	return isTrue(s.Value)
}

// scopes are where a broker is in a file.
type scopes struct {
	listener, bridge, plugin *holder
	listeners                int // that there were when listener was begun
}

type vetter struct {
	*findings
	v    Version
	main *File

	global          *holder
	defaultListener *holder
	declared        []*holder // listeners, without the default one
	bridgeList      []*holder
	pluginList      []*holder
	current         map[*File]*scopes
	names           map[string]statement // of bridges, and of loaded plugins after "plugin "
	perListener     bool
	security        statement // the last security option
	remote          bool      // listener, port or bind_address
	logFile         bool
}

// aliases are the keys by which a broker's setting is known.
var aliases = map[string]string{
	"addresses":            "address",
	"clientid":             "remote_clientid",
	"maximum_qos":          "max_qos",
	"password":             "remote_password",
	"retained_persistence": "persistence",
	"username":             "remote_username",
}

func canonical(key string) string {
	if a, ok := aliases[key]; ok {
		return a
	}
	return key
}

func (t *vetter) statement(s statement) {
	o, known := OptionOf(s.Key)
	if !t.available(s, o, known) {
		return
	}
	at := t.current[s.file]
	if at == nil {
		at = new(scopes)
		t.current[s.file] = at
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
	h, ok := t.holderOf(s, o, at)
	if !ok {
		return
	}
	if o.Scope == ListenerScope && h == at.listener {
		t.moved(s, at)
	}
	t.order(s, h, at)
	t.value(s, o)
	t.duplicate(s, o, h)
	h.add(s)
}

// moved judges an option of a listener above an include_dir in which there are
// listeners, too: the broker's table of them has moved, and it does not know.
func (t *vetter) moved(s statement, at *scopes) {
	n := len(t.declared)
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

// available judges the key.
func (t *vetter) available(s statement, o Option, known bool) bool {
	switch {
	case !known:
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
		t.warn(s, "ignored", fmt.Sprintf("%s has no effect since %s", s.Key, o.Deprecated), "remove the line")
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
	for o := range Options() {
		if o.Key == lower || oneEdit(o.Key, lower) {
			return o.Key
		}
	}
	return ""
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

// holderOf finds what a statement belongs to. It is false if the broker stops
// here, or there is nothing to belong to.
func (t *vetter) holderOf(s statement, o Option, at *scopes) (*holder, bool) {
	switch s.Key {
	case "listener":
		t.remote = true
		at.listener = &holder{begin: s}
		t.declared = append(t.declared, at.listener)
		at.listener.port, at.listener.address = t.listenerValue(s)
		return at.listener, true
	case "connection":
		at.bridge = &holder{begin: s}
		t.bridgeList = append(t.bridgeList, at.bridge)
		t.connection(s)
		return at.bridge, true
	case "port", "bind_address":
		t.remote = true
		if t.v.atLeast(2, 1, 0) {
			if at.listener != nil && at.listener != t.defaultListener {
				t.trap(s, "misplaced", fmt.Sprintf("from here on, options of a listener are those of the default listener, not of line %d", at.listener.begin.Line), "use listener")
			}
			at.listener = t.ensureDefault()
		}
		return t.ensureDefault(), true
	case "auth_plugin", "plugin", "global_plugin", "plugin_load":
		at.plugin = &holder{begin: s}
		t.pluginList = append(t.pluginList, at.plugin)
		if s.Key == "plugin" || s.Key == "auth_plugin" {
			if _, ok := t.securityHolder(s, at); !ok {
				return nil, false
			}
		}
		t.plugin(s)
		return at.plugin, true
	}
	switch o.Scope {
	case ConnectionScope:
		if at.bridge == nil {
			t.refused(s, "misplaced", fmt.Sprintf("%s without a connection above it", s.Key), "put the line below a connection")
			return nil, false
		}
		return at.bridge, true
	case PluginScope:
		if at.plugin == nil {
			t.refused(s, "misplaced", fmt.Sprintf("%s without a plugin above it", s.Key), "put the line below a plugin")
			return nil, false
		}
		return at.plugin, true
	case ListenerScope:
		return t.listenerHolder(s, o, at)
	}
	if o.Security {
		return t.securityHolder(s, at)
	}
	return t.global, true
}

func (t *vetter) ensureDefault() *holder {
	if t.defaultListener == nil {
		t.defaultListener = &holder{port: defaultPort}
	}
	return t.defaultListener
}

func (t *vetter) listenerHolder(s statement, o Option, at *scopes) (*holder, bool) {
	if at.listener != nil && (o.section != realListener || at.listener != t.defaultListener) {
		return at.listener, true
	}
	if !t.v.atLeast(2, 1, 0) {
		if s.Key == "mount_point" && len(t.declared) == 0 {
			t.refused(s, "misplaced", "mount_point without a listener above it", "put the line below a listener")
			return nil, false
		}
		return t.ensureDefault(), true
	}
	if o.section != anyListener {
		t.refused(s, "misplaced", fmt.Sprintf("%s without a listener above it", s.Key), "put the line below a listener")
		return nil, false
	}
	at.listener = t.ensureDefault()
	return at.listener, true
}

func (t *vetter) securityHolder(s statement, at *scopes) (*holder, bool) {
	if !t.perListener {
		t.security = s
		return t.global, true
	}
	if at.listener == nil {
		if t.v.atLeast(2, 1, 0) {
			t.refused(s, "misplaced", fmt.Sprintf("with per_listener_settings, %s without a listener above it", s.Key), "put the line below a listener")
			return nil, false
		}
		t.security = s
		return t.ensureDefault(), true
	}
	t.security = s
	return at.listener, true
}

// order judges a statement by what came before it.
func (t *vetter) order(s statement, h *holder, at *scopes) {
	switch s.Key {
	case "per_listener_settings":
		if t.perListener && t.v.atLeast(2, 1, 0) {
			return // it cannot be taken back
		}
		t.perListener = isTrue(s.Value)
		if t.perListener && t.security.line != nil {
			t.refused(s, "per-listener-late", fmt.Sprintf("per_listener_settings below %s in line %d", t.security.Key, t.security.Line), "make it the first line")
		}
	case "cafile", "certfile":
		if h.has("psk_hint") {
			t.refused(s, "psk-and-certificates", s.Key+" in a listener with psk_hint", "use two listeners")
		}
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
		if _, ok := t.names["plugin "+s.Value]; !ok {
			t.refused(s, "plugin-unused", fmt.Sprintf("no plugin_load above has the name %.60q", s.Value), "load it first")
		}
	}
	o := options[s.Key]
	if o.Scope == ListenerScope && s.Key != "listener" && at.bridge != nil && h.begin.line != nil && at.bridge.begin.Line > h.begin.Line {
		t.warn(s, "below-bridge", fmt.Sprintf("%s below connection %s belongs to the listener in line %d", s.Key, at.bridge.begin.Value, h.begin.Line),
			"move it to the listener; a bridge's options begin with bridge_")
	}
}

// duplicate judges a second statement of a key.
func (t *vetter) duplicate(s statement, o Option, h *holder) {
	if o.Repeats {
		if value, ok := strings.CutPrefix(s.Value, "file"); s.Key == "log_dest" && ok && (value == "" || value[0] == ' ') {
			if t.logFile {
				t.refused(s, "duplicate", "a second log_dest file", "keep one")
			}
			t.logFile = true
		}
		return
	}
	before, ok := h.last(s.Key)
	if !ok {
		return
	}
	message := fmt.Sprintf("%s is set in %s:%d already", s.Key, before.file.name, before.Line)
	refuses := o.Type == TextValue && s.Key != "user" && s.Key != "tls_keyform" && s.Key != "tls_engine_kpass_sha1"
	if t.v.atLeast(2, 1, 0) {
		refuses = o.strict
	}
	if refuses || canonical(s.Key) == "address" {
		t.refused(s, "duplicate", message, "keep one")
	} else {
		t.warn(s, "duplicate", message+"; the last one counts", "keep one")
	}
}
