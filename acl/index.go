package acl

import "hash/maphash"

// index finds blocks by the hash of a name, in a table with open addressing
// and linear probing. Slots of eight bytes keep a million users in 11 MB;
// which name a block has is for the caller to compare.
type index struct {
	seed  maphash.Seed
	slots []slot
	used  int
}

// slot is empty if its block is 0.
type slot struct{ hash, block uint32 }

func newIndex() index { return index{seed: maphash.MakeSeed()} }

// hash is seeded, so that nobody can choose names that collide.
func (x *index) hash(name string) uint32 { return uint32(maphash.String(x.seed, name) >> 32) }

// home is where the search for a hash begins. It keeps the order of hashes,
// and the table may have any length.
func (x *index) home(hash uint32) int { return int(uint64(hash) * uint64(len(x.slots)) >> 32) }

func (x *index) after(at int) int {
	if at++; at < len(x.slots) {
		return at
	}
	return 0
}

// find returns the slot of the block with that hash that is the right one,
// or the empty slot where it would be.
func (x *index) find(hash uint32, right func(block uint32) bool) int {
	at := x.home(hash)
	for {
		s := x.slots[at]
		if s.block == 0 || s.hash == hash && right(s.block) {
			return at
		}
		at = x.after(at)
	}
}

// insert fills the empty slot that find has returned.
func (x *index) insert(at int, hash, block uint32) {
	x.slots[at] = slot{hash, block}
	if x.used++; x.used*8 > len(x.slots)*7 {
		x.resize(2 * x.used)
	}
}

// resize gives the table n slots, of which most should stay empty.
func (x *index) resize(n int) {
	old := x.slots
	x.slots = make([]slot, max(n, 8))
	for _, s := range old {
		if s.block != 0 {
			x.slots[x.find(s.hash, func(uint32) bool { return false })] = s
		}
	}
}

// remove empties a slot and moves those that follow to where a search that
// ends at an empty slot still finds them.
func (x *index) remove(at int) {
	x.used--
	for gap, i := at, x.after(at); ; i = x.after(i) {
		s := x.slots[i]
		if s.block == 0 {
			x.slots[gap] = slot{}
			return
		}
		// Unless its home lies behind the gap, in the order of the search.
		if home := x.home(s.hash); x.distance(home, i) >= x.distance(gap, i) {
			x.slots[gap] = s
			gap = i
		}
	}
}

func (x *index) distance(from, to int) int {
	if d := to - from; d >= 0 {
		return d
	}
	return to - from + len(x.slots)
}
