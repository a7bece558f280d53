package pcap

import (
	"errors"
	"fmt"
	"io"

	"github.com/finwait/finwait/flowtable/segment"
)

// The pcapng format: draft-ietf-opsawg-pcapng. Block types and the octets
// that a block of the type has at least.
const (
	blockInterface      = 0x00000001
	blockPacketObsolete = 0x00000002
	blockPacketSimple   = 0x00000003
	blockPacketEnhanced = 0x00000006
	blockSectionHeader  = 0x0a0d0d0a // the same in both byte orders

	blockMin          = 12
	sectionHeaderMin  = 28
	interfaceMin      = 20
	packetMin         = 32
	packetSimpleMin   = 16
	blockTrailer      = 4
	packetOctets      = 28 // where the captured octets begin
	packetSimpleStart = 12

	byteOrderMagic = 0x1a2b3c4d
	ngMajor        = 1

	// interfacesMax bounds the memory that descriptions of interfaces take.
	interfacesMax = 1 << 16
)

// ng reads pcapng files. A block is taken in only when all of it is there and
// its two lengths agree, so nothing of a damaged block is delivered. Blocks
// that are not about packets are skipped without being buffered.
type ng struct {
	stream     *stream
	order      byteOrder
	interfaces []ngInterface // of this section
	at         int64         // ns; of the last packet that had a time stamp
	decoded    bool          // an interface of any section is decoded
	refused    *uint32       // link type of the first that is not
}

// ngInterface is what an interface description block says.
type ngInterface struct {
	link      segment.LinkType
	supported bool
	snaplen   uint32 // 0 for no limit
	clock     clock
}

// frame is one packet as a block has it. The octets are valid until the stream
// is read again.
type frame struct {
	at          int64 // ns since the epoch
	octets      []byte
	original    uint32 // octets on the wire
	link        segment.LinkType
	unsupported bool
	untimed     bool
}

// block is a block's type and its length with both lengths and the type.
type block struct {
	kind  uint32
	total int64
}

func newNG(t *stream) (*ng, error) {
	n := &ng{stream: t}
	if !t.need(sectionHeaderMin) {
		return nil, t.cut("section header", 0, sectionHeaderMin)
	}
	order, ok := sectionOrder(t.front())
	if !ok {
		return nil, unknownFormat(t.front()[:magicSize])
	}
	if major := order.uint16(t.front()[12:]); major != ngMajor {
		return nil, &FormatError{Reason: fmt.Sprintf("it is pcapng of version %d, not 1", major)}
	}
	_, err := n.next(nil)
	return n, err
}

// sectionOrder tells a section's byte order from its header's first 12 octets.
func sectionOrder(header []byte) (byteOrder, bool) {
	for _, order := range []byteOrder{{big: false}, {big: true}} {
		if order.uint32(header[8:]) == byteOrderMagic {
			return order, true
		}
	}
	return byteOrder{}, false
}

// front reads the head of the block at the front of the stream, of which
// blockMin octets must be buffered. The head of a section header switches the
// byte order.
func (n *ng) front() (block, error) {
	head := n.stream.front()
	b := block{kind: n.order.uint32(head)}
	if b.kind == blockSectionHeader {
		order, ok := sectionOrder(head)
		if !ok {
			return b, n.damage("section header without a byte order")
		}
		n.order = order
	}
	b.total = int64(n.order.uint32(head[4:]))
	least := int64(blockMin)
	switch b.kind {
	case blockSectionHeader:
		least = sectionHeaderMin
	case blockInterface:
		least = interfaceMin
	case blockPacketEnhanced, blockPacketObsolete:
		least = packetMin
	case blockPacketSimple:
		least = packetSimpleMin
	}
	if b.total < least || b.total%4 != 0 {
		return b, n.damage("block of type %#x with a length of %d octets", b.kind, b.total)
	}
	return b, nil
}

func (n *ng) decode(s *Source, segments []segment.Segment) error {
	t := n.stream
	for s.filled < len(segments) {
		if t.mark = t.begin; t.err == nil && !n.ready() {
			return errMore
		}
		f := frame{}
		packet, err := n.next(&f)
		if err != nil {
			return err
		}
		if packet && s.take(&f, &segments[s.filled]) {
			s.filled++
		}
	}
	return nil
}

// take reads a packet into to. It is false where the packet is no TCP segment;
// then it is counted here, and by Fill otherwise. Nothing is counted before the
// packet's octets were read, which may turn out to be missing.
func (s *Source) take(f *frame, to *segment.Segment) bool {
	outcome := segment.NotIP
	if !f.unsupported {
		outcome = segment.Decode(f.link, f.octets, to)
	}
	s.counts.Octets += uint64(f.original)
	if f.untimed {
		s.counts.Untimed++
	}
	if f.unsupported {
		s.counts.Packets++
		s.counts.UnsupportedLink++
		return false
	}
	if outcome != segment.TCP {
		s.counts.add(outcome, 1)
		return false
	}
	to.At, to.WireLength, to.Interface = f.at, f.original, s.index
	return true
}

// ready tells that next will not have to read, or that no amount of reading
// ahead would spare it.
func (n *ng) ready() bool {
	if n.stream.buffered() < blockMin {
		return false
	}
	b, err := n.front()
	return err != nil || b.total > bufferSize || int64(n.stream.buffered()) >= b.total
}

