package acl

import (
	"encoding/binary"
	"iter"
	"slices"
)

// stanzas is a table of what a Policy knows of each user, made so that a
// look-up among a million waits for memory once: the hash of a name says where
// its cell is, and the cell holds everything. A stanza that is larger than most
// has a cell that says where it is instead.
type stanzas struct {
	hash  perfectHash
	cells string // of size bytes each
	size  int
	large string // stanzas without a cell of their own
}

// A stanza is, with numbers in little-endian order:
//
//	2 bytes  the length of the name
//	         the name
//	         the rules, one after the other:
//	2 bytes    the length of the topic
//	1 byte     access and rule flags
//	4 bytes    the line
//	           the topic
//
// A cell is the length of the stanza, 0 for none, and the stanza, or else
// largeCell and where in large the stanza begins and ends.
const (
	cellHead   = 2
	largeCell  = 1<<16 - 1
	stanzaHead = 2
	ruleHead   = 2 + 1 + 4
)

// cacheLine is how much memory is waited for at once.
const cacheLine = 64

// newStanzas makes the table of the stanzas that lie one after the other in
// flat, each up to one of ends.
func newStanzas(flat string, ends []int) stanzas {
	if len(ends) == 0 {
		return stanzas{}
	}
	names := make([]string, len(ends))
	start := 0
	for i, end := range ends {
		names[i] = nameOf(flat[start:end])
		start = end
	}
	hash, numbers := newPerfectHash(names)
	size := cellSize(ends)
	cells, large := make([]byte, hash.count*size), []byte(nil)
	_ = adviseHugePages(cells) // a matter of speed alone
	start = 0
	for i, end := range ends {
		stanza := flat[start:end]
		start = end
		cell := cells[int(numbers[i])*size:][:0]
		if len(stanza) <= size-cellHead {
			cell = binary.LittleEndian.AppendUint16(cell, uint16(len(stanza)))
			_ = append(cell, stanza...)
			continue
		}
		cell = binary.LittleEndian.AppendUint16(cell, largeCell)
		cell = binary.LittleEndian.AppendUint32(cell, uint32(len(large)))
		large = append(large, stanza...)
		_ = binary.LittleEndian.AppendUint32(cell, uint32(len(large)))
	}
	return stanzas{hash: hash, cells: stringOf(cells), size: size, large: string(large)}
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

// find returns the rules of the user with that name.
func (t *stanzas) find(name string) rules {
	if t.cells == "" {
		return ""
	}
	stanza := t.stanza(t.hash.number(name))
	if stanza == "" || nameOf(stanza) != name {
		return ""
	}
	return rules(stanza[stanzaHead+len(name):])
}

// stanza returns what a cell holds, or refers to.
func (t *stanzas) stanza(number int) string {
	cell := t.cells[number*t.size:][:t.size]
	n := int(uint16At(cell))
	if n == largeCell {
		return t.largeStanza(cell)
	}
	return cell[cellHead:][:n]
}

func (t *stanzas) largeStanza(cell string) string {
	return t.large[uint32At(cell[cellHead:]):uint32At(cell[cellHead+4:])]
}

func nameOf(stanza string) string { return stanza[stanzaHead:][:uint16At(stanza)] }

// all yields the stanzas in no order.
func (t *stanzas) all() iter.Seq2[string, rules] {
	return func(yield func(string, rules) bool) {
		for i := range t.hash.count {
			stanza := t.stanza(i)
			if stanza == "" {
				continue
			}
			name := nameOf(stanza)
			if !yield(name, rules(stanza[stanzaHead+len(name):])) {
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
		b = binary.LittleEndian.AppendUint16(b, uint16(len(e.Topic)))
		b = append(b, flags)
		b = binary.LittleEndian.AppendUint32(b, e.line)
		b = append(b, e.Topic...)
	}
	return b
}

// The first rule of a list, which is not empty.
func (r rules) flags() byte    { return r[2] }
func (r rules) access() Access { return Access(r.flags() & accessBits) }
func (r rules) line() uint32   { return uint32At(string(r[3:])) }
func (r rules) topic() string  { return string(r[ruleHead:][:uint16At(string(r))]) }
func (r rules) rule() Rule     { return Rule{r.access(), r.topic()} }

// rest is the list behind the first rule.
func (r rules) rest() rules { return r[ruleHead:][uint16At(string(r)):] }

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
