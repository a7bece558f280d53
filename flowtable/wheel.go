package flowtable

import "math/bits"

const (
	wheelBuckets = 512
	// wheelTicks is how many ticks a timeout is cut into. It is below
	// wheelBuckets, so that no deadline comes round to a bucket in use.
	wheelTicks = 256
	// nominalTimeout orders the connections of a class that never times out.
	nominalTimeout = int64(300e9)
)

// wheel is the hashed timing wheel of one class (Varghese and Lauck, scheme
// 6): lists of slots by deadline, linked by index. A bucket is due when the
// whole of it has passed, so an expiry is late by at most one tick, 1/256 of
// the timeout. Activity moves nothing: a due connection that was active since
// is put back by its new deadline.
type wheel struct {
	timeout int64 // ns, 0 for never
	tick    int64
	cursor  int64 // the tick that is due next
	dueAt   int64 // when it is
	heads   [wheelBuckets]uint32
	tails   [wheelBuckets]uint32      // valid where there is a head
	used    [wheelBuckets / 64]uint64 // which heads are set
	size    uint32
}

func newWheel(timeout int64) wheel {
	span := timeout
	if span == 0 {
		span = nominalTimeout
	}
	return wheel{timeout: timeout, tick: span/wheelTicks + 1}
}

// clear empties the wheel.
func (w *wheel) clear() {
	w.heads, w.used, w.size = [wheelBuckets]uint32{}, [wheelBuckets / 64]uint64{}, 0
}

// set makes a tick the one that is due next: once the whole of it is over.
func (w *wheel) set(tick int64) { w.cursor, w.dueAt = tick, (tick+1)*w.tick }

// place returns the bucket for a deadline; what is overdue or too far goes
// to the nearest bucket that is still to come.
func (w *wheel) place(deadline int64) uint32 {
	at := min(max(deadline/w.tick, w.cursor), w.cursor+wheelBuckets-1)
	return uint32(uint64(at) % wheelBuckets)
}

// link is a slot's place in its bucket's list: bucket 9 | next 27 | prev 27; 0
// ends the list on either side. A free slot has the next free one. It is the
// writer's own.
type link uint64

func (l link) prev() uint32   { return uint32(l & slotMask) }
func (l link) next() uint32   { return uint32(l >> slotBits & slotMask) }
func (l link) bucket() uint32 { return uint32(l >> (2 * slotBits)) }

func (l *link) setPrev(slot uint32) { *l = *l&^slotMask | link(slot) }

func (l *link) setNext(slot uint32) {
	*l = *l&^(slotMask<<slotBits) | link(slot)<<slotBits
}

// link puts a slot at the end of its bucket in the wheel of its class, so that
// a bucket keeps the order in which its connections came.
func (t *Table) link(slot uint32, of class, deadline int64) {
	w := &t.wheels[of]
	b := w.place(deadline)
	last := uint32(0)
	if w.heads[b] == 0 {
		w.heads[b] = slot
		w.used[b/64] |= 1 << (b % 64)
	} else {
		last = w.tails[b]
		t.links[last].setNext(slot)
	}
	w.tails[b] = slot
	t.links[slot] = link(last) | link(b)<<(2*slotBits)
	w.size++
}

// unlink takes a slot out of the wheel of its class.
func (t *Table) unlink(slot uint32, of class) {
	w, l := &t.wheels[of], t.links[slot]
	prev, next, b := l.prev(), l.next(), l.bucket()
	if prev != 0 {
		t.links[prev].setNext(next)
	} else {
		w.heads[b] = next
	}
	if next != 0 {
		t.links[next].setPrev(prev)
	} else {
		w.tails[b] = prev
	}
	if w.heads[b] == 0 {
		w.used[b/64] &^= 1 << (b % 64)
	}
	w.size--
}

// earliest returns the first slot of the bucket that is due first, 0 where the
// wheel is empty.
func (w *wheel) earliest() uint32 {
	if w.size == 0 {
		return 0
	}
	from := uint64(w.cursor) % wheelBuckets
	for i := uint64(0); i <= wheelBuckets/64; i++ {
		word := (from/64 + i) % (wheelBuckets / 64)
		mask := w.used[word]
		if i == 0 {
			mask &= ^uint64(0) << (from % 64)
		}
		if mask != 0 {
			return w.heads[word*64+uint64(bits.TrailingZeros64(mask))]
		}
	}
	return 0
}
