package flowtable

import (
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// A slot is a connection at rest: 28 words in two arrays. The hot half is what
// an ordinary segment of an established connection reads and changes, two cache
// lines side by side; the cold half is the rest. Whatever needs more than the
// hot half loads the slot into a connection, changes that, and stores it.
//
// Words are shared out by bits, the wide part low: a time of 56 bits, a counter
// of 48, a duration of 40. A moment of the opening is a duration since startAt.

// hot is two cache lines.
type hot struct {
	low, high [16]byte
	ports     uint32 // the key's two, as they stand in it
	guard     guard
	last      uint64 // state 8 | endAt 56
	ends      [2]hotEnd
}

// hotEnd is what a side's own segments change. The octets that are left over hold
// synAckAt, and the highest 8 bits of the interface.
type hotEnd struct {
	packets uint64 // synRe 7 | marks 9 | 48
	octets  uint64 // 8 | flags 8 | 48
	payload uint64 // 8 | finRe 8 | 48
	acked   uint64 // 8 | ackAt 56
	high    uint32
	maxAck  uint32
}

// cold is a line and a half.
type cold struct {
	links    uint64    // bucket 9 | next 27 | prev 27; the writer's own, no snapshot takes it
	start    uint64    // estAt 8 | startAt 56
	rst      uint64    // estAt 8 | rstAt 56
	fins     [2]uint64 // estAt 8 | finAt 56
	isn      [2]uint32
	finEnd   [2]uint32
	serial   uint64 // interface 16 | serial 48
	half     uint64 // layers 4 x 4 | halfBase 48
	reuse    uint64 // marks 24 | reuseAfter 40
	wrapping uint64 // slice 20 | vlan 12 | identifier 32
	opening  uint64 // slice 12 | estAt 8 | synAt 40
}

const (
	hotSize   = 128
	coldSize  = 96
	hotWords  = hotSize / 8
	coldWords = coldSize / 8
	guardWord = 4 // of the hot half: ports and guard
)

var (
	_ [hotSize]byte         = [unsafe.Sizeof(hot{})]byte{}
	_ [coldSize]byte        = [unsafe.Sizeof(cold{})]byte{}
	_ [guardWord*8 + 4]byte = [unsafe.Offsetof(hot{}.guard)]byte{}
	_ [segment.KeySize]byte = [unsafe.Offsetof(hot{}.last)]byte{}
	_ [1<<slotBits - 1 - MaxMaxFlows]struct{}
)

// The state octet of hot.last.
const (
	stateUsed     = uint64(1) << (56 + iota) // the slot holds a connection
	statePlain                               // end 0 may take the short way of Table.plain
	_                                        // end 1 may
	stateOriented                            // two bits
)

const (
	bits40 = 1<<40 - 1
	bits48 = 1<<48 - 1
	bits56 = 1<<56 - 1

	slotBits = 27
	slotMask = 1<<slotBits - 1
	endBits  = 9  // marks of an end
	connBits = 24 // marks of a connection
	// maxRepeats is where the counts of repeated SYNs and FINs stop.
	maxRepeats = 127
)

// is tells whether a slot in use is that of key.
func (h *hot) is(key *segment.Key) bool {
	a, b := (*[4]uint64)(unsafe.Pointer(h)), (*[4]uint64)(unsafe.Pointer(key))
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] &&
		h.ports == *(*uint32)(unsafe.Pointer(&key.LowPort)) && h.guard.scope() == key.Scope && h.last&stateUsed != 0
}

func (h *hot) key() (key segment.Key) {
	key.Low, key.High = h.low, h.high
	*(*uint32)(unsafe.Pointer(&key.LowPort)), key.Scope = h.ports, h.guard.scope()
	return key
}

func (h *hot) used() bool { return h.last&stateUsed != 0 }

// reference is the time in whose neighbourhood, 1.1 years to either side, the
// times of slots lie.
type reference int64

func (r reference) time(word uint64) int64 {
	return int64(r) + (int64(word)-int64(r))<<8>>8
}

// counter is the signed counter in the low 48 bits.
func counter(word uint64) uint64 { return uint64(int64(word) << 16 >> 16) }

