//go:build race

package flowtable

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// guard is a spin lock in builds with the race detector, which cannot know
// that a sequence lock throws torn reads away.
type guard struct{ held atomic.Uint32 }

func (g *guard) begin() {
	for !g.held.CompareAndSwap(0, 1) {
		runtime.Gosched()
	}
}

func (g *guard) done() { g.held.Store(0) }

func snapshot(h *hot, l *cold, hotCopy *hot, coldCopy *cold) bool {
	h.guard.begin()
	defer h.guard.done()
	if !h.used() {
		return false
	}
	*hotCopy = hot{low: h.low, high: h.high, ports: h.ports, last: h.last, ends: h.ends}
	copy((*[coldWords]uint64)(unsafe.Pointer(coldCopy))[1:], (*[coldWords]uint64)(unsafe.Pointer(l))[1:])
	return true
}
