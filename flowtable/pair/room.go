package pair

import (
	"hash/maphash"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// maxRoom bounds Config.Room.
const maxRoom = 1 << 24

// held is a record that waits. Slots are numbered from 1; 0 is none.
type held struct {
	record         flowtable.Record
	since          int64
	older, younger uint32 // in the order of arrival; younger links free slots too
	ofTuple        uint32 // the next of the same bucket
	ofSequence     uint32
}

// room is the records that wait, in memory of fixed size: in the order of their
// arrival, and found by their tuple in either direction or by their two initial
// sequence numbers.
type room struct {
	slots            []held
	byTuple          []uint32 // heads of buckets
	bySequence       []uint32
	oldest, youngest uint32
	records          int
	free             uint32
	seed             maphash.Seed // secret, so that nobody chooses buckets
}

func newRoom(records int) room {
	buckets := 1
	for buckets < records {
		buckets *= 2
	}
	w := room{
		slots: make([]held, records+1), byTuple: make([]uint32, buckets), bySequence: make([]uint32, buckets),
		seed: maphash.MakeSeed(),
	}
	for slot := range uint32(records) {
		w.slots[slot+1].younger = w.free
		w.free = slot + 1
	}
	return w
}

func (w *room) full() bool { return w.free == 0 }

func (w *room) at(slot uint32) *held { return &w.slots[slot] }

// add takes a copy of a record. There must be room.
func (w *room) add(r *flowtable.Record, tuple *segment.Tuple, now int64) {
	slot := w.free
	h := &w.slots[slot]
	w.free = h.younger
	w.records++
	h.record, h.since = *r, now
	h.older, h.younger = w.youngest, 0
	if w.youngest != 0 {
		w.slots[w.youngest].younger = slot
	} else {
		w.oldest = slot
	}
	w.youngest = slot
	bucket := w.tupleBucket(tuple)
	h.ofTuple, *bucket = *bucket, slot
	if bothOpened(r) {
		bucket = w.sequenceBucket(r)
		h.ofSequence, *bucket = *bucket, slot
	}
}

// remove frees a slot, whose record stays as it is until the next add.
func (w *room) remove(slot uint32) {
	h := &w.slots[slot]
	if h.older != 0 {
		w.slots[h.older].younger = h.younger
	} else {
		w.oldest = h.younger
	}
	if h.younger != 0 {
		w.slots[h.younger].older = h.older
	} else {
		w.youngest = h.older
	}
	tuple := tupleOf(&h.record)
	link := w.tupleBucket(&tuple)
	for *link != slot {
		link = &w.slots[*link].ofTuple
	}
	*link = h.ofTuple
	if bothOpened(&h.record) {
		link = w.sequenceBucket(&h.record)
		for *link != slot {
			link = &w.slots[*link].ofSequence
		}
		*link = h.ofSequence
	}
	h.younger = w.free
	w.free = slot
	w.records--
}

// candidate is a waiting record that can be a peer; slot 0 is none.
type candidate struct {
	slot     uint32
	reversed bool // its client is the other's server
}

// ofTuple finds the record of a tuple, in either direction, that can be the peer of
// r: the one that began nearest to it, and of those the one that has waited longest. Without a translation between the two they
// were seen on different interfaces.
func (w *room) ofTuple(r *flowtable.Record, tuple *segment.Tuple, translated bool) (found candidate) {
	back := tuple.Reversed()
	for slot := *w.tupleBucket(tuple); slot != 0; slot = w.slots[slot].ofTuple {
		of := &w.slots[slot].record
		theirs := tupleOf(of)
		reversed := theirs != *tuple
		if reversed && theirs != back || !translated && of.Interface == r.Interface || !fits(r, of, reversed) {
			continue
		}
		if found.slot == 0 || apart(r, of) <= apart(r, &w.slots[found.slot].record) {
			found = candidate{slot, reversed}
		}
	}
	return found
}

// ofSequence finds the one record that has the initial sequence numbers of r and whose
// ends will do, 0 where there is none or more than one.
func (w *room) ofSequence(r *flowtable.Record, ends func(a, b *flowtable.Record) bool) (found uint32) {
	if !bothOpened(r) {
		return 0
	}
	for slot := *w.sequenceBucket(r); slot != 0; slot = w.slots[slot].ofSequence {
		of := &w.slots[slot].record
		if !sameSequence(r, of) || !ends(r, of) {
			continue
		}
		if found != 0 {
			return 0
		}
		found = slot
	}
	return found
}

// tupleBucket is the same for both directions.
func (w *room) tupleBucket(t *segment.Tuple) *uint32 {
	return &w.byTuple[maphash.Comparable(w.seed, t.Undirected())&uint64(len(w.byTuple)-1)]
}

func (w *room) sequenceBucket(r *flowtable.Record) *uint32 {
	key := uint64(r.ClientISN)<<32 | uint64(r.ServerISN)
	return &w.bySequence[maphash.Comparable(w.seed, key)&uint64(len(w.bySequence)-1)]
}
