package acl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kinds of faults, to be found with errors.Is in the errors of Parse,
// ParseRule and SetUser.
var (
	ErrKeyword = errors.New("acl: unknown keyword")
	ErrAccess  = errors.New("acl: unknown access")
	ErrTopic   = errors.New("acl: invalid topic")
	ErrUser    = errors.New("acl: invalid user name")
	ErrNUL     = errors.New("acl: NUL byte")
)

// errDeny is deny where it is no access yet.
var errDeny = fmt.Errorf("%w deny", ErrAccess)

// ErrTooLarge is a text of more than 2 GiB, which is beyond what brokers read
// in a lifetime.
var ErrTooLarge = errors.New("acl: file is too large (want at most 2 GiB)")

// SyntaxError is a line for which brokers refuse the file.
type SyntaxError struct {
	File string // as given to Parse
	Line int    // 1-based
	Text string // the line without its end, at most its first 120 bytes
	Err  error  // wraps one of ErrKeyword, ErrAccess, ErrTopic, ErrUser, ErrNUL
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// fault is an error of a kind, in its own words.
type fault struct {
	kind error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

func faultf(kind error, format string, args ...any) error {
	return &fault{kind, fmt.Sprintf(format, args...)}
}

func accessFault(word string, d dialect) error {
	switch {
	case !d.noDeny:
		return faultf(ErrAccess, "unknown access %s (want read, write, readwrite or deny)", quote(word))
	case word == "deny":
		return faultf(errDeny, "access \"deny\" is unknown before Mosquitto 2.0 (want read, write or readwrite)")
	}
	return faultf(ErrAccess, "unknown access %s (want read, write or readwrite)", quote(word))
}

// maxQuote is how much of a text that may be of any length goes into an
// error.
const maxQuote = 120

func head(s string) string { return s[:min(len(s), maxQuote)] }

func quote(s string) string {
	if len(s) > maxQuote {
		return strconv.Quote(head(s)) + "…"
	}
	return strconv.Quote(s)
}

type kind uint8

const (
	kindBlank kind = iota
	kindComment
	kindUnknown // only where the dialect skips such lines
	kindUser
	kindTopic
	kindPattern
)

// line is what a line of a file says.
type line struct {
	kind   kind
	access Access // of a topic or pattern
	text   string // the name of a user, the filter of a topic or pattern
}

func (l line) rule() Rule { return Rule{l.access, l.text} }

// parse reads a line, with or without its end, as brokers do. Odd as some of
// it is, each step is theirs: the space is the only separator, six bytes
// count as white space when ends are trimmed, and a comment begins in the
// first column.
func (d dialect) parse(s string) (line, error) {
	s = d.trimEnd(s)
	if s != "" && s[0] == '#' {
		return line{kind: kindComment}, nil
	}
	word, rest := token(s)
	switch word {
	case "":
		return line{kind: kindBlank}, nil
	case "user":
		name := d.trimStart(rest)
		if name == "" {
			return line{}, faultf(ErrUser, "user line without a name")
		}
		return line{kind: kindUser, text: name}, nil
	case "topic":
		return d.parseGrant(kindTopic, word, rest)
	case "pattern":
		return d.parseGrant(kindPattern, word, rest)
	}
	if d.skipsUnknown {
		return line{kind: kindUnknown}, nil
	}
	return line{}, faultf(ErrKeyword, "unknown keyword %s (want topic, pattern or user, then a space, or # in the first column)", quote(word))
}

// parseGrant reads what follows the keyword of a topic or pattern line.
func (d dialect) parseGrant(k kind, keyword, s string) (line, error) {
	word, rest := token(s)
	if word == "" {
		return line{}, faultf(ErrTopic, "%s line without a topic", keyword)
	}
	l := line{kind: k, access: ReadWrite, text: word}
	if rest != "" {
		access, ok := d.parseAccess(word)
		if !ok {
			return line{}, accessFault(word, d)
		}
		l.access, l.text = access, d.trimStart(rest)
	}
	if l.text == "" {
		// Brokers before 1.6.9 load a rule of no topic, which is of no use.
		return line{}, faultf(ErrTopic, "%s line without a topic", keyword)
	}
	if d.raw {
		return l, nil
	}
	if why := filterFault(l.text); why != "" {
		return line{}, faultf(ErrTopic, "topic %s is not a valid filter: %s", quote(l.text), why)
	}
	return l, nil
}

// checkNUL refuses a line with a NUL byte. Brokers silently lose the rest of
// the line, and most of them the rest of the file.
func checkNUL(s string) error {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return faultf(ErrNUL, "NUL byte in column %d", i+1)
	}
	return nil
}

// token splits s after its first word and one space.
func token(s string) (word, rest string) {
	for s != "" && s[0] == ' ' {
		s = s[1:]
	}
	for i := range len(s) { // words are too short for a call of IndexByte
		if s[i] == ' ' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

func (d dialect) trimEnd(s string) string {
	for s != "" {
		switch b := s[len(s)-1]; {
		case b > ' ', !isSpace(b), d.raw && b != '\n' && b != '\r':
			return s
		}
		s = s[:len(s)-1]
	}
	return s
}

func (d dialect) trimStart(s string) string {
	for s != "" && isSpace(s[0]) && (s[0] == ' ' || !d.raw) {
		s = s[1:]
	}
	return s
}

// rawLine is how much of a line old brokers read at a time; what follows is a
// line of its own.
const rawLine = 1023

// cutLine splits text after its first line, which keeps its end.
func (d dialect) cutLine(text string) (line, rest string) {
	n := strings.IndexByte(text, '\n') + 1
	if n == 0 {
		n = len(text)
	}
	if d.raw {
		n = min(n, rawLine)
	}
	return text[:n], text[n:]
}
