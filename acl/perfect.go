package acl

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// perfectHash gives each of a set of names a number of its own below count,
// and any other name one of these. Of the hash of a name, one part says which
// bucket it is in; the bucket has a pilot, which was tried out so that it sends
// all of its names where nobody else is (Belazzougui, Botelho, Dietzfelbinger:
// Hash, displace, and compress, 2009). The pilots are a byte for three names,
// and so in a cache when nothing else of a large table is.
type perfectHash struct {
	seed   maphash.Seed
	pilots []byte
	count  int
}

const namesPerBucket = 3

// newPerfectHash returns a perfectHash of different names, and their numbers.
func newPerfectHash(names []string) (perfectHash, []uint32) {
	for {
		h := perfectHash{
			seed:   maphash.MakeSeed(),
			pilots: make([]byte, len(names)/namesPerBucket+1),
			// With a fourth of them free, a byte is enough for pilots.
			count: len(names)*4/3 + 1,
		}
		if numbers := h.findPilots(names); numbers != nil {
			return h, numbers
		}
	}
}

// number is seeded, so that nobody can choose names that share a bucket.
func (h *perfectHash) number(name string) int {
	hash := maphash.String(h.seed, name)
	return h.displace(hash, h.pilots[h.bucket(hash)])
}

func (h *perfectHash) bucket(hash uint64) int {
	n, _ := bits.Mul64(hash, uint64(len(h.pilots)))
	return int(n)
}

// displace depends on all bits of a hash; those that name the bucket are the
// same for all that are in it.
func (h *perfectHash) displace(hash uint64, pilot byte) int {
	const mix1, mix2 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93
	n, _ := bits.Mul64((hash^uint64(pilot)*mix1)*mix2, uint64(h.count))
	return int(n)
}

// findPilots returns the numbers of names, or nil if it runs out of pilots,
// which with another seed it won't.
func (h *perfectHash) findPilots(names []string) []uint32 {
	hashes := make([]uint64, len(names))
	for i, name := range names {
		hashes[i] = maphash.String(h.seed, name)
	}
	members := groupBy(len(h.pilots), len(names), func(i int) int { return h.bucket(hashes[i]) })
	largest := 0
	for b := range h.pilots {
		largest = max(largest, len(members(b)))
	}
	// The largest buckets are the hardest to place, and so come first.
	bySize := groupBy(largest+1, len(h.pilots), func(b int) int { return largest - len(members(b)) })

	numbers := make([]uint32, len(names))
	taken := make([]bool, h.count)
	for size := range largest + 1 {
		for _, b := range bySize(size) {
			if !h.place(int(b), members(int(b)), hashes, numbers, taken) {
				return nil
			}
		}
	}
	return numbers
}

// place finds the pilot of bucket b.
func (h *perfectHash) place(b int, members []uint32, hashes []uint64, numbers []uint32, taken []bool) bool {
	for pilot := range 1 << 8 {
		placed := 0
		for _, i := range members {
			n := h.displace(hashes[i], byte(pilot))
			if taken[n] {
				break
			}
			taken[n] = true
			numbers[i] = uint32(n)
			placed++
		}
		if placed == len(members) {
			h.pilots[b] = byte(pilot)
			return true
		}
		for _, i := range members[:placed] {
			taken[numbers[i]] = false
		}
	}
	return false
}

// groupBy sorts the numbers below n by their group, of which there are so many.
func groupBy(groups, n int, of func(i int) int) (members func(group int) []uint32) {
	ends := make([]uint32, groups+1)
	for i := range n {
		ends[of(i)+1]++
	}
	for g := range groups {
		ends[g+1] += ends[g]
	}
	starts := slices.Clone(ends)
	sorted := make([]uint32, n)
	for i := range n {
		g := of(i)
		sorted[starts[g]] = uint32(i)
		starts[g]++
	}
	return func(g int) []uint32 { return sorted[ends[g]:ends[g+1]] }
}
