package query

import (
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// Unit is what a quantity is counted in.
type Unit string

// The units.
const (
	InOctets      Unit = "octets"
	InPackets     Unit = "packets"
	InConnections Unit = "connections"
	InSegments    Unit = "segments"
	InNanoseconds Unit = "ns"
)

// quantity is a number that a connection has, or has not: then value is false.
type quantity struct {
	name  string
	doc   string
	unit  Unit
	live  bool // of connections that are followed alone
	needs knowledge
	fin   bool // known only of connections with a FIN
	half  bool // where a connection is half closed, at most since when
	start int8 // 1 where it grows with the time of the first segment alone, -1 where it falls
	value func(f *frame, i int) (int64, bool)
	// phase is whose codes are those of the values, where coded. A connection that
	// is followed may have a value without a code.
	phase flowtable.Phase
	coded bool
}

// quantities in the order in which they are documented.
var quantities = []quantity{
	phaseQuantity(flowtable.FINWait1, "FIN1 to ACK1"),
	phaseQuantity(flowtable.CloseWait, "ACK1 to FIN2"),
	phaseQuantity(flowtable.LastACK, "FIN2 to ACK2"),
	phaseQuantity(flowtable.Teardown, "FIN1 to ACK2, or to a RST after FIN1"),
	{name: "duration", doc: "first to last segment", unit: InNanoseconds, needs: accounted, value: func(f *frame, i int) (int64, bool) {
		return f.block.EndAt[i] - f.block.StartAt[i], true
	}},
	betweenQuantity("server_handshake", "SYN to SYN-ACK", flowtable.SYNAt, flowtable.SYNACKAt),
	betweenQuantity("client_handshake", "SYN-ACK to the client's answer", flowtable.SYNACKAt, flowtable.EstablishedAt),
	betweenQuantity("handshake", "SYN to the client's answer", flowtable.SYNAt, flowtable.EstablishedAt),
	{name: "reuse_after", doc: "the SYN minus the close of the tuple's last connection", unit: InNanoseconds, value: func(f *frame, i int) (int64, bool) {
		return f.block.ReuseAfter[i], f.block.Reused[i]
	}},
	{name: "age", doc: "time since the first segment", unit: InNanoseconds, live: true, start: -1, value: func(f *frame, i int) (int64, bool) {
		return max(f.now-f.block.StartAt[i], 0), true
	}},
	{name: "idle", doc: "time since the last segment", unit: InNanoseconds, live: true, needs: accounted, value: func(f *frame, i int) (int64, bool) {
		return max(f.now-f.block.EndAt[i], 0), true
	}},
	sumQuantity("bytes", "IP octets of both sides", InOctets, true, octetsOf, bothSides),
	sumQuantity("client_bytes", "IP octets of the client", InOctets, true, octetsOf, clientSide),
	sumQuantity("server_bytes", "IP octets of the server", InOctets, true, octetsOf, serverSide),
	sumQuantity("packets", "TCP segments of both sides", InPackets, true, packetsOf, bothSides),
	sumQuantity("payload", "octets of payload of both sides", InOctets, false, payloadOf, bothSides),
	sumQuantity("client_payload", "octets of payload of the client", InOctets, false, payloadOf, clientSide),
	sumQuantity("server_payload", "octets of payload of the server", InOctets, false, payloadOf, serverSide),
	{name: "half_close_payload", doc: "octets of payload after FIN1, of the other side", unit: InOctets, needs: accounted, fin: true, value: func(f *frame, i int) (int64, bool) {
		return int64(f.block.HalfClosePayload[i]), f.block.SawMoment(i, flowtable.FIN1At)
	}},
	{name: "retransmits", doc: "repeats of SYN, SYN-ACK and FIN", unit: InSegments, value: func(f *frame, i int) (int64, bool) {
		c, s := &f.block.Client, &f.block.Server
		return int64(c.SYNRetransmits[i]) + int64(s.SYNRetransmits[i]) + int64(c.FINRetransmits[i]) + int64(s.FINRetransmits[i]), true
	}},
}

// findQuantity is nil where there is none of the name.
func findQuantity(name string) *quantity {
	for i := range quantities {
		if quantities[i].name == name {
			return &quantities[i]
		}
	}
	return nil
}

// sides are bits.
type sides uint8

const (
	clientSide sides = 1 << iota
	serverSide
	bothSides = clientSide | serverSide
)

func octetsOf(s *history.Side) *[history.Rows]uint64  { return &s.Octets }
func packetsOf(s *history.Side) *[history.Rows]uint64 { return &s.Packets }
func payloadOf(s *history.Side) *[history.Rows]uint64 { return &s.Payload }

// sumQuantity adds up a column of the sides. counted is for what is known only
// where the kernel counted.
func sumQuantity(name, doc string, unit Unit, counted bool, column func(*history.Side) *[history.Rows]uint64, of sides) quantity {
	return quantity{name: name, doc: doc, unit: unit, needs: accounted, value: func(f *frame, i int) (int64, bool) {
		if counted && f.block.Accounting[i] != flowtable.AccountingCounted {
			return 0, false
		}
		var n uint64
		if of&clientSide != 0 {
			n += column(&f.block.Client)[i]
		}
		if of&serverSide != 0 {
			n += column(&f.block.Server)[i]
		}
		return int64(n), true
	}}
}

func betweenQuantity(name, doc string, from, to flowtable.Moment) quantity {
	return quantity{name: name, doc: doc, unit: InNanoseconds, value: func(f *frame, i int) (int64, bool) {
		return f.block.Between(i, from, to)
	}}
}

// phaseQuantity is a phase; of a connection that is followed, so far.
func phaseQuantity(p flowtable.Phase, doc string) quantity {
	return quantity{name: p.String(), doc: doc, unit: InNanoseconds, needs: closed, fin: true, phase: p, coded: true,
		half:  p == flowtable.CloseWait || p == flowtable.Teardown,
		value: func(f *frame, i int) (int64, bool) { return f.phase(i, p) }}
}

func (f *frame) phase(i int, p flowtable.Phase) (int64, bool) {
	switch c := f.block.Phases[p][i]; {
	case c == history.Unknown:
		return f.soFar(i, p)
	case c.Exact():
		return c.NS(), true
	default:
		return f.block.Phase(i, p)
	}
}

// soFar is how long a phase of a connection that is followed has lasted; it is
// false where it is not under way.
func (f *frame) soFar(i int, p flowtable.Phase) (int64, bool) {
	b := f.block
	if b.EndReason[i] != flowtable.EndNone || b.SawMoment(i, flowtable.RSTAt) || b.Complete[i] {
		return 0, false
	}
	from, to := p.Moments(b.CloseKind[i])
	if !b.SawMoment(i, from) || b.SawMoment(i, to) {
		return 0, false
	}
	return max(f.now-b.At[from][i], 0), true
}
