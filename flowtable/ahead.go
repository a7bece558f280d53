package flowtable

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// updateBatch is the most segments that update takes.
const updateBatch = 64

// group is how many segments go through a stage together, a divisor of updateBatch.
// A fetch waits for the translation of its address, and with it all that comes
// behind; those of a group stand side by side, so that one need not wait for the other.
const group = 8

// How far ahead of the group that is followed another one is looked up, and a third one
// hashed. With one group and two in their place ten million connections take longer.
const (
	lookUpAhead = 2 * group
	hashAhead   = 4 * group
)

// lookAhead is what is known of a batch's segments before they are followed.
type lookAhead struct {
	hashes [updateBatch]uint64
	homes  [updateBatch]uint32 // buckets
	slots  [updateBatch]uint32 // where the connections are likely to be, 0 for nowhere
	keys   [updateBatch]segment.Key
	sides  [updateBatch]uint8
	rests  [group]uint32 // slots of which more than the hot half will be needed
}

// ahead fetches what groups need that come behind the one at from: one that it hashes
// its buckets, and one that it looks up in these its slots. hashes may be nil.
func (t *Table) ahead(from int, batch []*segment.Segment, hashes []uint64) {
	a := &t.look
	if hashed := from + hashAhead; hashed < len(batch) {
		t.hash(hashed, batch, hashes)
		fetchEight(unsafe.Pointer(&t.index.buckets[0]), (*[group]uint32)(a.homes[hashed:]))
	}
	if lookedUp := from + lookUpAhead; lookedUp >= 0 && lookedUp < len(batch) {
		t.lookUp(lookedUp, batch)
		fetchEightPairs(unsafe.Pointer(&t.hot[0]), (*[group]uint32)(a.slots[lookedUp:]))
		fetchEight(unsafe.Pointer(&t.cold[0]), &a.rests)
		fetchEightWords(unsafe.Pointer(&t.links[0]), &a.rests)
		if !t.config.Unasked {
			fetchEightOctets(unsafe.Pointer(&t.outlines[0]), &a.rests)
		}
	}
}

// hash finds the keys of a group, and the buckets that they belong to.
func (t *Table) hash(from int, batch []*segment.Segment, known []uint64) {
	a, to := &t.look, min(from+group, len(batch))
	segment.Keys(batch[from:to], a.keys[from:to], a.sides[from:to])
	if known != nil {
		copy(a.hashes[from:to], known[from:to])
	} else {
		t.hashes.Hashes(a.keys[from:to], a.hashes[from:to])
	}
	homes := (*[group]uint32)(a.homes[from:])
	for i, hash := range (*[group]uint64)(a.hashes[from:]) {
		homes[i] = t.index.home(hash)
	}
}

// lookUp finds the slots of a group in the buckets. What it does for few of them stands
// behind the loop, for a call in there would have all that is at hand put aside.
func (t *Table) lookUp(from int, batch []*segment.Segment) {
	a := &t.look
	homes, hashes := (*[group]uint32)(a.homes[from:]), (*[group]uint64)(a.hashes[from:])
	slots := (*[group]uint32)(a.slots[from:])
	buckets, more := t.index.buckets, uint8(0)
	for i, s := range batch[from:min(from+group, len(batch))] {
		i := uint(i) % group
		b := &buckets[homes[i]]
		slot, marks := uint32(0), b.candidates(tagOf(hashes[i]))
		if marks != 0 {
			slot = b.marked(marks)
			if marks&(marks-1) != 0 {
				more |= 1 << i
			}
		} else if b.overflow != 0 {
			more |= 1 << i
		}
		slots[i], a.rests[i] = slot, slot&mayChange(s)
	}
	for ; more != 0; more &= more - 1 {
		t.fetchFurther(from + bits.TrailingZeros8(more))
	}
}

// fetchFurther fetches where else the connection of segment i may be: what stands in
// its bucket under the same tag, of thirty connections one is not the first, or the
// next bucket.
func (t *Table) fetchFurther(i int) {
	at := t.look.homes[i]
	b := &t.index.buckets[at]
	marks := b.candidates(tagOf(t.look.hashes[i]))
	if marks == 0 {
		fetchLine(unsafe.Pointer(&t.index.buckets[t.index.after(at)]))
		return
	}
	for marks &= marks - 1; marks != 0; marks &= marks - 1 {
		fetchLines(unsafe.Pointer(&t.hot[b.marked(marks)]))
	}
}

// mayChange has all bits set for a segment that is likely to change more than
// counters, none for others. Nearly all that open and close a connection are without
// payload. It takes no branch: of many captures that would be half the segments.
func mayChange(s *segment.Segment) uint32 {
	special := uint32(s.Marks) | uint32(s.TCPFlags)&(segment.FIN|segment.RST)
	return -((special+math.MaxUint8)>>8 | (s.Payload-1)>>31)
}

// fetchSlot fetches a slot that the next connection will need, which no segment has
// told yet. There may be none with that number.
func (t *Table) fetchSlot(slot uint32) {
	if int(slot) < len(t.hot) {
		fetchLines(unsafe.Pointer(&t.hot[slot]))
		fetchLine(unsafe.Pointer(&t.cold[slot]))
		fetchLine(unsafe.Pointer(&t.links[slot]))
	}
}

// fetchDue fetches slots whose time has come.
func (t *Table) fetchDue(slots []uint32) {
	for _, slot := range slots {
		fetchLines(unsafe.Pointer(&t.hot[slot]))
		fetchLine(unsafe.Pointer(&t.cold[slot]))
		if !t.config.Unasked {
			fetchLine(unsafe.Pointer(t.outlines.at(slot)))
		}
	}
}

// fetchEnds fetches what the end of the first n connections of t.loaded changes
// beside their slots, and leaves their hashes in t.dueHashes.
func (t *Table) fetchEnds(n int) {
	for i := range n {
		hash := t.hashes.Hash(&t.loaded[i].key)
		t.dueHashes[i] = hash
		fetchLine(unsafe.Pointer(&t.index.buckets[t.index.home(hash)]))
	}
}
