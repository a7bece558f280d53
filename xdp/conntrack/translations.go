package conntrack

import (
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/vishvananda/netlink/nl"

	"github.com/finwait/finwait/flowtable/segment"
)

// maxRoom bounds Config.Room.
const maxRoom = 1 << 24

// translation is one slot. Slots are numbered from 1; 0 is none.
type translation struct {
	entry
	older, younger uint32 // in its list
	reading        uint32 // of the kernel's table, in which it was found last
	next           [2]uint32
	over           bool
}

// list is slots in the order in which they came into it.
type list struct {
	oldest, youngest uint32
	size             int
}

// translations is memory of fixed size, found by either tuple in either direction.
// A node of a bucket is a slot's inner or outer tuple: 2 * slot, and 1 more for
// the outer.
type translations struct {
	mu      sync.Mutex
	slots   []translation
	buckets []uint32
	live    list
	over    list
	free    uint32 // linked by younger
	reading uint32
	seed    maphash.Seed
	stats   *Stats
}

func newTranslations(room int, stats *Stats) (*translations, error) {
	if room < 1 || room > maxRoom {
		return nil, fmt.Errorf("room for %d translations: choose 1 to %d", room, maxRoom)
	}
	buckets := 1
	for buckets < 2*room {
		buckets *= 2
	}
	t := &translations{
		slots: make([]translation, room+1), buckets: make([]uint32, buckets), seed: maphash.MakeSeed(), stats: stats,
	}
	for slot := uint32(room); slot > 0; slot-- {
		t.slots[slot].younger, t.free = t.free, slot
	}
	return t, nil
}

// other returns the tuple of the newest translation of a tuple.
func (t *translations) other(tuple segment.Tuple) (segment.Tuple, bool) {
	back := tuple.Reversed()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live.size+t.over.size == 0 { // as where nothing is translated, for every record
		return segment.Tuple{}, false
	}
	for node := *t.bucket(&tuple); node != 0; node = *t.link(node) {
		switch other := t.tuple(node ^ 1); *t.tuple(node) {
		case tuple:
			return *other, true
		case back:
			return other.Reversed(), true
		}
	}
	return segment.Tuple{}, false
}

// follow takes a report of the kernel's.
func (t *translations) follow(kind uint16, message []byte) {
	var e entry
	if !e.parse(message) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case kind == nl.IPCTNL_MSG_CT_NEW && e.translated():
		t.add(&e)
	case kind == nl.IPCTNL_MSG_CT_NEW:
		t.forget(&e.inner)
	case kind == nl.IPCTNL_MSG_CT_DELETE && e.translated():
		if slot := t.find(&e); slot != 0 {
			t.end(slot)
		}
	}
	t.stats.Known.Store(int64(t.live.size))
}

// beginReading numbers a reading of the kernel's whole table.
func (t *translations) beginReading() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reading++
	return t.reading
}

// found takes an entry of the reading that is under way.
func (t *translations) found(message []byte) {
	var e entry
	if !e.parse(message) || !e.translated() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(&e)
	t.stats.Known.Store(int64(t.live.size))
}

// endReading ends what was not found in that reading, nor reported since it began.
func (t *translations) endReading(reading uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for slot := t.live.oldest; slot != 0; {
		next := t.slots[slot].younger
		if t.slots[slot].reading < reading {
			t.end(slot)
		}
		slot = next
	}
	t.stats.Known.Store(int64(t.live.size))
}

// add notes a translation as the newest of its tuples, in the place of the one that
// has been over longest where there is no other.
func (t *translations) add(e *entry) {
	if slot := t.find(e); slot != 0 {
		t.remove(slot)
	}
	slot := t.place()
	t.slots[slot].entry, t.slots[slot].reading = *e, t.reading
	for _, node := range [...]uint32{2 * slot, 2*slot + 1} {
		head := t.bucket(t.tuple(node))
		*t.link(node), *head = *head, node
	}
	t.list(slot, false)
}

// place returns a slot that is free.
func (t *translations) place() uint32 {
	switch {
	case t.free != 0:
	case t.over.oldest != 0:
		t.remove(t.over.oldest)
	default:
		t.stats.Forgotten.Add(1)
		t.remove(t.live.oldest)
	}
	slot := t.free
	t.free = t.slots[slot].younger
	return slot
}

// forget drops what is known of a tuple that is not translated any more.
func (t *translations) forget(tuple *segment.Tuple) {
	for node := *t.bucket(tuple); node != 0; {
		next := *t.link(node)
		if *t.tuple(node) == *tuple {
			// The other node of the slot may be the next in this very bucket.
			t.remove(node / 2)
			next = *t.bucket(tuple)
		}
		node = next
	}
}

// end notes that a translation is over.
func (t *translations) end(slot uint32) {
	t.unlist(slot)
	t.list(slot, true)
}

// find returns the slot of a translation, 0 where it is not known.
func (t *translations) find(e *entry) uint32 {
	for node := *t.bucket(&e.inner); node != 0; node = *t.link(node) {
		if node&1 == 0 && t.slots[node/2].entry == *e {
			return node / 2
		}
	}
	return 0
}

// remove frees a slot.
func (t *translations) remove(slot uint32) {
	t.unlist(slot)
	for _, node := range [...]uint32{2 * slot, 2*slot + 1} {
		link := t.bucket(t.tuple(node))
		for *link != node {
			link = t.link(*link)
		}
		*link = *t.link(node)
	}
	t.slots[slot].younger, t.free = t.free, slot
}

// list puts a slot at the end of one of the two lists.
func (t *translations) list(slot uint32, over bool) {
	e := &t.slots[slot]
	e.over = over
	l := t.listOf(e)
	e.older, e.younger = l.youngest, 0
	if l.youngest != 0 {
		t.slots[l.youngest].younger = slot
	} else {
		l.oldest = slot
	}
	l.youngest = slot
	l.size++
}

// unlist takes a slot out of its list.
func (t *translations) unlist(slot uint32) {
	e := &t.slots[slot]
	l := t.listOf(e)
	if e.older != 0 {
		t.slots[e.older].younger = e.younger
	} else {
		l.oldest = e.younger
	}
	if e.younger != 0 {
		t.slots[e.younger].older = e.older
	} else {
		l.youngest = e.older
	}
	l.size--
}

func (t *translations) listOf(e *translation) *list {
	if e.over {
		return &t.over
	}
	return &t.live
}

// tuple is that of a node.
func (t *translations) tuple(node uint32) *segment.Tuple {
	if node&1 != 0 {
		return &t.slots[node/2].outer
	}
	return &t.slots[node/2].inner
}

// link leads to the next node of the same bucket.
func (t *translations) link(node uint32) *uint32 { return &t.slots[node/2].next[node&1] }

func (t *translations) bucket(tuple *segment.Tuple) *uint32 {
	return &t.buckets[maphash.Comparable(t.seed, tuple.Undirected())&uint64(len(t.buckets)-1)]
}
