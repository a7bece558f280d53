package segment

import "encoding/binary"

const (
	ipv4HeaderMin = 20 // RFC 791 section 3.1
	ipv6Header    = 40 // RFC 8200 section 3

	// extensionMin is the least that an IPv6 extension header occupies, and
	// what must have been captured of each.
	extensionMin = 8
	// extensionsMax is how many extension headers are walked; the kernel
	// program's loop has the same bound.
	extensionsMax = 8

	fragmentOffsetIPv4 = 0x1fff // RFC 791 section 3.1, below the three flags
	fragmentOffsetIPv6 = 0xfff8 // RFC 8200 section 4.5, above reserved bits and M
)

// IPv6 extension headers that are stepped over (IANA, "IPv6 Extension Header
// Types").
const (
	extHopByHop       = 0
	extRouting        = 43
	extFragment       = 44
	extAuthentication = 51
	extDestination    = 60
	extMobility       = 135
)

// transport is where the header behind IP begins. The lengths are octets from
// the start of the IP header.
type transport struct {
	offset   int   // of the header behind IP; where outcome is TCP or NotTCP
	total    int   // of the whole packet, as the IP header has it; where outcome is TCP
	protocol uint8 // of the header behind IP; where outcome is NotTCP
	outcome  Outcome
}

// protoNone is a fragment's that does not begin with the header behind IP: no
// next header (RFC 8200 section 4.7).
const protoNone = 59

// walkIPv4 steps over an IPv4 header and its options.
func walkIPv4(packet []byte) transport {
	if len(packet) < ipv4HeaderMin {
		return transport{outcome: Undecodable}
	}
	header := int(packet[0]&0x0f) * 4
	if packet[0]>>4 != 4 || header < ipv4HeaderMin {
		return transport{outcome: Undecodable}
	}
	if binary.BigEndian.Uint16(packet[6:])&fragmentOffsetIPv4 != 0 {
		return laterFragment(packet[9])
	}
	if packet[9] != protoTCP {
		return transport{outcome: NotTCP, offset: header, protocol: packet[9]}
	}
	total := int(binary.BigEndian.Uint16(packet[2:]))
	if total == 0 {
		// Captured above segmentation offload, of more than 65,535 octets.
		total = len(packet)
	}
	return transport{offset: header, total: total, outcome: TCP}
}

// walkIPv6 steps over an IPv6 header and its extension headers.
func walkIPv6(packet []byte) transport {
	if len(packet) < ipv6Header || packet[0]>>4 != 6 {
		return transport{outcome: Undecodable}
	}
	total := ipv6Header + int(binary.BigEndian.Uint16(packet[4:]))
	if total == ipv6Header {
		// A jumbogram (RFC 2675), or captured above segmentation offload.
		total = len(packet)
	}

	next, offset := packet[6], ipv6Header
	for extensions := 0; next != protoTCP; extensions++ {
		if !isExtension(next) {
			return transport{outcome: NotTCP, offset: offset, protocol: next}
		}
		if extensions == extensionsMax || len(packet) < offset+extensionMin {
			return transport{outcome: Undecodable}
		}
		header := packet[offset : offset+extensionMin]
		switch next {
		case extFragment:
			if binary.BigEndian.Uint16(header[2:])&fragmentOffsetIPv6 != 0 {
				return laterFragment(header[0])
			}
			offset += extensionMin
		case extAuthentication:
			offset += (int(header[1]) + 2) * 4 // RFC 4302 section 2.2
		default:
			offset += (int(header[1]) + 1) * 8 // RFC 8200 section 4.2
		}
		next = header[0]
	}
	return transport{offset: offset, total: total, outcome: TCP}
}

// laterFragment is the outcome of a fragment other than the first. What its
// protocol or next header announces begins in the first fragment, so it is not
// walked.
func laterFragment(announced uint8) transport {
	if announced == protoTCP {
		return transport{outcome: Fragment}
	}
	return transport{outcome: NotTCP, protocol: protoNone}
}

func isExtension(next byte) bool {
	switch next {
	case extHopByHop, extRouting, extFragment, extAuthentication, extDestination, extMobility:
		return true
	}
	return false
}
