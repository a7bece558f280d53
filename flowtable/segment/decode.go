package segment

import "encoding/binary"

const (
	tcpHeaderMin = 20 // RFC 9293 section 3.1
	protoTCP     = 6  // IANA protocol numbers

	plainMin     = ethernetHeader + ipv4HeaderMin + tcpHeaderMin
	plainMinIPv6 = ethernetHeader + ipv6Header + tcpHeaderMin
)

// Decode reads one captured frame of the given link type into s. Where the
// Outcome is TCP it has set Src, Dst, SrcPort, DstPort, Seq, Ack, Octets,
// Payload, VLAN, TCPFlags and Encapsulation; every other field is the
// caller's. With any other Outcome s is as it was. A frame of a link type that
// is not Supported is NotIP.
//
// The frame may be cut short (snapped) behind the first 20 octets of the TCP
// header: lengths are taken from the headers and checksums are not judged. A
// first fragment is decoded as if it were the whole packet, be it of TCP or of
// a tunnel.
//
// The connection is the innermost one, and Octets are those of its own IP
// packet. VLAN is the outermost tag of the outermost frame. These are the
// rules, which xdp/bpf/parse.h and tunnel.h follow too:
//
//	announced by               must be whole            goes on with             else
//	ether type 8100 88a8 9100  tag, 4 octets            its ether type           5th: NotIP
//	ether type 8864 (PPPoE)    8 octets: 11 00 … PPP    0021 IPv4, 0057 IPv6     NotIP
//	ether type 8847 8848       label, 4 octets, until   version nibble (1 more   9th, other
//	(MPLS)                     the bottom of the stack  octet): IPv4, IPv6       nibble: NotIP
//	ether type 0800, 86dd      IP header                protocol, next header    NotIP
//	protocol 4, 41             -                        IPv4, IPv6               NotTCP
//	protocol 47 (GRE)          4 octets: version 0,     0800 IPv4, 86dd IPv6,    NotTCP
//	                           no routing; checksum,    6558 Ethernet,
//	                           key and sequence number  88be, 22eb ERSPAN
//	GRE 88be, no sequence nr.  - (ERSPAN type I)        Ethernet                 -
//	GRE 88be, sequence number  8 octets: version 1      Ethernet                 NotTCP
//	GRE 22eb                   12 octets: version 2,    Ethernet                 NotTCP
//	                           frame type 0; 8 more
//	                           behind the flag O
//	UDP to 4789 (VXLAN)        8 octets: flag I         Ethernet                 NotTCP
//	UDP to 6081 (GENEVE)       8 octets: version 0;     0800 IPv4, 86dd IPv6,    NotTCP
//	                           its options              6558 Ethernet
//	UDP to 2152 (GTP-U)        8 octets: version 1,     version nibble (1 more   NotTCP, also
//	                           PT, type 255; 4 where    octet): IPv4, IPv6       a 5th extension
//	                           E, S or PN; behind E
//	                           up to 4 extensions
//
// What is cut off or contradicts itself is Undecodable, but UDP that ends
// within its own header is NotTCP. A fragment other than the first has no
// ports and is not looked into: Fragment where it is of TCP, else NotTCP.
// Inside a tunnel over IP (protocol 4, 41, 47, UDP) NotIP becomes NotTCP. A
// fifth layer of encapsulation and a third tunnel over IP are treated as
// protocols that nobody knows, before anything of them is read.
func Decode(link LinkType, frame []byte, s *Segment) Outcome {
	if link != LinkEthernet || len(frame) < plainMin {
		return s.decode(link, frame)
	}
	// Nearly all frames are Ethernet, IP without options or extensions, and TCP. Fields
	// of theirs that stand side by side are looked at in one word, here
	// ether type 16 | version 4 | IPv4: header length 4.
	switch first := binary.BigEndian.Uint32(frame[ethernetHeader-2:plainMin]) >> 8; {
	case first == etherTypeIPv4<<8|0x45:
		ip := (*[ipv4HeaderMin + tcpHeaderMin]byte)(frame[ethernetHeader:plainMin])
		// flags and fragment offset 16 | time to live 8 | protocol 8
		if binary.BigEndian.Uint32(ip[6:])&(fragmentOffsetIPv4<<16|0xff) != protoTCP {
			break
		}
		// A length of 0 stands for that of the frame; decodeTCP refuses it here.
		total := int(binary.BigEndian.Uint16(ip[2:]))
		if !s.decodeTCP((*[tcpHeaderMin]byte)(ip[ipv4HeaderMin:]), total-ipv4HeaderMin) {
			break
		}
		s.Octets = uint32(total)
		mapIPv4(&s.Src, ip[12:16])
		mapIPv4(&s.Dst, ip[16:20])
		s.VLAN = 0
		s.Encapsulation = Encapsulation{}
		return TCP
	case first>>4 == etherTypeIPv6<<4|6 && len(frame) >= plainMinIPv6:
		ip := (*[ipv6Header + tcpHeaderMin]byte)(frame[ethernetHeader:])
		if ip[6] != protoTCP {
			break
		}
		octets := int(binary.BigEndian.Uint16(ip[4:]))
		if !s.decodeTCP((*[tcpHeaderMin]byte)(ip[ipv6Header:]), octets) {
			break
		}
		s.Octets = ipv6Header + uint32(octets)
		s.Src = [16]byte(ip[8:24])
		s.Dst = [16]byte(ip[24:40])
		s.VLAN = 0
		s.Encapsulation = Encapsulation{}
		return TCP
	}
	return s.decode(link, frame)
}

