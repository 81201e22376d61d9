package acl

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// stanzas is a table of what a Policy knows of each user, made so that a
// look-up among a million waits for memory once: the hash of a name says where
// its cell is, and the cell holds everything. It uses open addressing with
// linear probing. A stanza that is larger than most has a cell that says where
// it is instead.
type stanzas struct {
	seed  maphash.Seed
	cells string // of size bytes each
	size  int
	count int    // of cells
	large string // stanzas without a cell of their own
}

// A stanza is, with numbers in little-endian order:
//
//	2 bytes  the length of the name
//	         the name
//	         the rules, one after the other:
//	1 byte     access and rule flags
//	4 bytes    the line
//	2 bytes    the length of the topic
//	           the topic
//
// A cell is the low bits of the name's hash, the length of the stanza, and the
// stanza, or else largeCell and where in large the stanza begins and ends.
const (
	cellHead   = 2 + 2
	largeCell  = 1<<16 - 1
	stanzaHead = 2
	ruleHead   = 1 + 4 + 2
)

// cacheLine is how much memory is waited for at once.
const cacheLine = 64

// newStanzas makes the table of the stanzas that lie one after the other in
// flat, each up to one of ends.
func newStanzas(flat []byte, ends []int) stanzas {
	if len(ends) == 0 {
		return stanzas{}
	}
	t := stanzas{seed: maphash.MakeSeed(), size: cellSize(ends), count: len(ends)*3/2 + 1}
	w := tableWriter{stanzas: &t, cells: make([]byte, t.count*t.size)}
	// Whose home is free gets it before the others look further: so three of
	// four look-ups end where they begin, and not one of two.
	var others [][]byte
	start := 0
	for _, end := range ends {
		if stanza := flat[start:end]; !w.place(stanza, true) {
			others = append(others, stanza)
		}
		start = end
	}
	for _, stanza := range others {
		w.place(stanza, false)
	}
	t.cells, t.large = stringOf(w.cells), string(w.large)
	return t
}

// tableWriter fills the cells of a table.
type tableWriter struct {
	*stanzas
	cells, large []byte
}

// place puts a stanza into the first free cell for it, or tells that it would
// not be at home there.
func (w *tableWriter) place(stanza []byte, atHome bool) bool {
	name := stanza[stanzaHead : stanzaHead+int(binary.LittleEndian.Uint16(stanza))]
	hash := maphash.Bytes(w.seed, name)
	at := w.home(hash)
	for binary.LittleEndian.Uint16(w.cells[at*w.size+2:]) != 0 {
		if atHome {
			return false
		}
		at = w.after(at)
	}
	cell := binary.LittleEndian.AppendUint16(w.cells[at*w.size:][:0], uint16(hash))
	if len(stanza) <= w.size-cellHead {
		cell = binary.LittleEndian.AppendUint16(cell, uint16(len(stanza)))
		_ = append(cell, stanza...)
		return true
	}
	cell = binary.LittleEndian.AppendUint16(cell, largeCell)
	cell = binary.LittleEndian.AppendUint32(cell, uint32(len(w.large)))
	w.large = append(w.large, stanza...)
	_ = binary.LittleEndian.AppendUint32(cell, uint32(len(w.large)))
	return true
}

// cellSize returns the whole number of cache lines that is enough for nine
// stanzas of ten, and not more than four.
func cellSize(ends []int) int {
	lines := make([]int, 0, len(ends))
	start := 0
	for _, end := range ends {
		lines = append(lines, (cellHead+end-start+cacheLine-1)/cacheLine)
		start = end
	}
	slices.Sort(lines)
	return min(lines[(len(lines)-1)*9/10], 4) * cacheLine
}

func (t *stanzas) home(hash uint64) int {
	at, _ := bits.Mul64(hash, uint64(t.count))
	return int(at)
}

func (t *stanzas) after(at int) int {
	if at++; at < t.count {
		return at
	}
	return 0
}

// find returns the rules of the user with that name.
func (t *stanzas) find(name string) rules {
	if t.count == 0 {
		return ""
	}
	hash := maphash.String(t.seed, name)
	at := t.home(hash)
	for {
		cell := t.cells[at*t.size : (at+1)*t.size]
		n := int(uint16At(cell[2:]))
		if n == 0 {
			return ""
		}
		if uint16At(cell) == uint16(hash) {
			stanza := t.stanza(cell, n)
			if end := stanzaHead + int(uint16At(stanza)); stanza[stanzaHead:end] == name {
				return rules(stanza[end:])
			}
		}
		at = t.after(at)
	}
}

// stanza returns what a cell holds, or refers to.
func (t *stanzas) stanza(cell string, n int) string {
	if n == largeCell {
		return t.large[uint32At(cell[cellHead:]):uint32At(cell[cellHead+4:])]
	}
	return cell[cellHead : cellHead+n]
}

// all yields the stanzas in no order.
func (t *stanzas) all() iter.Seq2[string, rules] {
	return func(yield func(string, rules) bool) {
		for at := range t.count {
			cell := t.cells[at*t.size : (at+1)*t.size]
			n := int(uint16At(cell[2:]))
			if n == 0 {
				continue
			}
			stanza := t.stanza(cell, n)
			if end := stanzaHead + int(uint16At(stanza)); !yield(stanza[stanzaHead:end], rules(stanza[end:])) {
				return
			}
		}
	}
}

// rules is a list of compiled rules.
type rules string

// Flags beside the access of a compiled rule.
const (
	accessBits = 3
	// ruleLiteral rules match the topic that they name and no other.
	ruleLiteral = 4
	// ruleSound rules are literal, and the topic is one that clients can use.
	ruleSound = 8
)

func appendStanza(b []byte, name string, list []entry) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	return appendRules(b, list)
}

func appendRules(b []byte, list []entry) []byte {
	for _, e := range list {
		flags := byte(e.Access)
		if !hasWildcard(e.Topic) {
			flags |= ruleLiteral
			if topicFault(e.Topic) == "" {
				flags |= ruleSound
			}
		}
		b = append(b, flags)
		b = binary.LittleEndian.AppendUint32(b, e.line)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(e.Topic)))
		b = append(b, e.Topic...)
	}
	return b
}

// The first rule of a list, which is not empty.
func (r rules) flags() byte    { return r[0] }
func (r rules) access() Access { return Access(r[0] & accessBits) }
func (r rules) line() uint32   { return uint32At(string(r[1:])) }
func (r rules) topic() string  { return string(r[ruleHead : ruleHead+int(uint16At(string(r[5:])))]) }
func (r rules) rule() Rule     { return Rule{r.access(), r.topic()} }

// rest is the list behind the first rule.
func (r rules) rest() rules { return r[ruleHead+int(uint16At(string(r[5:]))):] }

// find returns the list from the first rule on that settles whether there is
// access want to topic, or nothing.
func (r rules) find(want Access, topic string, plusHash bool) rules {
	for ; r != ""; r = r.rest() {
		if filter := r.topic(); r.access().decides(want) &&
			(filter == topic || r.flags()&ruleLiteral == 0 && matches(filter, topic, plusHash)) {
			return r
		}
	}
	return ""
}

func uint16At(s string) uint16 { return uint16(s[0]) | uint16(s[1])<<8 }

func uint32At(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func uint64At(s string) uint64 { return uint64(uint32At(s)) | uint64(uint32At(s[4:]))<<32 }
