package capacity

import (
	"encoding/binary"

	"github.com/finwait/finwait/flowtable/segment"
)

const (
	// batchSize is how many segments a worker takes at a time.
	batchSize = 64

	payload    = 1000 // octets of a data segment
	headers    = 40   // octets of IPv4 and TCP
	frame      = 14   // octets of Ethernet
	serverPort = 443

	// segmentNS is the time from one data segment to the next: every
	// connection is visited long before its idle timeout, whatever the size.
	segmentNS = 1000
	startAt   = int64(1e9)
)

// The two ends, as traffic numbers them.
const (
	client = iota
	server
)

// Flags of a segment.
const (
	flagsSYN    = segment.SYN
	flagsSYNACK = segment.SYN | segment.ACK
	flagsACK    = segment.ACK
	flagsData   = segment.PSH | segment.ACK
	flagsFIN    = segment.FIN | segment.ACK
)

// traffic makes the segments of numbered connections in a batch of its own.
type traffic struct {
	clock    int64
	order    order
	numbers  [batchSize]uint32
	segments [batchSize]segment.Segment
	batch    [batchSize]*segment.Segment
}

func newTraffic(flows uint32) *traffic {
	t := &traffic{clock: startAt, order: newOrder(flows)}
	for i := range t.segments {
		s := &t.segments[i]
		for _, address := range []*[16]byte{&s.Src, &s.Dst} {
			address[10], address[11] = 0xff, 0xff
		}
		t.batch[i] = s
	}
	return t
}

// Initial sequence numbers, so that no two connections move alike.
func clientISN(connection uint32) uint32 { return connection*0x9e3779b1 + 1 }
func serverISN(connection uint32) uint32 { return connection*0x85ebca6b + 7 }

// put makes the segment at place i. What it does not set is the same for all.
// Sides are chosen without branches: no processor could predict them.
func (t *traffic) put(i int, connection, side uint32, seq, ack, octets uint32, flags uint8) {
	s := &t.segments[i&(batchSize-1)]
	// Clients in 10.0.0.0/8, 16 ports each; servers in 198.18.0.0/24, of the
	// block for benchmarks (RFC 2544 appendix C.2.2).
	addresses := [2]uint32{10<<24 | connection>>4, 198<<24 | 18<<16 | connection>>4&0xff}
	ports := [2]uint16{32768 | uint16(connection&15), serverPort}
	side &= 1
	binary.BigEndian.PutUint32(s.Src[12:], addresses[side])
	binary.BigEndian.PutUint32(s.Dst[12:], addresses[side^1])
	s.SrcPort, s.DstPort = ports[side], ports[side^1]
	s.At = t.clock
	s.Seq, s.Ack = seq, ack
	s.Payload, s.Octets, s.WireLength = octets, octets+headers, octets+headers+frame
	s.TCPFlags = flags
}

// data makes the next batch of data segments. In every pass each connection
// sends one, its ends in turns: after pass p its sender sent p/2 before, the
// other end (p+1)/2.
func (t *traffic) data() []*segment.Segment {
	n := t.order.fill(t.numbers[:])
	pass := uint32(t.order.pass)
	sent, heard := pass>>1*payload, (pass+1)>>1*payload
	for i, c := range t.numbers[:n] {
		side := (c ^ pass) & 1
		isns := [2]uint32{clientISN(c) + 1, serverISN(c) + 1}
		t.clock += segmentNS
		t.put(i, c, side, isns[side]+sent, isns[side^1]+heard, payload, flagsData)
	}
	return t.batch[:n]
}

// handshakes calls follow with the SYNs, the SYN-ACKs and the ACKs of n
// connections from first on, n at most batchSize.
func (t *traffic) handshakes(first uint32, n int, follow func([]*segment.Segment)) {
	for _, flags := range []uint8{flagsSYN, flagsSYNACK, flagsACK} {
		for i := range n {
			c := first + uint32(i)
			t.clock += segmentNS
			switch flags {
			case flagsSYN:
				t.put(i, c, client, clientISN(c), 0, 0, flags)
			case flagsSYNACK:
				t.put(i, c, server, serverISN(c), clientISN(c)+1, 0, flags)
			default:
				t.put(i, c, client, clientISN(c)+1, serverISN(c)+1, 0, flags)
			}
		}
		follow(t.batch[:n])
	}
}
