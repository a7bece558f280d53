package segment

import "encoding/binary"

// Protocols of tunnels (IANA protocol numbers).
const (
	protoIPv4 = 4
	protoUDP  = 17
	protoIPv6 = 41
	protoGRE  = 47
)

// UDP destination ports of tunnels (IANA service names and port numbers).
const (
	portGTPU   = 2152
	portVXLAN  = 4789
	portGENEVE = 6081
)

const (
	udpHeader    = 8  // RFC 768
	vxlanHeader  = 8  // RFC 7348 section 5
	geneveHeader = 8  // RFC 8926 section 3.4, without options
	gtpuHeader   = 8  // 3GPP TS 29.281 section 5.1, its mandatory part
	greHeader    = 4  // RFC 2784 section 2, without optional fields
	erspan2      = 8  // draft-foschiano-erspan section 4.2
	erspan3      = 12 // the same, section 4.3
	erspan3Extra = 8  // its platform specific subheader

	// tunnelsMax is how many tunnels over IP may be nested; the kernel
	// program has the same bound.
	tunnelsMax = 2
	// gtpuExtensionsMax is how many extension headers of GTP-U are walked.
	gtpuExtensionsMax = 4
)

// Flags of GRE (RFC 2890 section 2; the routing flag is of RFC 1701).
const (
	greChecksum = 0x8000
	greRouting  = 0x4000
	greKey      = 0x2000
	greSequence = 0x1000
	greVersion  = 0x0007
)

// Ether types that stand in GRE alone.
const (
	greERSPAN2 = 0x88be // ERSPAN types I and II
	greERSPAN3 = 0x22eb
)

// stripTunnel removes what t leads to, down to an IP header or the ether type
// of an Ethernet frame.
func (w *walk) stripTunnel(t transport) Outcome {
	if w.tunnels == tunnelsMax || w.encapsulation.full() || t.protocol == protoNone {
		return NotTCP
	}
	// An IP header may claim to be longer than what was captured.
	w.rest = w.rest[min(t.offset, len(w.rest)):]
	switch t.protocol {
	case protoIPv4:
		return w.enter(LayerIPIP, 0, 0, etherTypeIPv4)
	case protoIPv6:
		return w.enter(LayerIPIP, 0, 0, etherTypeIPv6)
	case protoGRE:
		return w.stripGRE()
	case protoUDP:
		return w.stripUDP()
	}
	return NotTCP
}

// enter steps over the size octets of a tunnel's header, and over that of the
// Ethernet frame where it carries one.
func (w *walk) enter(l Layer, identifier uint32, size int, carried uint16) Outcome {
	if carried != etherTypeIPv4 && carried != etherTypeIPv6 && carried != etherTypeEthernet {
		return NotTCP
	}
	if len(w.rest) < size {
		return Undecodable
	}
	w.encapsulation.add(l, identifier)
	w.tunnels++
	w.etherType, w.rest = carried, w.rest[size:]
	if carried != etherTypeEthernet {
		return TCP
	}
	var ok bool
	if w.etherType, w.rest, ok = stripLink(LinkEthernet, w.rest); !ok {
		return Undecodable
	}
	return TCP
}

// stripGRE removes a GRE header of version 0. Version 1 carries PPP (RFC 2637
// section 4.1); routing is obsolete.
func (w *walk) stripGRE() Outcome {
	if len(w.rest) < greHeader {
		return Undecodable
	}
	flags, carried := binary.BigEndian.Uint16(w.rest), binary.BigEndian.Uint16(w.rest[2:])
	if flags&(greRouting|greVersion) != 0 {
		return NotTCP
	}
	size := greHeader
	for _, optional := range [...]uint16{greChecksum, greKey, greSequence} {
		if flags&optional != 0 {
			size += 4
		}
	}
	switch {
	case carried == greERSPAN3:
		return w.stripERSPAN3(size)
	case carried != greERSPAN2:
		return w.enter(LayerGRE, 0, size, carried)
	case flags&greSequence != 0:
		return w.stripERSPAN2(size)
	}
	return w.enter(LayerERSPANTypeI, 0, size, etherTypeEthernet)
}

