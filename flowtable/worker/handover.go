package worker

import (
	"sync/atomic"

	"github.com/finwait/finwait/flowtable/segment"
)

// handoverSize is the segments that fit into one hand-over ring, a power of
// two: 4,096 of 208 octets, a stall of 4 ms at a million segments a second.
const handoverSize = 4096

// handover is a ring of segments from one worker to another, or to itself:
// single producer, single consumer. Segments are copied in, since a source's
// buffers are only lent.
type handover struct {
	segments [handoverSize]segment.Segment
	hashes   [handoverSize]uint64

	_    [64]byte
	tail atomic.Uint64 // written by the producer
	seen uint64        // the producer's last look at head
	_    [64]byte
	head atomic.Uint64 // written by the consumer
	_    [64]byte
}

// push is for the producer; false where the ring is full.
func (h *handover) push(s *segment.Segment, hash uint64) bool {
	tail := h.tail.Load()
	if tail-h.seen == handoverSize {
		if h.seen = h.head.Load(); tail-h.seen == handoverSize {
			return false
		}
	}
	at := tail % handoverSize
	h.segments[at], h.hashes[at] = *s, hash
	h.tail.Store(tail + 1)
	return true
}

// crowded is for the consumer: three quarters of the places are taken.
func (h *handover) crowded() bool { return h.tail.Load()-h.head.Load() > handoverSize/4*3 }

// peek is for the consumer: the longest run that lies in one piece, the
// consumer's until release.
func (h *handover) peek() ([]segment.Segment, []uint64) {
	head, tail := h.head.Load(), h.tail.Load()
	from := head % handoverSize
	to := min(from+tail-head, handoverSize)
	return h.segments[from:to], h.hashes[from:to]
}

// release is for the consumer: it gives back the first n of peek.
func (h *handover) release(n int) { h.head.Store(h.head.Load() + uint64(n)) }
