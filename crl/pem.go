package crl

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"
)

// pemBlock is a PEM block, decoded, or with an empty label a line of text
// between blocks that is not blank.
type pemBlock struct {
	label string
	line  int // where it begins, 1-based
	body  []byte
}

// pemBlocks yields the blocks of data and the text between them. encoding/pem
// would not do: it skips blocks that it cannot decode, at which OpenSSL
// gives up, and a broken crlfile must not pass for a good one. A broken block
// is yielded as an error; what follows it is still looked at, so that the
// good lists of a damaged file can be saved.
func pemBlocks(data []byte) iter.Seq2[pemBlock, error] {
	return func(yield func(pemBlock, error) bool) {
		var (
			block  pemBlock
			inside bool
			text   = make([]byte, 0, len(data)) // base64 so far
			line   int
		)
		fail := func(format string, args ...any) bool {
			inside = false
			return yield(pemBlock{}, fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...)))
		}
		for raw := range bytes.Lines(data) {
			line++
			// OpenSSL drops control characters and blanks at the end only.
			l := bytes.TrimRight(raw, "\x00\t\v\f\r\n ")
			label, isBegin := armour(l, pemBegin)
			switch {
			case isBegin:
				if inside && !fail("PEM block of line %d has no END line before the next BEGIN", block.line) {
					return
				}
				block = pemBlock{label: label, line: line}
				inside, text = true, text[:0]
				if label == "" {
					inside = false
					if !fail("malformed PEM line %.60q (want %q)", l, "-----BEGIN "+pemType+"-----") {
						return
					}
				}
			case !inside:
				// Also in the middle of a line: OpenSSL reads long lines in
				// pieces and may find armour at the start of one.
				if bytes.Contains(l, pemBegin) {
					if !fail("%q does not begin its line", pemBegin) {
						return
					}
				} else if len(l) > 0 && !yield(pemBlock{line: line, body: l}, nil) {
					return
				}
			case bytes.HasPrefix(l, pemDash):
				if end, _ := armour(l, []byte("-----END ")); end != block.label {
					if !fail("%.60q does not end the PEM block of line %d (want %q)", l, block.line, "-----END "+block.label+"-----") {
						return
					}
					continue
				}
				inside = false
				der := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
				n, err := base64.StdEncoding.Strict().Decode(der, text)
				if err == nil && n == 0 {
					err = fmt.Errorf("nothing in it")
				}
				if err != nil {
					if !fail("PEM block of line %d: %w", block.line, err) {
						return
					}
					continue
				}
				block.body = der[:n]
				if !yield(block, nil) {
					return
				}
			case len(l) == 0:
				// A blank line ends a block's headers for OpenSSL, which
				// then finds no content.
				if !fail("blank line inside the PEM block of line %d", block.line) {
					return
				}
			default:
				text = append(text, l...)
			}
		}
		if inside {
			fail("PEM block of line %d has no END line", block.line)
		}
	}
}

// armour returns what stands between prefix and the closing dashes of an
// armour line, and whether l begins with prefix at all.
func armour(l, prefix []byte) (label string, ok bool) {
	rest, ok := bytes.CutPrefix(l, prefix)
	if !ok {
		return "", false
	}
	name, closed := bytes.CutSuffix(rest, pemDash)
	if !closed {
		return "", true
	}
	return string(name), true
}
