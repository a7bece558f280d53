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
		e.advance(s)
	}
}

// takeOver absorbs the kernel entry that a SYN of the same tuple removed.
func (c *connection) takeOver(s *segment.Segment, side uint8) {
	c.absorb(side, &s.Own)
	c.absorb(1-side, &s.Other)
	c.marks &^= connEntry
}

// advance moves the highest sequence number. The sequence space ends at the
// FIN, and a RST is not in it.
func (e *end) advance(s *segment.Segment) {
	if s.Is(segment.RST) || e.has(endFIN) {
		return
	}
	last := s.End()
	switch {
	case !e.has(endHigh):
		e.payload += uint64(s.Payload)
		e.high, e.marks = last, e.marks|endHigh
	case s.Is(segment.SYN) && s.Payload == 0:
		// A repeated SYN moves nothing.
	case int32(last-e.high) > 0:
		e.payload += uint64(last - e.high)
		e.high = last
	}
}

// pending is the payload that a kernel direction adds to what e has.
func (e *end) pending(d *segment.Direction, marks uint8) uint64 {
	if marks&segment.HasEntry == 0 {
		return 0
	}
	return e.gain(d)
}

// gain is the payload of d beyond e.high: what d counted, and the gap or the
// overlap between the two.
func (e *end) gain(d *segment.Direction) uint64 {
	if d.Marks&segment.DirectionStarted == 0 {
		return 0
	}
	gain := int64(d.Payload)
	if e.has(endHigh) {
		gain += int64(int32(d.Base - e.high))
	}
	return uint64(max(gain, 0))
}

// glean learns from a kernel direction what does not depend on counts.
func (c *connection) glean(side uint8, d *segment.Direction) {
	if d.Packets == 0 {
		return
	}
	c.marks |= connTalked
	c.startAt, c.endAt = min(c.startAt, d.FirstAt), max(c.endAt, d.LastAt)
	other := &c.ends[1-side]
	if c.marks&(connSYNACK|connEst) == connSYNACK && side == c.client && d.Marks&segment.DirectionAcked != 0 &&
		segment.Covers(d.FirstAck, other.isn+1) && d.FirstAt >= c.synAckAt {
		c.estAt, c.marks = d.FirstAt, c.marks|connEst
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
	e.payload += e.gain(d)
	if d.Marks&segment.DirectionStarted != 0 && (!e.has(endHigh) || int32(d.High-e.high) > 0) {
		e.high, e.marks = d.High, e.marks|endHigh
	}
	// Where the segment that covered a FIN did not come here, it is known
	// that the FIN was covered, but not when.
	if other.has(endFIN) && !other.has(endCovered) && d.Marks&segment.DirectionAcked != 0 &&
		segment.Covers(d.MaxAck, other.finEnd) {
		other.marks |= endCovered | endUntimed
	}
}
