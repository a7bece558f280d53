package flowtable

import (
	"cmp"
	"slices"

	"github.com/finwait/finwait/flowtable/segment"
)

// model is what RECORD.md says, done the long way: every segment of a
// connection is kept, and each field is looked for in the list when it is
// asked for. It is for tables without slices, eviction and accounts.
type model struct {
	timeouts   Timeouts
	live       map[segment.Key]*modelled
	remembered map[segment.Key]int64 // when closed
	records    map[segment.Key][]Record
	late       uint64
	now        int64
}

// modelled is one connection: its segments in the order of arrival.
type modelled struct {
	segments []segment.Segment
	known    bool // the tuple closed before
	closedAt int64
}

func newModel(timeouts Timeouts) *model {
	return &model{
		timeouts: timeouts, live: map[segment.Key]*modelled{}, remembered: map[segment.Key]int64{},
		records: map[segment.Key][]Record{},
	}
}

// ambiguous tells whether it depends on the grain of the timers if s, which
// is older than others, still belongs to a connection, or meets its tuple. A connection in which
// both sides send SYN-ACKs is left out too: who is the server of which one
// depends on when one asks. So is a FIN that an older acknowledgement than the
// last came with, and that overtook the other FIN: it is not kept.
func (m *model) ambiguous(s *segment.Segment) bool {
	key, side := segment.KeyOf(s)
	l := m.live[key]
	closedAt, closed := m.remembered[key]
	if l != nil {
		closedAt, closed = l.closed()
	}
	if keep := int64(m.timeouts.Linger + TimeWait); closed && s.At-closedAt <= keep && m.now-closedAt > keep {
		return true
	}
	if l == nil {
		return false
	}
	if isSYNACK(s) && l.first(0, func(o *segment.Segment) bool { return isSYNACK(o) && sender(o) != int(side) }) >= 0 {
		return true
	}
	if fin1, fin2 := l.fins(); fin1 >= 0 && fin2 < 0 && isFIN(s) && s.At < l.segments[fin1].At &&
		sender(&l.segments[fin1]) != int(side) && !l.newest(fin1) {
		return true
	}
	if s.At >= m.now {
		return false
	}
	from, limit := l.limit(m.timeouts)
	return limit > 0 && s.At-from <= limit && m.now-from > limit
}

func (m *model) feed(s segment.Segment) {
	m.now = max(m.now, s.At)
	key, _ := segment.KeyOf(&s)
	if l := m.live[key]; l != nil {
		if from, limit := l.limit(m.timeouts); limit > 0 && s.At-from > limit {
			m.end(key, EndIdleTimeout)
		} else if l.beganAnew(&s) {
			m.end(key, EndReused)
		}
	}
	if m.live[key] == nil {
		closedAt, known := m.remembered[key]
		known = known && s.At-closedAt <= int64(m.timeouts.Linger+TimeWait)
		if known && !s.Is(segment.SYN) {
			m.late++
			return
		}
		l := &modelled{known: known, closedAt: closedAt}
		delete(m.remembered, key)
		m.live[key] = l
	}
	m.live[key].segments = append(m.live[key].segments, s)
}

func (m *model) end(key segment.Key, reason EndReason) {
	l := m.live[key]
	delete(m.live, key)
	if closedAt, closed := l.closed(); closed {
		reason = EndClosed
		m.remembered[key] = closedAt
	}
	m.records[key] = append(m.records[key], l.record(reason))
}

// flush ends what is left. Whether the timer has seen by then that a
// connection is idle is open for two of its ticks: such ones are doubtful.
func (m *model) flush(reason EndReason) (doubtful map[segment.Key]bool) {
	doubtful = map[segment.Key]bool{}
	for key, l := range m.live {
		from, limit := l.limit(m.timeouts)
		switch idle := m.now - from; {
		case limit > 0 && idle > limit+2*(limit/wheelTicks+1):
			m.end(key, EndIdleTimeout)
		default:
			doubtful[key] = idle > limit
			m.end(key, reason)
		}
	}
	return doubtful
}

// A sender is 0 where it is the key's Low.
func sender(s *segment.Segment) int {
	_, side := segment.KeyOf(s)
	return int(side)
}

func isSYN(s *segment.Segment) bool { return s.TCPFlags&(fS|fA|fR) == fS }

func isSYNACK(s *segment.Segment) bool { return s.TCPFlags&(fS|fA|fR) == fSA }

func isFIN(s *segment.Segment) bool { return s.TCPFlags&(fF|fR) == fF }

