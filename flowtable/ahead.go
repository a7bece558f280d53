package flowtable

import (
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// updateBatch is the most segments that update takes.
const updateBatch = 64

// stretch is how many segments go through a stage at once: enough that the
// memory is kept busy, and few enough that what was fetched is still in the
// nearest cache when its turn comes. (With 64 the lines drove each other out, and
// a segment took 1.5 times as long.)
const stretch = 16

// lookAhead is what is known of a batch's segments before they are followed. A
// segment goes through three stages, each a stretch behind the one before: its
// bucket is fetched, then its slot, then it is followed. So no stage waits for
// the memory accesses of its own.
type lookAhead struct {
	homes [updateBatch]uint32 // buckets
	slots [updateBatch]uint32 // where the connections are likely to be, 0 for nowhere
	whole [stretch]uint32     // of a stretch, the slots whose cold half is needed too
	keys  [updateBatch]segment.Key
	sides [updateBatch]uint8
}

// fetchBuckets is the first stage.
func (t *Table) fetchBuckets(batch []*segment.Segment, hashes []uint64, from, to int) {
	a := &t.look
	for i := from; i < to; i++ {
		a.homes[i] = t.index.home(hashes[i])
	}
	prefetch(unsafe.Pointer(&t.index.buckets[0]), bucketSize, &a.homes[from], to-from)
	for i := from; i < to; i++ {
		a.sides[i] = a.keys[i].Set(batch[i])
	}
}

// fetchSlots is the second stage.
func (t *Table) fetchSlots(batch []*segment.Segment, hashes []uint64, from, to int) {
	a := &t.look
	cold := 0
	for i := from; i < to; i++ {
		slot := t.index.likely(a.homes[i], hashes[i])
		a.slots[i] = slot
		if s := batch[i]; s.Marks != 0 || s.Is(segment.SYN|segment.FIN|segment.RST) {
			a.whole[cold] = slot
			cold++
		}
	}
	prefetch(unsafe.Pointer(&t.hot[0]), hotSize, &a.slots[from], to-from)
	prefetch(unsafe.Pointer(&t.hot[0].ends[0].acked), hotSize, &a.slots[from], to-from)
	if cold > 0 {
		prefetch(unsafe.Pointer(&t.cold[0]), coldSize, &a.whole[0], cold)
		prefetch(unsafe.Pointer(&t.cold[0].opening), coldSize, &a.whole[0], cold)
	}
}
