package acl

import (
	"bufio"
	"bytes"
	"io"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"unsafe"
)

// File is the text of an access control file and an index of its users. The
// zero File is empty and ready to use. A File may be read by several
// goroutines at once, but not while it is being edited; nor may it be edited
// in a loop over its own Users or Rules.
//
// The names and topics that its methods yield share the memory of the text:
// clone what is kept for long.
type File struct {
	dialect dialect
	crlf    bool // lines that are added end in CR LF

	// Positions in the text parsed go on in what edits have added to it.
	text   string
	added  tail
	blocks []block           // in file order; the first holds what precedes all user lines
	users  index             // each user's first block
	next   map[uint32]uint32 // a block of a user to the next one of the same
	empty  int               // blocks without text, left by removed users
	size   int               // of the text of all blocks, in bytes
	draft  []byte            // what an edit composes the text of a block in
}

// block is a run of whole lines: a user line and what follows up to the next
// one. Blocks keep an edit from touching, or even looking at, the others. A
// fleet has a million of them, so they hold two numbers and no pointer.
type block struct{ start, end uint32 }

// stringOf returns a string that shares the memory of b, which nobody may
// change any more.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// find returns the slot of user.
func (f *File) find(user string) (at int, ok bool) {
	if len(f.users.slots) == 0 {
		return 0, false
	}
	at = f.users.find(f.users.hash(user), func(i uint32) bool { return f.name(i) == user })
	return at, f.users.slots[at].block != 0
}

// slice returns the text of a block.
func (f *File) slice(b block) string {
	if int(b.end) <= len(f.text) {
		return f.text[b.start:b.end]
	}
	return stringOf(f.added.text[int(b.start)-len(f.text) : int(b.end)-len(f.text)])
}

// name returns whose block i is, or "" if nobody's.
func (f *File) name(i uint32) string { return f.nameIn(f.slice(f.blocks[i])) }

// nameIn returns the name in the user line with which text begins, or "".
func (f *File) nameIn(text string) string {
	s, _ := f.dialect.cutLine(text)
	if l, _ := f.dialect.parse(s); l.kind == kindUser {
		return l.text
	}
	return ""
}

// lines yields the lines of a block, their ends included, and what they say.
func (f *File) lines(i uint32) iter.Seq2[string, line] {
	return func(yield func(string, line) bool) {
		for rest := f.slice(f.blocks[i]); rest != ""; {
			var s string
			s, rest = f.dialect.cutLine(rest)
			l, _ := f.dialect.parse(s) // Parse and the edits have seen it
			if !yield(s, l) {
				return
			}
		}
	}
}

// firstBlock returns the first block of user. That of clients without a user
// name, whose name is empty as no user's is, precedes all user lines.
func (f *File) firstBlock(user string) (i uint32, ok bool) {
	if user == "" {
		return 0, len(f.blocks) > 0
	}
	at, ok := f.find(user)
	if !ok {
		return 0, false
	}
	return f.users.slots[at].block, true
}

// blocksFrom yields i and the blocks of the same user behind it.
func (f *File) blocksFrom(i uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for ok := true; ok && yield(i); {
			i, ok = f.next[i]
		}
	}
}

// Users yields each name that has a user line, in the order of the first ones.
func (f *File) Users() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range f.firstBlocks() {
			if !yield(name) {
				return
			}
		}
	}
}

// firstBlocks yields the index of each user's first block and its name, in
// file order.
func (f *File) firstBlocks() iter.Seq2[uint32, string] {
	return func(yield func(uint32, string) bool) {
		later := make(map[uint32]bool, len(f.next))
		for _, i := range f.next {
			later[i] = true
		}
		for i := range f.blocks {
			if len(later) > 0 && later[uint32(i)] {
				continue
			}
			if name := f.name(uint32(i)); name != "" && !yield(uint32(i), name) {
				return
			}
		}
	}
}

// Rules yields the topic lines of all blocks of user, in file order, or of
// clients without a user name when user is empty.
func (f *File) Rules(user string) iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		if i, ok := f.firstBlock(user); ok {
			f.rulesFrom(i)(yield)
		}
	}
}

// rulesFrom yields the topic lines of block i and of those of the same user
// behind it.
func (f *File) rulesFrom(i uint32) iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for i := range f.blocksFrom(i) {
			for _, l := range f.lines(i) {
				if l.kind == kindTopic && !yield(l.rule()) {
					return
				}
			}
		}
	}
}

// Patterns yields the pattern lines in file order. It costs as much as
// reading the whole file.
func (f *File) Patterns() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for i := range f.blocks {
			for _, l := range f.lines(uint32(i)) {
				if l.kind == kindPattern && !yield(l.rule()) {
					return
				}
			}
		}
	}
}

// hasRules tells whether there is a topic or pattern line.
func (f *File) hasRules() bool {
	for i := range f.blocks {
		for _, l := range f.lines(uint32(i)) {
			if l.kind == kindTopic || l.kind == kindPattern {
				return true
			}
		}
	}
	return false
}

// clone returns a File with the same text. Edits of one don't reach the other,
// and may be made at the same time.
func (f *File) clone() *File {
	c := *f
	c.blocks = slices.Clone(f.blocks)
	c.users.slots = slices.Clone(f.users.slots)
	c.next = maps.Clone(f.next)
	c.draft = nil
	return &c
}

// tail is what was appended to a text, and stays as it is. Clones share its
// memory, and the first to append goes on in it: the others move elsewhere.
type tail struct {
	text []byte
	used *atomic.Int64 // how much of the memory behind text is taken
}

func (t *tail) append(s []byte) {
	n := len(t.text)
	if n+len(s) > cap(t.text) || !t.used.CompareAndSwap(int64(n), int64(n+len(s))) {
		t.text = append(make([]byte, 0, 2*(n+len(s))), t.text...)
		t.used = new(atomic.Int64)
		t.used.Store(int64(n + len(s)))
	}
	t.text = append(t.text, s...)
}

// as returns the file as brokers of version v read it, which may be f itself.
func (f *File) as(v Version) (*File, error) {
	if v.dialect() == f.dialect {
		return f, nil
	}
	var text bytes.Buffer
	text.Grow(f.size)
	if _, err := f.WriteTo(&text); err != nil {
		panic(err) // a Buffer has no errors
	}
	return v.Parse("", text.Bytes())
}

// WriteTo writes the text.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	b := bufio.NewWriterSize(counted, 1<<16)
	for s := range f.runs() {
		if _, err := b.WriteString(s); err != nil {
			return counted.n, err
		}
	}
	err := b.Flush()
	return counted.n, err
}

// runs yields the text in pieces as long as edits have left them.
func (f *File) runs() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; i < len(f.blocks); {
			run := f.blocks[i]
			for i++; i < len(f.blocks) && f.blocks[i].start == run.end && int(run.end) != len(f.text); i++ {
				run.end = f.blocks[i].end
			}
			if !yield(f.slice(run)) {
				return
			}
		}
	}
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
