package ejbca

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// What is looked for takes time with the product of its length and the text's,
// some of which both the user and the service choose: within these, a second at
// most. For a longer secret nothing is shown instead. A token's pattern is as
// long as the token; a password's is longer by far, but for the letters.
const (
	maxPattern  = 8 << 10
	maxSearched = 16 << 10 // of a text, which is many times what is shown
)

// secrets are what a request carries and no error may repeat. Empty ones are
// none.
type secrets []string

// hide takes the secrets out of a text, of which they are a part when a
// service, or a proxy before it, quotes the request: as it was, or escaped for
// JSON, HTML or an address, or for two of them.
func (s secrets) hide(text string) string {
	cut := len(text) > maxSearched
	text = text[:min(len(text), maxSearched)]
	longest := 0
	for _, secret := range s {
		if secret == "" {
			continue
		}
		pattern := quotes(secret)
		if len(pattern) > maxPattern {
			return "…"
		}
		longest = max(longest, len(pattern))
		quoted := regexp.MustCompile(pattern)
		quoted.Longest() // "a&" is quoted by "a&amp;", too
		text = quoted.ReplaceAllLiteralString(text, "…")
	}
	if cut { // perhaps through a secret
		text = text[:max(0, len(text)-longest)]
	}
	return text
}

// hideIn is hide, and shorten, for an error whose text may quote the service.
func (s secrets) hideIn(err error) error {
	text := err.Error()
	if shown := shorten(s.hide(text)); shown != text {
		return &toldError{shown, err}
	}
	return err
}

// toldError is an error with another text.
type toldError struct {
	text string
	err  error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.err }

// quotes returns a pattern for all ways to quote a secret.
func quotes(secret string) string {
	var b strings.Builder
	runes := []rune(secret)
	for i := 0; i < len(runes); {
		blanks := i
		for blanks < len(runes) && unicode.IsSpace(runes[blanks]) {
			blanks++
		}
		switch {
		case blanks == i:
			b.WriteString(quotesOf(runes[i]))
			i++
			continue
		case (i == 0) != (blanks == len(runes)): // at an edge, where they may be cut off
			b.WriteString(quotesOfBlanks(runes[i:blanks]) + "*")
		default:
			b.WriteString(quotesOfBlanks(runes[i:blanks]) + "+")
		}
		i = blanks
	}
	return b.String()
}

// quotesOfBlanks is for blanks in a row, which may be fewer and others in a
// page of HTML.
func quotesOfBlanks(blanks []rune) string {
	forms := []string{`\s`, quotesOf('+'), ampersand + `nbsp;`}
	slices.Sort(blanks)
	for _, r := range slices.Compact(blanks) {
		forms = append(forms, quotesOf(r))
	}
	return `(?:` + strings.Join(forms, "|") + `)`
}

// Escapes may be escaped in turn.
const (
	backslash = `(?:\\|%(?:25)*5[Cc])`
	percent   = `%(?:25)*`
	ampersand = `(?:&|` + backslash + `+u0026|` + percent + `26)(?:amp;)*`
)

var (
	shortEscapes = map[rune]string{'\a': "a", '\v': "v", '\b': "b", '\t': "t", '\n': "n", '\f': "f", '\r': "r"}
	entities     = map[rune]string{'"': "quot", '&': "amp", '\'': "apos", '<': "lt", '>': "gt"}
)

func quotesOf(r rune) string {
	literal := regexp.QuoteMeta(string(r))
	if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-._", r)) {
		return literal // nobody escapes these
	}
	var units, octets, hex string
	for _, u := range utf16.Encode([]rune{r}) {
		units += fmt.Sprintf(`%s+u(?i:%04x)`, backslash, u)
	}
	for _, octet := range []byte(string(r)) {
		octets += fmt.Sprintf(`%s(?i:%02x)`, percent, octet)
		hex += fmt.Sprintf(`%s+x(?i:%02x)`, backslash, octet) // as by %q
	}
	forms := []string{
		backslash + `*` + literal,
		backslash + `*` + octets,
		fmt.Sprintf(`%s*%s#(?:0*%d|[xX]0*(?i:%x));`, backslash, ampersand, r, r),
		units,
		hex,
		fmt.Sprintf(`%s+U(?i:%08x)`, backslash, r),
	}
	if entity, ok := entities[r]; ok {
		forms = append(forms, backslash+`*`+ampersand+entity+`;`)
	}
	if short, ok := shortEscapes[r]; ok {
		forms = append(forms, backslash+`+`+short)
	}
	return `(?:` + strings.Join(forms, "|") + `)`
}
