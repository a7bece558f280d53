package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// How a connection rests in the words of a slot. They are shared out by bits, the
// wide part low: a time of 56 bits, a counter of 36 or 48, a duration of 40, which
// is 18 minutes. A moment of the opening is a duration since startAt, reuseAfter
// one by nature. Of the teardown, FIN1 has a time. Its answer is a duration since
// FIN1, no sender waits longer for one (15 minutes: tcp_retries2,
// Documentation/networking/ip-sysctl.rst); FIN2, its answer and a RST are durations
// until endAt, since little comes after them. What is too long for its place is not
// noted.
//
// Nothing rests that will not be asked for any more: of the acknowledgements before
// a FIN that one only whose FIN is still to come.

const (
	bits24 = 1<<24 - 1
	bits32 = 1<<32 - 1
	bits36 = 1<<36 - 1
	bits40 = 1<<40 - 1
	bits48 = 1<<48 - 1
	bits56 = 1<<56 - 1

	slotBits = 27
	slotMask = 1<<slotBits - 1
	endBits  = 9  // marks of an end
	connBits = 20 // marks of a connection
	// maxRepeats is where the counts of repeated SYNs and FINs stop, maxSlices
	// where that of slices does.
	maxRepeats = 127
	maxSlices  = bits24
	// overtaking is how long, in ns, an answer may be here before its FIN for its
	// time to be noted: 68 s, more than any capture is out of order.
	overtaking = int64(1) << 36
)

var _ [connSequence - 1<<connBits]struct{} // no mark at rest

// common is what the slots of a table have in common. Times lie within 1.1 years to
// either side of at, serials within 2^39 of serial.
type common struct {
	at     reference
	serial uint64
	marks  uint32
}

// reference is the time in whose neighbourhood, 1.1 years to either side, the
// times of slots lie.
type reference int64

func (r reference) time(word uint64) int64 {
	return int64(r) + (int64(word)-int64(r))<<8>>8
}

func (o *common) serialOf(word uint64) uint64 {
	return o.serial + uint64(int64(word-o.serial)<<24>>24)
}

// counter is the signed counter in the low 48 bits, counter36 in the low 36.
func counter(word uint64) uint64   { return uint64(int64(word) << 16 >> 16) }
func counter36(word uint64) uint64 { return uint64(int64(word) << 28 >> 28) }

// lay puts a value of so many bits into a word, at a shift.
func lay(value uint64, bits, shift uint) uint64 { return (value & (1<<bits - 1)) << shift }

// parts are what nearly every segment of a connection leaves alone: they stay in the
// slot while the rest of it is loaded, changed and stored.
type parts uint8

const (
	partOrigin  parts = 1 << iota // key, interface, VLAN, encapsulation
	partOpening                   // the moments of the opening
	partOther                     // all but marks and times of the end that a segment answers
	allParts    = partOrigin | partOpening | partOther
)

// load makes c the connection in a slot's two halves, but for parts that are not
// asked for. It sets every field by itself: a literal would be put together elsewhere
// and then copied.
func (c *connection) load(h *hot, l *cold, o common, which parts) {
	c.serial = o.serialOf(l.serial)
	c.startAt, c.endAt = o.at.time(l.start), o.at.time(h.last)
	c.marks = uint32(l.serial>>(64-connBits)) | o.marks
	c.slice = uint32(l.fin2 >> 40)
	c.oriented = OrientedBy(h.last / stateOriented & 3)
	c.client, c.initiator = uint8(h.last/stateClient&1), uint8(h.last/stateInitiator&1)
	c.ends[0].load(&h.ends[0], &h.ends[1], l.isn[0])
	c.ends[1].load(&h.ends[1], &h.ends[0], l.isn[1])
	c.rstAt, c.halfBase = 0, 0
	if c.has(connFIN1) {
		c.loadTeardown(h, l, o.at)
	} else {
		c.loadBefore(h, l, o.at)
	}
	c.class = c.currentClass()
	c.loadParts(h, l, which)
}

