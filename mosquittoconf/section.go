package mosquittoconf

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Section is a part of a file that can be edited: what is of the whole broker,
// a listener, a bridge or a plugin. It stays valid while other lines are
// edited. Included files have sections of their own.
//
// Edits change the lines that they are about, and no other byte of the file.
type Section struct {
	file *File
	kind ScopeKind
	head *line // nil: the whole broker, or the default listener
}

// Global is the section of what is of the whole broker.
func (f *File) Global() *Section { return &Section{file: f, kind: GlobalScope} }

// Sections yields the listeners, connections or plugins of this file, in its
// order, without the default listener.
func (f *File) Sections(kind ScopeKind) iter.Seq[*Section] {
	return func(yield func(*Section) bool) {
		for _, l := range slices.Clone(f.lines) {
			if o, _ := OptionOf(l.key); begins(l.key) && o.Scope == kind {
				if !yield(&Section{file: f, kind: kind, head: l}) {
					return
				}
			}
		}
	}
}

// AddSection appends a section that key ("listener", "connection", "plugin", …)
// and value begin.
func (f *File) AddSection(key, value string) (*Section, error) {
	if !begins(key) {
		return nil, fmt.Errorf("%.60q begins no section (want listener, connection or a plugin)", key)
	}
	l, err := f.newLine(key, value)
	if err != nil {
		return nil, err
	}
	if n := len(f.lines); n > 0 && f.lines[n-1].key != "" {
		f.insert(n, &line{raw: f.lineEnd()})
	}
	f.insert(len(f.lines), l)
	f.reindex()
	o, _ := OptionOf(key)
	return &Section{file: f, kind: o.Scope, head: l}, nil
}

// RemoveSection removes a section with all its lines. Comments stay.
func (f *File) RemoveSection(s *Section) {
	if s.file != f || s.head == nil {
		return
	}
	gone := map[*line]bool{s.head: true}
	for _, d := range s.statements() {
		gone[d.line] = true
	}
	f.remove(gone)
}

// Directives yields the section's directives, without the one that begins it.
func (s *Section) Directives() iter.Seq[Directive] {
	return func(yield func(Directive) bool) {
		for _, d := range s.statements() {
			if !yield(d.Directive) {
				return
			}
		}
	}
}

// Value is that of the directive that begins the section.
func (s *Section) Value() string {
	if s.head == nil {
		return ""
	}
	return s.head.value
}

// Get returns the value of an option of the section, and whether it is set. Of
// several, it is the last one.
func (s *Section) Get(key string) (value string, ok bool) {
	for _, d := range slices.Backward(s.statements()) {
		if d.Key == key {
			return d.Value, true
		}
	}
	return "", false
}

// Set gives an option a value, in its place if it is set already, else in a
// new line at the end of the section. Of several lines with the key, the last
// one stays. Options that may be given repeatedly are for [Section.Add].
//
// A key that brokers do not know in such a section, and a value that they
// would not read as it is, are errors; whether the value makes sense is for
// [File.Vet] to say.
func (s *Section) Set(key, value string) (changed bool, err error) {
	o, err := s.option(key)
	if err != nil {
		return false, err
	}
	if o.Repeats {
		return false, fmt.Errorf("%s may be given repeatedly (want Add)", key)
	}
	fresh, err := s.file.newLine(key, value)
	if err != nil {
		return false, err
	}
	var there []*line
	for _, d := range s.statements() {
		if d.Key == key {
			there = append(there, d.line)
		}
	}
	if len(there) == 0 {
		s.file.insert(s.end(key), fresh)
		s.file.reindex()
		return true, nil
	}
	last := there[len(there)-1]
	if last.value == value && len(there) == 1 {
		return false, nil
	}
	last.replace(value, fresh.rest)
	gone := make(map[*line]bool)
	for _, l := range there[:len(there)-1] {
		gone[l] = true
	}
	s.file.remove(gone)
	return true, nil
}

// Add appends a directive to the section, unless it is there already. It is
// for options of which each occurrence counts, such as topic and log_dest.
func (s *Section) Add(key, value string) (changed bool, err error) {
	o, err := s.option(key)
	if err != nil {
		return false, err
	}
	if !o.Repeats || begins(key) {
		return false, fmt.Errorf("%s may be given once (want Set)", key)
	}
	fresh, err := s.file.newLine(key, value)
	if err != nil {
		return false, err
	}
	for _, d := range s.statements() {
		if d.Key == key && d.Value == value {
			return false, nil
		}
	}
	s.file.insert(s.end(key), fresh)
	s.file.reindex()
	return true, nil
}

