package dojotevents

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// The scanner checks a text against RFC 8259 and picks members out of it in
// the same pass. It accepts exactly what encoding/json does and is UTF-8, in
// what is skipped as well as in what is returned. That package's own ways of
// finding members match names without regard to case, hide a name that occurs
// twice, or copy the whole document.

// scanner reads one JSON text. Its methods take the index of a value's first
// byte and return the index after its last, or -1 with err set.
type scanner struct {
	text   []byte
	shapes *shapes
	found  document // in objects of these shapes
	depth  int      // of the objects and arrays around
	err    *DecodeError
}

// shapes are objects in which members are looked for, the outermost first.
type shapes [4]shape

// document is what was found in a value, by the index of its shape. It is part of
// the scanner so that both can be on the stack.
type document [len(shapes{})]members

// shape is what is looked for in an object.
type shape struct {
	names [maxWanted]string // "" for none
	in    [maxWanted]int    // the shape of the member if it is an object, 0 for none
}

// members are what was found in an object.
type members struct {
	values  [maxWanted]json.RawMessage // by the index of their names
	object  bool                       // there was one
	twice   bool                       // a name occurred twice in it
	culprit string                     // that name, if it was looked for
}

const (
	whitespace = " \t\r\n"
	maxWanted  = 6  // members that are looked for in an object
	linearKeys = 32 // names of an object that are compared one by one

	outermost = 0  // shape
	skipped   = -1 // instead of a shape: nothing is looked for
)

// document checks that the text is one value, and finds members in it.
func (s *scanner) document() {
	i := s.value(s.space(0), outermost)
	if i >= 0 {
		if i = s.space(i); i < len(s.text) {
			s.syntax(i)
		}
	}
}

// value reads the value at i, which is of a shape if it is an object.
func (s *scanner) value(i, shape int) int {
	if i >= len(s.text) {
		return s.syntax(i)
	}
	switch s.text[i] {
	case '"':
		return s.string(i)
	case '{':
		if shape != skipped {
			return s.search(i, shape)
		}
		return s.skipObject(i)
	case '[':
		return s.skipArray(i)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	}
	return s.number(i)
}

// search reads an object and finds members in it.
func (s *scanner) search(i, shape int) int {
	var (
		want  = &s.shapes[shape]
		m     = &s.found[shape]
		first [linearKeys][]byte
		n     int
		rest  map[string]struct{} // the names once there are more than fit in first
	)
	m.object = true
	more := true
	for i, more = s.enter(i, '}'); more; i, more = s.next(i, '}') {
		start := i
		if i = s.string(i); i < 0 {
			return i
		}
		key := s.text[start+1 : i-1]
		if escaped(key) {
			key = []byte(unquote(s.text[start:i]))
		}
		if i = s.colon(i); i < 0 {
			return i
		}

		wanted := -1
		for w, name := range want.names {
			if name != "" && name == string(key) {
				wanted = w
			}
		}
		seen := false
		for _, k := range first[:n] {
			seen = seen || string(k) == string(key)
		}
		switch {
		case n < linearKeys:
			first[n] = key
			n++
		case rest == nil:
			rest = map[string]struct{}{string(key): {}}
		default:
			if _, twice := rest[string(key)]; twice {
				seen = true
			}
			rest[string(key)] = struct{}{}
		}
		if seen && !m.twice {
			m.twice = true
			if wanted >= 0 {
				m.culprit = want.names[wanted]
			}
		}

		in := skipped
		if wanted >= 0 && !seen && want.in[wanted] != 0 {
			in = want.in[wanted]
		}
		start = i
		if i = s.value(i, in); i < 0 {
			return i
		}
		if wanted >= 0 && !seen {
			m.values[wanted] = s.text[start:i:i]
		}
	}
	return i
}

func (s *scanner) skipObject(i int) int {
	more := true
	for i, more = s.enter(i, '}'); more; i, more = s.next(i, '}') {
		if i = s.string(i); i < 0 {
			return i
		}
		if i = s.colon(i); i < 0 {
			return i
		}
		if i < len(s.text) && s.text[i] == '"' {
			i = s.string(i)
		} else {
			i = s.value(i, skipped)
		}
		if i < 0 {
			return i
		}
	}
	return i
}

func (s *scanner) skipArray(i int) int {
	more := true
	for i, more = s.enter(i, ']'); more; i, more = s.next(i, ']') {
		if i = s.value(i, skipped); i < 0 {
			return i
		}
	}
	return i
}

