package flowtable

import (
	"math/bits"
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// bucketEntries fill one cache line with their tags and the overflow count.
const bucketEntries = 12

// bucket is one cache line of the index. A tag is 8 bits of the hash, 0 where
// the entry is free. overflow counts the connections that belong here or further
// up and stand further down because this bucket was full: a search ends at the
// first bucket without any, and a removal needs no tombstone.
type bucket struct {
	tags     [bucketEntries]uint8
	overflow uint32
	slots    [bucketEntries]uint32
}

const bucketSize = 64

var _ [bucketSize]byte = [unsafe.Sizeof(bucket{})]byte{}

// index finds a connection's slot by the hash of its key.
type index struct{ buckets []bucket }

// indexBuckets is how many buckets are 10/13 full with capacity connections: then
// one connection in 25 stands outside of its own bucket.
func indexBuckets(capacity uint32) uint64 {
	return max((uint64(capacity)*13/10+bucketEntries-1)/bucketEntries, 2)
}

// tagOf takes the highest bits of a hash, home the lowest 32.
func tagOf(hash uint64) uint8 { return max(uint8(hash>>56), 1) }

// home is the bucket that a connection belongs to.
func (x *index) home(hash uint64) uint32 {
	return uint32(uint64(uint32(hash)) * uint64(len(x.buckets)) >> 32)
}

// after is the bucket to go on with.
func (x *index) after(at uint32) uint32 {
	if at++; int(at) < len(x.buckets) {
		return at
	}
	return 0
}

const (
	everyOctet = 0x0101010101010101
	topBits    = 0x8080808080808080
)

// matches marks the top bit of each octet of x that is zero. Octets above a
// zero one may be marked wrongly: the caller compares keys anyway.
func matches(x uint64) uint64 { return (x - everyOctet) &^ x & topBits }

// candidates marks, in the top bits of octets, the entries with a tag: the first
// eight in low, the other four in high.
func (b *bucket) candidates(tag uint8) (low, high uint64) {
	pattern := uint64(tag) * everyOctet
	low = matches(*(*uint64)(unsafe.Pointer(&b.tags[0])) ^ pattern)
	high = matches(uint64(*(*uint32)(unsafe.Pointer(&b.tags[8])))^pattern) & (topBits >> 32)
	return low, high
}

// likely is the first slot whose tag is right in the bucket that a connection
// belongs to, 0 for none, and the candidates behind it.
func (b *bucket) likely(tag uint8) (slot uint32, low, high uint64) {
	low, high = b.candidates(tag)
	switch {
	case low != 0:
		return b.slots[bits.TrailingZeros64(low)/8], low & (low - 1), high
	case high != 0:
		return b.slots[8+bits.TrailingZeros64(high)/8], 0, high & (high - 1)
	default:
		return 0, 0, 0
	}
}

// find returns the slot of key, 0 where it is not in the table.
func (t *Table) find(hash uint64, key *segment.Key) uint32 {
	tag := tagOf(hash)
	for at := t.index.home(hash); ; at = t.index.after(at) {
		b := &t.index.buckets[at]
		low, high := b.candidates(tag)
		for ; low != 0; low &= low - 1 {
			if slot := b.slots[bits.TrailingZeros64(low)/8]; t.hot[slot].is(key) {
				return slot
			}
		}
		for ; high != 0; high &= high - 1 {
			if slot := b.slots[8+bits.TrailingZeros64(high)/8]; t.hot[slot].is(key) {
				return slot
			}
		}
		if b.overflow == 0 {
			return 0
		}
	}
}

// insert enters a slot that find does not know. There is always room: the
// index has more entries than the table has slots.
func (x *index) insert(hash uint64, slot uint32) {
	for at := x.home(hash); ; at = x.after(at) {
		b := &x.buckets[at]
		for i := range b.tags {
			if b.tags[i] == 0 {
				b.tags[i], b.slots[i] = tagOf(hash), slot
				return
			}
		}
		b.overflow++
	}
}

// remove takes a slot out that insert entered under the same hash.
func (x *index) remove(hash uint64, slot uint32) {
	for at := x.home(hash); ; at = x.after(at) {
		b := &x.buckets[at]
		for i := range b.slots {
			if b.slots[i] == slot {
				b.tags[i], b.slots[i] = 0, 0
				return
			}
		}
		b.overflow--
	}
}