func isACK(s *segment.Segment) bool { return s.TCPFlags&(fA|fR) == fA }

// first is the index of the first segment from i on that is so, or -1.
func (l *modelled) first(i int, so func(*segment.Segment) bool) int {
	for ; i < len(l.segments); i++ {
		if so(&l.segments[i]) {
			return i
		}
	}
	return -1
}

func (l *modelled) from(side int) (n int) {
	for i := range l.segments {
		if sender(&l.segments[i]) == side {
			n++
		}
	}
	return n
}

func (l *modelled) client() (side int, by OrientedBy) {
	if i := l.first(0, isSYN); i >= 0 {
		side = sender(&l.segments[i])
		if j := l.first(0, isSYNACK); j >= 0 && j < i && sender(&l.segments[j]) != side {
			return side, BySYNACK // it had told the client already
		}
		return side, BySYN
	}
	if i := l.first(0, isSYNACK); i >= 0 {
		return 1 - sender(&l.segments[i]), BySYNACK
	}
	s := &l.segments[0]
	side = sender(s)
	switch {
	case s.SrcPort < 1024 && s.DstPort >= 1024:
		return 1 - side, ByPort
	case s.DstPort < 1024 && s.SrcPort >= 1024:
		return side, ByPort
	}
	return side, ByFirst
}

// syn and synACK are the indices of the first SYN of the client and the first
// SYN-ACK of the server, or -1.
func (l *modelled) syn() int {
	client, _ := l.client()
	return l.first(0, func(s *segment.Segment) bool { return isSYN(s) && sender(s) == client })
}

func (l *modelled) synACK() int {
	client, _ := l.client()
	return l.first(0, func(s *segment.Segment) bool { return isSYNACK(s) && sender(s) != client })
}

// sequence is how one side went through its sequence space.
type sequence struct {
	isn, high    uint32
	known, moved bool // the ISN, and anything at all
	payload      uint64
	finished     bool
	synRe, finRe uint16
}

// walk follows one side through its first n segments of both sides.
func (l *modelled) walk(side, n int) (q sequence) {
	for i := range l.segments[:n] {
		s := &l.segments[i]
		if sender(s) != side || s.Is(fR) {
			continue
		}
		end := s.End()
		bare := s.Is(fS) && s.Payload == 0
		switch {
		case q.finished:
		case !q.moved:
			q.moved, q.high, q.payload = true, end, uint64(s.Payload)
		case bare && q.known && q.high == q.isn+1: // nothing but SYNs so far
			q.isn, q.high = s.Seq, end
		case bare:
		case int32(end-q.high) > 0:
			q.payload, q.high = q.payload+uint64(end-q.high), end
		}
		if s.Is(fS) {
			if !q.known {
				q.known, q.isn = true, s.Seq
			} else if q.isn == s.Seq {
				q.synRe++
			}
		}
		if s.Is(fF) && q.finished {
			q.finRe++
		}
		q.finished = q.finished || s.Is(fF)
	}
	return q
}

// newest tells whether the segment at i acknowledged as much as any of its
// sender, or as little as none.
func (l *modelled) newest(i int) bool {
	s := &l.segments[i]
	return l.first(0, func(o *segment.Segment) bool {
		return sender(o) == sender(s) && isACK(o) && (!isACK(s) || int32(o.Ack-s.Ack) > 0 || o.Ack == s.Ack && o.At >= s.At && o != s)
	}) < 0
}

func (l *modelled) beganAnew(s *segment.Segment) bool {
	if !isSYN(s) {
		return false
	}
	if q := l.walk(sender(s), len(l.segments)); q.known {
		return q.isn != s.Seq
	}
	answer := l.synACK()
	if first := &l.segments[0]; answer < 0 && l.first(0, isSYNACK) < 0 && first.TCPFlags&(fR|fA) == fRA && sender(first) != sender(s) {
		answer = 0 // a refusal overtook the SYN
	}
	return answer < 0 || l.segments[answer].Ack != s.Seq+1
}

func (l *modelled) established() int {
	answer := l.synACK()
	if answer < 0 {
		return -1
	}
	client, _ := l.client()
	for i := answer + 1; i < len(l.segments); i++ {
		s := &l.segments[i]
		if sender(s) == client && isACK(s) && !s.Is(fS) && segment.Covers(s.Ack, l.walk(1-client, i+1).isn+1) {
			return i
		}
	}
	return -1
}

