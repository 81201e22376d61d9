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

func accessFault(word string) error {
	return faultf(ErrAccess, "unknown access %s (want read, write, readwrite or deny)", quote(word))
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

// parseLine reads a line, with or without its end, as Mosquitto 2.0 and 2.1
// do. Odd as some of it is, each step is theirs: the space is the only
// separator, six bytes count as white space when ends are trimmed, and a
// comment begins in the first column.
func parseLine(s string) (line, error) {
	if i := strings.IndexByte(s, 0); i >= 0 {
		// They silently lose this line and what follows.
		return line{}, faultf(ErrNUL, "NUL byte in column %d", i+1)
	}
	s = trimRight(s)
	if s != "" && s[0] == '#' {
		return line{kind: kindComment}, nil
	}
	word, rest := token(s)
	switch word {
	case "":
		return line{kind: kindBlank}, nil
	case "user":
		name := trimLeft(rest)
		if name == "" {
			return line{}, faultf(ErrUser, "user line without a name")
		}
		return line{kind: kindUser, text: name}, nil
	case "topic":
		return parseGrant(kindTopic, word, rest)
	case "pattern":
		return parseGrant(kindPattern, word, rest)
	}
	return line{}, faultf(ErrKeyword, "unknown keyword %s (want topic, pattern or user, then a space, or # in the first column)", quote(word))
}

// parseGrant reads what follows the keyword of a topic or pattern line.
func parseGrant(k kind, keyword, s string) (line, error) {
	word, rest := token(s)
	if word == "" {
		return line{}, faultf(ErrTopic, "%s line without a topic", keyword)
	}
	l := line{kind: k, access: ReadWrite, text: word}
	if rest != "" {
		access, ok := parseAccess(word)
		if !ok {
			return line{}, accessFault(word)
		}
		l.access, l.text = access, trimLeft(rest)
	}
	if why := filterFault(l.text); why != "" {
		return line{}, faultf(ErrTopic, "topic %s is not a valid filter: %s", quote(l.text), why)
	}
	return l, nil
}

// token splits s after its first word and one space.
func token(s string) (word, rest string) {
	for s != "" && s[0] == ' ' {
		s = s[1:]
	}
	word, rest, _ = strings.Cut(s, " ")
	return word, rest
}

func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

func trimRight(s string) string {
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func trimLeft(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

// cutLine splits text after its first line, which keeps its end.
func cutLine(text string) (line, rest string) {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		return text[:i+1], text[i+1:]
	}
	return text, ""
}