// enter goes from an opening bracket to the first element, if there is one,
// else beyond the closing bracket.
func (s *scanner) enter(i int, closing byte) (int, bool) {
	if s.depth++; s.depth > MaxDepth {
		s.err = &DecodeError{Err: fmt.Errorf("%w: objects and arrays nest too deep (want at most %d levels)", ErrLimit, MaxDepth)}
		return -1, false
	}
	i = s.space(i + 1)
	if i < len(s.text) && s.text[i] == closing {
		s.depth--
		return i + 1, false
	}
	return i, true
}

// next goes from the end of an element to the start of the next, if there is
// one, else beyond the closing bracket.
func (s *scanner) next(i int, closing byte) (int, bool) {
	i = s.space(i)
	if i < len(s.text) {
		switch s.text[i] {
		case ',':
			return s.space(i + 1), true
		case closing:
			s.depth--
			return i + 1, false
		}
	}
	return s.syntax(i), false
}

// colon goes from the end of a name to the start of its value.
func (s *scanner) colon(i int) int {
	i = s.space(i)
	if i >= len(s.text) || s.text[i] != ':' {
		return s.syntax(i)
	}
	return s.space(i + 1)
}

func (s *scanner) space(i int) int {
	for i < len(s.text) && s.text[i] <= ' ' {
		switch s.text[i] {
		case ' ', '\t', '\r', '\n':
			i++
		default:
			return i
		}
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// string reads a string, or says that there is none at i.
func (s *scanner) string(i int) int {
	text := s.text
	if i >= len(text) || text[i] != '"' {
		return s.syntax(i)
	}
	i++
	for {
		// Eight bytes at a time as long as they are plain. The high bit of
		// a byte of special is set where the text has a control character, a
		// quote, a backslash or a byte beyond ASCII; borrows spoil only bits
		// above the lowest one.
		for i+8 <= len(text) {
			w := binary.LittleEndian.Uint64(text[i:])
			special := ((w - ' '*ones) | ((w ^ '"'*ones) - ones) | ((w ^ '\\'*ones) - ones) | w) & highs
			if special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		if i >= len(text) {
			return s.syntax(i)
		}
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = s.escape(i); i < 0 {
				return i
			}
		case c < ' ':
			return s.syntax(i)
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				return s.syntax(i)
			}
			i += n
		}
	}
}

// escape reads what begins with the backslash at i.
func (s *scanner) escape(i int) int {
	i++
	if i >= len(s.text) {
		return s.syntax(i)
	}
	switch s.text[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for range 4 {
			i++
			if i >= len(s.text) || !hexDigit(s.text[i]) {
				return s.syntax(i)
			}
		}
		return i + 1
	}
	return s.syntax(i)
}

// number reads a number, or says that there is no value at i.
func (s *scanner) number(i int) int {
	if s.at(i) == '-' {
		i++
	}
	var ok bool
	if s.at(i) == '0' {
		i++
	} else if i, ok = s.digits(i); !ok {
		return s.syntax(i)
	}
	if s.at(i) == '.' {
		if i, ok = s.digits(i + 1); !ok {
			return s.syntax(i)
		}
	}
	if c := s.at(i); c == 'e' || c == 'E' {
		i++
		if c := s.at(i); c == '+' || c == '-' {
			i++
		}
		if i, ok = s.digits(i); !ok {
			return s.syntax(i)
		}
	}
	return i
}

// digits reads one or more.
func (s *scanner) digits(i int) (int, bool) {
	start := i
	for '0' <= s.at(i) && s.at(i) <= '9' {
		i++
	}
	return i, i > start
}

func (s *scanner) literal(i int, want string) int {
	for j := range len(want) {
		if s.at(i+j) != want[j] {
			return s.syntax(i + j)
		}
	}
	return i + len(want)
}

// at returns the byte at i, zero after the end.
func (s *scanner) at(i int) byte {
	if i < len(s.text) {
		return s.text[i]
	}
	return 0
}

// syntax notes that the text goes wrong at i, its last byte if it ends too
// early.
func (s *scanner) syntax(i int) int {
	s.err = &DecodeError{Offset: int64(max(0, min(i, len(s.text)-1))), Err: ErrSyntax}
	return -1
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func escaped(s []byte) bool {
	for _, c := range s {
		if c == '\\' {
			return true
		}
	}
	return false
}

// unquote returns what a string that the scanner has read says.
func unquote(quoted []byte) string {
	if !escaped(quoted) {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		panic("dojotevents: string was valid before: " + err.Error())
	}
	return s
}
