package flowtable

import (
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

// A slot is a connection at rest: 25 words in three arrays. The hot half is what
// an ordinary segment of an established connection reads and changes, two cache
// lines side by side; the cold half, one line, is the rest. The links of its wheel
// stand by themselves, so that those of eight neighbours share a line. Whatever
// needs more than the hot half loads the slot into a connection, changes that, and
// stores it; see rest.go for what the words hold.
//
// A connection that closed leaves key and time behind until its tuple is forgotten
// or another connection needs the slot; see tuples.go.

// hot is two cache lines.
type hot struct {
	low, high [16]byte
	ports     uint32 // the key's two, as they stand in it
	guard     guard
	last      uint64 // state 8 | endAt 56, or when the connection closed
	ends      [2]hotEnd
}

// hotEnd is what a side's own segments change. What is to spare has to do with the
// connection: of end 0 it is synAckAt, of end 1 the interface 24 | vlan 12.
type hotEnd struct {
	packets uint64 // synRe 7 | marks 9 | spare 12 | 36
	octets  uint64 // spare 8 | flags 8 | 48
	payload uint64 // spare 8 | finRe 8 | 48
	acked   uint64 // spare 8 | ackAt 56; after FIN1 rstAt 16 | ackAt 40
	high    uint32
	maxAck  uint32 // once the other side has sent its FIN, that one's finEnd
}

// spare is the 36 bits to spare, the lowest in packets.
func (e *hotEnd) spare() uint64 {
	return e.packets>>36&0xfff | e.octets>>56<<12 | e.payload>>56<<20 | e.acked>>56<<28
}

func (e *hotEnd) setSpare(value uint64) {
	e.packets = e.packets&^(0xfff<<36) | value&0xfff<<36
	e.octets = e.octets&bits56 | value>>12<<56
	e.payload = e.payload&bits56 | value>>20<<56
	e.acked = e.acked&bits56 | value>>28<<56
}

// cold is one line.
type cold struct {
	start    uint64 // estAt 8 | startAt 56
	fin1     uint64 // rstAt 8 | FIN1's finAt 56; before FIN1 rstAt 56
	fin2     uint64 // slice 24 | FIN2's finAt 40
	isn      [2]uint32
	serial   uint64 // marks 20 | synAckAt 4 | 40
	half     uint64 // layers 4 x 4 | halfBase 48
	wrapping uint64 // estAt 32 | identifier 32
	reuse    uint64 // reuseAfter 40 | synAt 24; where there is no reuse, synAt
}

const (
	hotSize   = 128
	coldSize  = 64
	linkSize  = 8
	slotSize  = hotSize + coldSize + linkSize
	hotWords  = hotSize / 8
	coldWords = coldSize / 8
	guardWord = 4 // of the hot half: ports and guard, as in a key ports and scope
)

var (
	_ [hotSize]byte         = [unsafe.Sizeof(hot{})]byte{}
	_ [coldSize]byte        = [unsafe.Sizeof(cold{})]byte{}
	_ [linkSize]byte        = [unsafe.Sizeof(link(0))]byte{}
	_ [guardWord*8 + 4]byte = [unsafe.Offsetof(hot{}.guard)]byte{}
	_ [segment.KeySize]byte = [unsafe.Offsetof(hot{}.last)]byte{}
	_ [1<<slotBits - 1 - MaxMaxFlows]struct{}
)

// The state octet of hot.last, 0 where the slot is free.
const (
	stateUsed       = uint64(1) << (56 + iota) // the slot holds a connection
	statePlain                                 // end 0 may take the short way of Table.plain
	_                                          // end 1 may
	stateOriented                              // two bits
	_                                          //
	stateClient                                // the client is end 1
	stateInitiator                             // FIN1 came from end 1
	stateRemembered                            // the slot remembers the tuple of one that closed
)

// is tells whether a slot in use, or one that remembers, is that of key.
func (h *hot) is(key *segment.Key) bool {
	a, b := (*[4]uint64)(unsafe.Pointer(h)), (*[4]uint64)(unsafe.Pointer(key))
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] &&
		h.ports == *(*uint32)(unsafe.Pointer(&key.LowPort)) && h.guard.scope() == key.Scope && h.last != 0
}

// copyKey makes key the slot's, and setKey, of a slot that holds no connection, the
// slot's key, by whole words: whoever reads them next need not wait for the parts of
// one.
func (h *hot) copyKey(key *segment.Key) {
	from, to := (*[hotWords]uint64)(unsafe.Pointer(h)), (*[segment.KeySize / 8]uint64)(unsafe.Pointer(key))
	to[0], to[1], to[2], to[3] = from[0], from[1], from[2], from[3]
	to[4] = uint64(h.ports) | uint64(h.guard.scope())<<32
}

func (h *hot) setKey(key *segment.Key) {
	to, from := (*[hotWords]uint64)(unsafe.Pointer(h)), (*[segment.KeySize / 8]uint64)(unsafe.Pointer(key))
	h.guard.begin()
	to[0], to[1], to[2], to[3] = from[0], from[1], from[2], from[3]
	h.ports = uint32(from[4])
	h.guard.setScope(uint32(from[4] >> 32))
	h.guard.done()
}

func (h *hot) used() bool       { return h.last&stateUsed != 0 }
func (h *hot) remembered() bool { return h.last&stateRemembered != 0 }

// become makes the slot of a connection that is over free, or one that remembers.
func (h *hot) become(last uint64) {
	h.guard.begin()
	h.last = last
	h.guard.done()
}

// stateOctet is the highest octet of hot.last.
func (c *connection) stateOctet() uint64 {
	s := stateUsed | uint64(c.oriented)*stateOriented | uint64(c.client)*stateClient | uint64(c.initiator)*stateInitiator
	if !c.flows() {
		return s
	}
	for i := range c.ends {
		if c.ends[i].plain() {
			s |= statePlain << i
		}
	}
	return s
}

// flows tells that there may be a side whose ordinary segments change nothing but
// counters, the highest numbers and the time, and plain whether a side is one of these
// then.
func (c *connection) flows() bool {
	const never = connClosed | connEntry | connSequence | connReset
	return c.marks&(never|connTalked) == connTalked && c.marks&(connSYNACK|connEst) != connSYNACK &&
		(c.ends[0].marks|c.ends[1].marks)&endFIN == 0
}

func (e *end) plain() bool {
	const known = endHigh | endAck | endSent
	return e.marks&(known|endOver) == known
}

// takesPlain tells whether a segment is such an ordinary one. It stands by itself so
// that those that are not cost no call.
func (h *hot) takesPlain(s *segment.Segment, side uint8) bool {
	return h.last&(statePlain<<side) != 0 && s.TCPFlags&(segment.SYN|segment.FIN|segment.RST) == 0 && s.Marks == 0
}

// plain counts a segment that moves the sequence numbers at most forward.
func (e *hotEnd) plain(s *segment.Segment) {
	e.packets = e.packets&^bits36 | (e.packets+1)&bits36
	e.octets = e.octets&^bits48 | (e.octets+uint64(s.Octets))&bits48 | uint64(s.TCPFlags)<<48
	// There is no branch: whether a segment moves anything no processor could predict.
	gain := uint32(max(int32(s.Seq+s.Payload-e.high), 0))
	e.payload = e.payload&^bits48 | (e.payload+uint64(gain))&bits48
	e.high += gain
	acks := max(int32(s.Ack-e.maxAck), 0) & -int32(s.TCPFlags/segment.ACK&1)
	e.maxAck += uint32(acks)
	e.acked ^= (e.acked ^ uint64(s.At)) & bits56 & uint64(-int64(acks)>>63)
}
