package segment

import "encoding/binary"

const (
	tcpHeaderMin = 20 // RFC 9293 section 3.1
	protoTCP     = 6  // IANA protocol numbers
)

// Decode reads one captured frame of the given link type into s. Where the
// Outcome is TCP it has set Src, Dst, SrcPort, DstPort, Seq, Ack, Octets,
// Payload, VLAN, TCPFlags and Encapsulation; every other field is the
// caller's. With any other Outcome s is as it was.
//
// The frame may be cut short (snapped) behind the first 20 octets of the TCP
// header: lengths are taken from the headers and checksums are not judged. A
// first fragment is decoded as if it were the whole packet. A frame of a link
// type that is not Supported is NotIP.
func Decode(link LinkType, frame []byte, s *Segment) Outcome {
	etherType, rest, ok := stripLink(link, frame)
	if !ok {
		return Undecodable
	}
	etherType, packet, tags, ok := stripTags(etherType, rest)
	if !ok {
		return Undecodable
	}
	layers := tags.encapsulation()
	if etherType == etherTypePPPoE {
		if etherType, packet, ok = stripPPPoE(packet); !ok {
			return Undecodable
		}
		layers.add(LayerPPPoE)
	}

	var transport transport
	switch etherType {
	case etherTypeIPv4:
		transport = walkIPv4(packet)
	case etherTypeIPv6:
		transport = walkIPv6(packet)
	default:
		return NotIP
	}
	if transport.outcome != TCP {
		return transport.outcome
	}
	if !s.decodeTCP(packet, transport) {
		return Undecodable
	}
	s.decodeAddresses(etherType, packet)
	s.VLAN = tags.vlan
	s.Encapsulation = layers
	return TCP
}

// decodeTCP reads the TCP header (RFC 9293 section 3.1). It changes nothing
// where the header is not whole or reaches beyond the IP packet.
func (s *Segment) decodeTCP(packet []byte, t transport) bool {
	if len(packet) < t.offset+tcpHeaderMin {
		return false
	}
	header := packet[t.offset : t.offset+tcpHeaderMin]
	dataOffset := int(header[12]>>4) * 4
	if dataOffset < tcpHeaderMin || t.total < t.offset+dataOffset {
		return false
	}
	s.SrcPort = binary.BigEndian.Uint16(header[0:])
	s.DstPort = binary.BigEndian.Uint16(header[2:])
	s.Seq = binary.BigEndian.Uint32(header[4:])
	s.Ack = binary.BigEndian.Uint32(header[8:])
	s.TCPFlags = header[13]
	s.Octets = uint32(t.total)
	s.Payload = uint32(t.total - t.offset - dataOffset)
	return true
}

// decodeAddresses reads the addresses of a packet whose IP header is whole.
func (s *Segment) decodeAddresses(etherType uint16, packet []byte) {
	if etherType == etherTypeIPv6 {
		copy(s.Src[:], packet[8:24])
		copy(s.Dst[:], packet[24:40])
		return
	}
	mapIPv4(&s.Src, packet[12:16])
	mapIPv4(&s.Dst, packet[16:20])
}

// mapIPv4 writes ::ffff:a.b.c.d in two stores. An array literal would be made
// octet by octet and then read back whole, which waits for every store.
func mapIPv4(to *[16]byte, address []byte) {
	binary.BigEndian.PutUint64(to[0:], 0)
	binary.BigEndian.PutUint64(to[8:], 0xffff<<32|uint64(binary.BigEndian.Uint32(address)))
}
