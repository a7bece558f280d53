package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// crossing is how far, in ns, the clock readings of two queues of a live tap
// may stand in the wrong order: as long as the system lets one CPU wait with
// what it has received, be it for a softirq's turn or for a hypervisor's.
// Within it, acknowledgements tell the order.
const crossing = int64(5e6)

func near(a, b int64) bool { return a-b < crossing && b-a < crossing }

// begin makes c a new connection. What it held before is gone.
func (c *connection) begin(s *segment.Segment, key *segment.Key, side uint8) {
	*c = connection{}
	c.key, c.startAt, c.endAt = *key, s.At, s.At
	c.iface, c.vlan, c.encap = s.Interface, s.VLAN, s.Encapsulation
	c.client, c.oriented = orient(s, side)
}

// reuse notes that the tuple of a new connection closed before. Where that
// begins with something else than a SYN, the SYN may still come.
func (c *connection) reuse(s *segment.Segment, closedAt int64) {
	c.reuseAfter, c.marks = closedAt, c.marks|connReuseOpen
	if s.TCPFlags&(segment.SYN|segment.ACK|segment.RST) == segment.SYN {
		c.closeReuse(s)
	}
}

// closeReuse takes the time of the SYN. There is no negative duration: the
// close may have been overtaken.
func (c *connection) closeReuse(syn *segment.Segment) {
	if !c.has(connReuseOpen) {
		return
	}
	c.marks &^= connReuseOpen
	if c.reuseAfter = syn.At - c.reuseAfter; c.reuseAfter >= 0 {
		c.marks |= connReused
	}
}

// orient tells the client's end from the first segment.
func orient(s *segment.Segment, side uint8) (client uint8, by OrientedBy) {
	switch {
	case s.Is(segment.SYN) && !s.Is(segment.ACK|segment.RST):
		return side, BySYN
	case s.Is(segment.SYN) && !s.Is(segment.RST):
		return 1 - side, BySYNACK
	case s.SrcPort < 1024 && s.DstPort >= 1024:
		return 1 - side, ByPort
	case s.DstPort < 1024 && s.SrcPort >= 1024:
		return side, ByPort
	default:
		return side, ByFirst
	}
}

// beginsAnew tells whether a segment is the SYN of another connection on the
// same tuple.
func (c *connection) beginsAnew(s *segment.Segment, side uint8) bool {
	e := &c.ends[side]
	switch s.TCPFlags & (segment.SYN | segment.ACK | segment.RST) {
	case segment.SYN:
	case segment.SYN | segment.ACK: // on a live tap it may have overtaken the SYN on another queue
		return s.Marks&segment.Final != 0 && c.has(connClosed) && e.has(endISN) && e.isn != s.Seq
	default:
		return false
	}
	if e.has(endISN) {
		return e.isn != s.Seq
	}
	// A SYN-ACK or a RST may have overtaken the SYN that it answers. Of data it is the
	// kernel that tells: that SYN has left it its entry.
	if c.has(connSYNACK | connRefusal) {
		return e.isn != s.Seq
	}
	return s.Marks&(segment.HasEntry|segment.Final) != segment.HasEntry
}

// opened tells that a segment changes nothing of when c began and opened.
func (c *connection) opened(s *segment.Segment) bool {
	return s.Marks&(segment.HasEntry|segment.Final) == 0 && !s.Is(segment.SYN) && c.marks&(connSYNACK|connEst) != connSYNACK && s.At >= c.startAt
}

// follow brings a segment of this connection into its state.
func (c *connection) follow(s *segment.Segment, side uint8) {
	first := !c.ends[side].has(endSent)
	c.count(s, side)
	c.startAt, c.endAt = min(c.startAt, s.At), max(c.endAt, s.At)
	rst := s.Is(segment.RST)
	if s.Is(segment.SYN) && !rst {
		c.followSYN(s, side)
	} else if !rst {
		c.marks |= connTalked
	}
	if s.Is(segment.ACK) && !rst {
		c.followEstablished(s, side)
	}
	if s.Is(segment.FIN) && !rst {
		c.followFIN(s, side)
	}
	if s.Is(segment.ACK) && !rst {
		c.followACK(s, side)
	}
	if rst {
		c.followRST(s, side, first)
	}
	if !c.has(connClosed) && (c.has(connReset) || c.bothCovered()) {
		c.marks |= connClosed
	}
}

