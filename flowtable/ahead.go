package flowtable

import (
	"math"
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// updateBatch is the most segments that update takes.
const updateBatch = 64

// group is how many segments go through a stage together, a divisor of updateBatch.
// A fetch waits for the translation of its address, and with it all that comes
// behind; a group's stand side by side, so that one need not wait for the other.
// The lines of two groups are under way at a time: about as many as a core has room
// for.
const group = 8

// lookAhead is what is known of a batch's segments before they are followed.
type lookAhead struct {
	hashes [updateBatch]uint64
	homes  [updateBatch]uint32 // buckets
	slots  [updateBatch]uint32 // where the connections are likely to be, 0 for nowhere
	keys   [updateBatch]segment.Key
	sides  [updateBatch]uint8
}

// fetchBuckets is the first stage of a group. hashes may be nil.
func (t *Table) fetchBuckets(from int, batch []*segment.Segment, hashes []uint64) {
	if from >= len(batch) {
		return
	}
	a, to := &t.look, min(from+group, len(batch))
	for i, s := range batch[from:to] {
		at := (from + i) % updateBatch
		a.sides[at] = a.keys[at].Set(s)
		if hashes != nil {
			a.hashes[at] = hashes[from+i]
		} else {
			a.hashes[at] = t.hashes.Hash(&a.keys[at])
		}
		a.homes[at] = t.index.home(a.hashes[at])
	}
	fetchEight(unsafe.Pointer(&t.index.buckets[0]), (*[group]uint32)(a.homes[from:]))
}

// fetchSlots is the second stage.
func (t *Table) fetchSlots(from int, batch []*segment.Segment) {
	if from >= len(batch) {
		return
	}
	a, to := &t.look, min(from+group, len(batch))
	var rests [group]uint32 // slots of which more than the hot half will be needed
	for i, s := range batch[from:to] {
		at := (from + i) % updateBatch
		b := &t.index.buckets[a.homes[at]]
		slot, marks := uint32(0), b.candidates(tagOf(a.hashes[at]))
		if marks != 0 {
			slot = b.marked(marks)
			if marks &= marks - 1; marks != 0 {
				t.fetchCandidates(b, marks)
			}
		} else if b.overflow != 0 {
			fetchLine(unsafe.Pointer(&t.index.buckets[t.index.after(a.homes[at])]))
		}
		a.slots[at] = slot
		rests[i%group] = slot & mayChange(s)
	}
	fetchEightPairs(unsafe.Pointer(&t.hot[0]), (*[group]uint32)(a.slots[from:]))
	fetchEight(unsafe.Pointer(&t.cold[0]), &rests)
	fetchEightWords(unsafe.Pointer(&t.links[0]), &rests)
	fetchEightOctets(unsafe.Pointer(&t.outlines[0]), &rests)
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

// fetchCandidates fetches what stands in a bucket under the same tag as another
// slot: of thirty connections one is not the first.
func (t *Table) fetchCandidates(b *bucket, marks uint64) {
	for ; marks != 0; marks &= marks - 1 {
		fetchLines(unsafe.Pointer(&t.hot[b.marked(marks)]))
	}
}

// fetchDue fetches slots whose time has come.
func (t *Table) fetchDue(slots []uint32) {
	for _, slot := range slots {
		fetchLines(unsafe.Pointer(&t.hot[slot]))
		fetchLine(unsafe.Pointer(&t.cold[slot]))
		fetchLine(unsafe.Pointer(t.outlines.at(slot)))
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
