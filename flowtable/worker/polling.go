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
	// Rest is how long a worker sleeps that has heard nothing for a while; 0 has its source
	// wake it, which a source that can should do.
	Rest time.Duration
	// Burst is how many segments may come between two naps before they become shorter:
	// well below what the receive ring holds; 0 for 256.
	Burst int
}

// DefaultPolling is woken 1,000 times a second where little comes: a ring holds what
// comes in a millisecond at 8 million segments a second.
func DefaultPolling() Polling { return Polling{Nap: time.Millisecond} }

// DeepPolling is for rings that hold what comes in a tenth of a second, whose segments
// wait in memory that nobody else needs, and that wake nobody: 40 times a second, 20 times
// where nothing comes. What comes at once is then of the same connections, while their
// places are in the CPU's caches.
func DeepPolling() Polling {
	return Polling{Nap: 25 * time.Millisecond, Rest: 50 * time.Millisecond, Burst: 1 << 13}
}

// A nap is halved where more than Polling.Burst segments came since the one before it, and
// doubled where fewer than a quarter of that did; none is shorter than minNap but for
// Polling.Nap.
const (
	leastOfBurst = 4
	burst        = leastOfBurst * batchSize
	minNap       = 250 * time.Microsecond
)

// shortest is the shortest sleep that the Go runtime is told of. A shorter one keeps the
// worker's place to run, and costs one change of threads in place of three; but who keeps it
// for longer than 10 ms loses it to the runtime's monitor, which costs four.
const shortest = 5 * time.Millisecond

// leastPause is how long records wait at least for others to come, where the worker does
// not sleep for as long: being woken for one costs the publisher more than delivering a
// hundred.
const leastPause = 10 * time.Millisecond

// quiet, in ns, is after how long without a segment a worker rests, or has itself woken
// by the source, instead of looking after each nap.
const quiet = int64(5 * time.Millisecond)

// patience sleeps where there is no hurry, and returns how long the source may
// wait for its next segment.
func (w *Worker) patience(wait time.Duration) time.Duration {
	p := &w.team.polling
	silence := w.turnedAt - w.heardAt
	switch {
	case w.received == len(w.batch), p.Spin < 0, silence < int64(p.Spin):
		wait = 0
	case p.Nap > 0 && w.heardAt != 0 && silence < quiet:
		w.fitNap(p)
		w.sleep(w.nap)
		return 0
	case p.Rest > 0:
		w.sleep(p.Rest)
		return 0
	}
	w.announce(wait)
	return wait
}

// sleep has the publisher take what there is, and sleeps.
func (w *Worker) sleep(d time.Duration) {
	w.announce(d)
	if d < shortest {
		nap(d)
	} else {
		w.alarm.sleep(d)
	}
}

// announce has the publisher take the records that there are, before a pause: not for
// each pause that is short, so that many come together.
func (w *Worker) announce(pause time.Duration) {
	if pause < leastPause && w.turnedAt-w.announcedAt < int64(leastPause) || w.member.Ring.Empty() {
		return
	}
	w.announcedAt = w.turnedAt
	w.member.Ring.Announce()
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
