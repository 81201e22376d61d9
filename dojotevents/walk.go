package dojotevents

import (
	"bytes"
	"encoding/json"
	"iter"
)

// The functions here step through JSON that encoding/json has found valid,
// or, deeperThan, is about to. That package's own ways of finding members
// match names without regard to case, hide a name that occurs twice, or copy
// the whole document.

const whitespace = " \t\r\n"

// deeperThan reports whether more than limit objects and arrays nest in a
// text. What it says of invalid JSON has no meaning.
func deeperThan(value []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			i += stringEnd(value[i:]) - 1
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// members yields the members of an object, names still quoted.
func members(object []byte) iter.Seq2[[]byte, json.RawMessage] {
	return func(yield func([]byte, json.RawMessage) bool) {
		rest := bytes.TrimLeft(object[1:], whitespace)
		for rest[0] == '"' {
			n := stringEnd(rest)
			key := rest[:n:n]
			rest = bytes.TrimLeft(rest[n:], whitespace)
			rest = bytes.TrimLeft(rest[len(":"):], whitespace)
			n = valueEnd(rest)
			if !yield(key, rest[:n:n]) {
				return
			}
			rest = bytes.TrimLeft(rest[n:], whitespace)
			if rest[0] == ',' {
				rest = bytes.TrimLeft(rest[1:], whitespace)
			}
		}
	}
}

// valueEnd returns the length of the value at the start of b.
func valueEnd(b []byte) int {
	switch b[0] {
	case '"':
		return stringEnd(b)
	case '{', '[':
		depth := 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				i += stringEnd(b[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return len(b)
	}
	if n := bytes.IndexAny(b, ",]}"+whitespace); n >= 0 {
		return n
	}
	return len(b)
}

// stringEnd returns the length of the string at the start of b, quotes
// included.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// text returns what a quoted string says.
func text(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		panic("dojotevents: string was valid before: " + err.Error())
	}
	return s
}
