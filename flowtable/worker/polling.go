package worker

import (
	"syscall"
	"time"
	"unsafe"
)

// Polling is how a worker waits for segments. Their times were taken in the
// kernel, so that nothing is lost by coming for them a little later but the
// places they take up meanwhile.
type Polling struct {
	// Spin is for how long a worker that found nothing looks again and again
	// before it sleeps; below 0, for ever.
	Spin time.Duration
	// Nap is how long a worker sleeps at most after a batch that was not full, so
	// that the next one is fuller: a wake-up costs as much as following a hundred
	// segments. It sleeps the less the more come meanwhile, which the receive
	// ring must hold.
	Nap time.Duration
	// Burst is how many segments may come between two naps before they become shorter:
	// well below what the receive ring holds; 0 for 256.
	Burst int
}

// DefaultPolling is woken 1,000 times a second where little comes: a ring holds what
// comes in a millisecond at 8 million segments a second.
func DefaultPolling() Polling { return Polling{Nap: time.Millisecond} }

// DeepPolling is for rings that hold what comes in a tenth of a second, and whose segments
// wait in memory that nobody else needs: 100 times a second. What then comes at once is of
// the same connections, while their places are in the CPU's caches.
func DeepPolling() Polling { return Polling{Nap: 10 * time.Millisecond, Burst: 1 << 13} }

// A nap is halved where more than Polling.Burst segments came since the one before it, and
// doubled where fewer than a quarter of that did; none is shorter than minNap but for
// Polling.Nap.
const (
	leastOfBurst = 4
	burst        = leastOfBurst * batchSize
	minNap       = 250 * time.Microsecond
)

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
		w.fitNap(p)
		nap(w.nap)
		return 0
	default:
		return wait
	}
}

// fitNap chooses the length of the next nap by what came since the last.
func (w *Worker) fitNap(p *Polling) {
	most := p.Burst
	if most == 0 {
		most = burst
	}
	switch {
	case w.sinceNap > most:
		w.nap /= 2
	case w.sinceNap < most/leastOfBurst:
		w.nap *= 2
	}
	w.nap = min(max(w.nap, minNap), p.Nap)
	w.sinceNap = 0
}

// nap sleeps in the kernel, without telling the Go runtime: that would take the
// worker's place to run from it, and from then on look 2,000 times a second whether
// to do so again. Whoever stops the world ends the nap, by a signal.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_, _, _ = syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}
