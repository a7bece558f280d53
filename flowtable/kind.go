package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// kind is the first that fits, in the order of the table in RECORD.md.
func (c *connection) kind() CloseKind {
	fins := 0
	for i := range c.ends {
		if c.ends[i].has(endFIN) {
			fins++
		}
	}
	switch {
	case c.has(connReset) && c.refused(fins):
		return Refused
	case c.has(connReset):
		return Reset
	case fins == 2 && c.has(connCrossed):
		return Simultaneous
	case fins == 2 && c.has(connThreeWay):
		return ThreeWay
	case fins == 2:
		return FourWay
	case fins == 1:
		return HalfClosed
	case c.has(connSYN) && !c.ends[1-c.client].has(endSent):
		return Unanswered
	case c.has(connSYNACK) && !c.has(connEst):
		return HalfOpen
	default:
		return Open
	}
}

// refused tells a RST that answers the SYN from any other: the server had
// said nothing before it.
func (c *connection) refused(fins int) bool {
	return c.has(connSYN) && !c.has(connSYNACK) && fins == 0 && c.rstBy() != c.client && !c.has(connAnswered)
}

func (c *connection) rstBy() uint8 {
	if c.has(connRSTHigh) {
		return 1
	}
	return 0
}

func (c *connection) party(side uint8) Party {
	if side == c.client {
		return Client
	}
	return Server
}

// state infers the RFC 9293 state of one end from what both sent.
func (c *connection) state(side uint8) State {
	e, other := &c.ends[side], &c.ends[1-side]
	sawFIN := other.has(endCovered) // it acknowledged the other's FIN
	switch {
	case c.has(connReset):
		return StateClosed
	case e.has(endFIN):
		passive := side != c.initiator && !c.has(connCrossed)
		switch {
		case passive && e.has(endCovered):
			return StateClosed
		case passive:
			return StateLastACK
		case e.has(endCovered) && sawFIN:
			return StateTimeWait
		case e.has(endCovered):
			return StateFINWait2
		case sawFIN:
			return StateClosing
		default:
			return StateFINWait1
		}
	case sawFIN:
		return StateCloseWait
	default:
		return c.openingState(side)
	}
}

func (c *connection) openingState(side uint8) State {
	switch {
	case c.has(connEst), !c.has(connSYN) && !c.has(connSYNACK):
		return StateEstablished
	case !c.has(connSYNACK) && c.has(connTalked):
		return StateEstablished // one direction, or a SYN-ACK, was not seen
	case side == c.client:
		return StateSYNSent
	case c.has(connSYNACK):
		return StateSYNReceived
	default:
		return StateClosed // nothing tells that anybody listens
	}
}

func (c *connection) evidence(lossy bool) Evidence {
	switch {
	case lossy || c.has(connLossy):
		return Lossy
	case !c.ends[0].has(endSent) || !c.ends[1].has(endSent):
		return OneSided
	case !c.has(connSYN):
		return Midstream
	default:
		return Full
	}
}

// record describes a connection. Kernel counters must have been absorbed.
func (c *connection) record(r *Record, reason EndReason, lossy bool) {
	*r = Record{} // a literal of more would be put together elsewhere and then copied
	r.Serial, r.Slice = c.serial, c.slice
	r.StartAt, r.EndAt = c.startAt, c.endAt
	r.Interface, r.VLAN, r.Encapsulation = c.iface, c.vlan, c.encap
	r.OrientedBy, r.Evidence, r.CloseKind, r.EndReason = c.oriented, c.evidence(lossy), c.kind(), reason
	r.Complete = c.has(connReset) || c.bothCovered()
	c.side(c.client, &r.Client)
	c.side(1-c.client, &r.Server)
	r.Client.State, r.Server.State = c.outline().States()
	c.moments(r)
	if e := &c.ends[c.client]; e.has(endISN) {
		r.ClientISN, r.Opened = e.isn, r.Opened|1<<Client
	}
	if e := &c.ends[1-c.client]; e.has(endISN) {
		r.ServerISN, r.Opened = e.isn, r.Opened|1<<Server
	}
	if c.has(connSequence) {
		r.Accounting = AccountingSequence
	}
	if c.has(connReused) {
		r.Reused, r.ReuseAfter = true, c.reuseAfter
	}
	if c.has(connRST) {
		r.RSTBy = c.party(c.rstBy())
	}
	if c.has(connFIN1) {
		r.Initiator = c.party(c.initiator)
		r.HalfClosePayload = uint64(max(int64(c.ends[1-c.initiator].payload)-c.halfBase, 0))
	} else if c.has(connRST) {
		r.Initiator = r.RSTBy
	}
}

// side fills in what one end sent, into a Side that is empty.
func (c *connection) side(i uint8, into *Side) {
	e := &c.ends[i&1]
	into.Address, into.Port = c.key.Low, c.key.LowPort
	if i == 1 {
		into.Address, into.Port = c.key.High, c.key.HighPort
	}
	into.Packets, into.Octets, into.Payload = e.packets, e.octets, e.payload
	into.SYNRetransmits, into.FINRetransmits, into.TCPFlags = uint16(e.synRe), uint16(e.finRe), e.flags
}

func (c *connection) moments(r *Record) {
	see := func(m Moment, at int64, seen bool) {
		if seen {
			r.At[m], r.Seen = at, r.Seen|1<<m
		}
	}
	timed, ended := !c.has(connOpeningUntimed), !c.has(connTeardownUntimed)
	see(SYNAt, c.synAt, timed && c.has(connSYN))
	see(SYNACKAt, c.synAckAt, timed && c.has(connSYNACK))
	see(EstablishedAt, c.estAt, timed && c.marks&(connEst|connEstUntimed) == connEst)
	see(RSTAt, c.rstAt, ended && c.has(connRST))
	if !c.has(connFIN1) {
		return
	}
	first, second := &c.ends[c.initiator], &c.ends[1-c.initiator]
	see(FIN1At, first.finAt, true)
	see(ACK1At, second.ackAt, answered(first, second))
	see(FIN2At, second.finAt, ended && second.has(endFIN))
	see(ACK2At, first.ackAt, ended && answered(second, first))
}

// answered tells whether the time is known at which a FIN was acknowledged by the
// other side.
func answered(e, by *end) bool {
	return e.marks&(endCovered|endUntimed) == endCovered && by.ackAt > e.finAt-overtaking
}

// view is the record of a connection that is still followed, with the kernel
// counters that were read for it.
func (c *connection) view(r *Record, k *segment.Counters, lossy bool) {
	c.reconcile(k)
	c.record(r, EndNone, lossy)
}
