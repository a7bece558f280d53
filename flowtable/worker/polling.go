package worker

import (
	"syscall"
	"time"
)

// Polling is how a worker waits for segments. Their times were taken in the
// kernel, so that nothing is lost by coming for them a little later but the
// places they take up meanwhile.
type Polling struct {
	// Spin is for how long a worker that found nothing looks again and again
	// before it sleeps; below 0, for ever.
	Spin time.Duration
	// Nap is how long a worker sleeps after a batch that was not full, so that
	// the next one is fuller: a wake-up costs as much as following a dozen
	// segments. The receive ring must hold what comes meanwhile.
	Nap time.Duration
}

// DefaultPolling takes a quarter of a millisecond's segments at a time.
func DefaultPolling() Polling { return Polling{Nap: 250 * time.Microsecond} }

// quiet, in ns, is after how long without a segment a worker has itself woken by
// the source, instead of looking after each nap.
const quiet = int64(5 * time.Millisecond)

// patience sleeps where there is no hurry, and returns how long the source may
// wait for its next segment.
func (w *Worker) patience(wait time.Duration) time.Duration {
	p := &w.team.polling
	silence := w.turnedAt - w.heardAt
	switch {
	case w.received == len(w.batch), p.Spin < 0, silence < int64(p.Spin):
		return 0
	case p.Nap > 0 && w.heardAt != 0 && silence < quiet:
		nap(p.Nap)
		return 0
	default:
		return wait
	}
}

// nap sleeps in the kernel: a thread that is the worker's alone is not given to
// another goroutine meanwhile. A signal may end it early.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil)
}
