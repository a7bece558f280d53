package main

import (
	"time"

	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp"
)

const (
	// mostBehind is how many frames may be on their way to the workers while a window
	// is filled or drained: with those of one pulse, which may come late, they have room
	// in one queue.
	mostBehind = xdp.DefaultRingSize / 2
	// stragglers is after how long without any frames that did not come are none that
	// will: a program may have kept them, or they were lost.
	stragglers = time.Second
)

// backlog holds a generator back while the workers are behind. Opening and closing
// connections is no part of what is measured, and a machine that lets a worker wait for
// its CPU for longer than its queue has room is to take longer, not to fail.
type backlog struct {
	sent    func() uint64 // frames so far
	workers []*worker.Worker
	off     uint64    // of the frames sent, modulo 2^64, those that went elsewhere
	came    uint64    // at the last look
	movedAt time.Time // when more had come
}

// begin takes all that was sent so far for come.
func (b *backlog) begin() { b.off = b.sent() - b.received() }

// hold tells whether the next frames are to wait.
func (b *backlog) hold() bool {
	if len(b.workers) == 0 {
		return false
	}
	now, came := time.Now(), b.received()
	behind := max(int64(b.sent()-b.off-came), 0)
	if came != b.came || behind < mostBehind {
		b.came, b.movedAt = came, now
	}
	if behind < mostBehind {
		return false
	}
	if now.Sub(b.movedAt) < stragglers {
		return true
	}
	b.off += uint64(behind)
	return false
}

// received is how many frames the workers have had.
func (b *backlog) received() (n uint64) {
	for _, w := range b.workers {
		n += w.Stats().Received.Load()
	}
	return n
}
