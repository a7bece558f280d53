package pcaptest

import (
	"math/rand/v2"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// Close is how a connection ends, in the terms of a record's close_kind.
type Close int

// All of them occur in a Traffic, most of them as often as in a data centre.
const (
	FourWay Close = iota
	ThreeWay
	Simultaneous
	Reset
	Refused
	Unanswered
	HalfOpen
	HalfClosed
	Open

	Closes = 9
)

func (c Close) String() string {
	return [Closes]string{"four_way", "three_way", "simultaneous", "reset", "refused", "unanswered",
		"half_open", "half_closed", "open"}[c]
}

// shares are in percent.
var shares = [Closes]int{FourWay: 46, ThreeWay: 28, Simultaneous: 2, Reset: 9, Refused: 4, Unanswered: 3,
	HalfOpen: 2, HalfClosed: 3, Open: 3}

const (
	requestsMax  = 2
	responsesMax = 5    // segments of one response
	segmentSize  = 1448 // octets: 1,500 less IPv4, TCP and time stamps
)

// step is one segment, its sequence and acknowledgement number those of a
// connection that began with 0.
type step struct {
	after   int64 // ns since the step before
	server  bool  // the sender
	flags   uint8
	seq     uint32
	ack     uint32
	payload uint16
}

// connection is one on its way.
type connection struct {
	at     int64 // ns since the epoch, of steps[0]
	steps  []step
	number uint32
	v6     bool
}

// open decides on the whole course of a connection.
func (m *maker) open(number int, at int64) *connection {
	kind, share := Close(0), m.random.IntN(100)
	for ; share >= shares[kind]; kind++ {
		share -= shares[kind]
	}
	m.made.Closes[kind]++
	s := script{random: m.random, delay: int64(100*time.Microsecond) + m.random.Int64N(int64(20*time.Millisecond))}
	s.write(kind)
	return &connection{at: at, steps: s.steps, number: uint32(number), v6: number%10 < 3}
}

// script writes the steps of one connection.
type script struct {
	random *rand.Rand
	delay  int64 // ns from one host to the other
	steps  []step
	next   [2]uint32 // sequence number of client and server
}

// send appends a segment that acknowledges all that its receiver sent.
func (s *script) send(server bool, flags uint8, payload int) {
	from, to := 0, 1
	if server {
		from, to = 1, 0
	}
	one := step{after: s.delay/2 + s.random.Int64N(s.delay), server: server, flags: flags, seq: s.next[from], payload: uint16(payload)}
	if flags&segment.ACK != 0 {
		one.ack = s.next[to]
	}
	s.steps = append(s.steps, one)
	s.next[from] += uint32(payload)
	if flags&(segment.SYN|segment.FIN) != 0 {
		s.next[from]++
	}
}

// again repeats the last segment after so long.
func (s *script) again(after time.Duration) {
	last := s.steps[len(s.steps)-1]
	last.after = int64(after)
	s.steps = append(s.steps, last)
}

func (s *script) write(kind Close) {
	s.send(false, segment.SYN, 0)
	switch kind {
	case Unanswered:
		s.again(time.Second)
		s.again(2 * time.Second)
		return
	case Refused:
		s.next[1] = 0
		s.send(true, segment.RST|segment.ACK, 0)
		return
	case HalfOpen:
		s.send(true, segment.SYN|segment.ACK, 0)
		s.again(time.Second)
		return
	}
	s.send(true, segment.SYN|segment.ACK, 0)
	s.send(false, segment.ACK, 0)
	for range 1 + s.random.IntN(requestsMax) {
		s.exchange()
	}
	if kind != Open {
		s.close(kind, s.random.IntN(2) == 0)
	}
}

// exchange is a request and its response, of which every second segment is
// acknowledged; one in fifty is sent twice.
func (s *script) exchange() {
	s.send(false, segment.ACK|segment.PSH, 60+s.random.IntN(500))
	responses := s.random.IntN(responsesMax)
	for i := range responses {
		s.send(true, segment.ACK, segmentSize)
		if s.random.IntN(50) == 0 {
			s.again(200 * time.Millisecond)
		}
		if i%2 == 1 {
			s.send(false, segment.ACK, 0)
		}
	}
	s.send(true, segment.ACK|segment.PSH, 1+s.random.IntN(segmentSize))
	s.send(false, segment.ACK, 0)
}

// close ends it, the server first where asked for.
func (s *script) close(kind Close, first bool) {
	const fin = segment.FIN | segment.ACK
	switch kind {
	case Reset:
		s.send(first, segment.RST|segment.ACK, 0)
	case HalfClosed:
		s.send(first, fin, 0)
		s.send(!first, segment.ACK, 0)
	case ThreeWay:
		s.send(first, fin, 0)
		s.send(!first, fin, 0)
		s.send(first, segment.ACK, 0)
	case FourWay:
		s.send(first, fin, 0)
		s.send(!first, segment.ACK, 0)
		s.send(!first, fin, 0)
		s.send(first, segment.ACK, 0)
	case Simultaneous:
		s.send(first, fin, 0)
		s.send(!first, fin, 0)
		s.steps[len(s.steps)-1].ack-- // it has not seen the other FIN
		s.send(!first, segment.ACK, 0)
		s.send(first, segment.ACK, 0)
	}
}
