package flowtable

import (
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// updateBatch is how many segments are looked ahead at once: enough that the
// memory is kept busy, and few enough that what was fetched is still in the
// nearest cache when its turn comes.
const updateBatch = 64

// lookAhead is what is known of a batch before its first segment is followed.
// Every access to the table's memory is begun for the whole batch before the
// first of them is waited for.
type lookAhead struct {
	homes [updateBatch]uint32 // buckets
	slots [updateBatch]uint32 // where the connections are likely to be, 0 for nowhere
	whole [updateBatch]uint32 // of these, the slots whose cold half is needed too
	keys  [updateBatch]segment.Key
	sides [updateBatch]uint8
}

// ahead fills t.look for a batch.
func (t *Table) ahead(batch []*segment.Segment, hashes []uint64) {
	a := &t.look
	for i, hash := range hashes {
		a.homes[i] = t.index.home(hash)
	}
	prefetch(unsafe.Pointer(&t.index.buckets[0]), bucketSize, &a.homes[0], len(hashes))
	for i, s := range batch {
		a.keys[i], a.sides[i] = segment.KeyOf(s)
	}
	cold := 0
	for i, s := range batch {
		slot := t.index.likely(a.homes[i], hashes[i])
		a.slots[i] = slot
		if s.Marks != 0 || s.Is(segment.SYN|segment.FIN|segment.RST) {
			a.whole[cold] = slot
			cold++
		}
	}
	prefetch(unsafe.Pointer(&t.hot[0]), hotSize, &a.slots[0], len(hashes))
	prefetch(unsafe.Pointer(&t.hot[0].ends[0].acked), hotSize, &a.slots[0], len(hashes))
	if cold > 0 {
		prefetch(unsafe.Pointer(&t.cold[0]), coldSize, &a.whole[0], cold)
		prefetch(unsafe.Pointer(&t.cold[0].opening), coldSize, &a.whole[0], cold)
	}
}