// next steps over one block and tells whether it was a packet.
func (n *ng) next(f *frame) (bool, error) {
	t := n.stream
	if !t.need(blockMin) {
		if errors.Is(t.err, io.EOF) && t.buffered() == 0 {
			return false, n.end()
		}
		return false, t.cut("block", t.offset(), blockMin)
	}
	b, err := n.front()
	if err != nil {
		return false, err
	}
	switch b.kind {
	case blockSectionHeader:
		return false, n.section(b)
	case blockInterface:
		return false, n.describe(b)
	case blockPacketEnhanced, blockPacketObsolete:
		return true, n.packet(b, f)
	case blockPacketSimple:
		return true, n.simple(b, f)
	}
	return false, n.pass(b)
}

// end is what the end of the file means.
func (n *ng) end() error {
	if n.refused != nil && !n.decoded {
		return &LinkTypeError{Link: *n.refused}
	}
	return io.EOF
}

func (n *ng) section(b block) error {
	if !n.stream.need(sectionHeaderMin) {
		return n.stream.cut("section header", n.stream.offset(), b.total)
	}
	if major := n.order.uint16(n.stream.front()[12:]); major != ngMajor {
		return n.damage("section of pcapng version %d, not 1", major)
	}
	n.interfaces = n.interfaces[:0]
	return n.pass(b)
}

func (n *ng) packet(b block, f *frame) error {
	if !n.stream.need(packetMin) {
		return n.stream.cut("packet block", n.stream.offset(), b.total)
	}
	head := n.stream.front()
	id := n.order.uint32(head[8:])
	if b.kind == blockPacketObsolete {
		id = uint32(n.order.uint16(head[8:])) // beside a count of drops
	}
	captured := n.order.uint32(head[20:])
	from, err := n.from(id, b, packetOctets, captured)
	if err != nil {
		return err
	}
	f.original = n.order.uint32(head[24:])
	if !from.supported {
		f.unsupported = true
		return n.pass(b)
	}
	stamp := uint64(n.order.uint32(head[12:]))<<32 | uint64(n.order.uint32(head[16:]))
	at, ok := from.clock.at(stamp)
	if !ok {
		return n.damage("time stamp %d is outside the years 1678 to 2262", stamp)
	}
	if err := n.whole(b, "packet block"); err != nil {
		return err
	}
	n.at = at
	f.at = at
	f.link = from.link
	f.octets = n.stream.front()[packetOctets : packetOctets+captured]
	n.stream.advance(int(b.total))
	return nil
}

// simple reads a simple packet block: of the section's first interface, and
// without captured length and time stamp.
func (n *ng) simple(b block, f *frame) error {
	if !n.stream.need(packetSimpleMin) {
		return n.stream.cut("simple packet block", n.stream.offset(), b.total)
	}
	f.untimed = true
	f.original = n.order.uint32(n.stream.front()[8:])
	captured := f.original
	if len(n.interfaces) > 0 && n.interfaces[0].snaplen != 0 {
		captured = min(captured, n.interfaces[0].snaplen)
	}
	from, err := n.from(0, b, packetSimpleStart, captured)
	if err != nil {
		return err
	}
	if !from.supported {
		f.unsupported = true
		return n.pass(b)
	}
	if err := n.whole(b, "simple packet block"); err != nil {
		return err
	}
	f.at = n.at
	f.link = from.link
	f.octets = n.stream.front()[packetSimpleStart : packetSimpleStart+captured]
	n.stream.advance(int(b.total))
	return nil
}

// from finds a packet's interface and holds its captured octets, which begin
// at the offset start, against the block's length.
func (n *ng) from(id uint32, b block, start int64, captured uint32) (*ngInterface, error) {
	if int64(id) >= int64(len(n.interfaces)) {
		return nil, n.damage("packet of interface %d where %d are described", id, len(n.interfaces))
	}
	from := &n.interfaces[id]
	if start+int64(captured) > b.total-blockTrailer {
		return nil, n.damage("packet of %d captured octets in a block of %d", captured, b.total)
	}
	if from.supported && captured > capturedMax {
		return nil, n.damage("packet of %d captured octets, more than %d", captured, capturedMax)
	}
	return from, nil
}

// whole buffers a block and compares its two lengths.
func (n *ng) whole(b block, what string) error {
	if b.total > bufferSize {
		return n.damage("%s of %d octets, more than %d", what, b.total, bufferSize)
	}
	if !n.stream.need(int(b.total)) {
		return n.stream.cut(what, n.stream.offset(), b.total)
	}
	trailer := n.order.uint32(n.stream.front()[b.total-blockTrailer:])
	if int64(trailer) != b.total {
		return n.damage("block with a length of %d octets at its begin and %d at its end", b.total, trailer)
	}
	return nil
}

// pass steps over a block of any size and compares its two lengths.
func (n *ng) pass(b block) error {
	t := n.stream
	start := t.offset()
	if !t.skip(b.total-blockTrailer) || !t.need(blockTrailer) {
		return t.cut("block", start, b.total)
	}
	if trailer := n.order.uint32(t.front()); int64(trailer) != b.total {
		return &DamagedError{Offset: start, Reason: fmt.Sprintf("block with a length of %d octets at its begin and %d at its end", b.total, trailer)}
	}
	t.advance(blockTrailer)
	return nil
}

// damage is of the block at the front of the stream.
func (n *ng) damage(reason string, args ...any) *DamagedError {
	return &DamagedError{Offset: n.stream.offset(), Reason: fmt.Sprintf(reason, args...)}
}
