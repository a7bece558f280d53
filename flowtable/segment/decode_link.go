package segment

import "encoding/binary"

// LinkType is what a captured frame begins with, numbered as LINKTYPE_ values
// in capture files (draft-ietf-opsawg-pcaplinktype).
type LinkType uint16

// The link types that Decode reads.
const (
	LinkNull      LinkType = 0   // BSD loopback: address family in the capturing host's order
	LinkEthernet  LinkType = 1   // IEEE 802.3
	LinkPPP       LinkType = 9   // PPP, with or without address and control octets
	LinkRaw12     LinkType = 12  // raw IP, as most systems number DLT_RAW
	LinkRaw14     LinkType = 14  // raw IP, as OpenBSD numbers DLT_RAW
	LinkPPPHDLC   LinkType = 50  // PPP in HDLC-like framing (RFC 1662)
	LinkRaw       LinkType = 101 // raw IPv4 or IPv6, told apart by the version
	LinkLoop      LinkType = 108 // OpenBSD loopback: address family in network order
	LinkLinuxSLL  LinkType = 113 // Linux "cooked" capture
	LinkIPv4      LinkType = 228 // raw IPv4
	LinkIPv6      LinkType = 229 // raw IPv6
	LinkLinuxSLL2 LinkType = 276 // Linux "cooked" capture, second version
)

const (
	ethernetHeader = 14
	sllHeader      = 16
	sll2Header     = 20
	familyHeader   = 4
)

// Supported tells whether Decode reads frames of this link type.
func Supported(link LinkType) bool {
	switch link {
	case LinkNull, LinkEthernet, LinkPPP, LinkRaw12, LinkRaw14, LinkPPPHDLC, LinkRaw,
		LinkLoop, LinkLinuxSLL, LinkIPv4, LinkIPv6, LinkLinuxSLL2:
		return true
	}
	return false
}

// stripLink removes the link header. It returns the ether type of what
// follows, whatever the link calls it, and etherTypeNone where the link's own
// numbering has something else than IP. It is false where the header is cut
// off.
func stripLink(link LinkType, frame []byte) (etherType uint16, rest []byte, ok bool) {
	switch link {
	case LinkEthernet:
		return fixedHeader(frame, ethernetHeader, 12)
	case LinkLinuxSLL:
		return fixedHeader(frame, sllHeader, 14)
	case LinkLinuxSLL2:
		return fixedHeader(frame, sll2Header, 0)
	case LinkIPv4:
		return etherTypeIPv4, frame, true
	case LinkIPv6:
		return etherTypeIPv6, frame, true
	case LinkRaw, LinkRaw12, LinkRaw14:
		return stripNothing(frame)
	case LinkNull, LinkLoop:
		return stripFamily(link, frame)
	case LinkPPP, LinkPPPHDLC:
		return stripPPP(frame)
	}
	return etherTypeNone, nil, true
}

// fixedHeader removes a header of a fixed size that has the ether type at the
// offset at.
func fixedHeader(frame []byte, size, at int) (etherType uint16, rest []byte, ok bool) {
	if len(frame) < size {
		return etherTypeNone, nil, false
	}
	return binary.BigEndian.Uint16(frame[at:]), frame[size:], true
}

// stripNothing tells the version of a raw IP packet.
func stripNothing(frame []byte) (etherType uint16, rest []byte, ok bool) {
	if len(frame) == 0 {
		return etherTypeNone, nil, false
	}
	switch frame[0] >> 4 {
	case 4:
		return etherTypeIPv4, frame, true
	case 6:
		return etherTypeIPv6, frame, true
	}
	return etherTypeNone, nil, true
}

// stripFamily removes a loopback header. AF_INET is 2 everywhere; AF_INET6 is
// 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS.
func stripFamily(link LinkType, frame []byte) (etherType uint16, rest []byte, ok bool) {
	if len(frame) < familyHeader {
		return etherTypeNone, nil, false
	}
	family := binary.BigEndian.Uint32(frame)
	if link == LinkNull && family > 0xffff {
		// No family is that large: the capturing host was little endian.
		family = binary.LittleEndian.Uint32(frame)
	}
	switch family {
	case 2:
		return etherTypeIPv4, frame[familyHeader:], true
	case 10, 24, 28, 30:
		return etherTypeIPv6, frame[familyHeader:], true
	}
	return etherTypeNone, nil, true
}

// stripPPP removes a PPP header: address and control where they were not
// compressed away, and a protocol of two octets, or of one, which is then odd
// (RFC 1661 section 2, RFC 1662 section 3.1).
func stripPPP(frame []byte) (etherType uint16, rest []byte, ok bool) {
	if len(frame) >= 2 && frame[0] == 0xff && frame[1] == 0x03 {
		frame = frame[2:]
	}
	if len(frame) == 0 {
		return etherTypeNone, nil, false
	}
	protocol, size := uint16(frame[0]), 1
	if protocol&1 == 0 {
		if len(frame) < 2 {
			return etherTypeNone, nil, false
		}
		protocol, size = binary.BigEndian.Uint16(frame), 2
	}
	return etherTypeOfPPP(protocol), frame[size:], true
}

// etherTypeOfPPP knows the protocols of IPCP (RFC 1332 section 2) and IPV6CP
// (RFC 5072 section 2).
func etherTypeOfPPP(protocol uint16) uint16 {
	switch protocol {
	case 0x0021:
		return etherTypeIPv4
	case 0x0057:
		return etherTypeIPv6
	}
	return etherTypeNone
}
