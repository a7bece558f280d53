package flowtable

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
)

// Records takes finished records from a table. Next returns the place for the
// next one, or nil where there is none: the record is then lost and counted.
// Commit hands the place of the last Next over.
type Records interface {
	Next() *Record
	Commit()
}

// Bell wakes a consumer that waits for any of several rings.
type Bell chan struct{}

// NewBell makes a bell that has not rung.
func NewBell() Bell { return make(Bell, 1) }

// Ring wakes whoever waits, or next begins to. It does not wait itself.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default: // it has rung, and nobody has come yet
	}
}

// Ring hands records from one worker to one publisher: single producer,
// single consumer, no locks, no allocation.
type Ring struct {
	buffer []Record
	mask   uint64
	wait   bool
	bell   atomic.Pointer[Bell] // of who reads; nil before somebody does

	_      [64]byte
	tail   atomic.Uint64 // written by the producer
	closed atomic.Bool
	seen   uint64 // the producer's last look at head

	_    [64]byte
	head atomic.Uint64 // written by the consumer
	_    [64]byte
}

// NewRing makes a ring for at least capacity records. With wait, a producer
// that finds it full waits for the consumer (a replay loses nothing);
// without, it loses the record (a worker never waits).
func NewRing(capacity int, wait bool) *Ring {
	n := uint64(1) << bits.Len64(uint64(max(capacity, 2)-1))
	return &Ring{buffer: make([]Record, n), mask: n - 1, wait: wait}
}

// Next is for the producer.
func (r *Ring) Next() *Record {
	tail := r.tail.Load()
	for spins := 0; tail-r.seen > r.mask; spins++ {
		if r.seen = r.head.Load(); tail-r.seen <= r.mask {
			break
		}
		r.Announce()
		if !r.wait {
			return nil
		}
		if runtime.Gosched(); spins > 100 {
			time.Sleep(20 * time.Microsecond)
		}
	}
	return &r.buffer[tail&r.mask]
}

// Commit is for the producer. Each half of the ring that is written announces itself.
func (r *Ring) Commit() {
	tail := r.tail.Load() + 1
	r.tail.Store(tail)
	if tail&(r.mask>>1) == 0 {
		r.Announce()
	}
}

// Announce is for the producer: it rings the consumer's bell, which costs as much as
// some records do.
func (r *Ring) Announce() {
	if b := r.bell.Load(); b != nil {
		b.Ring()
	}
}

// Empty is for the producer: the consumer has given back all that was written.
func (r *Ring) Empty() bool { return r.tail.Load() == r.head.Load() }

// Close is for the producer: no more records will come.
func (r *Ring) Close() {
	r.closed.Store(true)
	r.Announce()
}

// Wake is for the consumer: from now on b rings where there is something to be read,
// and it rings at once, for what there is already.
func (r *Ring) Wake(b Bell) {
	r.bell.Store(&b)
	b.Ring()
}

// Read is for the consumer. It returns the longest run of records that lies
// in one piece, empty where there is none; they are the consumer's until
// Release. done says that there are none and none will come.
func (r *Ring) Read() (records []Record, done bool) {
	closed := r.closed.Load()
	head, tail := r.head.Load(), r.tail.Load()
	if head == tail {
		return nil, closed
	}
	from := head & r.mask
	to := min(from+tail-head, uint64(len(r.buffer)))
	return r.buffer[from:to], false
}

// Release is for the consumer: it gives back the first n records of Read.
func (r *Ring) Release(n int) { r.head.Store(r.head.Load() + uint64(n)) }