// loadParts loads what load left out.
func (c *connection) loadParts(h *hot, l *cold, which parts) {
	if which&partOrigin != 0 {
		h.copyKey(&c.key)
		spare := h.ends[1].spare()
		c.vlan, c.iface = uint16(spare&0xfff), uint32(spare>>12)
		c.encap.Identifier = uint32(l.wrapping)
		c.encap.Layers = unfold(l.half >> 48)
	}
	if which&partOpening != 0 {
		c.loadOpening(h, l)
	}
}

// load makes e the end in a slot, but for its times. It takes no branch: whether FINs
// were sent is as often true as not.
func (e *end) load(from, other *hotEnd, isn uint32) {
	e.packets, e.octets, e.payload = counter36(from.packets), counter(from.octets), counter(from.payload)
	e.marks = uint16(from.packets >> 48 & (1<<endBits - 1))
	e.synRe, e.finRe = uint8(from.packets>>57), uint8(from.payload>>48)
	e.flags = uint8(from.octets >> 48)
	e.isn, e.high = isn, from.high
	e.finAt, e.ackAt = 0, 0
	own, others := uint32(from.packets>>48)/endFIN&1, uint32(other.packets>>48)/endFIN&1
	e.finEnd, e.maxAck = other.maxAck&-own, from.maxAck&(others-1)
}

func (c *connection) loadOpening(h *hot, l *cold) {
	syn := l.reuse
	c.synAt, c.synAckAt, c.estAt, c.reuseAfter = 0, 0, 0, 0
	switch {
	case c.has(connReuseOpen):
		c.reuseAfter, syn = c.startAt-int64(l.reuse>>24), l.reuse&bits24
	case c.has(connReused):
		c.reuseAfter, syn = int64(l.reuse>>24), l.reuse&bits24
	}
	if c.has(connOpeningUntimed) {
		c.synAt, c.synAckAt, c.estAt = c.startAt, c.startAt, c.startAt
		return
	}
	if c.has(connSYN) {
		c.synAt = c.startAt + int64(syn)
	}
	if c.has(connSYNACK) {
		c.synAckAt = c.startAt + int64(h.ends[0].spare()|l.serial>>40&15<<36)
	}
	if c.marks&(connEst|connEstUntimed) == connEst {
		c.estAt = c.startAt + int64(l.start>>56|l.wrapping>>32<<8)
	}
}

// loadBefore loads the moments of a connection without FINs.
func (c *connection) loadBefore(h *hot, l *cold, ref reference) {
	a, b := &c.ends[0], &c.ends[1]
	a.ackAt = ref.time(h.ends[0].acked) & -int64(a.marks/endAck&1)
	b.ackAt = ref.time(h.ends[1].acked) & -int64(b.marks/endAck&1)
	c.rstAt = ref.time(l.fin1) & -int64(c.marks/connRST&1)
}

// loadTeardown loads the moments from FIN1 on.
func (c *connection) loadTeardown(h *hot, l *cold, ref reference) {
	first, second := &c.ends[c.initiator], &c.ends[1-c.initiator]
	first.finAt = ref.time(l.fin1)
	c.halfBase = int64(counter(l.half))
	if first.has(endCovered) {
		second.ackAt = first.finAt - overtaking + int64(h.ends[1-c.initiator].acked&bits40)
	}
	if second.has(endFIN) {
		second.finAt = c.endAt - int64(l.fin2&bits40)
	}
	if c.awaits(first, second) {
		first.ackAt = c.endAt - int64(h.ends[c.initiator].acked&bits40)
	}
	if c.has(connRST) {
		c.rstAt = c.endAt - int64(h.ends[0].acked>>40&0xffff|h.ends[1].acked>>40&0xffff<<16|l.fin1>>56<<32)
	}
}

// awaits tells whether the initiator's ackAt will be asked for: it answered FIN2,
// or may have done so before FIN2 came here.
func (c *connection) awaits(first, second *end) bool {
	return second.has(endCovered) || first.has(endAck) && !second.has(endFIN)
}

