//go:build !race

package flowtable

import (
	"sync/atomic"
	"unsafe"
)

// guard is a sequence lock: odd while its slot is being written. The one
// writer never waits; a reader that met a writer reads again. The sequence counts
// in the upper 24 bits; the lowest 8 are the scope of the slot's key, which has no
// other room.
type guard struct{ sequence uint32 }

const (
	guardStep  = 1 << 8
	guardScope = guardStep - 1
)

// begin opens a change, done closes it. Neither is a full barrier: the writer's
// loads need not stand in line, and those of the next slots must not.
func (g *guard) begin() { publish(&g.sequence, g.sequence+guardStep) }
func (g *guard) done()  { publish(&g.sequence, g.sequence+guardStep) }

// scope is that of the key; set, between begin and done, makes it another.
func (g *guard) scope() uint32         { return g.sequence & guardScope }
func (g *guard) setScope(scope uint32) { publish(&g.sequence, g.sequence&^guardScope|scope&guardScope) }

// advance adds one to a group's edition: after every store before it, before every store
// after it.
func advance(edition *uint32) { publish(edition, *edition+1) }

// snapshot copies a slot word by word with atomic loads, so that they stay
// between the two looks at the sequence. It is false where the slot holds no
// connection, or the writer kept changing it.
func snapshot(h *hot, l *cold, hotCopy *hot, coldCopy *cold) bool {
	for range 64 {
		before := atomic.LoadUint32(&h.guard.sequence)
		if before&guardStep != 0 {
			continue
		}
		if atomic.LoadUint64(&h.last)&stateUsed == 0 {
			return false
		}
		copyWords((*[hotWords]uint64)(unsafe.Pointer(hotCopy))[:], (*[hotWords]uint64)(unsafe.Pointer(h))[:])
		copyWords((*[coldWords]uint64)(unsafe.Pointer(coldCopy))[:], (*[coldWords]uint64)(unsafe.Pointer(l))[:])
		if atomic.LoadUint32(&h.guard.sequence) == before {
			return true
		}
	}
	return false
}

// glimpse reads what a glance tells of a slot; None where that is free, or the
// writer kept changing it.
func (t *Table) glimpse(slot uint32, into *Tuple) Outline {
	h := &t.hot[slot]
	for range 64 {
		before := atomic.LoadUint32(&h.guard.sequence)
		if before&guardStep != 0 {
			continue
		}
		o := t.outlines.load(slot)
		words := (*[4]uint64)(unsafe.Pointer(h))
		key := [4]uint64{atomic.LoadUint64(&words[0]), atomic.LoadUint64(&words[1]), atomic.LoadUint64(&words[2]), atomic.LoadUint64(&words[3])}
		ports := atomic.LoadUint32(&h.ports)
		if atomic.LoadUint32(&h.guard.sequence) == before {
			into.set(&key, ports, o.clientEnd())
			return o
		}
	}
	return None
}

// peek reads one word of a slot, of whatever connection is there.
func peek(_ *hot, word *uint64) uint64 { return atomic.LoadUint64(word) }

func copyWords(to, from []uint64) {
	for i := range to {
		to[i] = atomic.LoadUint64(&from[i])
	}
}

// set changes the outline of a slot, after the slot itself, or before that ceases to
// hold a connection: who reads an outline and then the slot within one turn of its
// guard has both of the same connection.
func (x outlines) set(slot uint32, o Outline) {
	// publish knows words of four octets. They are put together by shifts: a word
	// that is read behind a store to a part of it has to wait for that.
	halves, shift := (*[2]uint32)(unsafe.Pointer(&x[slot/wordOutlines])), slot%4*8
	four := &halves[slot/4%2]
	publish(four, *four&^(0xff<<shift)|uint32(o)<<shift)
}

// loadWord is a reader's look at eight outlines.
func loadWord(word *outlineWord) outlineWord { return atomic.LoadUint64(word) }