// stripERSPAN2 removes a header of type II at the given offset.
func (w *walk) stripERSPAN2(at int) Outcome {
	if len(w.rest) < at+erspan2 {
		return Undecodable
	}
	header := w.rest[at : at+erspan2]
	if header[0]>>4 != 1 {
		return NotTCP
	}
	return w.enter(LayerERSPAN, erspanSession(header), at+erspan2, etherTypeEthernet)
}

// stripERSPAN3 removes a header of type III at the given offset. It carries
// Ethernet where its frame type says so.
func (w *walk) stripERSPAN3(at int) Outcome {
	if len(w.rest) < at+erspan3 {
		return Undecodable
	}
	header := w.rest[at : at+erspan3]
	if header[0]>>4 != 2 || header[10]&0x7c != 0 {
		return NotTCP
	}
	size := at + erspan3
	if header[11]&1 != 0 {
		size += erspan3Extra
	}
	return w.enter(LayerERSPAN, erspanSession(header), size, etherTypeEthernet)
}

// erspanSession is the same ten bits in types II and III.
func erspanSession(header []byte) uint32 {
	return uint32(binary.BigEndian.Uint16(header[2:]) & 0x03ff)
}

// stripUDP removes a UDP header and that of the tunnel its port stands for.
func (w *walk) stripUDP() Outcome {
	if len(w.rest) < udpHeader {
		return NotTCP
	}
	port := binary.BigEndian.Uint16(w.rest[2:])
	header := w.rest[udpHeader:]
	switch port {
	case portVXLAN:
		return w.stripVXLAN(header)
	case portGENEVE:
		return w.stripGENEVE(header)
	case portGTPU:
		return w.stripGTPU(header)
	}
	return NotTCP
}

// stripVXLAN wants the flag that a network identifier is there.
func (w *walk) stripVXLAN(header []byte) Outcome {
	if len(header) < vxlanHeader {
		return Undecodable
	}
	if header[0]&0x08 == 0 {
		return NotTCP
	}
	return w.enter(LayerVXLAN, binary.BigEndian.Uint32(header[4:])>>8, udpHeader+vxlanHeader, etherTypeEthernet)
}

// stripGENEVE steps over the options unread.
func (w *walk) stripGENEVE(header []byte) Outcome {
	if len(header) < geneveHeader {
		return Undecodable
	}
	if header[0]>>6 != 0 {
		return NotTCP
	}
	size := udpHeader + geneveHeader + int(header[0]&0x3f)*4
	return w.enter(LayerGENEVE, binary.BigEndian.Uint32(header[4:])>>8, size, binary.BigEndian.Uint16(header[2:]))
}

// stripGTPU removes the header of a G-PDU, which carries a user's packet, with
// its optional fields and extension headers (3GPP TS 29.281 section 5).
func (w *walk) stripGTPU(header []byte) Outcome {
	if len(header) < gtpuHeader {
		return Undecodable
	}
	if header[0]>>4 != 3 || header[1] != 255 {
		return NotTCP
	}
	size := gtpuHeader
	if header[0]&0x07 != 0 {
		size += 4
		if len(header) < size {
			return Undecodable
		}
	}
	if header[0]&0x04 != 0 {
		var outcome Outcome
		if size, outcome = skipExtensions(header, size); outcome != TCP {
			return outcome
		}
	}
	carried, _, ok := stripNothing(header[size:])
	if !ok {
		return Undecodable
	}
	return w.enter(LayerGTPU, binary.BigEndian.Uint32(header[4:]), udpHeader+size, carried)
}

// skipExtensions returns where the extension headers of GTP-U end. The type of
// the first stands before size; each begins with its length in words of 4
// octets and ends with the type of the next, 0 for none (section 5.2.1).
func skipExtensions(header []byte, size int) (int, Outcome) {
	for range gtpuExtensionsMax {
		if header[size-1] == 0 {
			return size, TCP
		}
		if len(header) <= size {
			return 0, Undecodable
		}
		length := int(header[size]) * 4
		if length == 0 || len(header) < size+length {
			return 0, Undecodable
		}
		size += length
	}
	if header[size-1] != 0 {
		return 0, NotTCP
	}
	return size, TCP
}