// decode is Decode by the walk through all headers. It says the same as Decode of what
// that reads by itself.
func (s *Segment) decode(link LinkType, frame []byte) Outcome {
	etherType, rest, ok := stripLink(link, frame)
	if !ok {
		return Undecodable
	}
	w := walk{etherType: etherType, rest: rest}
	var transport transport
	for {
		if outcome := w.stripLabels(); outcome != TCP {
			return outcome
		}
		switch w.etherType {
		case etherTypeIPv4:
			transport = walkIPv4(w.rest)
		case etherTypeIPv6:
			transport = walkIPv6(w.rest)
		default:
			return w.unknown()
		}
		if transport.outcome != NotTCP {
			break
		}
		if outcome := w.stripTunnel(transport); outcome != TCP {
			return outcome
		}
	}
	if transport.outcome != TCP {
		return transport.outcome
	}
	if len(w.rest) < transport.offset+tcpHeaderMin {
		return Undecodable
	}
	if !s.decodeTCP((*[tcpHeaderMin]byte)(w.rest[transport.offset:]), transport.total-transport.offset) {
		return Undecodable
	}
	s.Octets = uint32(transport.total)
	s.decodeAddresses(w.etherType, w.rest)
	s.VLAN = w.vlan
	s.Encapsulation = w.encapsulation
	return TCP
}

// walk is how far a frame has been read. Its methods answer TCP to go on.
type walk struct {
	rest          []byte // what has not been read
	etherType     uint16 // of rest
	vlan          uint16
	tunnels       int // over IP, that were entered
	encapsulation Encapsulation
}

// unknown is the outcome of what is not understood.
func (w *walk) unknown() Outcome {
	if w.tunnels > 0 {
		return NotTCP
	}
	return NotIP
}

// decodeTCP reads the header (RFC 9293 section 3.1) of a TCP segment of so many octets.
// It changes nothing where the header is longer.
func (s *Segment) decodeTCP(header *[tcpHeaderMin]byte, octets int) bool {
	dataOffset := int(header[12] >> 4 * 4)
	payload := octets - dataOffset
	if dataOffset < tcpHeaderMin || payload < 0 {
		return false
	}
	s.SrcPort = binary.BigEndian.Uint16(header[0:])
	s.DstPort = binary.BigEndian.Uint16(header[2:])
	s.Seq = binary.BigEndian.Uint32(header[4:])
	s.Ack = binary.BigEndian.Uint32(header[8:])
	s.TCPFlags = header[13]
	s.Payload = uint32(payload)
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

// mapIPv4 writes ::ffff:a.b.c.d in two stores. An array literal, and a big-endian
// word, would be made octet by octet and then read back whole, which waits for every
// store.
func mapIPv4(to *[16]byte, address []byte) {
	binary.LittleEndian.PutUint64(to[0:], 0)
	binary.LittleEndian.PutUint64(to[8:], 0xffff<<16|uint64(binary.LittleEndian.Uint32(address))<<32)
}
