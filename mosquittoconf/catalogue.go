package mosquittoconf

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ValueType says how a broker reads a value.
type ValueType uint8

const (
	TextValue   ValueType = iota // the rest of the line, trimmed
	BoolValue                    // the first word: true, false, 1 or 0
	NumberValue                  // the first word: a number
	WordValue                    // the first word, one of a few
	ListValue                    // words, each with a meaning by its place
)

func (t ValueType) String() string {
	names := []string{"text", "boolean", "number", "word", "list"}
	if int(t) < len(names) {
		return names[t]
	}
	return "ValueType(" + strconv.Itoa(int(t)) + ")"
}

// Option is what brokers know of a directive. Versions are those of the first
// release that has the change; the zero Version means that none has.
type Option struct {
	Key   string
	Scope ScopeKind
	Type  ValueType

	// Security options are of the whole broker wherever they stand, unless
	// per_listener_settings is true: then each belongs to a listener.
	Security bool

	// Repeats says that each occurrence counts. Of other options, the last one
	// does, or a second one refuses the file.
	Repeats bool

	Since      Version // zero: 1.4 or earlier
	Deprecated Version
	Removed    Version // 3.0 is announced, not released

	reload  Version // first to heed it at a SIGHUP; zero is never
	min     int     // of a number; both are 0 if any will do
	max     int
	words   string // the accepted ones
	quiet   bool   // up to 2.0, it opens no default listener
	strict  bool   // 2.1 refuses a second one; up to 2.0 each text does
	section needs  // what 2.1 wants to come before it
}

// needs is what 2.1 wants of a listener's option.
type needs uint8

const (
	anyListener  needs = iota // it opens the default listener if there is none
	someListener              // listener, or port, before it
	realListener              // listener before it
)

// Reloadable reports whether a broker heeds a changed value, or the changed
// content of the file that it names, at a SIGHUP. The content of cafile, and up
// to 1.6 that of certfile and keyfile, is read again only by a listener with
// crlfile and require_certificate.
func (o Option) Reloadable(v Version) bool {
	return o.reload != Version{} && v.Compare(o.reload) >= 0
}

// Known reports whether a broker of that version accepts the option.
func (o Option) Known(v Version) bool {
	return v.Compare(o.Since) >= 0 && (o.Removed == Version{} || v.Compare(o.Removed) < 0)
}

// Options yields all options of Mosquitto 1.4 to 2.1, by key. Those of
// plugins, plugin_opt_NAME and auth_opt_NAME, are not listed.
func Options() iter.Seq[Option] {
	return func(yield func(Option) bool) {
		for _, key := range slices.Sorted(maps.Keys(options)) {
			if !yield(*options[key]) {
				return
			}
		}
	}
}

// OptionOf returns what is known of a key.
func OptionOf(key string) (o Option, known bool) {
	if p := lookup(key); p != nil {
		o = *p
		o.Key = key
		return o, true
	}
	return Option{}, false
}

// pluginOption and authOption stand for the options that plugins define.
var (
	pluginOption = &Option{Key: "plugin_opt_", Scope: PluginScope, Repeats: true, Since: v20}
	authOption   = &Option{Key: "auth_opt_", Scope: PluginScope, Repeats: true}
)

// lookup is OptionOf without a copy, nil if the key is not known.
func lookup(key string) *Option {
	switch {
	case strings.HasPrefix(key, pluginOption.Key):
		return pluginOption
	case strings.HasPrefix(key, authOption.Key):
		return authOption
	}
	return options[key]
}

var (
	v14 = Version{1, 4, 0}
	v15 = Version{1, 5, 0}
	v16 = Version{1, 6, 0}
	v20 = Version{2, 0, 0}
	v21 = Version{2, 1, 0}
	v30 = Version{3, 0, 0}
)

const (
	minInt    = -1 << 31
	maxInt    = 1<<31 - 1
	maxUint16 = 1<<16 - 1
)