// Delete removes the lines that set an option in the section, and returns how
// many there were.
func (s *Section) Delete(key string) int {
	gone := make(map[*line]bool)
	for _, d := range s.statements() {
		if d.Key == key {
			gone[d.line] = true
		}
	}
	s.file.remove(gone)
	return len(gone)
}

// option checks that the key belongs into the section.
func (s *Section) option(key string) (Option, error) {
	o, known := OptionOf(key)
	if !known {
		return o, fmt.Errorf("unknown option %.60q", key)
	}
	kind := o.Scope
	if value, _ := s.file.root().Get("per_listener_settings"); o.Security && isTrue(value) {
		kind = ListenerScope
	}
	if kind != s.kind || begins(key) {
		return o, fmt.Errorf("%s belongs to a %s section, not to a %s one", key, kind, s.kind)
	}
	return o, nil
}

func (s *Section) statements() []statement {
	at := 0
	if s.head != nil {
		if at = slices.Index(s.file.lines, s.head) + 1; at == 0 {
			return nil // removed
		}
	}
	var out []statement
	for _, d := range s.file.root().statements {
		if d.file == s.file && d.Scope == (Scope{Kind: s.kind, Line: at}) && d.line != s.head {
			out = append(out, d)
		}
	}
	return out
}

// end is the index at which a new line of the section goes.
func (s *Section) end(key string) int {
	f := s.file
	first := slices.IndexFunc(f.lines, func(l *line) bool { return begins(l.key) })
	if key == "per_listener_settings" {
		// Security options must not precede it.
		first = slices.IndexFunc(f.lines, func(l *line) bool { return l.key != "" })
	} else if ds := s.statements(); s.head != nil || len(ds) > 0 {
		last := s.head
		for _, d := range ds {
			if s.head != nil || first < 0 || d.Line <= first {
				last = d.line
			}
		}
		if last != nil {
			return slices.Index(f.lines, last) + 1
		}
	}
	if first < 0 {
		return len(f.lines)
	}
	// In front of the comment that belongs to the first line of something else.
	for first > 0 && strings.HasPrefix(f.lines[first-1].raw, "#") {
		first--
	}
	return first
}

// newLine makes a line, if a broker reads from it what it is made of.
func (f *File) newLine(key, value string) (*line, error) {
	if strings.ContainsAny(key+value, "\n\r") {
		return nil, fmt.Errorf("%.60q with value %.80q (want one line)", key, value)
	}
	l, err := parseLine(key + " " + value + f.lineEnd())
	if err != nil {
		return nil, err
	}
	if l.key != key || l.value != value {
		return nil, fmt.Errorf("value of %s is %.80q, which a broker reads as %.80q", key, value, l.value)
	}
	return &l, nil
}

// lineEnd is that of the first line.
func (f *File) lineEnd() string {
	if len(f.lines) > 0 && strings.HasSuffix(f.lines[0].raw, "\r\n") {
		return "\r\n"
	}
	return "\n"
}

func (f *File) insert(at int, l *line) {
	if at > 0 {
		if before := f.lines[at-1]; !strings.HasSuffix(before.raw, "\n") {
			before.raw += f.lineEnd()
		}
	}
	f.lines = slices.Insert(f.lines, at, l)
}

func (f *File) remove(gone map[*line]bool) {
	for l := range gone {
		delete(f.included, l)
	}
	f.lines = slices.DeleteFunc(f.lines, func(l *line) bool { return gone[l] })
	f.reindex()
}

// replace puts another value into the line, and leaves what surrounds it.
func (l *line) replace(value, rest string) {
	at := strings.Index(l.raw, l.key) + len(l.key)
	at += strings.Index(l.raw[at:], l.value)
	l.raw = l.raw[:at] + value + l.raw[at+len(l.value):]
	l.value, l.rest = value, rest
}

// root is the file that is not included in another one.
func (f *File) root() *File {
	for f.parent != nil {
		f = f.parent
	}
	return f
}

// reindex brings the indices of a file and of those that include it up to
// date.
func (f *File) reindex() {
	f.index()
	for p := f.parent; p != nil; p = p.parent {
		p.index()
	}
}
