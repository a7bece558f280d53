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
	other [stretch]uint32     // … the sets where tuples without a slot may be remembered
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
	cold, unknown := 0, 0
	for i := from; i < to; i++ {
		slot := t.index.likely(a.homes[i], hashes[i])
		a.slots[i] = slot
		if slot == 0 {
			a.other[unknown] = t.tuples.home(hashes[i])
			unknown++
		} else if s := batch[i]; s.Marks != 0 || s.Is(segment.SYN|segment.FIN|segment.RST) {
			a.whole[cold] = slot
			cold++
		}
	}
	t.fetchHot(a.slots[from:to])
	t.fetchCold(a.whole[:cold])
	t.fetchTuples(a.other[:unknown])
}

func (t *Table) fetchHot(slots []uint32) {
	if len(slots) > 0 {
		prefetch(unsafe.Pointer(&t.hot[0]), hotSize, &slots[0], len(slots))
		prefetch(unsafe.Pointer(&t.hot[0].ends[0].acked), hotSize, &slots[0], len(slots))
	}
}

func (t *Table) fetchCold(slots []uint32) {
	if len(slots) > 0 {
		prefetch(unsafe.Pointer(&t.cold[0]), coldSize, &slots[0], len(slots))
		prefetch(unsafe.Pointer(&t.cold[0].opening), coldSize, &slots[0], len(slots))
	}
}

func (t *Table) fetchTuples(sets []uint32) {
	if len(sets) > 0 {
		prefetch(unsafe.Pointer(&t.tuples.sets[0]), tupleSetSize, &sets[0], len(sets))
	}
}

// fetchEnds fetches what the end of n connections of t.loaded changes beside their
// slots, and leaves their hashes in t.dueHashes.
func (t *Table) fetchEnds(n int) {
	var buckets, sets [AccountsBatch]uint32
	for i := range n {
		hash := t.hashes.Hash(&t.loaded[i].key)
		t.dueHashes[i], buckets[i], sets[i] = hash, t.index.home(hash), t.tuples.home(hash)
	}
	if n > 0 {
		prefetch(unsafe.Pointer(&t.index.buckets[0]), bucketSize, &buckets[0], n)
		t.fetchTuples(sets[:n])
	}
}
