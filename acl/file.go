package acl

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"strings"
)

// File is the text of an access control file and an index of its users. The
// zero File is empty and ready to use. A File may be read by several
// goroutines at once, but not while it is being edited; nor may it be edited
// in a loop over its own Users or Rules.
//
// The names and topics that its methods yield share the memory of the text:
// clone what is kept for long.
type File struct {
	blocks []block          // in file order; the first holds what precedes all user lines
	users  map[string]int32 // name to its first block
	empty  int              // blocks without text, left by removed users
	crlf   bool             // lines that are added end in CR LF
}

// block is a run of whole lines: a user line and what follows up to the next
// one. Blocks keep an edit from touching, or even looking at, the others.
type block struct {
	text string
	next int32 // the next block of the same user; 0 for none
	user bool  // text begins with a user line
}

// maxErrors is how many faulty lines Parse reports.
const maxErrors = 10

// Parse reads a file. It accepts exactly what Mosquitto 2.0 and 2.1 load,
// except for NUL bytes, at which they lose the rest of the file without a
// word. The errors of the first ten faulty lines come joined, each a
// *SyntaxError; name is for them. Parse doesn't keep data.
func Parse(name string, data []byte) (*File, error) {
	text := string(data)
	hint := strings.Count(text, "\nuser ") + 1
	f := &File{blocks: make([]block, 1, hint+1), users: make(map[string]int32, hint)}
	last := make(map[string]int32) // last block of users that have several
	var errs []error
	start, number := 0, 0
	for rest := text; rest != ""; {
		var s string
		here := len(text) - len(rest)
		s, rest = cutLine(rest)
		if number++; number == 1 {
			f.crlf = strings.HasSuffix(s, "\r\n")
		}
		l, err := parseLine(s)
		if err != nil {
			s = strings.TrimRight(s, "\r\n")
			errs = append(errs, &SyntaxError{File: name, Line: number, Text: strings.Clone(head(s)), Err: err})
			if len(errs) == maxErrors {
				break
			}
		}
		if l.kind == kindUser {
			f.blocks[len(f.blocks)-1].text = text[start:here]
			start = here
			f.addBlock(l.text, last)
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	f.blocks[len(f.blocks)-1].text = text[start:]
	return f, nil
}

// addBlock appends an empty block of user and links it to those before.
func (f *File) addBlock(user string, last map[string]int32) {
	i := int32(len(f.blocks))
	f.blocks = append(f.blocks, block{user: true})
	first, ok := f.users[user]
	if !ok {
		f.users[user] = i
		return
	}
	prev, ok := last[user]
	if !ok {
		prev = first
	}
	f.blocks[prev].next = i
	last[user] = i
}

// name returns whose block b is.
func (b *block) name() string {
	s, _ := cutLine(b.text)
	l, _ := parseLine(s)
	return l.text
}

// lines yields the lines of b, their ends included, and what they say.
func (b *block) lines() iter.Seq2[string, line] {
	return func(yield func(string, line) bool) {
		for rest := b.text; rest != ""; {
			var s string
			s, rest = cutLine(rest)
			l, _ := parseLine(s) // Parse and SetUser have seen it
			if !yield(s, l) {
				return
			}
		}
	}
}

// blocksOf yields the indexes of the blocks of user in file order.
func (f *File) blocksOf(user string) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		if len(f.blocks) == 0 {
			return
		}
		i, ok := int32(0), user == "" // no user line has an empty name
		if !ok {
			i, ok = f.users[user]
		}
		for ok && yield(i) {
			i = f.blocks[i].next
			ok = i != 0
		}
	}
}

// Users yields each name that has a user line, in the order of the first ones.
func (f *File) Users() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range f.blocks {
			b := &f.blocks[i]
			if !b.user {
				continue
			}
			if name := b.name(); f.users[name] == int32(i) && !yield(name) {
				return
			}
		}
	}
}

// Rules yields the topic lines of all blocks of user, in file order, or of
// clients without a user name when user is empty.
func (f *File) Rules(user string) iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for i := range f.blocksOf(user) {
			for _, l := range f.blocks[i].lines() {
				if l.kind == kindTopic && !yield(l.rule()) {
					return
				}
			}
		}
	}
}

// WriteTo writes the text.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	b := bufio.NewWriterSize(counted, 1<<16)
	for i := range f.blocks {
		if _, err := b.WriteString(f.blocks[i].text); err != nil {
			return counted.n, err
		}
	}
	err := b.Flush()
	return counted.n, err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
