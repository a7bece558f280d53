package worker

import (
	"sync/atomic"

	"github.com/finwait/finwait/flowtable/segment"
)

// A team of n workers has n*n hand-over rings. They share handoverMemory, but
// none has less than minHandover segments or more than maxHandover: 4,096 of 216
// octets are a stall of 4 ms at a million segments a second.
const (
	handoverMemory = 64 << 20
	minHandover    = 256
	maxHandover    = 4096
)

// handoverSize is the segments of one ring in a team, a power of two.
func handoverSize(workers int) int {
	size := maxHandover
	for size > minHandover && workers*workers*size*segment.OwnedSize > handoverMemory {
		size /= 2
	}
	return size
}

// handover is a ring of segments from one worker to another, or to itself:
// single producer, single consumer. Segments are copied in, since a source's
// buffers are only lent.
type handover struct {
	segments []segment.Segment
	hashes   []uint64
	mask     uint64

	_    [64]byte
	tail atomic.Uint64 // written by the producer
	seen uint64        // the producer's last look at head
	_    [64]byte
	head atomic.Uint64 // written by the consumer
	_    [64]byte
}

// newHandover makes a ring of a power of two of segments.
func newHandover(size int) *handover {
	return &handover{segments: make([]segment.Segment, size), hashes: make([]uint64, size), mask: uint64(size) - 1}
}

// push is for the producer; false where the ring is full.
func (h *handover) push(s *segment.Segment, hash uint64) bool {
	tail := h.tail.Load()
	if tail-h.seen > h.mask {
		if h.seen = h.head.Load(); tail-h.seen > h.mask {
			return false
		}
	}
	at := tail & h.mask
	h.segments[at], h.hashes[at] = *s, hash
	h.tail.Store(tail + 1)
	return true
}

// crowded is for the consumer: three quarters of the places are taken.
func (h *handover) crowded() bool { return h.tail.Load()-h.head.Load() > (h.mask+1)/4*3 }

// peek is for the consumer: the longest run that lies in one piece, the
// consumer's until release.
func (h *handover) peek() ([]segment.Segment, []uint64) {
	head, tail := h.head.Load(), h.tail.Load()
	from := head & h.mask
	to := min(from+tail-head, h.mask+1)
	return h.segments[from:to], h.hashes[from:to]
}

// release is for the consumer: it gives back the first n of peek.
func (h *handover) release(n int) { h.head.Store(h.head.Load() + uint64(n)) }