// lay puts a value of so many bits into a word, at a shift.
func lay(value uint64, bits, shift uint) uint64 { return (value & (1<<bits - 1)) << shift }

// load makes c the connection in a slot's two halves.
func (c *connection) load(h *hot, l *cold, ref reference, serials uint64) {
	marks := uint32(l.reuse >> 40)
	*c = connection{
		key:       h.key(),
		serial:    serials&^bits48 | l.serial&bits48,
		startAt:   ref.time(l.start),
		endAt:     ref.time(h.last),
		marks:     marks &^ (connHighClient | connHighInitiator),
		iface:     uint32(l.serial>>48) | uint32(h.ends[1].acked>>56)<<16,
		vlan:      uint16(l.wrapping >> 32 & 0xfff),
		slice:     uint32(l.wrapping>>44) | uint32(l.opening>>48&0xfff)<<20,
		oriented:  OrientedBy(h.last / stateOriented & 3),
		client:    uint8(marks / connHighClient & 1),
		initiator: uint8(marks / connHighInitiator & 1),
	}
	c.encap.Identifier = uint32(l.wrapping)
	for i := range c.encap.Layers {
		c.encap.Layers[i] = segment.Layer(l.half >> (48 + 4*i) & 15)
	}
	for i := range c.ends {
		c.loadEnd(i, h, l, ref)
	}
	c.loadMoments(h, l, ref)
	c.class = c.currentClass()
}

func (c *connection) loadEnd(i int, h *hot, l *cold, ref reference) {
	e, from := &c.ends[i], &h.ends[i]
	e.packets, e.octets, e.payload = counter(from.packets), counter(from.octets), counter(from.payload)
	e.marks = uint16(from.packets >> 48 & (1<<endBits - 1))
	e.synRe, e.finRe = uint8(from.packets>>57), uint8(from.payload>>48)
	e.flags = uint8(from.octets >> 48)
	e.isn, e.high, e.maxAck, e.finEnd = l.isn[i], from.high, from.maxAck, l.finEnd[i]
	if e.has(endFIN) {
		e.finAt = ref.time(l.fins[i])
	}
}

func (c *connection) loadMoments(h *hot, l *cold, ref reference) {
	for i := range c.ends {
		if c.ends[i].has(endAck) || c.ends[1-i].has(endCovered) {
			c.ends[i].ackAt = ref.time(h.ends[i].acked)
		}
	}
	if c.has(connRST) {
		c.rstAt = ref.time(l.rst)
	}
	if c.has(connFIN1) {
		c.halfBase = int64(counter(l.half))
	}
	switch {
	case c.has(connReuseOpen):
		c.reuseAfter = c.startAt - int64(l.reuse&bits40)
	case c.has(connReused):
		c.reuseAfter = int64(l.reuse & bits40)
	}
	c.loadOpening(h, l)
}

func (c *connection) loadOpening(h *hot, l *cold) {
	if c.has(connOpeningUntimed) {
		c.synAt, c.synAckAt, c.estAt = c.startAt, c.startAt, c.startAt
		return
	}
	if c.has(connSYN) {
		c.synAt = c.startAt + int64(l.opening&bits40)
	}
	if c.has(connSYNACK) {
		c.synAckAt = c.startAt + int64(h.ends[0].octets>>56|h.ends[0].payload>>56<<8|
			h.ends[0].acked>>56<<16|h.ends[1].octets>>56<<24|h.ends[1].payload>>56<<32)
	}
	if c.marks&(connEst|connEstUntimed) == connEst {
		c.estAt = c.startAt + int64(l.start>>56|l.rst>>56<<8|l.fins[0]>>56<<16|l.fins[1]>>56<<24|l.opening>>40&0xff<<32)
	}
}

