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
		case "mosquitto_acl_file.so", "mosquitto_password_file.so":
			if !t.v.atLeast(2, 1, 0) {
				t.refused(p.begin, "too-new", fmt.Sprintf("this plugin is of 2.1, and this broker is %s", t.v), "use acl_file or password_file, or upgrade the broker")
			} else if filepath.Base(path) == "mosquitto_acl_file.so" {
				t.aclPlugin(p)
			}
		}
		if name != "" && !t.used[name] {
			t.refused(p.begin, "plugin-unused", "a plugin that no plugin_use names", "add plugin_use to a listener")
		}
		if s := t.global.last("acl_file"); s != nil && filepath.Base(path) != "mosquitto_password_file.so" {
			t.warn(s, "plugin-over-acl", fmt.Sprintf("what the plugin in line %d allows, acl_file cannot forbid", p.begin.Line), "use one of them for access")
		}
	}
}

// aclPlugin judges the options of the plugin that reads access files.
func (t *vetter) aclPlugin(p *holder) {
	named := false
	for _, s := range p.plugin {
		switch s.Key[len(s.option.Key):] { // auth_opt_ is the older plugin_opt_
		case "acl_file":
			named = true
		default:
			t.refused(s, "plugin-option", fmt.Sprintf("the acl-file plugin does not know %s", s.Key), "remove the line")
		}
	}
	if !named {
		t.trap(p.begin, "acl-plugin-open", "the acl-file plugin without plugin_opt_acl_file lets everybody do everything", "add plugin_opt_acl_file PATH")
	}
}
