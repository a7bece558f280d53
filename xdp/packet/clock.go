package packet

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// clock brings the kernel's stamps of packet sockets, which are CLOCK_REALTIME,
// to CLOCK_MONOTONIC, on which workers run. The two run at one rate, so their
// distance changes only where the wall clock is stepped: it is kept until a
// look at both says that it has changed by more than the look itself took, and
// so adds no jitter to times.
type clock struct {
	offset int64 // CLOCK_REALTIME - CLOCK_MONOTONIC, ns
	set    bool
}

// refresh looks at both clocks.
func (c *clock) refresh() {
	before := read(unix.CLOCK_MONOTONIC)
	wall := read(unix.CLOCK_REALTIME)
	after := read(unix.CLOCK_MONOTONIC)
	c.observe(before, wall, after)
}

// observe takes a look at the real-time clock between two at the monotonic one.
func (c *clock) observe(before, wall, after int64) {
	offset := wall - before - (after-before)/2
	if change := offset - c.offset; !c.set || change > after-before || change < before-after {
		c.offset, c.set = offset, true
	}
}

func (c *clock) monotonic(wall int64) int64 { return wall - c.offset }

func read(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(fmt.Sprintf("read clock %d: %v", id, err)) // both exist on every Linux
	}
	return ts.Nano()
}
