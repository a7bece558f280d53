package xdp

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/finwait/finwait/flowtable/segment"
)

// Queue is the source of the segments of one receive queue. Receive belongs to
// one goroutine; the other methods may be called from any.
type Queue struct {
	name      string
	index     int
	id        int
	socket    *socket
	held      []uint64 // UMEM addresses of the segments last handed out
	malformed atomic.Uint64
	gone      error // sticky: the kernel tells it once
	awaiter   *awaiter
	busy      bool // it empties the NIC's queue itself
}

// queueConfig is how a Queue is opened.
type queueConfig struct {
	Name      string // of the interface, in this thread's network namespace
	Interface int    // its index
	Index     int    // number of the receive queue on it
	ID        int    // number of the queue among all, from 0
	RingSize  int    // segments that may wait, as in Config
	BusyPoll  bool
}

// openQueue binds a socket to a receive queue of an interface of the calling
// thread's network namespace, with its fill ring filled.
func openQueue(c queueConfig) (*Queue, error) {
	s, err := openSocket(c.Interface, c.Index, c.RingSize)
	if err != nil {
		return nil, fmt.Errorf("open queue %d of interface %q: %w", c.Index, c.Name, err)
	}
	if c.BusyPoll {
		if err := s.preferBusyPoll(); err != nil {
			return nil, errors.Join(fmt.Errorf("queue %d of interface %q: %w", c.Index, c.Name, err), s.close())
		}
	}
	awaiter, err := openAwaiter(s.fd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("queue %d of interface %q: %w", c.Index, c.Name, err), s.close())
	}
	return &Queue{
		name: c.Name, index: c.Index, id: c.ID, socket: s, busy: c.BusyPoll,
		held: make([]uint64, 0, c.RingSize), awaiter: awaiter,
	}, nil
}

// Interface is the name of the queue's interface.
func (q *Queue) Interface() string { return q.name }

// Index is the number of the receive queue on its interface.
func (q *Queue) Index() int { return q.index }

// ID is the number of the queue among all of its Tap, from 0.
func (q *Queue) ID() int { return q.id }

// Receive points batch at segments in the UMEM and returns how many. Where
// there are none it waits for the first, at most wait; 0 and no error say that
// none came. The segments are valid until the next call, which gives their
// memory back to the kernel.
func (q *Queue) Receive(batch []*segment.Segment, wait time.Duration) (int, error) {
	q.recycle()
	n := q.take(batch)
	if n == 0 && q.busy {
		q.socket.busyPoll()
		n = q.take(batch)
	}
	if n > 0 || wait <= 0 || len(batch) == 0 {
		return n, nil
	}
	if err := q.await(wait); err != nil {
		return 0, err
	}
	return q.take(batch), nil
}

// Lost is how many segments the program passed on that found no buffer, no
// slot in the RX ring, or were no segment, since the queue was opened.
func (q *Queue) Lost() (uint64, error) {
	stats, err := q.socket.statistics()
	if err != nil {
		return 0, fmt.Errorf("queue %d of interface %q: %w", q.index, q.name, err)
	}
	return stats.Rx_dropped + stats.Rx_ring_full + q.malformed.Load(), nil
}

// dropped is how many segments the socket could not take so far: those that
// some drivers count as drops of their own.
func (q *Queue) dropped() uint64 {
	stats, err := q.socket.statistics()
	if err != nil {
		return 0
	}
	return stats.Rx_dropped + stats.Rx_ring_full
}

// enter puts the queue's socket into a program's map of sockets: from then on
// it receives.
func (q *Queue) enter(sockets *ebpf.Map) error {
	if err := sockets.Put(uint32(q.index), uint32(q.socket.fd)); err != nil {
		return fmt.Errorf("enter the socket of queue %d of interface %q: %w", q.index, q.name, err)
	}
	return nil
}

// recycle gives the buffers of the last batch back. The fill ring has a slot
// for every buffer of the UMEM, so that it always takes them all.
func (q *Queue) recycle() {
	fill := &q.socket.fill
	n := fill.free(uint32(len(q.held)))
	if n == 0 {
		return
	}
	for i := range n {
		fill.put(i, q.held[i])
	}
	fill.submit(n)
	q.held = append(q.held[:0], q.held[n:]...)
}

func (q *Queue) take(batch []*segment.Segment) int {
	rx := &q.socket.rx
	available := rx.available(uint32(min(len(batch), cap(q.held)-len(q.held))))
	n := 0
	for i := range available {
		desc := rx.at(i)
		q.held = append(q.held, desc.Addr&^(frameSize-1))
		if desc.Len != segment.Size || desc.Addr%8 != 0 || desc.Addr+segment.Size > uint64(len(q.socket.umem)) {
			q.malformed.Add(1)
			continue
		}
		batch[n] = (*segment.Segment)(unsafe.Pointer(&q.socket.umem[desc.Addr]))
		n++
	}
	if available > 0 {
		rx.release(available)
	}
	return n
}

// await returns when a segment is there or time is up.
func (q *Queue) await(wait time.Duration) error {
	ready, err := q.awaiter.wait(wait)
	if err != nil {
		return fmt.Errorf("wait for segments on queue %d of interface %q: %w", q.index, q.name, err)
	}
	if ready || q.gone != nil {
		return q.gone
	}
	// A socket whose interface is gone polls as if nothing came
	// (xsk_check_common in net/xdp/xsk.c): its pending error tells.
	if err := q.socket.lastError(); err != nil {
		q.gone = fmt.Errorf("queue %d of interface %q: %w: the interface is gone", q.index, q.name, err)
	}
	return q.gone
}

// Close unbinds the socket. No Receive may be under way.
func (q *Queue) Close() error { return errors.Join(q.awaiter.close(), q.socket.close()) }
