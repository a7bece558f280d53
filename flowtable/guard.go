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

func copyWords(to, from []uint64) {
	for i := range to {
		to[i] = atomic.LoadUint64(&from[i])
	}
}
