package mosquittoconf

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Plugins are the paths of the plugins by which 2.1 replaces options. They are
// absolute and depend on the distribution: Debian has them in
// /usr/lib/x86_64-linux-gnu/mosquitto.
type Plugins struct {
	ACL      string // mosquitto_acl_file.so; empty leaves acl_file
	Password string // mosquitto_password_file.so; empty leaves password_file
}

// Change is what Migrate has done to a line.
type Change struct {
	File string
	Line int    // before any change; 0 for a line that was not there
	Was  string // without its ending; empty for a line that was not there
	Is   string // empty for a line that is gone
	Why  string
}

// Migrate edits a configuration for 2.0, and the files that it includes, so
// that 2.1 does with it what 2.0 did, and returns what it has changed:
//
//   - the default listener of "port" and of options above the first listener
//     becomes a listener line, as 2.1 refuses some of those options; options
//     there that open no listener, and so have no effect, go;
//   - numbers that 2.1 reads in C notation, or refuses, become decimal;
//   - blanks behind a plugin's path go, as 2.1 takes them for a part of it, and
//     so does an include_dir in an included file, which 2.0 ignores;
//   - psk_file moves above the listeners, as 2.1 refuses it below some;
//   - options that 2.1 ignores go; those that it has renamed get their new
//     names;
//   - max_packet_size is set to the limit of MQTT, which was the default;
//   - acl_file and password_file become plugins, as 3.0 will want it, if their
//     paths are given.
//
// Comments and all other lines stay. An error says what must be changed by
// hand first; then nothing is changed. What 2.1 makes of the result is for
// [File.Vet] to say, and what it makes of patterns with %u or %c, which match
// whole levels only, is not for this package.
func (f *File) Migrate(p Plugins) ([]Change, error) {
	root := f.root()
	m := &migration{file: root, plugins: p}
	if err := m.check(); err != nil {
		return nil, err
	}
	m.number = make(map[*line]int)
	for _, s := range root.statements {
		m.number[s.line] = s.Line
	}
	m.defaultListener()
	for _, s := range slices.Clone(root.statements) {
		m.statement(s)
	}
	if _, set := root.Get("max_packet_size"); !set {
		if _, err := root.Global().Set("max_packet_size", "268435455"); err != nil {
			return m.changes, err
		}
		m.changes = append(m.changes, Change{File: root.name, Is: "max_packet_size 268435455", Why: "the default of 2.1 is 2000000"})
	}
	root.reindex()
	return m.changes, nil
}

type migration struct {
	file    *File
	plugins Plugins
	number  map[*line]int // lines before any change
	changes []Change
}

func (m *migration) check() error {
	var errs []error
	for name, path := range map[string]string{"ACL": m.plugins.ACL, "Password": m.plugins.Password} {
		if err := optional(checkPath, path); err != nil {
			errs = append(errs, fmt.Errorf("the path Plugins.%s: %w", name, err))
		}
	}
	for _, s := range m.file.statements {
		if s.Key == "auto_id_prefix" && len(s.Value) > maxIDPrefix {
			errs = append(errs, &SyntaxError{File: s.file.name, Line: s.Line, Err: fmt.Errorf("auto_id_prefix has %d bytes, and 2.1 takes %d (shorten it)", len(s.Value), maxIDPrefix)})
		}
		if s.file != m.file && s.Scope == (Scope{Kind: ListenerScope}) && s.Key != "listener" {
			errs = append(errs, &SyntaxError{File: s.file.name, Line: s.Line, Err: fmt.Errorf("%s in an included file is for the default listener (move it to the main file)", s.Key)})
		}
	}
	return errors.Join(errs...)
}

func text(l *line) string { return strings.TrimRight(l.raw, "\r\n") }

// rewrite gives a line another key and value, and leaves what surrounds them.
func (m *migration) rewrite(f *File, l *line, key, value, why string) {
	was := text(l)
	at := strings.Index(l.raw, l.key)
	l.replace(value, value)
	l.raw = l.raw[:at] + key + l.raw[at+len(l.key):]
	l.key, l.option = key, lookup(key)
	m.changes = append(m.changes, Change{File: f.name, Line: m.number[l], Was: was, Is: text(l), Why: why})
}

// trim removes the blanks around a value.
func (m *migration) trim(f *File, l *line, why string) {
	was := text(l)
	at := strings.Index(l.raw, l.key) + len(l.key)
	l.raw = l.raw[:at] + " " + l.value + l.raw[len(was):]
	l.rest = l.value
	m.changes = append(m.changes, Change{File: f.name, Line: m.number[l], Was: was, Is: text(l), Why: why})
}

