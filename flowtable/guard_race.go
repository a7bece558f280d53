//go:build race

package flowtable

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// guard is a spin lock in builds with the race detector, which cannot know
// that a sequence lock throws torn reads away. As there, the lowest 8 bits are the
// scope of the slot's key.
type guard struct{ held atomic.Uint32 }

const (
	guardHeld  = 1 << 8
	guardScope = guardHeld - 1
)

func (g *guard) begin() {
	for {
		if free := g.held.Load() & guardScope; g.held.CompareAndSwap(free, free|guardHeld) {
			return
		}
		runtime.Gosched()
	}
}

func (g *guard) done()                 { g.held.Store(g.scope()) }
func (g *guard) scope() uint32         { return g.held.Load() & guardScope }
func (g *guard) setScope(scope uint32) { g.held.Store(guardHeld | scope&guardScope) }

func advance(edition *uint32) { atomic.AddUint32(edition, 1) }

func snapshot(h *hot, l *cold, hotCopy *hot, coldCopy *cold) bool {
	h.guard.begin()
	defer h.guard.done()
	if !h.used() {
		return false
	}
	hotCopy.low, hotCopy.high, hotCopy.ports, hotCopy.last, hotCopy.ends = h.low, h.high, h.ports, h.last, h.ends
	hotCopy.guard.held.Store(h.guard.scope())
	*coldCopy = *l
	return true
}

func (t *Table) glimpse(slot uint32, into *Tuple) Outline {
	h := &t.hot[slot]
	h.guard.begin()
	defer h.guard.done()
	o := t.outlines.load(slot)
	into.set((*[4]uint64)(unsafe.Pointer(h)), h.ports, o.clientEnd())
	return o
}

func peek(h *hot, word *uint64) uint64 {
	h.guard.begin()
	defer h.guard.done()
	return *word
}

// set changes the outline of a slot, as one atomic change of its word.
func (x outlines) set(slot uint32, o Outline) {
	word := &x[slot/wordOutlines]
	var change outlineWord
	spread(&change)[slot%wordOutlines] = *x.at(slot) ^ o
	atomic.StoreUint64(word, atomic.LoadUint64(word)^change) // there is one writer
}

func loadWord(word *outlineWord) outlineWord { return atomic.LoadUint64(word) }