// closedAt is when a closed connection closed: with the RST, or when the last of
// the four waves had passed, as far as its time is known.
func (c *connection) closedAt() int64 {
	a, b := &c.ends[0], &c.ends[1]
	switch {
	case c.has(connReset):
		return c.rstAt
	case c.has(connTeardownUntimed), (a.marks|b.marks)&endUntimed != 0:
		return c.endAt
	default:
		return max(a.finAt, b.finAt, a.ackAt, b.ackAt)
	}
}

// expect notes which initial sequence number the other side's SYN must have, if
// that is still to come.
func (e *end) expect(isn uint32) {
	if !e.has(endISN) {
		e.isn = isn
	}
}

func (c *connection) bothCovered() bool {
	return c.ends[0].has(endCovered) && c.ends[1].has(endCovered)
}

// followSYN notes a SYN or a SYN-ACK; RFC 9293 section 3.5.
func (c *connection) followSYN(s *segment.Segment, side uint8) {
	e := &c.ends[side]
	first := !e.has(endISN)
	if first {
		e.isn, e.marks = s.Seq, e.marks|endISN
	} else if e.isn == s.Seq && e.synRe < maxRepeats {
		e.synRe++
	}
	switch {
	case !s.Is(segment.ACK):
		if !c.has(connSYN) {
			c.synAt, c.marks = s.At, c.marks|connSYN
			c.closeReuse(s)
			if c.client != side { // what was taken for the server's SYN-ACK was not
				c.marks &^= connSYNACK | connEst | connEstUntimed
			}
			// A SYN-ACK that overtook its SYN has told the client already.
			if c.oriented != BySYNACK || c.client != side {
				c.client, c.oriented = side, BySYN
			}
		}
	case !c.has(connSYNACK):
		if c.oriented > BySYNACK {
			c.client, c.oriented = 1-side, BySYNACK
		}
		if c.client != side {
			c.synAckAt, c.marks = s.At, c.marks&^connRefusal|connSYNACK
			c.ends[c.client].expect(s.Ack - 1)
			c.followOvertakenSYNACK(s)
		}
	}
}

// followOvertakenSYNACK finds on a live tap that the client's answer to a
// SYN-ACK was seen a little before it, on another queue.
func (c *connection) followOvertakenSYNACK(s *segment.Segment) {
	answer := &c.ends[c.client]
	if s.Marks&segment.HasEntry != 0 && answer.has(endAck) && answer.maxAck == s.Seq+1 && answer.ackAt > s.At-crossing {
		c.estAt, c.marks = answer.ackAt, c.marks|connEst
	}
}

// followEstablished notes the client's answer to the SYN-ACK.
func (c *connection) followEstablished(s *segment.Segment, side uint8) {
	if c.marks&(connSYNACK|connEst) != connSYNACK || side != c.client || s.Is(segment.SYN) {
		return
	}
	if !segment.Covers(s.Ack, c.ends[1-side].isn+1) {
		return
	}
	c.estAt, c.marks = s.At, c.marks|connEst
	if s.Marks&segment.NoRoom != 0 || s.Marks&segment.Counted != 0 && s.Own.Packets > 1 {
		// One that was not passed on may have answered before.
		c.marks |= connEstUntimed
	}
}

// followFIN notes a FIN: FIN1, FIN2, or a repeat of either.
func (c *connection) followFIN(s *segment.Segment, side uint8) {
	e, other := &c.ends[side], &c.ends[1-side]
	if e.has(endFIN) {
		if e.finRe < maxRepeats {
			e.finRe++
		}
		return
	}
	e.finAt, e.finEnd, e.marks = s.At, s.Seq+s.Payload+1, e.marks|endFIN
	answers := s.Is(segment.ACK) && segment.Covers(s.Ack, other.finEnd)
	switch {
	case !c.has(connFIN1), c.sentFirst(s, side, answers):
		c.followFIN1(s, side)
	case !answers:
		c.marks |= connCrossed
	case !other.has(endCovered):
		c.marks |= connThreeWay
	case c.gleaned(s, side):
		c.marks |= connThreeWay
		c.halfBase = min(c.halfBase, int64(e.payload+e.gain(&s.Own))-int64(s.Payload))
	}
	c.overtaken(s, side)
	if c.initiator != side || !other.has(endFIN) {
		return
	}
	// FIN2 overtook FIN1.
	switch {
	case !e.has(endCovered) || other.ackAt > other.finAt:
		c.marks |= connCrossed
	case other.ackAt == other.finAt:
		c.marks |= connThreeWay
	}
}

