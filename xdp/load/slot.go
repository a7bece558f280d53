package load

// state is what a connection waits for.
type state uint8

const (
	unused     state = iota
	connecting       // the SYN-ACK
	answering        // the target's answer
	holding          // the end of Config.Hold
	closing          // the target's FIN
)

// slot is one connection. A thread's slots are linked by their indices: the
// unused ones in a list, the others in one of two queues by what ends their
// wait. Every wait of a queue has the same length, so its head is the first
// that is over, and joining and leaving take no search. Slot 0 is nobody's.
type slot struct {
	deadline      int64 // ns, CLOCK_MONOTONIC
	establishedAt int64
	fd            int32
	previous      uint32
	next          uint32
	sent          uint32 // octets of the request
	received      uint32 // octets of the answer, up to Config.Expect
	state         state
	established   bool
	counted       bool // was due within the measured time
}

// queue is slots in the order of their deadlines.
type queue struct {
	wait       int64 // ns, of each
	head, tail uint32
}

// join puts a slot, which must be in no queue, at the end.
func (q *queue) join(slots []slot, i uint32, now int64) {
	s := &slots[i]
	s.deadline = now + q.wait
	s.previous, s.next = q.tail, 0
	if q.tail != 0 {
		slots[q.tail].next = i
	} else {
		q.head = i
	}
	q.tail = i
}

func (q *queue) leave(slots []slot, i uint32) {
	s := &slots[i]
	if s.previous != 0 {
		slots[s.previous].next = s.next
	} else {
		q.head = s.next
	}
	if s.next != 0 {
		slots[s.next].previous = s.previous
	} else {
		q.tail = s.previous
	}
	s.previous, s.next = 0, 0
}
