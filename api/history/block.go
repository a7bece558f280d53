package history

import (
	"unsafe"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// Rows is how many records a block has room for: a column of times is 8 KB, so
// that what a question does column by column stays in the nearest cache. It is
// no power of two, for then one row of all columns would fall on the same few
// lines of that cache.
const Rows = 1000

// Block holds records by columns. Column for column it is a flowtable.Record
// with the meanings of its fields, with when the record was published and the codes
// of its phases. It holds no pointers.
type Block struct {
	PublishedAt      [Rows]int64 // ns since the epoch; it never falls from one row to the next
	Serial           [Rows]uint64
	StartAt, EndAt   [Rows]int64
	At               [flowtable.Moments][Rows]int64
	Client, Server   Side
	HalfClosePayload [Rows]uint64
	ReuseAfter       [Rows]int64
	ClientISN        [Rows]uint32
	ServerISN        [Rows]uint32
	Interface        [Rows]uint32
	Slice            [Rows]uint32
	Encapsulation    [Rows]segment.Encapsulation
	VLAN             [Rows]uint16
	Seen             [Rows]uint8
	Opened           [Rows]uint8
	OrientedBy       [Rows]flowtable.OrientedBy
	Evidence         [Rows]flowtable.Evidence
	Accounting       [Rows]flowtable.Accounting
	CloseKind        [Rows]flowtable.CloseKind
	Initiator        [Rows]flowtable.Party
	RSTBy            [Rows]flowtable.Party
	EndReason        [Rows]flowtable.EndReason
	Complete, Reused [Rows]bool
	// Peer is empty but on a gateway: Set writes only what is not so already, and
	// memory that was never written takes none.
	Peer [Rows]flowtable.Peer
	// Phases follow from At. A question about all records would otherwise spend
	// most of its time on them.
	Phases [flowtable.Phases][Rows]Code

	summary Summary
}

// Side is one end of the connections.
type Side struct {
	Address        Addresses
	Packets        [Rows]uint64
	Octets         [Rows]uint64
	Payload        [Rows]uint64
	Owner          [Rows]uint64 // 0 but where owners are asked for, as Block.Peer
	Port           [Rows]uint16
	SYNRetransmits [Rows]uint16
	FINRetransmits [Rows]uint16
	TCPFlags       [Rows]uint8
	State          [Rows]flowtable.State
}

const blockSize = int(unsafe.Sizeof(Block{}))

// RecordSize is what one record takes in a block, in octets.
const RecordSize = blockSize / Rows

// Set makes row i a record. Rows of a block that is kept are set in their order.
func (b *Block) Set(i int, r *flowtable.Record, publishedAt int64) {
	b.PublishedAt[i] = publishedAt
	b.Serial[i] = r.Serial
	b.StartAt[i], b.EndAt[i] = r.StartAt, r.EndAt
	for m := range b.At {
		b.At[m][i] = r.At[m]
	}
	b.Client.set(i, &r.Client)
	b.Server.set(i, &r.Server)
	b.HalfClosePayload[i] = r.HalfClosePayload
	b.ReuseAfter[i] = r.ReuseAfter
	b.ClientISN[i], b.ServerISN[i] = r.ClientISN, r.ServerISN
	b.Interface[i] = r.Interface
	b.Slice[i] = r.Slice
	b.Encapsulation[i] = r.Encapsulation
	b.VLAN[i] = r.VLAN
	b.Seen[i], b.Opened[i] = r.Seen, r.Opened
	b.OrientedBy[i] = r.OrientedBy
	b.Evidence[i] = r.Evidence
	b.Accounting[i] = r.Accounting
	b.CloseKind[i] = r.CloseKind
	b.Initiator[i] = r.Initiator
	b.RSTBy[i] = r.RSTBy
	b.EndReason[i] = r.EndReason
	b.Complete[i], b.Reused[i] = r.Complete, r.Reused
	if b.Peer[i] != r.Peer {
		b.Peer[i] = r.Peer
	}
	for p := range b.Phases {
		b.Phases[p][i] = phaseCode(r, flowtable.Phase(p))
	}
	if i == Rows-1 {
		b.summary = b.summarise()
	}
}

// set makes row i a side.
func (s *Side) set(i int, from *flowtable.Side) {
	s.Packets[i] = from.Packets
	s.Octets[i] = from.Octets
	s.Payload[i] = from.Payload
	if s.Owner[i] != from.Owner {
		s.Owner[i] = from.Owner
	}
	s.Port[i] = from.Port
	s.SYNRetransmits[i] = from.SYNRetransmits
	s.FINRetransmits[i] = from.FINRetransmits
	s.TCPFlags[i] = from.TCPFlags
	s.State[i] = from.State
	s.Address.set(i, &from.Address)
}

// Record returns row i.
func (b *Block) Record(i int) flowtable.Record {
	r := flowtable.Record{
		Serial:           b.Serial[i],
		StartAt:          b.StartAt[i],
		EndAt:            b.EndAt[i],
		Client:           b.Client.side(i),
		Server:           b.Server.side(i),
		HalfClosePayload: b.HalfClosePayload[i],
		ReuseAfter:       b.ReuseAfter[i],
		Peer:             b.Peer[i],
		ClientISN:        b.ClientISN[i],
		ServerISN:        b.ServerISN[i],
		Interface:        b.Interface[i],
		Slice:            b.Slice[i],
		Encapsulation:    b.Encapsulation[i],
		VLAN:             b.VLAN[i],
		Seen:             b.Seen[i],
		Opened:           b.Opened[i],
		OrientedBy:       b.OrientedBy[i],
		Evidence:         b.Evidence[i],
		Accounting:       b.Accounting[i],
		CloseKind:        b.CloseKind[i],
		Initiator:        b.Initiator[i],
		RSTBy:            b.RSTBy[i],
		EndReason:        b.EndReason[i],
		Complete:         b.Complete[i],
		Reused:           b.Reused[i],
	}
	for m := range r.At {
		r.At[m] = b.At[m][i]
	}
	return r
}

func (s *Side) side(i int) flowtable.Side {
	return flowtable.Side{
		Address:        s.Address.At(i),
		Packets:        s.Packets[i],
		Octets:         s.Octets[i],
		Payload:        s.Payload[i],
		Owner:          s.Owner[i],
		Port:           s.Port[i],
		SYNRetransmits: s.SYNRetransmits[i],
		FINRetransmits: s.FINRetransmits[i],
		TCPFlags:       s.TCPFlags[i],
		State:          s.State[i],
	}
}

// Between is flowtable.Record.Between of row i.
func (b *Block) Between(i int, from, to flowtable.Moment) (int64, bool) {
	if both := uint8(1<<from | 1<<to); b.Seen[i]&both != both || b.At[to][i] < b.At[from][i] {
		return 0, false
	}
	return b.At[to][i] - b.At[from][i], true
}

// Phase is flowtable.Record.Phase of row i.
func (b *Block) Phase(i int, p flowtable.Phase) (int64, bool) {
	from, to := p.Moments(b.CloseKind[i])
	return b.Between(i, from, to)
}

// SawMoment tells whether m was seen of row i.
func (b *Block) SawMoment(i int, m flowtable.Moment) bool { return b.Seen[i]&(1<<m) != 0 }
