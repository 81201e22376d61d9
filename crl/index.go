package crl

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"math/big"
	"time"
)

// Index finds entries of a list by serial. It is made for lists of any size:
// beside the list's DER it keeps a table of what the entries say, about half as
// large. It is immutable and safe for concurrent use.
type Index struct {
	d     *document
	fault error // of an entry, that Verify reports

	// A hash table whose buckets lie one after the other, in the list's order
	// within. A serial that is not listed is mostly told by its bucket's tags,
	// eight more bits of the hash, which for a million entries still are in
	// the processor's cache. For one that is listed a single record has to
	// come from memory, and that says all that Lookup returns. The hash is
	// seeded, as serials may be hostile.
	seed    maphash.Seed
	parts   [parts + 1]uint32 // where the buckets of each part begin
	ends    []uint32          // of the buckets
	tags    []uint8
	records []byte
	stride  int // of records
}

const (
	perBucket = 8 // entries in a bucket, on average

	// parts is how many parts the table has, by the serials' last octet. The
	// records of one of them, for a list of a million, are in the cache
	// together.
	parts = 64
)

func partOf(serial []byte) int { return int(serial[len(serial)-1]) % parts }

// A record is eight octets, and the serial. The eight are, as a number, the
// serial's length, the reason, shifted by 8, and the date as packDate has it,
// shifted by 16. Where a serial has no room, or the entry is not of the usual
// form, the length is 0 and all above it an offset into the DER.
const recordHead = 8

// minEntry is the size of the shortest entry: headers, a serial of one octet,
// a UTCTime.
const minEntry = 2 + 3 + usualDate

// NewIndex reads a list in any form that [Parse] reads, accepts the same ones
// and verifies as little: use [Index.Verify]. DER is aliased, and must not
// change. What it allocates is bounded by the size of data.
func NewIndex(data []byte) (*Index, error) {
	der, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("indexing CRL: %w", err)
	}
	ix, err := newIndex(der)
	if err != nil {
		return nil, fmt.Errorf("indexing CRL: %w", err)
	}
	return ix, nil
}

