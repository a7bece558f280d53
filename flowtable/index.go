package flowtable

import (
	"math/bits"
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// bucketEntries fill one cache line with their tags, the overflow count and their
// slots.
const bucketEntries = 14

// bucket is one cache line of the index. A tag is 8 bits of the hash, 0 where
// the entry is free. overflow counts the connections that belong here or further
// up and stand further down because this bucket was full: a search ends at the
// first bucket without any, and a removal needs no tombstone. A count that has
// reached manyOverflows stays, so that searches are long and never wrong.
type bucket struct {
	slots    [6]uint64 // of slotBits each, one behind the other
	tags     [bucketEntries]uint8
	overflow uint16
}

const manyOverflows = 1<<16 - 1

const bucketSize = 64

var _ [bucketSize]byte = [unsafe.Sizeof(bucket{})]byte{}

// index finds a connection's slot by the hash of its key.
type index struct{ buckets []bucket }

// indexBuckets is how many buckets have 9.23 connections each where there are capacity
// of them: one in a hundred then stands outside of its own bucket, four in a hundred
// where connections have come and gone for a while.
func indexBuckets(capacity uint32) uint64 {
	return max((uint64(capacity)*13+119)/120, 2)
}

// tagOf takes the highest bits of a hash, home the lowest 32.
func tagOf(hash uint64) uint8 {
	tag := hash >> 56
	return uint8(tag | (tag-1)>>63) // 1 for 0
}

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
// its octet, each of the other six in the bit below that of octets 0 to 5. One word
// has them all, so that no branch depends on where in a bucket an entry stands.
func (b *bucket) candidates(tag uint8) (marks uint64) {
	pattern := uint64(tag) * everyOctet
	first := matches(*(*uint64)(unsafe.Pointer(&b.tags[0])) ^ pattern)
	others := matches(*(*uint64)(unsafe.Pointer(&b.tags[8]))^pattern) & (topBits >> 16) // without the overflow
	return first | others>>1
}

// marked is the entry of the lowest mark.
func marked(marks uint64) uint {
	at := uint(bits.TrailingZeros64(marks))
	return at>>3 | ^at&1<<3
}

// marked is the slot of the lowest mark.
func (b *bucket) marked(marks uint64) (slot uint32) { return b.slot(marked(marks)) }

// slot is entry i's.
func (b *bucket) slot(i uint) uint32 {
	word, shift := b.place(i)
	return uint32(*word>>shift) & slotMask
}

func (b *bucket) setSlot(i uint, slot uint32) {
	word, shift := b.place(i)
	*word = *word&^(slotMask<<shift) | uint64(slot)<<shift
}

// place is a word that has the whole slot of entry i, and how far up. It begins in the
// octet that the slot begins in; that of the last entries has tags behind the slot.
func (b *bucket) place(i uint) (word *uint64, shift uint) {
	bit := i * slotBits
	return (*uint64)(unsafe.Add(unsafe.Pointer(&b.slots), bit/8)), bit % 8
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
		if free := b.candidates(0); free != 0 { // the lowest mark is never wrong
			i := marked(free)
			b.tags[i] = tagOf(hash)
			b.setSlot(i, slot)
			return
		}
		if b.overflow != manyOverflows {
			b.overflow++
		}
	}
}

// remove takes a slot out that insert entered under the same hash.
func (x *index) remove(hash uint64, slot uint32) {
	for at := x.home(hash); ; at = x.after(at) {
		b := &x.buckets[at]
		for marks := b.candidates(tagOf(hash)); marks != 0; marks &= marks - 1 {
			if i := marked(marks); b.slot(i) == slot {
				b.tags[i] = 0
				b.setSlot(i, 0)
				return
			}
		}
		if b.overflow != manyOverflows {
			b.overflow--
		}
	}
}
