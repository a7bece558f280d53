//go:build !race

package flowtable

import (
	"sync/atomic"
	"unsafe"
)

// guard is a sequence lock: odd while its slot is being written. The one
// writer never waits; a reader that met a writer reads again.
type guard struct{ sequence atomic.Uint32 }

// begin opens a change. The load after the store keeps the change's own
// stores behind it, also where stores may overtake each other (arm64: an
// acquiring load is ordered after a releasing store before it).
func (g *guard) begin() {
	g.sequence.Store(g.sequence.Load() + 1)
	_ = g.sequence.Load()
}

// done closes a change.
func (g *guard) done() { g.sequence.Store(g.sequence.Load() + 1) }

// snapshot copies a slot word by word with atomic loads, so that they stay
// between the two looks at the sequence; all but the links. It is false where the
// slot is free, or the writer kept changing it.
func snapshot(h *hot, l *cold, hotCopy *hot, coldCopy *cold) bool {
	for range 64 {
		before := h.guard.sequence.Load()
		if before&1 != 0 {
			continue
		}
		if atomic.LoadUint64(&h.last)&stateUsed == 0 {
			return false
		}
		copyWords((*[hotWords]uint64)(unsafe.Pointer(hotCopy))[:], (*[hotWords]uint64)(unsafe.Pointer(h))[:])
		copyWords((*[coldWords]uint64)(unsafe.Pointer(coldCopy))[1:], (*[coldWords]uint64)(unsafe.Pointer(l))[1:])
		if h.guard.sequence.Load() == before {
			return true
		}
	}
	return false
}

func copyWords(to, from []uint64) {
	for i := range to {
		to[i] = atomic.LoadUint64(&from[i])
	}
}