// indexOf indexes a list that was parsed, by its Raw field.
func indexOf(list *x509.RevocationList) (*Index, error) {
	ix, err := newIndex(list.Raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return ix, nil
}

func newIndex(der []byte) (*Index, error) {
	d, err := readDocument(der)
	if err != nil {
		return nil, err
	}
	// What is allocated before all is known to be well-formed depends on what
	// could be.
	counts, octets := d.measure()
	n, next := 0, [parts]int{} // record of each part
	for part, count := range counts {
		next[part] = n
		n += count
	}
	ix := &Index{d: d, seed: maphash.MakeSeed()}
	if n > 0 {
		// Few long serials among many short ones get no room.
		average := (d.revoked.end - d.revoked.at) / n
		ix.stride = recordHead + min(octets, average*3/4-recordHead)
	}
	ix.records = make([]byte, n*ix.stride)

	// To put each record in its bucket at once would be to wait for memory
	// each time, so they go to their part first.
	ix.fault, err = d.readItems(func(at, octets int, serial []byte) {
		part := partOf(serial)
		ix.put(next[part], at, octets)
		next[part]++
	})
	if err != nil {
		return nil, err
	}
	ix.tags = make([]uint8, n)
	ix.ends = make([]uint32, 0, n/perBucket+parts)
	var s sorter
	begin := 0
	for part, end := range next {
		ix.parts[part] = uint32(len(ix.ends))
		if begin < end {
			s.sort(ix, begin, end)
		}
		begin = end
	}
	ix.parts[parts] = uint32(len(ix.ends))
	return ix, nil
}

// measure returns how many entries each part has, and how long the longest
// serial is but for those that RFC 5280 forbids, if no entry is malformed.
func (d *document) measure() (counts [parts]int, octets int) {
	for b := d.revoked.bytes(); len(b) >= minEntry; {
		size, n := 2+int(b[1]), int(b[3])
		if b[1] < 0x80 && minEntry <= size && size <= len(b) && 0 < n && n < size-usualSerial {
			counts[partOf(b[:usualSerial+n])]++
			octets = max(octets, n)
			b = b[size:]
			continue
		}
		s := scanner{b, 0, len(b)}
		serial := serialOf(&s)
		if len(serial) == 0 || s.at < minEntry {
			break
		}
		counts[partOf(serial)]++
		b = s.bytes()
	}
	return counts, min(octets, maxSerialOctets)
}

// serialOf moves behind an entry and returns its serial.
func serialOf(s *scanner) []byte {
	_, entry := s.element()
	_, serial := entry.element()
	return serial.bytes()
}

// put writes the record of the entry at an offset. octets is the length of its
// serial, if it is of the usual form, else 0.
func (ix *Index) put(i, at, octets int) {
	record := ix.record(i)
	if octets == 0 || octets > len(record)-recordHead {
		binary.LittleEndian.PutUint64(record, uint64(at)<<8)
		return
	}
	entry := ix.d.revoked.der[at:]
	entry = entry[:2+int(entry[1])]
	date := entry[usualSerial+octets:]
	head := uint64(octets) | packDate(date[2:])<<16
	if len(date) > usualDate {
		head |= uint64(entry[len(entry)-1]) << 8
	}
	binary.LittleEndian.PutUint64(record, head)
	copy(record[recordHead:], entry[usualSerial:usualSerial+octets])
}

func (ix *Index) record(i int) []byte {
	return ix.records[i*ix.stride : (i+1)*ix.stride]
}

// sorter has what is needed once for each part.
type sorter struct {
	records []byte
	hashes  []uint32
}

// sort puts the records from begin to end, which are a part, into buckets.
func (s *sorter) sort(ix *Index, begin, end int) {
	s.records = append(s.records[:0], ix.records[begin*ix.stride:end*ix.stride]...)
	s.hashes = s.hashes[:0]
	at := len(ix.ends)
	ix.ends = ix.ends[:at+(end-begin)/perBucket+1]
	ends := ix.ends[at:]
	for i := begin; i < end; i++ {
		hash := ix.hash(ix.serial(i))
		s.hashes = append(s.hashes, hash)
		ends[bucket(hash, len(ends))]++
	}
	for i, size := range ends {
		ends[i] = uint32(begin)
		begin += int(size)
	}
	for i, hash := range s.hashes {
		end := &ends[bucket(hash, len(ends))]
		ix.tags[*end] = uint8(hash)
		copy(ix.record(int(*end)), s.records[i*ix.stride:])
		*end++
	}
}

func (ix *Index) hash(serial []byte) uint32 { return uint32(maphash.Bytes(ix.seed, serial)) }

// bucket is chosen by the hash's upper bits.
func bucket(hash uint32, of int) int { return int(uint64(hash) * uint64(of) >> 32) }

// entries returns where a bucket begins and ends.
func (ix *Index) entries(bucket int) (begin, end int) {
	if bucket > 0 {
		begin = int(ix.ends[bucket-1])
	}
	return begin, int(ix.ends[bucket])
}

// serial returns the serial in a record.
func (ix *Index) serial(i int) []byte {
	r := ix.record(i)
	if n := int(r[0]); n > 0 {
		return r[recordHead : recordHead+n]
	}
	s := ix.elsewhere(r)
	return serialOf(&s)
}

// elsewhere returns the list from the entry on that a record points to.
func (ix *Index) elsewhere(record []byte) scanner {
	s := ix.d.revoked
	s.at = int(binary.LittleEndian.Uint64(record) >> 8)
	return s
}

// Lookup returns the entry for a serial, and whether there is one. A delta
// may have one whose reason is [RemoveFromCRL]: that certificate is not
// revoked. Of entries with the same serial it is the first. The Entry's
// Serial is the argument. Lookup does not allocate for serials within the 20
// octets of RFC 5280.
func (ix *Index) Lookup(serial *big.Int) (Entry, bool) {
	var buf [maxSerialOctets]byte
	e, ok := ix.find(appendInteger(buf[:0], serial))
	if ok {
		e.Serial = serial
	}
	return e, ok
}

// find returns the entry for a serial, which is the contents of an INTEGER,
// and leaves the Entry's Serial out.
func (ix *Index) find(serial []byte) (e Entry, ok bool) {
	part := partOf(serial)
	first, next := int(ix.parts[part]), int(ix.parts[part+1])
	if first == next {
		return Entry{}, false
	}
	hash := ix.hash(serial)
	begin, end := ix.entries(first + bucket(hash, next-first))
	for i, tag := range ix.tags[begin:end] {
		if tag == uint8(hash) && bytes.Equal(ix.serial(begin+i), serial) {
			return ix.entry(begin + i), true
		}
	}
	return Entry{}, false
}

// entry returns what a record says, without the serial.
func (ix *Index) entry(i int) Entry {
	r := ix.record(i)
	if r[0] == 0 {
		var it item
		s := ix.elsewhere(r)
		s.again(&it)
		return it.entry()
	}
	return Entry{RevokedAt: unpackDate(binary.LittleEndian.Uint64(r) >> 16), Reason: Reason(r[1])}
}

// twice returns a serial that is there more than once, nil if none is.
func (ix *Index) twice() []byte {
	for b := range ix.ends {
		begin, end := ix.entries(b)
		for i := begin; i < end; i++ {
			for j := begin; j < i; j++ {
				if ix.tags[i] != ix.tags[j] {
					continue
				}
				if serial := ix.serial(i); bytes.Equal(serial, ix.serial(j)) {
					return serial
				}
			}
		}
	}
	return nil
}

// Len returns the number of entries.
func (ix *Index) Len() int { return len(ix.tags) }

// All yields the entries in the list's order.
func (ix *Index) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for it := range ix.items() {
			if !yield(it.whole()) {
				return
			}
		}
	}
}

