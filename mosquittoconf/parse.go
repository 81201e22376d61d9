package mosquittoconf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// File is a parsed configuration. Reading it concurrently is safe, as long as
// it is not edited meanwhile. The zero File is an empty one.
type File struct {
	name       string
	lines      []*line
	included   map[*line][]*File // by include_dir line
	parent     *File             // that includes this one
	statements []statement       // of this and the included ones, as a broker reads them
}

// line is a line of a file. It stays the same when others are edited.
type line struct {
	raw        string  // with its ending
	key, value string  // key is empty if it sets nothing
	rest       string  // what follows the first space behind key, blanks included
	option     *Option // what is known of key; nil is nothing
}

// statement is a directive as a broker comes across it.
type statement struct {
	Directive
	option *Option // what is known of Key; nil is nothing
	file   *File
	line   *line
	index  int // among all statements
}

// Directive is a line that sets an option.
type Directive struct {
	Line  int // 1-based
	Key   string
	Value string // as the broker reads it: trimmed; the first word if it is a number or a boolean
	Scope Scope
}

// Scope is the part of a configuration to which a directive belongs. The zero
// Scope is the whole broker.
type Scope struct {
	Kind ScopeKind
	// Line is that of the directive that begins the scope: listener,
	// connection, plugin. It is 0 for the whole broker, for the default
	// listener, and where such a line is missing.
	Line int
}

// ScopeKind tells apart what a directive can belong to.
type ScopeKind uint8

const (
	GlobalScope ScopeKind = iota
	ListenerScope
	ConnectionScope // a bridge
	PluginScope
)

func (k ScopeKind) String() string {
	switch k {
	case GlobalScope:
		return "global"
	case ListenerScope:
		return "listener"
	case ConnectionScope:
		return "connection"
	case PluginScope:
		return "plugin"
	}
	return "ScopeKind(" + strconv.Itoa(int(k)) + ")"
}

// SyntaxError is a line that a broker refuses, or that its versions read in
// different ways.
type SyntaxError struct {
	File string // as given to Parse
	Line int    // 1-based
	Err  error
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// maxSyntaxErrors bounds what Parse reports of a file that is something else
// altogether.
const maxSyntaxErrors = 10

// Parse reads a configuration. The name is for messages only.
//
// Lines that every broker of 2.0 and 2.1 refuses, whatever surrounds them, are
// errors: joined *SyntaxError values, ten at most. So is a NUL byte, behind
// which a broker may be blind. An option that is not known here is kept,
// because a newer broker may know it. [File.Vet] judges the rest.
func Parse(name string, data []byte) (*File, error) {
	text := string(data) // the lines share this copy
	all := make([]line, 0, strings.Count(text, "\n")+1)
	f := &File{name: name, lines: make([]*line, 0, cap(all))}
	var errs []error
	for raw := range strings.Lines(text) {
		l, err := parseLine(raw)
		if err != nil {
			errs = append(errs, &SyntaxError{File: name, Line: len(all) + 1, Err: err})
			if len(errs) == maxSyntaxErrors {
				break
			}
		}
		all = append(all, l)
		f.lines = append(f.lines, &all[len(all)-1])
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	f.index()
	return f, nil
}

// index finds out what belongs to what.
func (f *File) index() {
	f.statements = make([]statement, 0, len(f.lines))
	perListener := false
	f.walk(&f.statements, &perListener)
}

// walk appends the statements of f. An included file begins outside of all
// listeners, bridges and plugins; the file that includes it goes on where it
// was.
func (f *File) walk(to *[]statement, perListener *bool) {
	var current [PluginScope + 1]int // line that began the current scope of a kind
	for i, l := range f.lines {
		if l.key == "" {
			continue
		}
		var scope Scope
		if o := l.option; o != nil {
			scope.Kind = o.Scope
			if o.Security && *perListener {
				scope.Kind = ListenerScope
			}
			switch {
			case begins(l.key):
				current[o.Scope] = i + 1
			case l.key == "per_listener_settings":
				*perListener = isTrue(l.value)
			}
		}
		// These two describe the default listener wherever they stand.
		if l.key != "port" && l.key != "bind_address" {
			scope.Line = current[scope.Kind]
		}
		*to = append(*to, statement{
			Directive: Directive{Line: i + 1, Key: l.key, Value: l.value, Scope: scope},
			option:    l.option, file: f, line: l, index: len(*to),
		})
		for _, included := range f.included[l] {
			included.walk(to, perListener)
		}
	}
}

// begins reports whether key begins a section.
func begins(key string) bool {
	switch key {
	case "listener", "connection", "auth_plugin", "global_plugin", "plugin", "plugin_load":
		return true
	}
	return false
}

// blanks is what a broker trims from a value.
const blanks = " \t\n\v\f\r"

// parseLine returns an empty key for a comment or a blank line.
func parseLine(raw string) (line, error) {
	l := line{raw: raw}
	if strings.IndexByte(raw, 0) >= 0 {
		return l, fmt.Errorf("NUL byte in %.80q: a broker may not see what follows it", raw)
	}
	// A line that begins with a carriage return is skipped whole.
	if raw[0] == '#' || raw[0] == '\r' {
		return l, nil
	}
	s := strings.TrimLeft(strings.TrimRight(raw, "\r\n"), " ")
	if s == "" {
		return l, nil
	}
	key, rest, _ := strings.Cut(s, " ")
	o := lookup(key)
	if o == nil {
		switch {
		case strings.HasPrefix(key, "\ufeff"):
			return l, fmt.Errorf("byte order mark before %.40q (want none)", key[len("\ufeff"):])
		case strings.ContainsAny(key, "\t\v\f"):
			return l, fmt.Errorf("white space other than spaces in %.80q (want spaces between an option and its value)", s)
		case key[0] == '#':
			return l, fmt.Errorf("%.80q is no comment (want %q in the first column)", s, "#")
		}
	}
	value := strings.Trim(rest, blanks)
	if o != nil && value == "" {
		return l, fmt.Errorf("option %q has no value", key)
	}
	switch {
	case o == nil || o.Type == TextValue:
		if err := checkText(s); err != nil {
			return l, fmt.Errorf("%w in %.80q", err, s)
		}
	case o.Type == BoolValue:
		value, _ = cutWord(rest)
		if !isTrue(value) && value != "false" && value != "0" {
			return l, fmt.Errorf("%s is %.40q (want true or false)", key, value)
		}
	case o.Type == NumberValue:
		value, _ = cutWord(rest)
	}
	l.key, l.value, l.rest, l.option = key, value, rest, o
	return l, nil
}

// cutWord splits where a broker does: at spaces, and at no other white space.
// The rest begins behind the space that ends the word.
func cutWord(s string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(s, " "), " ")
	return word, rest
}

// checkText refuses what may not be in a value: bytes that are not UTF-8,
// control characters and Unicode's noncharacters. White space at the end of
// the line is trimmed before a broker looks.
func checkText(s string) error {
	s = strings.TrimRight(s, blanks)
	for i, r := range s {
		switch {
		case 0x20 <= r && r < 0x7f:
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return errors.New("text that is not UTF-8")
			}
		case r < 0xa0, 0xfdd0 <= r && r < 0xfdf0, r&0xfffe == 0xfffe:
			return fmt.Errorf("character %U, which a broker refuses,", r)
		}
	}
	return nil
}

