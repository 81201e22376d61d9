package mosquittoconf

import "strings"

// valueType says how a broker reads a value.
type valueType uint8

const (
	text    valueType = iota // the rest of the line, trimmed
	boolean                  // the first word: true, false, 1 or 0
	number                   // the first word: a decimal number
)

// option is what Parse has to know of an option: to whom it belongs and how
// its value is read.
type option struct {
	kind ScopeKind
	typ  valueType
	// security options are global unless per_listener_settings is true.
	security bool
	// quiet options of a listener open no default listener.
	quiet bool
}

// options lists what 2.0.11, 2.0.21 or 2.1.2 knows. plugin_opt_* and
// auth_opt_* are in optionOf.
var options = table(
	entry{option{kind: GlobalScope, typ: boolean}, `allow_duplicate_messages autosave_on_changes
		check_retain_source connection_messages enable_control_api log_timestamp
		per_listener_settings persistence queue_qos0_messages retain_available
		set_tcp_nodelay upgrade_outgoing_qos`},
	entry{option{kind: GlobalScope, typ: number}, `autosave_interval global_max_clients
		global_max_connections log_facility max_inflight_bytes max_inflight_messages
		max_keepalive max_packet_size max_queued_bytes max_queued_messages memory_limit
		message_size_limit packet_buffer_size retain_expiry_interval
		sys_interval websockets_headers_size websockets_log_level`},
	entry{option{kind: GlobalScope}, `clientid_prefixes include_dir log_dest
		log_timestamp_format log_type persistence_file persistence_location
		persistent_client_expiration pid_file user`},
	entry{option{kind: GlobalScope, security: true}, `acl_file auto_id_prefix password_file
		plugin_use psk_file`},
	entry{option{kind: GlobalScope, typ: boolean, security: true}, `allow_anonymous
		allow_zero_length_clientid`},
	entry{option{kind: ListenerScope}, `accept_protocol_versions bind_address bind_interface
		cafile capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile keyfile
		listener_auto_id_prefix mount_point psk_hint socket_domain tls_engine
		tls_engine_kpass_sha1 websockets_origin`},
	entry{option{kind: ListenerScope, quiet: true}, `http_dir protocol tls_keyform tls_version`},
	entry{option{kind: ListenerScope, typ: boolean}, `disable_client_cert_date_checks
		listener_allow_anonymous proxy_protocol_v2_require_tls require_certificate
		use_identity_as_username use_subject_as_username use_username_as_clientid`},
	entry{option{kind: ListenerScope, typ: number}, `enable_proxy_protocol max_connections
		max_qos max_topic_alias_broker port`},
	entry{option{kind: ListenerScope, typ: number, quiet: true}, `max_topic_alias`},
	entry{option{kind: ConnectionScope}, `address addresses bridge_alpn bridge_bind_address
		bridge_cafile bridge_capath bridge_certfile bridge_ciphers bridge_ciphers_tls1.3
		bridge_identity bridge_keyfile bridge_protocol_version bridge_psk
		bridge_reload_type bridge_tls_version clientid local_clientid local_password
		local_username notification_topic password remote_clientid remote_password
		remote_username restart_timeout start_type topic username`},
	entry{option{kind: ConnectionScope, typ: boolean}, `bridge_attempt_unsubscribe
		bridge_insecure bridge_outgoing_retain bridge_require_ocsp
		bridge_tls_use_os_certs cleansession local_cleansession notifications
		notifications_local_only round_robin try_private`},
	entry{option{kind: ConnectionScope, typ: number}, `bridge_max_packet_size
		bridge_max_topic_alias bridge_receive_maximum bridge_session_expiry_interval
		bridge_tcp_keepalive bridge_tcp_user_timeout idle_timeout keepalive_interval
		threshold`},
	entry{option{kind: PluginScope, typ: boolean}, `auth_plugin_deny_special_chars`},
	// These begin a section and belong to it.
	entry{option{kind: ListenerScope}, `listener`},
	entry{option{kind: ConnectionScope}, `connection`},
	entry{option{kind: PluginScope}, `auth_plugin global_plugin plugin plugin_load`},
)

type entry struct {
	option option
	keys   string
}

func table(entries ...entry) map[string]option {
	m := make(map[string]option)
	for _, e := range entries {
		for key := range strings.FieldsSeq(e.keys) {
			m[key] = e.option
		}
	}
	return m
}

// optionOf returns what is known of key. An option of a broker that is newer
// than this package is taken for a global text.
func optionOf(key string) (_ option, known bool) {
	if strings.HasPrefix(key, "plugin_opt_") || strings.HasPrefix(key, "auth_opt_") {
		return option{kind: PluginScope}, true
	}
	o, known := options[key]
	return o, known
}
