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

func (c *connection) snapshot(out *connection) bool {
	c.guard.begin()
	defer c.guard.done()
	from := (*[connectionWords]uint64)(unsafe.Pointer(c))
	to := (*[connectionWords]uint64)(unsafe.Pointer(out))
	copy(to[privateWords:], from[privateWords:])
	return true
}