// store puts c into a slot that has its key, but for parts that the segment of a side
// left alone. Readers are kept out meanwhile.
func (c *connection) store(h *hot, l *cold, side uint8, which parts) {
	if which&partOpening != 0 {
		c.fitOpening()
	}
	if c.has(connFIN1) {
		c.fitTeardown()
	}
	h.guard.begin()
	h.last = uint64(c.endAt)&bits56 | c.stateOctet()
	own, other := side&1, side&1^1
	c.ends[own].store(&h.ends[own])
	if which&partOther != 0 {
		c.ends[other].store(&h.ends[other])
	} else {
		c.ends[other].storeMarks(&h.ends[other])
	}
	l.isn[0], l.isn[1] = c.ends[0].isn, c.ends[1].isn
	l.fin2 = uint64(min(c.slice, maxSlices)) << 40
	l.serial = l.serial&(15<<40) | c.serial&bits40 | uint64(c.marks)<<(64-connBits)
	l.half = l.half&^bits48 | uint64(c.halfBase)&bits48
	if c.has(connFIN1) {
		c.storeTeardown(h, l)
	} else {
		h.ends[0].acked |= uint64(c.ends[0].ackAt) & bits56
		h.ends[1].acked |= uint64(c.ends[1].ackAt) & bits56
		l.fin1 = uint64(c.rstAt) & bits56
	}
	if which&partOrigin != 0 {
		c.storeOrigin(h, l)
	}
	if which&partOpening != 0 {
		c.storeOpening(h, l)
	}
	h.guard.done()
}

func (c *connection) storeOrigin(h *hot, l *cold) {
	h.ends[1].setSpare(uint64(c.vlan)&0xfff | uint64(c.iface)<<12)
	l.half = l.half&bits48 | fold(&c.encap.Layers)<<48
	l.wrapping = l.wrapping&^bits32 | uint64(c.encap.Identifier)
}

func (c *connection) storeOpening(h *hot, l *cold) {
	syn, synAck, est := c.since(connSYN, c.synAt), c.since(connSYNACK, c.synAckAt), c.since(connEst, c.estAt)
	switch {
	case c.has(connReuseOpen):
		syn |= uint64(c.startAt-c.reuseAfter) << 24
	case c.has(connReused):
		syn |= uint64(c.reuseAfter) << 24
	}
	h.ends[0].setSpare(synAck)
	l.serial = l.serial&^(15<<40) | lay(synAck>>36, 4, 40)
	l.start = uint64(c.startAt)&bits56 | lay(est, 8, 56)
	l.wrapping = l.wrapping&bits32 | est>>8<<32
	l.reuse = syn
}

// fold puts four layers into 16 bits, the first lowest, and unfold takes them out.
func fold(layers *[4]segment.Layer) uint64 {
	return uint64(layers[0]) | uint64(layers[1])<<4 | uint64(layers[2])<<8 | uint64(layers[3])<<12
}

func unfold(bits uint64) [4]segment.Layer {
	return [4]segment.Layer{segment.Layer(bits & 15), segment.Layer(bits >> 4 & 15), segment.Layer(bits >> 8 & 15), segment.Layer(bits >> 12 & 15)}
}

// store puts an end into its words, but for its ackAt and what is to spare in them.
func (e *end) store(to *hotEnd) {
	to.packets = to.packets&(0xfff<<36) | e.packets&bits36 | uint64(e.marks)<<48 | uint64(e.synRe)<<(48+endBits)
	to.octets = to.octets&^bits56 | e.octets&bits48 | uint64(e.flags)<<48
	to.payload = to.payload&^bits56 | e.payload&bits48 | uint64(e.finRe)<<48
	to.acked &^= bits56
	to.high, to.maxAck = e.high, e.maxAck
}

// storeMarks is store where the side sent nothing.
func (e *end) storeMarks(to *hotEnd) {
	to.packets = to.packets&^((1<<endBits-1)<<48) | uint64(e.marks)<<48
	to.acked &^= bits56
	to.maxAck = e.maxAck
}

