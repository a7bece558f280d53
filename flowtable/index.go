package flowtable

import (
	"math/bits"
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// bucketEntries fill one cache line with their tags and the overflow count.
const bucketEntries = 12

// bucket is one cache line of the index. A tag is 8 bits of the hash with the
// top bit set, 0 where the entry is free. overflow counts the connections
// that belong here or further up and stand further down because this bucket
// was full: a search ends at the first bucket without any, and a removal
// needs no tombstone.
type bucket struct {
	tags     [bucketEntries]uint8
	overflow uint32
	slots    [bucketEntries]uint32
}

var _ [64]byte = [unsafe.Sizeof(bucket{})]byte{}

// index finds a connection's slot by the hash of its key.
type index struct {
	buckets []bucket
	mask    uint64
}

// indexBuckets is the least power of two of buckets that are at most 4/5
// full with capacity connections.
func indexBuckets(capacity uint32) uint64 {
	need := (uint64(capacity)*5/4 + bucketEntries - 1) / bucketEntries
	return 1 << bits.Len64(max(need, 2)-1)
}

func tagOf(hash uint64) uint8 { return uint8(hash>>56) | 0x80 }

const (
	everyOctet = 0x0101010101010101
	topBits    = 0x8080808080808080
)

// matches marks the top bit of each octet of x that is zero. Octets above a
// zero one may be marked wrongly: the caller compares keys anyway.
func matches(x uint64) uint64 { return (x - everyOctet) &^ x & topBits }

// find returns the slot of key, 0 where it is not in the table.
func (t *Table) find(hash uint64, key *segment.Key) uint32 {
	pattern := uint64(tagOf(hash)) * everyOctet
	for at := hash & t.index.mask; ; at = (at + 1) & t.index.mask {
		b := &t.index.buckets[at]
		low := *(*uint64)(unsafe.Pointer(&b.tags[0]))
		for m := matches(low ^ pattern); m != 0; m &= m - 1 {
			slot := b.slots[bits.TrailingZeros64(m)/8]
			if slot != 0 && t.slots[slot].key == *key {
				return slot
			}
		}
		high := uint64(*(*uint32)(unsafe.Pointer(&b.tags[8])))
		for m := matches(high^pattern) & 0xffffffff; m != 0; m &= m - 1 {
			slot := b.slots[8+bits.TrailingZeros64(m)/8]
			if slot != 0 && t.slots[slot].key == *key {
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
	for at := hash & x.mask; ; at = (at + 1) & x.mask {
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
	for at := hash & x.mask; ; at = (at + 1) & x.mask {
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
