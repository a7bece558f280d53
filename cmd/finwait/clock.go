package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// started ties Go's monotonic clock, which is read without a system call, to
// CLOCK_MONOTONIC, on which the kernel program stamps segments.
var started, startedMonotonic = time.Now(), kernelClock(unix.CLOCK_MONOTONIC)

// kernelClock reads a clock of clock_gettime(2) in ns.
func kernelClock(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(err) // both clocks exist on every Linux
	}
	return ts.Nano()
}

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() int64 { return startedMonotonic + int64(time.Since(started)) }

// setWallClock takes over the wall clock's offset, which changes when the
// system's clock is stepped.
func (a *appliance) setWallClock() {
	a.clock.Set(kernelClock(unix.CLOCK_REALTIME) - kernelClock(unix.CLOCK_MONOTONIC))
}