func (m *migration) drop(f *File, l *line, why string) {
	m.changes = append(m.changes, Change{File: f.name, Line: m.number[l], Was: text(l), Why: why})
	f.lines = slices.DeleteFunc(f.lines, func(other *line) bool { return other == l })
}

func (m *migration) insert(f *File, at int, key, value, why string) {
	l := &line{raw: key + " " + value + f.lineEnd(), key: key, value: value, rest: value, option: lookup(key)}
	f.insert(at, l)
	m.changes = append(m.changes, Change{File: f.name, Is: text(l), Why: why})
}

// defaultListener makes the default listener one that is declared.
func (m *migration) defaultListener() {
	var options []statement
	for _, s := range m.file.statements {
		if s.Scope == (Scope{Kind: ListenerScope}) {
			options = append(options, s)
		}
	}
	if len(options) == 0 {
		return
	}
	open := m.file.Listeners()[:min(1, len(m.file.Listeners()))]
	if len(open) == 0 || open[0].Line != 0 {
		for _, s := range options {
			m.drop(m.file, s.line, "it opens no listener, and has no effect")
		}
		m.file.index()
		return
	}
	value := strconv.Itoa(open[0].Port)
	if open[0].Address != "" {
		value += " " + open[0].Address
	}
	// Security options of the default listener must stay below its line, and
	// those that precede it stay global.
	first := slices.Index(m.file.lines, options[0].line)
	m.insert(m.file, first, "listener", value, "options of a listener must be below its line")
	for _, s := range options {
		if s.Key == "port" || s.Key == "bind_address" {
			m.drop(m.file, s.line, "the listener line says it")
		}
	}
	m.file.index()
}

func (m *migration) statement(s statement) {
	o, known := OptionOf(s.Key)
	if !known {
		return
	}
	switch {
	case s.Key == "retry_interval" || s.Key == "dhparamfile" || s.Key == "websockets_log_level":
		m.drop(s.file, s.line, "2.1 ignores it")
		return
	case s.Key == "retain_expiry_interval" && atoi(s.Value) < 1:
		m.drop(s.file, s.line, "2.1 refuses it, and does without it what 2.0 did with it")
		return
	case s.Key == "websockets_headers_size":
		m.rewrite(s.file, s.line, "packet_buffer_size", strconv.Itoa(int(atoi(s.Value))), "its name in 2.1")
		return
	case s.Key == "include_dir" && s.file != m.file:
		m.drop(s.file, s.line, "2.1 refuses it in an included file, where 2.0 ignores it")
		return
	case s.Key == "plugin" && strings.TrimRight(s.line.rest, " ") != s.line.rest:
		m.trim(s.file, s.line, "2.1 takes blanks for a part of the path")
	case s.Key == "acl_file" && m.plugins.ACL != "":
		m.plugin(s, m.plugins.ACL)
		return
	case s.Key == "password_file" && m.plugins.Password != "":
		m.plugin(s, m.plugins.Password)
		return
	case s.Key == "psk_file" && s.Scope.Kind == GlobalScope && m.below(s):
		m.drop(s.file, s.line, "2.1 refuses it below a listener with certfile")
		first := slices.IndexFunc(s.file.lines, func(l *line) bool { return l.key == "listener" })
		m.insert(s.file, first, s.Key, s.Value, "it is for all listeners")
	case o.Type == NumberValue && !isDecimal(s.Value) && s.Key != "memory_limit":
		m.rewrite(s.file, s.line, s.Key, strconv.Itoa(int(atoi(s.Value))), "2.1 reads another number, or none")
	case s.Key == "listener":
		word, rest, _ := strings.Cut(s.Value, " ")
		if !isDecimal(word) {
			value := strconv.Itoa(int(atoi(word)))
			if rest != "" {
				value += " " + rest
			}
			m.rewrite(s.file, s.line, "listener", value, "2.1 reads another number, or none")
		}
	}
}

// below reports whether a statement stands below a listener line of its file.
func (m *migration) below(s statement) bool {
	at := slices.Index(s.file.lines, s.line)
	return slices.ContainsFunc(s.file.lines[:at], func(l *line) bool { return l.key == "listener" })
}

// plugin turns a file's line into a plugin's option below the plugin.
func (m *migration) plugin(s statement, path string) {
	at := slices.Index(s.file.lines, s.line)
	m.insert(s.file, at, "plugin", path, "it replaces "+s.Key)
	m.rewrite(s.file, s.line, "plugin_opt_"+s.Key, s.Value, s.Key+" is deprecated")
}