// sentFirst tells whether the second FIN to come here was sent before the
// first: by its time, unless on a live tap one of the two acknowledges the other
// and their times lie so close that queues may have put them the wrong way.
func (c *connection) sentFirst(s *segment.Segment, side uint8, answers bool) bool {
	e, other := &c.ends[side], &c.ends[1-side]
	live := s.Marks&segment.HasEntry != 0 && near(s.At, other.finAt)
	answered := other.has(endAck) && other.maxAck == e.finEnd && other.ackAt <= other.finAt
	return s.At < other.finAt && !(live && answers) || live && answered
}

// followFIN1 notes the FIN that was seen first, or was overtaken by FIN2.
func (c *connection) followFIN1(s *segment.Segment, side uint8) {
	other := &c.ends[1-side]
	c.initiator, c.marks = side, c.marks|connFIN1
	c.halfBase = int64(other.payload)
	if s.Marks&(segment.HasEntry|segment.Final) == segment.HasEntry {
		c.halfBase += int64(other.gain(&s.Other))
	}
	c.halfBase += int64(other.overtakenBy(s))
}

// overtaken notes that a FIN was acknowledged before it came here. The kernel
// and the table each may know of newer acknowledgements: the kernel of those
// that were not passed on, the table of those that overtook this segment. Of a
// long connection the table's may be so old that the sequence space came half
// round since.
func (c *connection) overtaken(s *segment.Segment, side uint8) {
	e, other := &c.ends[side], &c.ends[1-side]
	kernels := s.Marks&segment.HasEntry != 0 && s.Other.Marks&segment.DirectionAcked != 0
	if kernels && (!other.has(endAck) || other.ackAt <= s.Other.LastAt) {
		if !segment.Covers(s.Other.MaxAck, e.finEnd) {
			return
		}
		if !other.has(endAck) || other.maxAck != s.Other.MaxAck {
			other.ackAt, other.maxAck, other.marks = s.Other.LastAt, s.Other.MaxAck, other.marks|endAck
			e.marks |= endGleaned
		}
		e.marks |= endCovered
	} else if other.has(endAck) && segment.Covers(other.maxAck, e.finEnd) {
		e.marks |= endCovered
	}
}

// gleaned tells whether a segment is the acknowledgement of the other side's FIN of
// which the kernel's counters told with that FIN already: both were in the kernel at
// once, on two CPUs. A plain one is passed for no other reason. A FIN is passed in
// any case, so it must be the first to acknowledge so much.
func (c *connection) gleaned(s *segment.Segment, side uint8) bool {
	other := &c.ends[1-side]
	if !other.has(endGleaned) || !near(s.At, other.finAt) || !segment.Covers(s.Ack, other.finEnd) {
		return false
	}
	return !s.Is(segment.FIN) || s.Marks&segment.Raised != 0
}

// followACK notes the highest acknowledgement of this side until the other side's
// FIN, and then which one is the first to cover that.
func (c *connection) followACK(s *segment.Segment, side uint8) {
	e, other := &c.ends[side], &c.ends[1-side]
	if other.has(endCovered) { // ackAt is the time of that wave
		if c.gleaned(s, side) {
			e.ackAt = s.At // the segment itself knows better than the counters
			other.marks &^= endGleaned
		}
		return
	}
	if other.has(endFIN) { // what does not answer it will not be asked for
		if segment.Covers(s.Ack, other.finEnd) {
			e.ackAt, other.marks = s.At, other.marks|endCovered
		}
		return
	}
	newest := !e.has(endAck) || int32(s.Ack-e.maxAck) > 0
	if s.Marks&segment.Counted != 0 && s.Own.Marks&segment.DirectionAcked != 0 {
		newest = s.Ack == s.Own.MaxAck && (!e.has(endAck) || s.Ack != e.maxAck && s.At >= e.ackAt)
	}
	if newest {
		e.maxAck, e.ackAt, e.marks = s.Ack, s.At, e.marks|endAck
	}
}

// followRST notes the first RST. One after both FINs were acknowledged is
// noted, but closes nothing.
func (c *connection) followRST(s *segment.Segment, side uint8, first bool) {
	if c.has(connRST) {
		return
	}
	c.rstAt, c.marks = s.At, c.marks|connRST
	if side == 1 {
		c.marks |= connRSTHigh
	}
	if !c.bothCovered() {
		c.marks |= connReset
	}
	if !first || s.Marks&segment.Counted != 0 && s.Own.Packets > 1 {
		c.marks |= connAnswered
	} else if s.Is(segment.ACK) && !c.ends[1-side].has(endSent) {
		c.ends[1-side].expect(s.Ack - 1)
		c.marks |= connRefusal
	}
}
