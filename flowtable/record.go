package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// Moment names a time of a connection that may not have been seen.
type Moment uint8

// The moments of a connection, in the order of an undisturbed one.
const (
	SYNAt Moment = iota
	SYNACKAt
	EstablishedAt
	FIN1At
	ACK1At
	FIN2At
	ACK2At
	RSTAt

	Moments = 8
)

// Side is one end of a connection in a Record.
type Side struct {
	Address        [16]byte // IPv4 as ::ffff:a.b.c.d
	Packets        uint64
	Octets         uint64 // IP octets
	Payload        uint64 // octets of payload that moved the sequence space
	Owner          uint64 // control group of its socket (cgroup v2); 0 where that is not known
	Port           uint16
	SYNRetransmits uint16 // of the SYN, or the server's SYN-ACK
	FINRetransmits uint16
	TCPFlags       uint8
	State          State // inferred when the record was written
}

// Record is what is known of one connection, fixed in size and without
// pointers. Times are ns on the clock of its segments: the monotonic clock
// when live, since the epoch in a replay.
type Record struct {
	Serial           uint64 // unique within the process
	StartAt, EndAt   int64
	At               [Moments]int64 // valid where Seen has the bit 1<<Moment
	Client, Server   Side
	Peer             Peer   // the same connection on the other side of a gateway
	HalfClosePayload uint64 // octets, sent by the other side after FIN1
	ReuseAfter       int64  // ns; valid where Reused
	ClientISN        uint32 // initial sequence number; valid where Opened has the bit 1<<Client
	ServerISN        uint32 // … where it has 1<<Server
	Interface        uint32 // of the first segment, as in segment.Segment
	Slice            uint32
	Encapsulation    segment.Encapsulation
	VLAN             uint16
	Seen             uint8
	Opened           uint8 // whose SYN was seen
	OrientedBy       OrientedBy
	Evidence         Evidence
	Accounting       Accounting
	CloseKind        CloseKind
	Initiator        Party
	RSTBy            Party
	EndReason        EndReason
	Complete         bool // both FINs acknowledged, or reset
	Reused           bool // the tuple closed before, ReuseAfter ago
}

// Time returns when m was seen, and whether it was.
func (r *Record) Time(m Moment) (int64, bool) {
	return r.At[m], r.Seen&(1<<m) != 0
}

// Between returns the ns from one moment to a later one. It is false where
// one was not seen or they arrived out of order.
func (r *Record) Between(from, to Moment) (int64, bool) {
	if r.Seen&(1<<from) == 0 || r.Seen&(1<<to) == 0 || r.At[to] < r.At[from] {
		return 0, false
	}
	return r.At[to] - r.At[from], true
}

// Phase is one of the waits of a teardown.
type Phase uint8

// The phases, each with the moments that bound it.
const (
	FINWait1  Phase = iota // FIN1 to ACK1: network and the other host's kernel
	CloseWait              // ACK1 to FIN2: the other side's application
	LastACK                // FIN2 to ACK2: network and the initiator's kernel
	Teardown               // FIN1 to ACK2, or to a RST after FIN1

	Phases = 4
)

// String is the phase's name in records, without its unit.
func (p Phase) String() string {
	return [...]string{"fin_wait_1", "close_wait", "last_ack", "teardown"}[p]
}

// Moments returns what bounds p in a connection of that kind.
func (p Phase) Moments(kind CloseKind) (from, to Moment) {
	switch {
	case p == FINWait1:
		return FIN1At, ACK1At
	case p == CloseWait:
		return ACK1At, FIN2At
	case p == LastACK:
		return FIN2At, ACK2At
	case kind == Reset:
		return FIN1At, RSTAt
	default:
		return FIN1At, ACK2At
	}
}

// Phase returns the ns spent in p. It is false where an end of it was not
// seen or the two arrived out of order.
func (r *Record) Phase(p Phase) (int64, bool) {
	return r.Between(p.Moments(r.CloseKind))
}
