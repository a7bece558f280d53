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

// snapshot copies c into out, word by word with atomic loads so that they
// stay between the two looks at the sequence. It is false where the writer
// kept changing the slot.
func (c *connection) snapshot(out *connection) bool {
	from := (*[connectionWords]uint64)(unsafe.Pointer(c))
	to := (*[connectionWords]uint64)(unsafe.Pointer(out))
	for range 64 {
		before := c.guard.sequence.Load()
		if before&1 != 0 {
			continue
		}
		for i := privateWords; i < connectionWords; i++ {
			to[i] = atomic.LoadUint64(&from[i])
		}
		if c.guard.sequence.Load() == before {
			return true
		}
	}
	return false
}
