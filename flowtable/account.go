package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// count adds a segment that the kernel did not count, and takes over what the
// kernel's counters tell beyond counts.
func (c *connection) count(s *segment.Segment, side uint8) {
	e := &c.ends[side]
	e.flags |= s.TCPFlags
	switch {
	case s.Marks&(segment.HasEntry|segment.Final) == segment.HasEntry:
		c.marks |= connEntry
		c.glean(side, &s.Own)
		c.glean(1-side, &s.Other)
	case s.Marks&segment.NoRoom != 0:
		c.marks |= connLossy
	}
	if s.Marks&segment.Counted == 0 {
		e.packets++
		e.octets += uint64(s.Octets)
		if c.has(connSequence) {
			c.infer(s, side)
		} else {
			e.advance(s)
		}
	}
	e.marks |= endSent
}

// entrySlack is how far, in ns, the first counted segment of a connection may
// seem to lie before its first segment, where queues cross.
const entrySlack = int64(500e3)

// takeOver absorbs the kernel entry that a SYN of the same tuple removed. A SYN
// and its SYN-ACK that crossed both bring it: the second one finds that it is
// of the connection before.
func (c *connection) takeOver(s *segment.Segment, side uint8) {
	for _, d := range []*segment.Direction{&s.Own, &s.Other} {
		if d.Packets != 0 && d.FirstAt <= c.startAt-entrySlack {
			return
		}
	}
	c.absorb(side, &s.Own)
	c.absorb(1-side, &s.Other)
	c.marks &^= connEntry
}

// advance moves the highest sequence number. The sequence space ends at the
// FIN, and a RST is not in it.
func (e *end) advance(s *segment.Segment) {
	if s.Is(segment.RST) || e.has(endOver) {
		return
	}
	last := s.End()
	switch {
	case !e.has(endHigh):
		e.payload += uint64(s.Payload)
		e.high, e.marks = last, e.marks|endHigh
	case s.Is(segment.SYN) && s.Payload == 0:
		e.restate(s)
	default: // without a branch: nothing tells whether it moves
		gain := uint32(max(int32(last-e.high), 0))
		e.payload += uint64(gain)
		e.high += gain
	}
	if s.Is(segment.FIN) {
		e.marks |= endOver
	}
}

// restate takes a repeated SYN. It moves nothing. One with another initial
// sequence number, as of a server with SYN cookies (RFC 4987 section 3.6), stands
// for the first as long as nothing followed that.
func (e *end) restate(s *segment.Segment) {
	if e.has(endISN) && e.high == e.isn+1 {
		e.isn, e.high = s.Seq, s.End()
	}
}

// backward is how far behind the highest sequence number a segment may lie, as
// one that was overtaken does. What seems to lie further behind is ahead by more
// than 2^31.
const backward = uint32(1) << 24

// infer learns from a control segment how far both directions have come: its
// own by the sequence number, the other by what it acknowledges. Of segments
// between them nothing is known, so that they may be up to 2^32 octets apart.
func (c *connection) infer(s *segment.Segment, side uint8) {
	e, other := &c.ends[side], &c.ends[1-side]
	if s.Is(segment.ACK) && other.has(endHigh) && !other.has(endOver) {
		other.reach(s.Ack)
	}
	if e.has(endOver) || s.Is(segment.RST) && !e.has(endHigh) {
		return // a RST that refuses says nothing of its sender's sequence space
	}
	if !e.has(endHigh) {
		e.high, e.marks = s.Seq, e.marks|endHigh
		if s.Is(segment.SYN) {
			e.high++
		}
	}
	if s.Is(segment.SYN) && s.Payload == 0 {
		e.restate(s)
	} else {
		e.reach(s.End())
	}
	if s.Is(segment.FIN) && !s.Is(segment.RST) {
		e.marks |= endOver
	}
}

// reach moves the highest sequence number forward to next.
func (e *end) reach(next uint32) {
	if e.high-next > backward {
		e.payload += uint64(next - e.high)
		e.high = next
	}
}

// gain is the payload of a kernel direction beyond e.high: what d counted,
// and the gap or the overlap between the two.
func (e *end) gain(d *segment.Direction) uint64 {
	if d.Marks&segment.DirectionStarted == 0 || e.has(endOver) {
		return 0
	}
	gain := int64(d.Payload)
	if e.has(endHigh) {
		gain += int64(int32(d.Base - e.high))
	}
	return uint64(max(gain, 0))
}

