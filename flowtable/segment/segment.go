// Package segment is the bottom of the house: the one struct that the kernel
// program and the Go workers share, and the decoding of raw frames into it.
//
// Terms. A segment is one TCP segment as seen on the wire. Its own direction
// is the one it travels in; the other direction is that of the answers. A
// flow's kernel entry is the pair of per-direction counters that the kernel
// program keeps for one tuple.
//
// Nothing here allocates, locks or keeps state; every function may be called
// from any goroutine. A *Segment handed out by a source stays the source's:
// it is valid until the next call on that source.
package segment

import "unsafe"

// TCP flag bits as they stand in the header (RFC 9293 section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Marks say how a Segment stands to its flow's kernel entry.
const (
	// Counted: Own already includes this segment. Without it, whoever
	// follows the flow counts the segment itself.
	Counted = 1 << iota
	// HasEntry: the flow has a kernel entry, and Own and Other are its
	// counters so far. Without it both are zero.
	HasEntry
	// Opened: this segment made the kernel entry.
	Opened
	// Final: this segment, a SYN, removed the kernel entry. Own and Other
	// are the entry's last counters and do not include this segment.
	Final
	// NoRoom: the kernel's flow table was full, so that data segments of
	// this flow go uncounted.
	NoRoom
	// PerInterface: the interface is part of the connection's identity.
	PerInterface
	// Owned: Owner is set.
	Owned
	// Raised: this segment, a FIN, raised Own.MaxAck, so that no segment of its
	// direction acknowledged as much before.
	Raised
)

// Marks of one Direction.
const (
	// DirectionStarted: Base and High are set.
	DirectionStarted = 1 << iota
	// DirectionAcked: MaxAck is set.
	DirectionAcked
	// DirectionFinished: a FIN was counted; High stays where it is.
	DirectionFinished
	// DirectionAwaited: Awaited is set and not yet covered by MaxAck.
	DirectionAwaited
)

// Direction is what the kernel program counted in one direction of a flow. It
// fills one cache line, written by the receive queue of that direction only.
type Direction struct {
	Packets  uint64 // segments, retransmissions included
	Octets   uint64 // IP octets, header and payload
	Payload  uint64 // octets by which High moved since Base
	FirstAt  int64  // ns; first counted segment
	LastAt   int64  // ns; last counted segment, to the kernel's tick where it was not passed on
	Base     uint32 // sequence number of the first counted segment that is no RST
	High     uint32 // highest sequence number after payload
	MaxAck   uint32 // highest acknowledgement number sent in this direction
	FirstAck uint32 // acknowledgement number of the first counted segment
	Awaited  uint32 // end of the other direction's FIN
	TCPFlags uint8  // OR of all flag octets
	Marks    uint8  // Direction… bits
	_        [2]uint8
}

// Counters is one kernel entry in the order of its Key: the direction from
// Low to High first.
type Counters [2]Direction

// Found tells whether there was a kernel entry.
func (c *Counters) Found() bool { return c[0].Packets != 0 || c[1].Packets != 0 }

// Segment is one TCP segment: its headers decoded, and its flow's counters.
// The layout is that of struct segment in xdp/bpf/segment.h; a test holds the
// two together field by field.
type Segment struct {
	At            int64    // ns; CLOCK_MONOTONIC when live, since the epoch in a replay
	Src, Dst      [16]byte // IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2)
	SrcPort       uint16
	DstPort       uint16
	Seq           uint32
	Ack           uint32
	Octets        uint32 // IP header and payload
	Payload       uint32 // octets of TCP payload
	WireLength    uint32 // octets of the frame on the wire
	Interface     uint32 // index on a tap, number on a gateway, that of the source in a replay
	VLAN          uint16 // outermost VLAN identifier, 0 for none
	TCPFlags      uint8
	Marks         uint8
	Encapsulation Encapsulation
	Own           Direction // the direction of this segment
	Other         Direction
	// Owner is the id of the sender's control group (cgroup v2), valid where Owned:
	// what the kernel passes without that mark ends before it.
	Owner uint64
}

// The sizes are shared with the kernel program.
const (
	DirectionSize = 64
	Size          = 208 // without the Owner
	OwnedSize     = 216
)

var (
	_ [DirectionSize]byte = [unsafe.Sizeof(Direction{})]byte{}
	_ [Size]byte          = [unsafe.Offsetof(Segment{}.Owner)]byte{}
	_ [OwnedSize]byte     = [unsafe.Sizeof(Segment{})]byte{}
)

// Is tells whether any of the flags is set.
func (s *Segment) Is(flags uint8) bool { return s.TCPFlags&flags != 0 }

// End is the sequence number after the segment's payload, the octets of SYN
// counted and that of FIN not.
func (s *Segment) End() uint32 {
	return s.Seq + s.Payload + uint32(s.TCPFlags&SYN)/SYN
}

// Covers tells whether the acknowledgement number ack covers end, modulo 2^32.
func Covers(ack, end uint32) bool { return int32(ack-end) >= 0 }