// parseListener reads "PORT [ADDRESS] [# comment]". Port 0 is a socket, and the
// address its path, in which there can be no space.
func parseListener(value string) (port int, address string) {
	word, rest := cutWord(value)
	address, _ = cutWord(rest)
	if strings.HasPrefix(address, "#") {
		address = ""
	}
	return int(atoi(word)), address
}

// Name returns the name that was given to Parse.
func (f *File) Name() string { return f.name }

// WriteTo writes what Parse read, byte for byte but for what was edited since.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	var all bytes.Buffer
	for _, l := range f.lines {
		all.WriteString(l.raw)
	}
	return all.WriteTo(w)
}

// Directives yields all directives of this file, in its order.
func (f *File) Directives() iter.Seq[Directive] {
	return func(yield func(Directive) bool) {
		for _, s := range f.statements {
			if s.file == f && !yield(s.Directive) {
				return
			}
		}
	}
}

// Get returns the value of an option of the whole broker, and whether it is
// set, here or in an included file. If it is set more than once, the last one
// counts, as it does for a broker; up to 2.0, the broker refuses a second text.
func (f *File) Get(key string) (value string, ok bool) {
	for _, s := range slices.Backward(f.statements) {
		if s.Key == key && s.Scope == (Scope{}) {
			return s.Value, true
		}
	}
	return "", false
}

// ListenerSection is a listener of a configuration and the directives that
// belong to it.
type ListenerSection struct {
	Line       int // of the listener directive; 0 is the default listener
	Port       int // 0 is a Unix socket
	Address    string
	Directives []Directive // in file order, without the listener directive

	options holder
}

// Get returns the value of an option of this listener, and whether it is set.
func (l *ListenerSection) Get(key string) (value string, ok bool) {
	for _, d := range slices.Backward(l.Directives) {
		if d.Key == key {
			return d.Value, true
		}
	}
	return "", false
}

func isTrue(value string) bool { return value == "true" || value == "1" }

// defaultPort is that of the listener that options open without naming one.
const defaultPort = 1883

// Listeners returns the listeners in the order of the file and of those that
// it includes, the default listener first if the configuration opens it: by
// "port" or "bind_address", or by an option of a listener in front of the
// first listener line. An Address that is empty means all interfaces, and a
// path if Port is 0.
//
// A configuration without listeners returns none; a 2.0 broker then opens port
// 1883 on the loopback interface.
func (f *File) Listeners() []ListenerSection {
	listeners := []ListenerSection{{Port: defaultPort}}
	at := make(map[*line]int) // index by listener line
	open := false
	for j := range f.statements {
		s := &f.statements[j]
		if s.Scope.Kind != ListenerScope {
			continue
		}
		if s.Key == "listener" {
			port, address := parseListener(s.Value)
			at[s.line] = len(listeners)
			listeners = append(listeners, ListenerSection{Line: s.Line, Port: port, Address: address})
			continue
		}
		i := 0
		if s.Scope.Line > 0 {
			i = at[s.file.lines[s.Scope.Line-1]]
		}
		listeners[i].Directives = append(listeners[i].Directives, s.Directive)
		listeners[i].options.add(s)
		switch o := s.option; {
		case i > 0 || o.quiet:
		case !o.Security || s.Key == "password_file" || s.Key == "psk_file":
			open = true
		}
	}
	if !open {
		return listeners[1:]
	}
	if port, ok := listeners[0].Get("port"); ok {
		listeners[0].Port = int(atoi(port))
	}
	listeners[0].Address, _ = listeners[0].Get("bind_address")
	return listeners
}

// bridges are the options of each bridge.
func (f *File) bridges() []*holder {
	var all []*holder
	at := make(map[*line]*holder)
	for i := range f.statements {
		s := &f.statements[i]
		if s.Scope.Kind != ConnectionScope || s.Scope.Line == 0 {
			continue
		}
		if s.Key == "connection" {
			at[s.line] = &holder{begin: s}
			all = append(all, at[s.line])
			continue
		}
		at[s.file.lines[s.Scope.Line-1]].add(s)
	}
	return all
}
