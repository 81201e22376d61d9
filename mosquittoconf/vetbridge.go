package mosquittoconf

import (
	"fmt"
	"path/filepath"
	"strings"
)

func (t *vetter) connection(s statement) {
	name, _, _ := strings.Cut(s.Value, " ")
	if before, ok := t.names[name]; ok {
		t.refused(s, "duplicate", fmt.Sprintf("the bridge %.60q is in line %d already", name, before.Line), "give it another name")
	}
	t.names[name] = s
	if strings.ContainsAny(name, "+#") {
		t.trap(s, "bridge-name", fmt.Sprintf("a bridge called %.60q does not connect", name), "leave out + and #")
	}
}

func (t *vetter) bridges() {
	ids := make(map[string]statement)
	for _, b := range t.bridgeList {
		if !b.has("address") {
			t.refused(b.begin, "bridge-incomplete", "the bridge has no address", "add an address line")
		}
		if !b.has("topic") {
			t.refused(b.begin, "bridge-incomplete", "the bridge has no topic", "add a topic line")
		}
		psk, hasPSK := b.last("bridge_psk")
		identity, hasIdentity := b.last("bridge_identity")
		switch {
		case hasPSK && !hasIdentity:
			t.refused(psk, "bridge-incomplete", "bridge_psk without bridge_identity", "set both")
		case hasIdentity && !hasPSK:
			t.refused(identity, "bridge-incomplete", "bridge_identity without bridge_psk", "set both")
		case hasPSK && !t.v.atLeast(2, 0, 21):
			t.trap(psk, "bridge-psk-unverified", "the bridge takes any server, whose certificate it does not check, for the one with the key", "use certificates, or upgrade to 2.0.21")
		}
		t.bridgeTLS(b, hasPSK)
		if s, ok := b.last("remote_password"); ok && !b.has("remote_username") {
			t.trap(s, "bridge-password", "with a password and no name, the bridge does not connect", "set remote_username")
		}
		if s, ok := b.last("bridge_insecure"); ok && isTrue(s.Value) {
			t.warn(s, "bridge-insecure", "the bridge does not compare the server's name with its certificate", "give the server a certificate with its name")
		}
		id := "the default of " + b.begin.Value
		at := b.begin
		if s, ok := b.last("remote_clientid"); ok {
			id, at = "local."+s.Value, s
		}
		if s, ok := b.last("local_clientid"); ok {
			id, at = s.Value, s
		}
		if other, ok := ids[id]; ok {
			t.refused(at, "duplicate", fmt.Sprintf("the bridge's local client id is that of line %d", other.Line), "set local_clientid")
		}
		ids[id] = at
	}
}

func (t *vetter) bridgeTLS(b *holder, psk bool) {
	on := psk || b.has("bridge_cafile", "bridge_capath") || b.true("bridge_tls_use_os_certs")
	cert, hasCert := b.last("bridge_certfile")
	key, hasKey := b.last("bridge_keyfile")
	if !on {
		for _, k := range []string{"bridge_certfile", "bridge_keyfile", "bridge_tls_version", "bridge_alpn"} {
			if s, ok := b.last(k); ok {
				t.trap(s, "bridge-tls-off", fmt.Sprintf("%s does not switch TLS on: the bridge speaks plain MQTT", k), "set bridge_cafile or bridge_capath")
				return
			}
		}
		return
	}
	switch {
	case hasCert && !hasKey:
		t.trap(cert, "bridge-pair", "bridge_certfile without bridge_keyfile: the bridge has no certificate to show", "set both")
	case hasKey && !hasCert:
		t.trap(key, "bridge-pair", "bridge_keyfile without bridge_certfile: the bridge has no certificate to show", "set both")
	}
}

// isPlugin reports whether a plugin is the one that mosquitto ships under
// that name, whatever the folder.
func isPlugin(h *holder, name string) bool {
	path := h.begin.Value
	if h.begin.Key == "plugin_load" {
		_, path, _ = strings.Cut(path, " ")
	}
	return filepath.Base(path) == name+".so"
}

func (t *vetter) plugin(s statement) {
	if s.Key != "plugin_load" {
		return
	}
	name, path, _ := strings.Cut(s.Value, " ")
	if path == "" {
		t.refused(s, "bad-value", fmt.Sprintf("plugin_load %.60q has no path", s.Value), "want NAME PATH")
	}
	if before, ok := t.names["plugin "+name]; ok {
		t.refused(s, "duplicate", fmt.Sprintf("the plugin %.60q is in line %d already", name, before.Line), "give it another name")
	}
	t.names["plugin "+name] = s
}

func (t *vetter) plugins() {
	var dynsec int
	for _, p := range t.pluginList {
		if isPlugin(p, "mosquitto_dynamic_security") {
			dynsec++
			if dynsec == 2 && t.v.atLeast(2, 0, 21) {
				t.refused(p.begin, "plugin-twice", "the dynamic security plugin is loaded twice", "load it once")
			}
		}
		if isPlugin(p, "mosquitto_acl_file") && t.v.atLeast(2, 1, 0) {
			if !p.has("plugin_opt_acl_file") {
				t.trap(p.begin, "acl-plugin-open", "the acl-file plugin without plugin_opt_acl_file lets everybody do everything", "add plugin_opt_acl_file PATH")
			}
			for _, s := range p.statements[1:] {
				if s.Key != "plugin_opt_acl_file" && strings.HasPrefix(s.Key, "plugin_opt_") {
					t.refused(s, "plugin-option", fmt.Sprintf("the acl-file plugin does not know %s", s.Key), "remove the line")
				}
			}
		}
		if p.begin.Key == "plugin_load" && !t.used(p) {
			t.refused(p.begin, "plugin-unused", "a plugin that no plugin_use names", "add plugin_use to a listener")
		}
		if !isPlugin(p, "mosquitto_password_file") {
			if s, ok := t.global.last("acl_file"); ok {
				t.warn(s, "plugin-over-acl", fmt.Sprintf("what the plugin in line %d allows, acl_file cannot forbid", p.begin.Line), "use one of them for access")
			}
		}
	}
}

func (t *vetter) used(p *holder) bool {
	name, _, _ := strings.Cut(p.begin.Value, " ")
	for _, l := range t.declared {
		for _, s := range l.statements {
			if s.Key == "plugin_use" && s.Value == name {
				return true
			}
		}
	}
	return false
}