// overtakenBy is the payload of e that a FIN of the other side acknowledges and has
// overtaken: it was sent before the FIN, whenever it comes here.
func (e *end) overtakenBy(fin *segment.Segment) uint32 {
	high, known, over := e.high, e.has(endHigh), e.has(endOver)
	if d := &fin.Other; fin.Marks&segment.HasEntry != 0 && d.Marks&segment.DirectionStarted != 0 {
		high, known, over = d.High, true, d.Marks&segment.DirectionFinished != 0
	}
	if !known || over || !fin.Is(segment.ACK) {
		return 0
	}
	return uint32(max(int32(fin.Ack-high), 0))
}

// glean learns from a kernel direction what does not depend on counts.
func (c *connection) glean(side uint8, d *segment.Direction) {
	if d.Packets == 0 {
		return
	}
	c.marks |= connTalked
	c.ends[side].marks |= endSent
	c.startAt, c.endAt = min(c.startAt, d.FirstAt), max(c.endAt, d.LastAt)
	if c.marks&(connSYNACK|connEst) == connSYNACK && side == c.client && d.Marks&segment.DirectionAcked != 0 {
		c.gleanEstablished(d, c.ends[1-side].isn+1)
	}
}

// gleanEstablished looks for the client's answer to the SYN-ACK among segments
// that the kernel counted. The first of them has a time. Where that one
// overtook the SYN-ACK, a later one answered at a time that is not known.
func (c *connection) gleanEstablished(d *segment.Direction, end uint32) {
	switch {
	case c.has(connRST) && d.FirstAt >= c.rstAt: // the acknowledgement of a RST proves nothing
	case d.FirstAt > c.synAckAt && segment.Covers(d.FirstAck, end):
		c.estAt, c.marks = d.FirstAt, c.marks|connEst
	case d.LastAt > c.synAckAt && segment.Covers(d.MaxAck, end):
		c.marks |= connEst | connEstUntimed
	}
}

// absorb takes over the counters of a kernel entry that is gone.
func (c *connection) absorb(side uint8, d *segment.Direction) {
	if d.Packets == 0 {
		return
	}
	c.glean(side, d)
	e, other := &c.ends[side], &c.ends[1-side]
	e.packets += d.Packets
	e.octets += d.Octets
	e.flags |= d.TCPFlags
	gain := e.gain(d)
	e.payload += gain
	if d.Marks&segment.DirectionStarted != 0 && !e.has(endHigh) {
		e.high, e.marks = d.High, e.marks|endHigh
	} else {
		e.high += uint32(gain) // d.High, also where that is more than 2^31 further
	}
	if d.Marks&segment.DirectionFinished != 0 {
		e.marks |= endOver
	}
	// Where the segment that covered a FIN did not come here, it is known
	// that the FIN was covered, but not when.
	if other.has(endFIN) && !other.has(endCovered) && d.Marks&segment.DirectionAcked != 0 &&
		segment.Covers(d.MaxAck, other.finEnd) {
		other.marks |= endCovered | endUntimed
	}
}

// restartCounters lets the counters begin anew, for the next slice, while the
// kernel counts on from d.
func (e *end) restartCounters(d *segment.Direction) {
	e.packets, e.octets, e.payload = -d.Packets, -d.Octets, -e.gain(d)
}

// reconcile absorbs both directions of a kernel entry. After a slice the counters
// are differences modulo what has room at rest, so that they are right however much
// the kernel counted in all. An entry that was lost after a slice has less than the
// slice had of it: then counts are missing.
func (c *connection) reconcile(k *segment.Counters) {
	for i := range k {
		c.absorb(uint8(i), &k[i])
		e := &c.ends[i]
		if c.slice > 0 {
			e.packets, e.octets, e.payload = counter36(e.packets), counter(e.octets), counter(e.payload)
		}
		for _, counter := range [...]*uint64{&e.packets, &e.octets, &e.payload} {
			if int64(*counter) < 0 {
				*counter = 0
				c.marks |= connLossy
			}
		}
	}
}