// items yields the entries as they are written, each time in the same place.
func (ix *Index) items() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		var it item
		for s := ix.d.revoked; !s.empty(); {
			s.again(&it)
			if !yield(&it) {
				return
			}
		}
	}
}

// Head returns all of the list but its RevokedCertificateEntries: issuer,
// dates, number and extensions. [Verify], [Lint], [Diff], [Merge], [EncodePEM]
// and [File.Install] take it for the whole list, as they read its Raw field. It
// must not be changed.
func (ix *Index) Head() *x509.RevocationList { return ix.d.head }

// Verify is the function [Verify], for the list that is indexed.
func (ix *Index) Verify(issuer *x509.Certificate, now time.Time) error {
	return errors.Join(authentic(ix.d.head, issuer), usableHead(ix.d.head), ix.fault, current(ix.d.head, now))
}

// entry is what the item says, without its serial.
func (it *item) entry() Entry {
	reason := it.reason
	if reason < 0 {
		reason, _, _ = it.details()
	}
	return Entry{RevokedAt: it.date.time(), Reason: Reason(reason)}
}

// whole is the entry with a serial of its own.
func (it *item) whole() Entry {
	e := it.entry()
	e.Serial = integer(it.serial)
	return e
}

// hex is a serial, which is the contents of an INTEGER, in messages: not all of
// one that RFC 5280 forbids, which may be as long as the list.
func hex(serial []byte) string {
	if len(serial) > maxSerialOctets {
		return fmt.Sprintf("%x…", serial[:maxSerialOctets])
	}
	return fmt.Sprintf("%x", integer(serial))
}

// integer is the value of an INTEGER's contents.
func integer(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// appendInteger appends the contents of the INTEGER n, in the shortest form.
func appendInteger(b []byte, n *big.Int) []byte {
	if n.Sign() < 0 {
		octets := uint(new(big.Int).Not(n).BitLen()/8 + 1)
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), 8*octets))
		return append(b, n.FillBytes(make([]byte, octets))...)
	}
	octets := n.BitLen()/8 + 1
	at := len(b)
	if cap(b)-at < octets {
		b = append(make([]byte, 0, max(2*cap(b), at+octets)), b...)
	}
	b = b[:at+octets]
	n.FillBytes(b[at:])
	return b
}