// fins are the indices of FIN1 and FIN2, or -1. FIN1 is the one that was seen
// first, also where the other one came here before it.
func (l *modelled) fins() (fin1, fin2 int) {
	if fin1 = l.first(0, isFIN); fin1 < 0 {
		return -1, -1
	}
	fin2 = l.first(fin1, func(s *segment.Segment) bool {
		return isFIN(s) && sender(s) != sender(&l.segments[fin1])
	})
	if fin2 >= 0 && l.segments[fin2].At < l.segments[fin1].At {
		return fin2, fin1
	}
	return fin1, fin2
}

// answer is the first segment of the other side that covers the FIN at i. Of
// those that overtook the FIN it is the one that got as far as the other side
// was when the FIN came.
func (l *modelled) answer(i int) int {
	if i < 0 {
		return -1
	}
	side, end := sender(&l.segments[i]), l.segments[i].Seq+l.segments[i].Payload+1
	furthest := -1
	for j := range l.segments {
		s := &l.segments[j]
		if sender(s) == side || !isACK(s) {
			continue
		}
		if j > i && segment.Covers(s.Ack, end) {
			return j
		}
		if j < i && (furthest < 0 || int32(s.Ack-l.segments[furthest].Ack) > 0) {
			furthest = j
		}
		if next := l.first(j+1, func(n *segment.Segment) bool { return sender(n) != side && isACK(n) }); j < i && (next < 0 || next > i) {
			if segment.Covers(l.segments[furthest].Ack, end) {
				return furthest
			}
		}
	}
	return -1
}

// closed is when the connection closed: with the first RST before both FINs
// were acknowledged, or when the last of the four waves had passed.
func (l *modelled) closed() (at int64, ok bool) {
	for n := 1; n <= len(l.segments); n++ {
		prefix := &modelled{segments: l.segments[:n]}
		switch {
		case prefix.reset() && l.longTeardown():
			return l.end(), true
		case prefix.reset():
			return l.segments[n-1].At, true
		case prefix.acknowledged() && (l.longTeardown() || l.lateAnswer()):
			return l.end(), true
		case prefix.acknowledged():
			fin1, fin2 := prefix.fins()
			return max(l.segments[fin1].At, l.segments[fin2].At,
				l.segments[prefix.answer(fin1)].At, l.segments[prefix.answer(fin2)].At), true
		}
	}
	return 0, false
}

// lateAnswer tells whether FIN1 was answered so late that the time has no room.
func (l *modelled) lateAnswer() bool {
	fin1, _ := l.fins()
	answer := l.answer(fin1)
	return answer >= 0 && l.segments[answer].At-l.segments[fin1].At+overtaking > bits40
}

// longTeardown tells whether segments followed FIN2, its answer or, once there was
// a FIN, a RST for so long that their times have no room.
func (l *modelled) longTeardown() bool {
	fin1, fin2 := l.fins()
	if fin1 < 0 {
		return false
	}
	rst := l.first(0, func(s *segment.Segment) bool { return s.Is(fR) })
	for _, i := range [...]int{fin2, l.answer(fin2), rst} {
		if i >= 0 && (i != l.answer(fin2) || l.segments[i].At > l.segments[fin2].At-overtaking) && l.end()-l.segments[i].At > bits40 {
			return true
		}
	}
	return false
}

// end is the time of the last segment.
func (l *modelled) end() int64 {
	return slices.MaxFunc(l.segments, func(a, b segment.Segment) int { return cmp.Compare(a.At, b.At) }).At
}

func (l *modelled) acknowledged() bool {
	fin1, fin2 := l.fins()
	return l.answer(fin1) >= 0 && l.answer(fin2) >= 0
}

func (l *modelled) reset() bool {
	i := l.first(0, func(s *segment.Segment) bool { return s.Is(fR) })
	return i >= 0 && !(&modelled{segments: l.segments[:i]}).acknowledged()
}

// limit is from when the connection is idle, and for how long it may be.
func (l *modelled) limit(timeouts Timeouts) (from, limit int64) {
	if at, ok := l.closed(); ok {
		return at, int64(timeouts.Linger)
	}
	from = l.end()
	fin1, fin2 := l.fins()
	switch {
	case fin2 >= 0:
		return from, int64(timeouts.Closing)
	case fin1 >= 0, l.first(0, func(s *segment.Segment) bool { return !s.Is(fS | fR) }) >= 0:
		return from, int64(timeouts.Established)
	}
	return from, int64(timeouts.Opening)
}
