package mosquittoconf

import (
	"fmt"
	"path/filepath"
)

func (t *vetter) pluginLoad(s *statement) {
	name, path := cutWord(s.Value)
	if path == "" {
		t.refused(s, "bad-value", fmt.Sprintf("plugin_load %.60q has no path", s.Value), "want NAME PATH")
	}
	if before := t.loaded[name]; before != nil {
		t.refused(s, "duplicate", fmt.Sprintf("the plugin %.60q is in line %d already", name, before.Line), "give it another name")
	}
	t.loaded[name] = s
}

// vetPlugins judges what only whole plugins show.
func (t *vetter) vetPlugins() {
	dynsec := 0
	for _, p := range t.pluginList {
		name, path := cutWord(p.begin.Value)
		if p.begin.Key != "plugin_load" {
			name, path = "", p.begin.Value
		}
		// Whatever the folder, it is the one that mosquitto ships under that name.
		switch filepath.Base(path) {
		case "mosquitto_dynamic_security.so":
			if dynsec++; dynsec == 2 && t.v.atLeast(2, 0, 21) {
				t.refused(p.begin, "plugin-twice", "the dynamic security plugin is loaded twice", "load it once")
			}
		case "mosquitto_acl_file.so":
			t.filePlugin(p, "acl_file")
		case "mosquitto_password_file.so":
			t.filePlugin(p, "password_file")
		}
		if name != "" && !t.used[name] {
			t.refused(p.begin, "plugin-unused", "a plugin that no plugin_use names", "add plugin_use to a listener")
		}
		if s := t.global.last("acl_file"); s != nil && filepath.Base(path) != "mosquitto_password_file.so" {
			t.warn(s, "plugin-over-acl", fmt.Sprintf("what the plugin in line %d allows, acl_file cannot forbid", p.begin.Line), "use one of them for access")
		}
	}
}

// filePlugin judges a plugin that replaces an option, which is its only one.
func (t *vetter) filePlugin(p *holder, option string) {
	if !t.v.atLeast(2, 1, 0) {
		t.refused(p.begin, "too-new", fmt.Sprintf("the plugin exists from 2.1.0 on, and this broker is %s", t.v), "use "+option+", or upgrade the broker")
		return
	}
	named := false
	for _, s := range p.plugin {
		if s.Key[len(s.option.Key):] == option { // auth_opt_ is the older plugin_opt_
			named = true
		} else {
			t.refused(s, "plugin-option", fmt.Sprintf("the plugin does not know %s", s.Key), "remove the line")
		}
	}
	switch {
	case named:
	case option == "acl_file":
		t.trap(p.begin, "acl-plugin-open", "the acl-file plugin without plugin_opt_acl_file lets everybody do everything", "add plugin_opt_acl_file PATH")
	default:
		t.refused(p.begin, "plugin-option", fmt.Sprintf("the plugin needs plugin_opt_%s", option), "add plugin_opt_"+option+" PATH")
	}
}
