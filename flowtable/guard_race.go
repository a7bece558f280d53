//go:build race

package flowtable

import (
	"runtime"
	"sync/atomic"
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
