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

// candidates marks the entries with a tag: each of the first eight in the top bit of
// its octet, each of the other four in the bit below that of octets 0 to 3. One word
// has them all, so that no branch depends on where in a bucket an entry stands.
func (b *bucket) candidates(tag uint8) (marks uint64) {
	pattern := uint64(tag) * everyOctet
	first := matches(*(*uint64)(unsafe.Pointer(&b.tags[0])) ^ pattern)
	others := matches(uint64(*(*uint32)(unsafe.Pointer(&b.tags[8])))^pattern) & (topBits >> 32)
	return first | others>>1
}

// marked is the slot of the lowest mark.
func (b *bucket) marked(marks uint64) (slot uint32) {
	at := bits.TrailingZeros64(marks)
	return b.slots[at>>3|^at&1<<3]
}

// find returns the slot of key, 0 where it is not in the table.
func (t *Table) find(hash uint64, key *segment.Key) uint32 {
	tag := tagOf(hash)
	for at := t.index.home(hash); ; at = t.index.after(at) {
		b := &t.index.buckets[at]
		for marks := b.candidates(tag); marks != 0; marks &= marks - 1 {
			if slot := b.marked(marks); t.hot[slot].is(key) {
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