// store puts c into a slot, all but the links. Readers are kept out meanwhile.
func (c *connection) store(h *hot, l *cold) {
	c.fit()
	syn, synAck, est := c.since(connSYN, c.synAt), c.since(connSYNACK, c.synAckAt), c.since(connEst, c.estAt)
	reuse := uint64(0)
	switch {
	case c.has(connReuseOpen):
		reuse = uint64(c.startAt - c.reuseAfter)
	case c.has(connReused):
		reuse = uint64(c.reuseAfter)
	}
	marks := uint64(c.marks) | uint64(c.client)*connHighClient | uint64(c.initiator)*connHighInitiator
	layers := uint64(0)
	for i, layer := range c.encap.Layers {
		layers |= uint64(layer) << (4 * i)
	}
	spare := [2][3]uint64{ // the highest octets of octets, payload and acked
		{lay(synAck, 8, 56), lay(synAck>>8, 8, 56), lay(synAck>>16, 8, 56)},
		{lay(synAck>>24, 8, 56), lay(synAck>>32, 8, 56), lay(uint64(c.iface>>16), 8, 56)},
	}

	h.guard.begin()
	h.guard.setScope(c.key.Scope)
	h.low, h.high, h.ports = c.key.Low, c.key.High, *(*uint32)(unsafe.Pointer(&c.key.LowPort))
	h.last = uint64(c.endAt)&bits56 | c.stateOctet()
	for i := range c.ends {
		e, to := &c.ends[i], &h.ends[i]
		to.packets = e.packets&bits48 | lay(uint64(e.marks), endBits, 48) | lay(uint64(e.synRe), 7, 57)
		to.octets = e.octets&bits48 | lay(uint64(e.flags), 8, 48) | spare[i][0]
		to.payload = e.payload&bits48 | lay(uint64(e.finRe), 8, 48) | spare[i][1]
		to.acked = uint64(e.ackAt)&bits56 | spare[i][2]
		to.high, to.maxAck = e.high, e.maxAck
		l.isn[i], l.finEnd[i] = e.isn, e.finEnd
		l.fins[i] = uint64(e.finAt)&bits56 | lay(est>>(16+8*i), 8, 56)
	}
	l.start = uint64(c.startAt)&bits56 | lay(est, 8, 56)
	l.rst = uint64(c.rstAt)&bits56 | lay(est>>8, 8, 56)
	l.serial = c.serial&bits48 | uint64(c.iface)<<48
	l.half = uint64(c.halfBase)&bits48 | layers<<48
	l.reuse = reuse&bits40 | marks<<40
	l.wrapping = uint64(c.encap.Identifier) | lay(uint64(c.vlan), 12, 32) | uint64(c.slice)<<44
	l.opening = syn&bits40 | lay(est>>32, 8, 40) | uint64(c.slice>>20)<<48
	h.guard.done()
}

// since is a moment of the opening as it rests, 0 where it was not seen.
func (c *connection) since(mark uint32, at int64) uint64 {
	if !c.has(mark) || mark == connEst && c.has(connEstUntimed) {
		return 0
	}
	return uint64(at - c.startAt)
}

// fit drops what has no room: moments of an opening that took 18 minutes are not
// noted, nor a reuse that long after the close.
func (c *connection) fit() {
	if (c.since(connSYN, c.synAt)|c.since(connSYNACK, c.synAckAt)|c.since(connEst, c.estAt))>>40 != 0 {
		c.marks |= connOpeningUntimed
	}
	if c.has(connOpeningUntimed) {
		c.synAt, c.synAckAt, c.estAt = c.startAt, c.startAt, c.startAt
	}
	if c.has(connReuseOpen) && uint64(c.startAt-c.reuseAfter)>>40 != 0 || c.has(connReused) && uint64(c.reuseAfter)>>40 != 0 {
		c.marks &^= connReuseOpen | connReused
	}
}

// stateOctet is the highest octet of hot.last.
func (c *connection) stateOctet() uint64 {
	s := stateUsed | uint64(c.oriented)*stateOriented
	for i := range c.ends {
		if c.plain(i) {
			s |= statePlain << i
		}
	}
	return s
}

// plain tells whether an ordinary segment of a side changes nothing but counters,
// the highest numbers and the time.
func (c *connection) plain(side int) bool {
	const (
		never = connClosed | connEntry | connSequence | connReset
		known = endHigh | endAck | endSent
	)
	e, other := &c.ends[side], &c.ends[1-side]
	return c.marks&never == 0 && c.has(connTalked) && c.marks&(connSYNACK|connEst) != connSYNACK &&
		e.marks&(known|endFIN|endOver) == known && !other.has(endFIN)
}
