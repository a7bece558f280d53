package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// end is what is known of one side of a connection. It holds what this side
// sent; what answered it stands in the other end.
type end struct {
	// The counters are since the last slice. While the kernel counts on, they
	// are less what it had counted by then, modulo 2^64.
	packets uint64
	octets  uint64
	payload uint64
	finAt   int64 // first FIN
	ackAt   int64 // when maxAck last moved; kept once it covers the other side's FIN
	isn     uint32
	high    uint32 // highest sequence number after payload
	maxAck  uint32
	finEnd  uint32 // sequence number after the FIN
	marks   uint16
	synRe   uint8
	finRe   uint8
	flags   uint8
}

// marks of an end.
const (
	endISN     = 1 << iota // isn is set
	endHigh                // high is set
	endAck                 // maxAck is set, and ackAt
	endFIN                 // finAt and finEnd are set
	endCovered             // the other side acknowledged the FIN
	endUntimed             // … at a time that was not seen
	endSent                // this side sent a segment, in whatever slice
	endOver                // a FIN was counted: high stays where it is
	endGleaned             // … covered, as the kernel's counters told; ackAt is theirs
)

func (e *end) has(mark uint16) bool { return e.marks&mark != 0 }

// connection is a slot at work: see slot.go for how it rests. Ends are numbered as
// in its key: 0 is the key's Low, 1 its High.
type connection struct {
	key        segment.Key
	serial     uint64
	startAt    int64
	endAt      int64
	synAt      int64
	synAckAt   int64
	estAt      int64
	rstAt      int64
	halfBase   int64 // payload of the other side when FIN1 came, less what earlier slices carried
	reuseAfter int64
	ends       [2]end
	slice      uint32
	encap      segment.Encapsulation
	marks      uint32
	iface      uint32
	vlan       uint16
	class      class // whose wheel it is in
	oriented   OrientedBy
	client     uint8 // index of the client's end
	initiator  uint8 // index of FIN1's sender; valid with connFIN1
}

// marks of a connection.
const (
	connSYN             = 1 << iota // synAt
	connSYNACK                      // synAckAt
	connEst                         // estAt, or connEstUntimed
	connReset                       // a RST came before both FINs were acknowledged
	connCrossed                     // FIN2 did not cover FIN1
	connTalked                      // a segment other than SYN and RST was seen; see outlineKey
	connRST                         // rstAt
	connRSTHigh                     // the first RST came from end 1
	connFIN1                        // initiator
	connThreeWay                    // FIN2 was the first to cover FIN1
	connAnswered                    // the first RST was not the first segment of its sender
	connClosed                      // both sides are
	connReused                      // reuseAfter
	connReuseOpen                   // reuseAfter is when the tuple closed; the SYN is still to come
	connEntry                       // there is a kernel entry
	connLossy                       // counts of this very connection were lost
	connEstUntimed                  // established at a time that was not seen
	connOpeningUntimed              // a moment of the opening has no room
	connRefusal                     // the first segment was a RST
	connTeardownUntimed             // a moment of the teardown has no room
	connSequence                    // octets are known by sequence numbers alone; so all of a table
)

func (c *connection) has(mark uint32) bool { return c.marks&mark != 0 }

// class says which timeout a connection is under and in which order full
// tables make room.
type class uint8

const (
	opening     class = iota // SYNs alone
	established              // or half closed, or joined midway
	closing                  // both FINs seen, not both acknowledged
	lingering                // closed
	classes     = 4
	remembered  = classes // no connection any more: a closed tuple
)

// currentClass is looked up: which branches it would take no processor could predict.
func (c *connection) currentClass() class {
	fins := uint32(c.ends[0].marks/endFIN&1 | c.ends[1].marks/endFIN&1<<1)
	return classOf[fins|c.marks/connTalked&1<<2|c.marks/connClosed&1<<3]
}

// classOf is the class by the FINs of both ends 1 + 1, whether anybody talked 1 and
// whether it is closed 1.
var classOf = [16]class{
	opening, established, established, closing,
	established, established, established, closing,
	lingering, lingering, lingering, lingering,
	lingering, lingering, lingering, lingering,
}
