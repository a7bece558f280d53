package segment

import "encoding/binary"

// plainMin is an Ethernet frame of IPv4 and TCP without options.
const plainMin = ethernetHeader + ipv4HeaderMin + tcpHeaderMin

// decodePlain reads the frame that nearly all are: Ethernet, IP without
// options or extensions, TCP. It is false, and has changed nothing, where the
// frame is anything else or not whole; the walk through all headers then says
// what it is, and says the same of what is read here.
func (s *Segment) decodePlain(frame []byte) bool {
	if len(frame) < plainMin {
		return false
	}
	etherType, packet := binary.BigEndian.Uint16(frame[12:]), frame[ethernetHeader:]
	t := transport{offset: ipv4HeaderMin}
	switch {
	case etherType == etherTypeIPv4 && packet[0] == 0x45 && packet[9] == protoTCP:
		if binary.BigEndian.Uint16(packet[6:])&fragmentOffsetIPv4 != 0 {
			return false
		}
		t.total = int(binary.BigEndian.Uint16(packet[2:]))
	case etherType == etherTypeIPv6 && packet[0]>>4 == 6 && packet[6] == protoTCP:
		t.offset = ipv6Header
		t.total = ipv6Header + int(binary.BigEndian.Uint16(packet[4:]))
	default:
		return false
	}
	// A length of 0 stands for that of the frame; decodeTCP refuses it here.
	if !s.decodeTCP(packet, t) {
		return false
	}
	s.decodeAddresses(etherType, packet)
	s.VLAN, s.Encapsulation = 0, Encapsulation{}
	return true
}
