package acl

import (
	"errors"
	"runtime"
	"strings"
	"sync"
)

// maxErrors is how many faulty lines Parse reports.
const maxErrors = 10

// maxText keeps positions within 32 bits, with room for what edits add.
const maxText = 1<<31 - 1

// Parse reads a file as Mosquitto 2.0 and 2.1 do, which accept the same; see
// Version.Parse for older ones.
func Parse(name string, data []byte) (*File, error) { return Version{}.Parse(name, data) }

// Parse reads a file as brokers of version v do. It accepts exactly what they
// load, except for NUL bytes, at which they lose the rest of the line or file
// without a word, and for empty names and topics, which those before 1.6.9
// load and never use. The errors of the first ten faulty lines come joined,
// each a *SyntaxError; name is for them.
//
// The File keeps data, which must not be changed any more. Large files are
// read by several goroutines, which have ended when Parse returns.
func (v Version) Parse(name string, data []byte) (*File, error) {
	if len(data) > maxText {
		return nil, ErrTooLarge
	}
	text := stringOf(data)
	f := &File{dialect: v.dialect(), text: text, size: len(text), users: newIndex()}
	f.crlf = strings.HasSuffix(text[:strings.IndexByte(text, '\n')+1], "\r\n")
	chunks := f.readChunks()
	if err := f.syntaxErrors(name, chunks); err != nil {
		return nil, err
	}
	f.joinBlocks(chunks)
	f.indexBlocks()
	return f, nil
}

// chunk is a run of whole lines, which can be read without the others.
type chunk struct {
	start, end int     // in the text
	blocks     []block // that begin in it
	faults     []lineFault
}

// lineFault is the position of a line and what is wrong with it.
type lineFault struct {
	at  int
	err error
}

// minChunk is what is worth a goroutine.
const minChunk = 1 << 20

// readChunks reads the text, as many chunks at once as there are processors.
func (f *File) readChunks() []chunk {
	var chunks []chunk
	size := max(len(f.text)/runtime.GOMAXPROCS(0)+1, minChunk)
	var all sync.WaitGroup
	for at := 0; at < len(f.text); {
		end := min(at+size, len(f.text))
		if n := strings.IndexByte(f.text[end:], '\n'); n >= 0 {
			end += n + 1
		} else {
			end = len(f.text)
		}
		chunks = append(chunks, chunk{start: at, end: end})
		at = end
	}
	for i := range chunks {
		all.Go(func() { chunks[i].read(f) })
	}
	all.Wait()
	return chunks
}

// nulWindow is how far a look for NUL bytes goes ahead of the lines, which
// then find their text in the cache.
const nulWindow = 16 << 10

// read finds the blocks, or the first faulty lines.
func (c *chunk) read(f *File) {
	d, users, text := f.dialect, f.users, f.text[:c.end]
	clean, looked := true, c.start // no NUL up to there
	for at := c.start; at < len(text) && len(c.faults) < maxErrors; {
		if at >= looked {
			looked = min(at+nulWindow, len(text))
			clean = strings.IndexByte(text[at:looked], 0) < 0
		}
		s, _ := d.cutLine(text[at:])
		l, err := d.parse(s)
		if !clean || at+len(s) > looked {
			if nul := checkNUL(s); nul != nil {
				err = nul
			}
		}
		if err != nil {
			c.faults = append(c.faults, lineFault{at, err})
		}
		if l.kind == kindUser {
			// The end is not known yet. Until it is, the hash has its place.
			c.blocks = append(c.blocks, block{start: uint32(at), end: users.hash(l.text)})
		}
		at += len(s)
	}
}

// syntaxErrors joins the first faults of all chunks.
func (f *File) syntaxErrors(name string, chunks []chunk) error {
	var errs []error
	for i := range chunks {
		for _, fault := range chunks[i].faults[:min(len(chunks[i].faults), maxErrors-len(errs))] {
			s, _ := f.dialect.cutLine(f.text[fault.at:])
			errs = append(errs, &SyntaxError{
				File: name,
				// Old brokers read long lines in pieces.
				Line: 1 + strings.Count(f.text[:fault.at], "\n"),
				Text: strings.Clone(head(strings.TrimRight(s, "\r\n"))),
				Err:  fault.err,
			})
		}
	}
	return errors.Join(errs...)
}

// joinBlocks makes the blocks of all chunks those of the file.
func (f *File) joinBlocks(chunks []chunk) {
	n := 1
	for i := range chunks {
		n += len(chunks[i].blocks)
	}
	f.blocks = make([]block, 1, n)
	for i := range chunks {
		f.blocks = append(f.blocks, chunks[i].blocks...)
	}
}

// indexBlocks finishes the blocks that Parse has begun.
func (f *File) indexBlocks() {
	f.users.resize(len(f.blocks) * 4 / 3)
	last := make(map[uint32]uint32) // of users that have several blocks
	for _, s := range byHash(f.blocks) {
		at := f.users.find(s.hash, func(i uint32) bool {
			return f.nameIn(f.text[f.blocks[i].start:]) == f.nameIn(f.text[f.blocks[s.block].start:])
		})
		first := f.users.slots[at].block
		if first == 0 {
			f.users.insert(at, s.hash, s.block)
			continue
		}
		prev, ok := last[first]
		if !ok {
			prev = first
		}
		if f.next == nil {
			f.next = make(map[uint32]uint32)
		}
		f.next[prev], last[first] = s.block, s.block
	}
	end := uint32(len(f.text))
	for i := len(f.blocks) - 1; i >= 0; i-- {
		f.blocks[i].end = end
		end = f.blocks[i].start
	}
}

// byHash returns the slots of blocks whose ends are hashes yet, roughly in the
// order of these and else in that of the file. The index keeps that order, so
// that it is filled from front to back and not all over.
func byHash(blocks []block) []slot {
	const shift = 24
	var at [1 << (32 - shift)]int
	for _, b := range blocks[1:] {
		at[b.end>>shift]++
	}
	sum := 0
	for i, n := range at {
		at[i] = sum
		sum += n
	}
	slots := make([]slot, sum)
	for i, b := range blocks[1:] {
		slots[at[b.end>>shift]] = slot{b.end, uint32(i + 1)}
		at[b.end>>shift]++
	}
	return slots
}
