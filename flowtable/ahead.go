package flowtable

import (
	"math/bits"
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
	for i := from; i < to; i++ {
		at := i % updateBatch
		b := &t.index.buckets[a.homes[at]]
		slot, low, high := b.likely(tagOf(a.hashes[at]))
		switch a.slots[at] = slot; {
		case low|high != 0:
			t.fetchCandidates(b, low, high)
		case slot == 0 && b.overflow != 0:
			fetchLine(unsafe.Pointer(&t.index.buckets[t.index.after(a.homes[at])]))
		}
	}
	fetchEightPairs(unsafe.Pointer(&t.hot[0]), (*[group]uint32)(a.slots[from:]))
	for i, s := range batch[from:to] {
		if s.Marks != 0 || s.Is(segment.SYN|segment.FIN|segment.RST) {
			slot := a.slots[(from+i)%updateBatch]
			fetchLine(unsafe.Pointer(&t.cold[slot]))
			fetchLine(unsafe.Pointer(&t.links[slot]))
			fetchLine(unsafe.Pointer(t.outlines.at(slot)))
		}
	}
}

// fetchCandidates fetches what stands in a bucket under the same tag as another
// slot: of thirty connections one is not the first.
func (t *Table) fetchCandidates(b *bucket, low, high uint64) {
	for ; low != 0; low &= low - 1 {
		fetchLines(unsafe.Pointer(&t.hot[b.slots[bits.TrailingZeros64(low)/8]]))
	}
	for ; high != 0; high &= high - 1 {
		fetchLines(unsafe.Pointer(&t.hot[b.slots[8+bits.TrailingZeros64(high)/8]]))
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
