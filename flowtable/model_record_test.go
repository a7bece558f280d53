package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// record is the whole record, but for its serial.
func (l *modelled) record(reason EndReason) Record {
	client, by := l.client()
	first := &l.segments[0]
	r := Record{
		StartAt: first.At, EndAt: first.At, Interface: first.Interface, VLAN: first.VLAN, Encapsulation: first.Encapsulation,
		OrientedBy: by, EndReason: reason, CloseKind: l.kind(),
		Complete: l.reset() || l.acknowledged(), Evidence: Full,
	}
	if syn := l.syn(); l.known && syn >= 0 && l.segments[syn].At >= l.closedAt {
		r.Reused, r.ReuseAfter = true, l.segments[syn].At-l.closedAt
	}
	for i := range l.segments {
		r.StartAt, r.EndAt = min(r.StartAt, l.segments[i].At), max(r.EndAt, l.segments[i].At)
	}
	switch {
	case l.from(0) == 0 || l.from(1) == 0:
		r.Evidence = OneSided
	case l.syn() < 0:
		r.Evidence = Midstream
	}
	r.Client, r.Server = l.side(client), l.side(1-client)
	r.ClientISN, r.Opened = l.isn(client, 1<<Client)
	serverISN, opened := l.isn(1-client, 1<<Server)
	r.ServerISN, r.Opened = serverISN, r.Opened|opened
	fin1, fin2 := l.fins()
	rst := l.first(0, func(s *segment.Segment) bool { return s.Is(fR) })
	for moment, i := range [Moments]int{l.syn(), l.synACK(), l.established(), fin1, l.answer(fin1), fin2, l.answer(fin2), rst} {
		if i >= 0 {
			r.At[moment], r.Seen = l.segments[i].At, r.Seen|1<<moment
		}
	}
	for moment, at := range r.At[SYNAt:FIN1At] {
		room := int64(bits40) // 18 minutes
		if r.Reused && Moment(moment) == SYNAt {
			room = bits24 // 16 ms
		}
		if at-r.StartAt > room {
			r.Seen &^= 1<<SYNAt | 1<<SYNACKAt | 1<<EstablishedAt
		}
	}
	if l.lateAnswer() || fin1 >= 0 && l.answer(fin1) >= 0 && r.At[ACK1At] <= r.At[FIN1At]-overtaking {
		r.Seen &^= 1 << ACK1At
	}
	if l.longTeardown() {
		r.Seen &^= 1<<FIN2At | 1<<ACK2At | 1<<RSTAt
	} else if fin2 >= 0 && l.answer(fin2) >= 0 && r.At[ACK2At] <= r.At[FIN2At]-overtaking {
		r.Seen &^= 1 << ACK2At
	}
	for moment := range r.At {
		if r.Seen&(1<<moment) == 0 {
			r.At[moment] = 0
		}
	}
	party := func(i int) Party {
		if sender(&l.segments[i]) == client {
			return Client
		}
		return Server
	}
	if rst >= 0 {
		r.RSTBy = party(rst)
		r.Initiator = r.RSTBy
	}
	if fin1 >= 0 {
		r.Initiator = party(fin1)
		r.HalfClosePayload = l.halfClosePayload(fin1)
	}
	return r
}

// halfClosePayload is what the other side sent after FIN1: of what comes here later,
// FIN1 may acknowledge some.
func (l *modelled) halfClosePayload(fin1 int) uint64 {
	fin := &l.segments[fin1]
	other := 1 - sender(fin)
	all, before := l.walk(other, len(l.segments)).payload, l.walk(other, fin1)
	sent := before.payload
	if isACK(fin) && before.moved && !before.finished && int32(fin.Ack-before.high) > 0 {
		sent += uint64(fin.Ack - before.high)
	}
	return all - min(all, sent)
}

func (l *modelled) side(side int) Side {
	q := l.walk(side, len(l.segments))
	e := Side{Payload: q.payload, SYNRetransmits: q.synRe, FINRetransmits: q.finRe, State: l.state(side)}
	for i := range l.segments {
		s := &l.segments[i]
		if sender(s) == side {
			e.Packets++
			e.Octets += uint64(s.Octets)
			e.TCPFlags |= s.TCPFlags
			e.Address, e.Port = s.Src, s.SrcPort
		} else {
			e.Address, e.Port = s.Dst, s.DstPort
		}
	}
	return e
}

// isn is the initial sequence number of a side whose SYN was seen, and its mark.
func (l *modelled) isn(side int, mark uint8) (uint32, uint8) {
	if q := l.walk(side, len(l.segments)); q.known {
		return q.isn, mark
	}
	return 0, 0
}

func (l *modelled) covers(i, fin int) bool {
	s, f := &l.segments[i], &l.segments[fin]
	return isACK(s) && segment.Covers(s.Ack, f.Seq+f.Payload+1)
}

func (l *modelled) kind() CloseKind {
	client, _ := l.client()
	fin1, fin2 := l.fins()
	switch {
	case l.reset():
		rst := l.first(0, func(s *segment.Segment) bool { return s.Is(fR) })
		before := &modelled{segments: l.segments[:rst]}
		if l.syn() >= 0 && l.synACK() < 0 && fin1 < 0 && sender(&l.segments[rst]) != client && before.from(1-client) == 0 {
			return Refused
		}
		return Reset
	case fin2 >= 0 && !l.covers(fin2, fin1):
		return Simultaneous
	case fin2 >= 0 && l.answer(fin1) == fin2:
		return ThreeWay
	case fin2 >= 0:
		return FourWay
	case fin1 >= 0:
		return HalfClosed
	case l.syn() >= 0 && l.from(1-client) == 0:
		return Unanswered
	case l.synACK() >= 0 && l.established() < 0:
		return HalfOpen
	}
	return Open
}

// state follows RFC 9293 section 3.3.2 from both ends' FINs and their answers.
func (l *modelled) state(side int) State {
	if l.reset() {
		return StateClosed
	}
	mine, others := -1, -1
	fin1, fin2 := l.fins()
	for _, i := range [...]int{fin1, fin2} {
		if i >= 0 && sender(&l.segments[i]) == side {
			mine = i
		} else if i >= 0 {
			others = i
		}
	}
	answered, answering := l.answer(mine) >= 0, l.answer(others) >= 0
	passive := mine == fin2 && mine >= 0 && l.covers(fin2, fin1)
	switch {
	case passive && answered:
		return StateClosed
	case passive:
		return StateLastACK
	case mine >= 0 && answered && answering:
		return StateTimeWait
	case mine >= 0 && answered:
		return StateFINWait2
	case mine >= 0 && answering:
		return StateClosing
	case mine >= 0:
		return StateFINWait1
	case answering:
		return StateCloseWait
	}
	return l.openingState(side)
}

func (l *modelled) openingState(side int) State {
	client, _ := l.client()
	spoken := l.first(0, func(s *segment.Segment) bool { return !s.Is(fS | fR) }) >= 0
	syn, answer := l.syn() >= 0, l.synACK() >= 0
	switch {
	case l.established() >= 0, !syn && !answer, !answer && spoken:
		return StateEstablished
	case side == client:
		return StateSYNSent
	case answer:
		return StateSYNReceived
	}
	return StateClosed
}
