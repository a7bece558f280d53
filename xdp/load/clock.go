package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// started ties Go's monotonic clock, which is read without a system call, to
// CLOCK_MONOTONIC, on which observers have their times.
var started, startedMonotonic = time.Now(), readMonotonic()

func readMonotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("read CLOCK_MONOTONIC: %v", err)) // exists on every Linux
	}
	return ts.Nano()
}

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() int64 { return startedMonotonic + int64(time.Since(started)) }
