package segment

import "encoding/binary"

// Ethernet frames of IP and TCP without options.
const (
	plainMin     = ethernetHeader + ipv4HeaderMin + tcpHeaderMin
	plainMinIPv6 = ethernetHeader + ipv6Header + tcpHeaderMin
)

// decodePlain reads the frame that nearly all are: Ethernet, IP without
// options or extensions, TCP. It is false, and has changed nothing, where the
// frame is anything else or not whole; the walk through all headers then says
// what it is, and says the same of what is read here.
func (s *Segment) decodePlain(frame []byte) bool {
	if len(frame) < plainMin {
		return false
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherTypeIPv4:
		ip := (*[ipv4HeaderMin]byte)(frame[ethernetHeader:])
		if ip[0] != 0x45 || ip[9] != protoTCP || binary.BigEndian.Uint16(ip[6:])&fragmentOffsetIPv4 != 0 {
			return false
		}
		// A length of 0 stands for that of the frame; decodeTCP refuses it here.
		total := int(binary.BigEndian.Uint16(ip[2:]))
		if !s.decodeTCP((*[tcpHeaderMin]byte)(frame[ethernetHeader+ipv4HeaderMin:]), ipv4HeaderMin, total) {
			return false
		}
		mapIPv4(&s.Src, ip[12:16])
		mapIPv4(&s.Dst, ip[16:20])
	case etherTypeIPv6:
		if len(frame) < plainMinIPv6 {
			return false
		}
		ip := (*[ipv6Header]byte)(frame[ethernetHeader:])
		if ip[0]>>4 != 6 || ip[6] != protoTCP {
			return false
		}
		total := ipv6Header + int(binary.BigEndian.Uint16(ip[4:]))
		if !s.decodeTCP((*[tcpHeaderMin]byte)(frame[ethernetHeader+ipv6Header:]), ipv6Header, total) {
			return false
		}
		s.Src, s.Dst = [16]byte(ip[8:24]), [16]byte(ip[24:40])
	default:
		return false
	}
	s.VLAN, s.Encapsulation = 0, Encapsulation{}
	return true
}
