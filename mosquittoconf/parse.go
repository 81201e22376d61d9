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

// File is a parsed configuration. It is not changed after Parse and may be
// used concurrently. The zero File is an empty one.
type File struct {
	name       string
	data       []byte
	directives []Directive
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
// Lines that a broker refuses for what they are, whatever surrounds them, are
// errors: joined *SyntaxError values, ten at most. So are numbers that 2.0 and
// 2.1 read differently ("listener 01883", "sys_interval 10s"). An option that
// is not known here is kept, because a newer broker may know it. Whether the
// options make sense together is not judged.
func Parse(name string, data []byte) (*File, error) {
	f := &File{name: name, data: bytes.Clone(data)}
	var (
		errs    []error
		line    int
		current [PluginScope + 1]int // line that began the current scope of a kind
		perList bool                 // per_listener_settings
	)
	for raw := range bytes.Lines(f.data) {
		line++
		key, value, err := parseLine(raw)
		if err != nil {
			errs = append(errs, &SyntaxError{File: name, Line: line, Err: err})
			if len(errs) == maxSyntaxErrors {
				break
			}
			continue
		}
		if key == "" {
			continue
		}
		o, _ := optionOf(key)
		switch key {
		case "listener", "connection", "auth_plugin", "global_plugin", "plugin", "plugin_load":
			current[o.kind] = line
		case "per_listener_settings":
			perList = value == "true" || value == "1"
		}
		scope := Scope{Kind: o.kind}
		if o.security && perList {
			scope.Kind = ListenerScope
		}
		// These two describe the default listener wherever they stand.
		if key != "port" && key != "bind_address" {
			scope.Line = current[scope.Kind]
		}
		f.directives = append(f.directives, Directive{Line: line, Key: key, Value: value, Scope: scope})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return f, nil
}

// blanks is what a broker trims from a value.
const blanks = " \t\n\v\f\r"

// parseLine returns an empty key for a comment or a blank line.
func parseLine(raw []byte) (key, value string, err error) {
	if bytes.IndexByte(raw, 0) >= 0 {
		return "", "", fmt.Errorf("NUL byte in %.80q: a broker may not see what follows it", raw)
	}
	// A line that begins with a carriage return is skipped whole.
	if raw[0] == '#' || raw[0] == '\r' {
		return "", "", nil
	}
	s := strings.Trim(strings.TrimRight(string(raw), "\r\n"), " ")
	if s == "" {
		return "", "", nil
	}
	key, rest, _ := strings.Cut(s, " ")
	value = strings.Trim(rest, blanks)
	switch {
	case strings.HasPrefix(key, "\ufeff"):
		return "", "", fmt.Errorf("byte order mark before %.40q (want none)", key[len("\ufeff"):])
	case strings.ContainsAny(key, "\t\v\f"):
		return "", "", fmt.Errorf("white space other than spaces in %.80q (want spaces between an option and its value)", s)
	case key[0] == '#':
		return "", "", fmt.Errorf("%.80q is no comment (want %q in the first column)", s, "#")
	}
	if err := checkText(s); err != nil {
		return "", "", fmt.Errorf("%w in %.80q", err, s)
	}
	o, known := optionOf(key)
	if !known {
		return key, value, nil
	}
	if value == "" {
		return "", "", fmt.Errorf("option %q has no value", key)
	}
	word, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	switch {
	case o.typ == boolean:
		value = word
		if !slices.Contains([]string{"true", "false", "1", "0"}, value) {
			return "", "", fmt.Errorf("%s is %.40q (want true or false)", key, value)
		}
	case o.typ == number:
		value = word
		if _, err := parseNumber(value); err != nil {
			return "", "", fmt.Errorf("%s is %.40q (%w)", key, value, err)
		}
	case key == "listener":
		if _, _, err := parseListener(value); err != nil {
			return "", "", err
		}
	}
	if key == "port" {
		if _, err := parsePort(value); err != nil {
			return "", "", err
		}
	}
	return key, value, nil
}

// checkText refuses what may not be in a value: bytes that are not UTF-8,
// control characters and Unicode's noncharacters. White space at the end of
// the line is trimmed before a broker looks.
func checkText(s string) error {
	s = strings.TrimRight(s, blanks)
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return errors.New("text that is not UTF-8")
			}
		}
		if r < 0x20 || 0x7f <= r && r < 0xa0 || 0xfdd0 <= r && r < 0xfdf0 || r&0xfffe == 0xfffe {
			return fmt.Errorf("character %U, which a broker refuses,", r)
		}
	}
	return nil
}

