package crl

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"math/big"
	"time"
)

// Index finds entries of a list by serial. It is made for lists of any size:
// beside the list's DER, in which entries stay, it keeps six bytes for
// each. It is immutable and safe for concurrent use.
type Index struct {
	d     *document
	fault error // of an entry, that Verify reports

	// A hash table whose buckets lie one after the other, in the list's order
	// within. A serial that is not listed is mostly told by its bucket's tags,
	// eight more bits of the hash, which for a million entries still are in
	// the processor's cache. The hash is seeded, as serials may be hostile.
	seed    maphash.Seed
	ends    []uint32 // of the buckets
	tags    []uint8
	offsets []uint32 // into the DER
}

// perBucket is how many entries a bucket has on average.
const perBucket = 8

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
	d, err := readDocument(der)
	if err != nil {
		return nil, fmt.Errorf("indexing CRL: %w", err)
	}
	ix, err := newIndex(d)
	if err != nil {
		return nil, fmt.Errorf("indexing CRL: %w", err)
	}
	return ix, nil
}

// indexOf indexes a list that was parsed, by its Raw field.
func indexOf(list *x509.RevocationList) (*Index, error) {
	d, err := readDocument(list.Raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	ix, err := newIndex(d)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return ix, nil
}

func newIndex(d *document) (*Index, error) {
	// What is allocated before all is known to be well-formed depends on what
	// could be.
	n := min(d.count(), (d.revoked.end-d.revoked.at)/minEntry)
	ix := &Index{
		d:       d,
		seed:    maphash.MakeSeed(),
		ends:    make([]uint32, n/perBucket+1),
		tags:    make([]uint8, n),
		offsets: make([]uint32, n),
	}
	type place struct{ hash, at uint32 }
	places := make([]place, 0, n)
	var err error
	ix.fault, err = d.readItems(func(at int, serial []byte) {
		hash := ix.hash(serial)
		places = append(places, place{hash, uint32(at)})
		ix.ends[ix.bucket(hash)]++
	})
	if err != nil {
		return nil, err
	}
	begin := uint32(0)
	for b, size := range ix.ends {
		ix.ends[b] = begin
		begin += size
	}
	for _, p := range places {
		end := &ix.ends[ix.bucket(p.hash)]
		ix.tags[*end], ix.offsets[*end] = uint8(p.hash), p.at
		*end++
	}
	return ix, nil
}

func (ix *Index) hash(serial []byte) uint32 { return uint32(maphash.Bytes(ix.seed, serial)) }

// bucket is chosen by the hash's upper bits.
func (ix *Index) bucket(hash uint32) int { return int(uint64(hash) * uint64(len(ix.ends)) >> 32) }

// entries returns where a bucket begins and ends.
func (ix *Index) entries(bucket int) (begin, end int) {
	if bucket > 0 {
		begin = int(ix.ends[bucket-1])
	}
	return begin, int(ix.ends[bucket])
}

// from returns the list from an entry of the table on.
func (ix *Index) from(i int) scanner {
	r := ix.d.revoked
	r.at = int(ix.offsets[i])
	return r
}

// serialOf returns the serial of an entry that was read before.
func serialOf(s scanner) []byte {
	if s.der[s.at+1] < 0x80 && s.der[s.at+3] < 0x80 {
		at := s.at + usualSerial
		return s.der[at : at+int(s.der[s.at+3])]
	}
	_, entry := s.element()
	_, serial := entry.element()
	return serial.bytes()
}

// Lookup returns the entry for a serial, and whether there is one. A delta
// may have one whose reason is [RemoveFromCRL]: that certificate is not
// revoked. Of entries with the same serial it is the first. The Entry's
// Serial is the argument. Lookup does not allocate for serials within the 20
// octets of RFC 5280.
func (ix *Index) Lookup(serial *big.Int) (Entry, bool) {
	var buf [20]byte
	key := appendInteger(buf[:0], serial)
	s, ok := ix.find(key)
	if !ok {
		return Entry{}, false
	}
	e := s.entryAgain()
	e.Serial = serial
	return e, true
}

// entryAgain is what the next item says, read before, without its serial.
func (s *scanner) entryAgain() (e Entry) {
	b := s.der[s.at:s.end]
	n, octets := usualShape(b)
	if n == 0 {
		var it item
		s.again(&it)
		return it.entry()
	}
	date := b[usualSerial+octets : n]
	e.RevokedAt = stamp{tagUTCTime, date[2:usualDate]}.time()
	if len(date) > usualDate {
		e.Reason = Reason(b[n-1])
	}
	return e
}

// find returns the list from the entry for a serial on, which is the contents
// of an INTEGER.
func (ix *Index) find(serial []byte) (s scanner, ok bool) {
	hash := ix.hash(serial)
	begin, end := ix.entries(ix.bucket(hash))
	for i, tag := range ix.tags[begin:end] {
		if tag != uint8(hash) {
			continue
		}
		if s = ix.from(begin + i); bytes.Equal(serialOf(s), serial) {
			return s, true
		}
	}
	return scanner{}, false
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
				if serial := serialOf(ix.from(i)); bytes.Equal(serial, serialOf(ix.from(j))) {
					return serial
				}
			}
		}
	}
	return nil
}

// Len returns the number of entries.
func (ix *Index) Len() int { return len(ix.offsets) }

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