// options is by key. The entries that differ in one thing from their group are
// lines of their own.
var options = catalogue(
	// The whole broker.
	group{Option{Type: BoolValue, reload: v14}, `autosave_on_changes connection_messages
		log_timestamp persistence queue_qos0_messages retained_persistence upgrade_outgoing_qos`},
	group{Option{Type: BoolValue, reload: v14, Deprecated: v21, Removed: v30}, `allow_duplicate_messages`},
	group{Option{Type: BoolValue, reload: v14, Since: Version{1, 5, 6}}, `check_retain_source`},
	group{Option{Type: BoolValue, Since: v21}, `enable_control_api`},
	group{Option{Type: BoolValue, Since: v15, Deprecated: v21, Removed: v30}, `per_listener_settings`},
	group{Option{Type: BoolValue, Since: v16}, `retain_available`},
	group{Option{Type: BoolValue, Since: v15}, `set_tcp_nodelay`},
	group{Option{Type: NumberValue, reload: v14}, `autosave_interval`},
	group{Option{Type: NumberValue, Since: v21}, `global_max_clients global_max_connections`},
	group{Option{Type: NumberValue, reload: v14, min: 0, max: 7}, `log_facility`},
	group{Option{Type: NumberValue, Since: v15}, `max_inflight_bytes max_queued_bytes`},
	group{Option{Type: NumberValue, min: minInt, max: maxUint16}, `max_inflight_messages`},
	group{Option{Type: NumberValue, Since: v16, min: 0, max: maxUint16}, `max_keepalive`},
	group{Option{Type: NumberValue, Since: v16, min: 20, max: maxInt}, `max_packet_size`},
	group{Option{Type: NumberValue}, `max_queued_messages`},
	group{Option{Type: NumberValue, Since: Version{1, 4, 15}, min: 0, max: maxInt}, `memory_limit`},
	group{Option{Type: NumberValue, reload: v14, min: 0, max: 268435455}, `message_size_limit`},
	group{Option{Type: NumberValue, Since: v21, min: 0, max: maxUint16}, `packet_buffer_size`},
	group{Option{Type: NumberValue, Since: Version{2, 0, 21}, reload: v14}, `retain_expiry_interval`},
	group{Option{Type: NumberValue, reload: v14, min: 0, max: maxUint16}, `sys_interval`},
	group{Option{Type: NumberValue, Since: v16, min: 0, max: maxUint16}, `websockets_headers_size`},
	group{Option{Type: NumberValue, reload: v14, Deprecated: v21}, `websockets_log_level`},
	group{Option{reload: v14, Deprecated: v20, Removed: v30}, `clientid_prefixes`},
	group{Option{Repeats: true}, `include_dir`},
	group{Option{Type: ListValue, reload: v14, Repeats: true, words: "none syslog stdout stderr topic file"}, `log_dest`},
	group{Option{Type: WordValue, reload: v14, Repeats: true,
		words: "none information notice warning error debug subscribe unsubscribe internal websockets all"}, `log_type`},
	group{Option{reload: v14, Since: v16, strict: true}, `log_timestamp_format`},
	group{Option{reload: v14, strict: true}, `persistence_file persistence_location`},
	group{Option{Type: WordValue, reload: v14}, `persistent_client_expiration`},
	group{Option{strict: true}, `pid_file`},
	group{Option{}, `user`},
	group{Option{Type: WordValue, Removed: v20}, `ffdc_output max_log_entries store_clean_interval trace_level trace_output`},
	group{Option{Type: NumberValue, Deprecated: v16, min: 1, max: 3600}, `retry_interval`},

	// Who may do what.
	group{Option{Security: true, reload: v14, Deprecated: v21, Removed: v30}, `acl_file password_file`},
	group{Option{Security: true, reload: v14}, `psk_file`},
	group{Option{Security: true, reload: v14, Deprecated: v21, Removed: v30, strict: true}, `auto_id_prefix`},
	group{Option{Security: true, reload: v14, Type: BoolValue}, `allow_anonymous allow_zero_length_clientid`},

	// A listener.
	group{Option{Scope: ListenerScope, Type: ListValue, Repeats: true}, `listener`},
	group{Option{Scope: ListenerScope, Type: NumberValue, Deprecated: v20, Removed: v30, min: 1, max: maxUint16}, `port`},
	group{Option{Scope: ListenerScope, Deprecated: v20, Removed: v30, strict: true}, `bind_address`},
	group{Option{Scope: ListenerScope, Type: ListValue, Since: v21, section: realListener}, `accept_protocol_versions`},
	group{Option{Scope: ListenerScope, Since: v21, section: realListener, Repeats: true}, `plugin_use`},
	group{Option{Scope: ListenerScope, Since: v16, strict: true}, `bind_interface`},
	group{Option{Scope: ListenerScope, reload: v16, section: someListener}, `cafile`},
	group{Option{Scope: ListenerScope}, `capath ciphers`},
	group{Option{Scope: ListenerScope, Since: v20}, `ciphers_tls1.3`},
	group{Option{Scope: ListenerScope, reload: v16}, `certfile keyfile`},
	group{Option{Scope: ListenerScope, reload: Version{1, 6, 5}}, `crlfile`},
	group{Option{Scope: ListenerScope, Since: v16, Deprecated: v21}, `dhparamfile`},
	group{Option{Scope: ListenerScope, strict: true, section: someListener, quiet: true}, `http_dir`},
	group{Option{Scope: ListenerScope, strict: true, section: someListener, Since: v21}, `listener_auto_id_prefix`},
	group{Option{Scope: ListenerScope, section: someListener}, `mount_point`},
	group{Option{Scope: ListenerScope, strict: true}, `psk_hint`},
	group{Option{Scope: ListenerScope, Since: v16, strict: true}, `tls_engine`},
	group{Option{Scope: ListenerScope, Since: v16}, `tls_engine_kpass_sha1`},
	group{Option{Scope: ListenerScope, section: someListener, Since: v21, Repeats: true}, `websockets_origin`},
	group{Option{Scope: ListenerScope, Type: WordValue, Since: Version{1, 5, 5}, words: "ipv4 ipv6"}, `socket_domain`},
	group{Option{Scope: ListenerScope, Type: WordValue, quiet: true, words: "mqtt websockets http_api"}, `protocol`},
	group{Option{Scope: ListenerScope, Since: v16, quiet: true}, `tls_keyform`},
	group{Option{Scope: ListenerScope, quiet: true, strict: true, section: someListener}, `tls_version`},
	group{Option{Scope: ListenerScope, Type: BoolValue, Since: v21, section: someListener},
		`disable_client_cert_date_checks listener_allow_anonymous proxy_protocol_v2_require_tls`},
	group{Option{Scope: ListenerScope, Type: BoolValue, reload: v21}, `require_certificate`},
	group{Option{Scope: ListenerScope, Type: BoolValue}, `use_identity_as_username use_username_as_clientid`},
	group{Option{Scope: ListenerScope, Type: BoolValue, Since: v15}, `use_subject_as_username`},
	group{Option{Scope: ListenerScope, Type: NumberValue, Since: v21, section: someListener, min: 1, max: 2}, `enable_proxy_protocol`},
	group{Option{Scope: ListenerScope, Type: NumberValue}, `max_connections`},
	group{Option{Scope: ListenerScope, Type: NumberValue, Since: v20, min: 0, max: 2}, `max_qos`},
	group{Option{Scope: ListenerScope, Type: NumberValue, Since: v16, min: 0, max: 2}, `maximum_qos`},
	group{Option{Scope: ListenerScope, Type: NumberValue, Since: v21, section: someListener, min: 0, max: maxUint16}, `max_topic_alias_broker`},
	group{Option{Scope: ListenerScope, Type: NumberValue, Since: v16, section: someListener, quiet: true, min: 0, max: maxUint16}, `max_topic_alias`},

	// A bridge.
	group{Option{Scope: ConnectionScope, Repeats: true}, `connection`},
	group{Option{Scope: ConnectionScope, Type: ListValue, reload: v21}, `address addresses restart_timeout`},
	group{Option{Scope: ConnectionScope, Type: ListValue, reload: v21, Repeats: true}, `topic`},
	group{Option{Scope: ConnectionScope, Type: ListValue, Since: v21, reload: v21}, `bridge_tcp_keepalive`},
	group{Option{Scope: ConnectionScope, reload: v21, strict: true}, `bridge_cafile bridge_capath bridge_certfile
		bridge_identity bridge_psk bridge_tls_version clientid local_clientid local_password local_username
		notification_topic password remote_clientid remote_password remote_username username`},
	group{Option{Scope: ConnectionScope, reload: v21}, `bridge_keyfile`},
	group{Option{Scope: ConnectionScope, reload: v21, strict: true, Since: v16}, `bridge_alpn`},
	group{Option{Scope: ConnectionScope, reload: v21, strict: true, Since: v20}, `bridge_bind_address`},
	group{Option{Scope: ConnectionScope, reload: v21, strict: true, Since: v21}, `bridge_ciphers bridge_ciphers_tls1.3`},
	group{Option{Scope: ConnectionScope, Type: WordValue, reload: v21, words: "mqttv31 mqttv311 mqttv50"}, `bridge_protocol_version`},
	group{Option{Scope: ConnectionScope, Type: WordValue, Since: v21, reload: v21, words: "lazy immediate"}, `bridge_reload_type`},
	group{Option{Scope: ConnectionScope, Type: WordValue, reload: v21, words: "automatic lazy once"}, `start_type`},
	group{Option{Scope: ConnectionScope, Type: BoolValue, reload: v21}, `bridge_attempt_unsubscribe bridge_insecure
		cleansession notifications round_robin try_private`},
	group{Option{Scope: ConnectionScope, Type: BoolValue, reload: v21, Since: v15}, `notifications_local_only`},
	group{Option{Scope: ConnectionScope, Type: BoolValue, reload: v21, Since: v16}, `bridge_require_ocsp`},
	group{Option{Scope: ConnectionScope, Type: BoolValue, reload: v21, Since: v20}, `bridge_outgoing_retain local_cleansession`},
	group{Option{Scope: ConnectionScope, Type: BoolValue, reload: v21, Since: v21}, `bridge_tls_use_os_certs`},
	group{Option{Scope: ConnectionScope, Type: NumberValue, reload: v21}, `idle_timeout threshold`},
	group{Option{Scope: ConnectionScope, Type: NumberValue, reload: v21, min: minInt, max: maxUint16}, `keepalive_interval`},
	group{Option{Scope: ConnectionScope, Type: NumberValue, reload: v21, Since: v20}, `bridge_max_packet_size`},
	group{Option{Scope: ConnectionScope, Type: NumberValue, reload: v21, Since: v21, min: 0, max: maxUint16}, `bridge_max_topic_alias`},
	group{Option{Scope: ConnectionScope, Type: NumberValue, reload: v21, Since: v21, min: 1, max: maxUint16}, `bridge_receive_maximum`},
	group{Option{Scope: ConnectionScope, Type: NumberValue, reload: v21, Since: v21, min: 0, max: maxInt},
		`bridge_session_expiry_interval bridge_tcp_user_timeout`},

	// A plugin.
	group{Option{Scope: PluginScope, Repeats: true}, `auth_plugin`},
	group{Option{Scope: PluginScope, Repeats: true, Since: v20}, `plugin`},
	group{Option{Scope: PluginScope, Repeats: true, Since: v21}, `global_plugin plugin_load`},
	group{Option{Scope: PluginScope, Type: BoolValue, Since: Version{1, 4, 13}}, `auth_plugin_deny_special_chars`},
)

type group struct {
	option Option
	keys   string
}

func catalogue(groups ...group) map[string]*Option {
	m := make(map[string]*Option)
	for _, g := range groups {
		for key := range strings.FieldsSeq(g.keys) {
			o := g.option
			o.Key = key
			m[key] = &o
		}
	}
	return m
}

// accepts reports whether word may be the option's value.
func (o Option) accepts(word string) bool {
	return o.words == "" || slices.Contains(strings.Fields(o.words), word)
}
