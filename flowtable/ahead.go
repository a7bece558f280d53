package flowtable

import (
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// updateBatch is the most segments that update takes.
const updateBatch = 64

// The distances, in segments, between the stages: enough that what was fetched
// has come, and few enough that it is still in the nearest cache. Stages take
// turns with every segment: in bursts, the memory stood still while segments were
// followed, and they waited while it did not.
const (
	bucketAhead = 20
	slotAhead   = 10
)

// lookAhead is what is known of a batch's segments before they are followed.
type lookAhead struct {
	homes [updateBatch]uint32 // buckets
	slots [updateBatch]uint32 // where the connections are likely to be, 0 for nowhere
	keys  [updateBatch]segment.Key
	sides [updateBatch]uint8
}

// fetchBucket is the first stage of segment i.
func (t *Table) fetchBucket(i int, s *segment.Segment, hash uint64) {
	a := &t.look
	home := t.index.home(hash)
	a.homes[i] = home
	fetchLine(unsafe.Pointer(&t.index.buckets[home]))
	a.sides[i] = a.keys[i].Set(s)
}

// fetchSlot is the second stage.
func (t *Table) fetchSlot(i int, s *segment.Segment, hash uint64) {
	a := &t.look
	slot := t.index.likely(a.homes[i], hash)
	a.slots[i] = slot
	if slot == 0 {
		return
	}
	fetchLines(unsafe.Pointer(&t.hot[slot]))
	if s.Marks != 0 || s.Is(segment.SYN|segment.FIN|segment.RST) {
		fetchLine(unsafe.Pointer(&t.cold[slot]))
		fetchLine(unsafe.Pointer(&t.links[slot]))
	}
}

// fetchDue fetches slots whose time has come.
func (t *Table) fetchDue(slots []uint32) {
	for _, slot := range slots {
		fetchLines(unsafe.Pointer(&t.hot[slot]))
		fetchLine(unsafe.Pointer(&t.cold[slot]))
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
