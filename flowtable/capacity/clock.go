package capacity

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// timed has n steps done, or a few more, after some to warm up, and returns the
// ns of one and how many were done in all.
func timed(ctx context.Context, n int, do func(n int) int) (ns float64, all int, err error) {
	all = do(max(n/warming, 1))
	start, err := threadTime()
	if err != nil {
		return 0, 0, err
	}
	done := 0
	for done < n {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		done += do(min(stride, n-done))
	}
	end, err := threadTime()
	return float64(end-start) / float64(done), all + done, err
}

// threadTime is the processor time that the thread has had, in ns. It stands
// still where the kernel lets others run, be it another program or, once a
// second, what a real-time priority keeps waiting (sched_rt_runtime_us in
// sched(7)): 50 ms that would be as long as a whole turn of the fastest.
func threadTime() (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("reading the thread's processor time: %w", err)
	}
	return t.Nano(), nil
}