// parseNumber accepts what 2.0 reads as decimal and 2.1 in C notation alike.
func parseNumber(s string) (int, error) {
	digits := strings.TrimPrefix(s, "-")
	if len(digits) > 1 && digits[0] == '0' {
		return 0, errors.New("want no leading zero: 2.1 reads it as octal")
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || s[0] == '+' {
		return 0, errors.New("want a decimal number up to 2147483647")
	}
	return int(n), nil
}

func parsePort(s string) (int, error) {
	port, err := parseNumber(s)
	if err != nil || port < 0 || port > 65535 {
		return 0, fmt.Errorf("port of listener is %.40q (want 0 to 65535, without leading zero)", s)
	}
	return port, nil
}

// parseListener reads "PORT [ADDRESS] [# comment]". Port 0 is a socket, whose
// path is the rest of the line.
func parseListener(value string) (port int, address string, err error) {
	word, rest, _ := strings.Cut(value, " ")
	if port, err = parsePort(word); err != nil {
		return 0, "", err
	}
	address = strings.Trim(rest, blanks)
	if strings.HasPrefix(address, "#") {
		return port, "", nil
	}
	if port != 0 {
		address, _, _ = strings.Cut(address, " ")
	}
	return port, address, nil
}

// Name returns the name that was given to Parse.
func (f *File) Name() string { return f.name }

// WriteTo writes what Parse read, byte for byte.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(f.data)
	return int64(n), err
}

// Directives yields all directives, in file order.
func (f *File) Directives() iter.Seq[Directive] { return slices.Values(f.directives) }

// Get returns the value of an option of the whole broker, and whether it is
// set. If it is set more than once, the last one counts, as it does for a
// broker; up to 2.0, the broker refuses a second text.
func (f *File) Get(key string) (value string, ok bool) {
	return last(f.directives, key, func(d Directive) bool { return d.Scope == Scope{} })
}

func last(ds []Directive, key string, match func(Directive) bool) (string, bool) {
	for _, d := range slices.Backward(ds) {
		if d.Key == key && match(d) {
			return d.Value, true
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
}

// Get returns the value of an option of this listener, and whether it is set.
func (l *ListenerSection) Get(key string) (value string, ok bool) {
	return last(l.Directives, key, func(Directive) bool { return true })
}

// defaultPort is that of the listener that options open without naming one.
const defaultPort = 1883

// Listeners returns the listeners in file order, the default listener first if
// the configuration opens it: by "port" or "bind_address", or by an option of
// a listener in front of the first listener line. An Address that is empty
// means all interfaces, and a path if Port is 0.
//
// A configuration without listeners returns none; a 2.0 broker then opens port
// 1883 on the loopback interface.
func (f *File) Listeners() []ListenerSection {
	listeners := []ListenerSection{{Port: defaultPort}}
	open := false
	for _, d := range f.directives {
		if d.Scope.Kind != ListenerScope {
			continue
		}
		if d.Key == "listener" {
			port, address, _ := parseListener(d.Value)
			listeners = append(listeners, ListenerSection{Line: d.Line, Port: port, Address: address})
			continue
		}
		i := 0
		if d.Scope.Line > 0 {
			i = len(listeners) - 1
		}
		listeners[i].Directives = append(listeners[i].Directives, d)
		if i == 0 && !options[d.Key].quiet && !options[d.Key].security {
			open = true
		}
	}
	if !open {
		return listeners[1:]
	}
	if port, ok := listeners[0].Get("port"); ok {
		listeners[0].Port, _ = parsePort(port)
	}
	listeners[0].Address, _ = listeners[0].Get("bind_address")
	return listeners
}