// storeTeardown adds the moments from FIN1 on.
func (c *connection) storeTeardown(h *hot, l *cold) {
	first, second := &c.ends[c.initiator&1], &c.ends[1-c.initiator&1]
	of, against := &h.ends[c.initiator&1], &h.ends[1-c.initiator&1]
	l.fin1 = uint64(first.finAt) & bits56
	against.maxAck = first.finEnd
	if first.has(endCovered) {
		against.acked |= uint64(second.ackAt-first.finAt+overtaking) & bits40
	}
	if second.has(endFIN) {
		l.fin2 |= uint64(c.endAt-second.finAt) & bits40
		of.maxAck = second.finEnd
	}
	if c.awaits(first, second) {
		of.acked |= uint64(c.endAt-first.ackAt) & bits40
	}
	if c.has(connRST) {
		rst := uint64(c.endAt - c.rstAt)
		h.ends[0].acked |= lay(rst, 16, 40)
		h.ends[1].acked |= lay(rst>>16, 16, 40)
		l.fin1 |= lay(rst>>32, 8, 56)
	}
}

// since is a moment of the opening as it rests, 0 where it was not seen.
func (c *connection) since(mark uint32, at int64) uint64 {
	if !c.has(mark) || mark == connEst && c.has(connEstUntimed) {
		return 0
	}
	return uint64(at - c.startAt)
}

// fitOpening drops what has no room: moments of an opening that took 18 minutes are
// not noted, nor a reuse that long after the close.
func (c *connection) fitOpening() {
	if c.has(connReuseOpen) && uint64(c.startAt-c.reuseAfter)>>40 != 0 || c.has(connReused) && uint64(c.reuseAfter)>>40 != 0 {
		c.marks &^= connReuseOpen | connReused
		c.reuseAfter = 0
	}
	syn := c.since(connSYN, c.synAt)
	if (syn|c.since(connSYNACK, c.synAckAt)|c.since(connEst, c.estAt))>>40 != 0 ||
		c.marks&(connReuseOpen|connReused) != 0 && syn>>24 != 0 { // overtaken by 16 ms
		c.marks |= connOpeningUntimed
	}
	if c.has(connOpeningUntimed) {
		c.synAt, c.synAckAt, c.estAt = c.startAt, c.startAt, c.startAt
	}
}

// fitTeardown drops the time of FIN1's answer where that took 17 minutes, what else
// there is of a teardown where segments followed it for 18, and what has no use any
// more. An answer that is here long before its FIN is moved up to it: such a time
// is not noted.
func (c *connection) fitTeardown() {
	first, second := &c.ends[c.initiator], &c.ends[1-c.initiator]
	switch {
	case !first.has(endCovered):
		second.ackAt = 0
	case first.has(endUntimed):
		second.ackAt = first.finAt
	default:
		second.ackAt = max(second.ackAt, first.finAt-overtaking)
		if second.ackAt-first.finAt+overtaking > bits40 {
			second.ackAt, first.marks = first.finAt, first.marks|endUntimed
		}
	}
	switch {
	case second.has(endUntimed):
		first.ackAt = c.endAt
	case second.has(endCovered):
		first.ackAt = max(first.ackAt, second.finAt-overtaking)
	case c.awaits(first, second):
		first.ackAt = max(first.ackAt, c.endAt-bits40)
	default:
		first.ackAt = 0
	}
	if second.has(endFIN) && c.endAt-second.finAt > bits40 || second.has(endCovered) && c.endAt-first.ackAt > bits40 ||
		c.has(connRST) && c.endAt-c.rstAt > bits40 {
		c.marks |= connTeardownUntimed
	}
	if !c.has(connTeardownUntimed) {
		return
	}
	if c.has(connRST) {
		c.rstAt = c.endAt
	}
	if second.has(endFIN) {
		second.finAt = c.endAt
	}
	if second.has(endCovered) {
		first.ackAt = c.endAt
	}
}
