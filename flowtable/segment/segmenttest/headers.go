package segmenttest

import (
	"encoding/binary"
	"slices"
)

// Frames are put together from the inside out: each function puts a header
// before what it carries.

const (
	payload       = "payload"
	payloadOctets = len(payload)
	testSeq       = 0xfedcba98
	testAck       = 0x01234567
	clientPort    = 40000
	serverPort    = 443

	// udpSource marks the UDP headers within a frame: nothing else has its
	// octets.
	udpSource = 0xbeef
)

var (
	client4 = [4]byte{192, 0, 2, 1}
	server4 = [4]byte{198, 51, 100, 2}
	client6 = [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 0x01}
	server6 = [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 0x02}
)

// tcp is a header and a payload of payloadOctets.
func tcp() []byte {
	var b []byte
	b = binary.BigEndian.AppendUint16(b, clientPort)
	b = binary.BigEndian.AppendUint16(b, serverPort)
	b = binary.BigEndian.AppendUint32(b, testSeq)
	b = binary.BigEndian.AppendUint32(b, testAck)
	b = append(b, 0x50, tcpFlags, 1, 0, 0, 0, 0, 0)
	return append(b, payload...)
}

func ipv4(source, destination [4]byte, protocol byte, fragment uint16, carried []byte) []byte {
	b := []byte{0x45, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(carried)))
	b = append(b, 0, 1)
	b = binary.BigEndian.AppendUint16(b, fragment)
	b = append(b, 64, protocol, 0, 0)
	return slices.Concat(b, source[:], destination[:], carried)
}

func ipv6(source, destination [16]byte, next byte, carried []byte) []byte {
	b := []byte{0x60, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(carried)))
	b = append(b, next, 64)
	return slices.Concat(b, source[:], destination[:], carried)
}

// inner4 and inner6 are the packets of the connection that is accounted.
func inner4() []byte { return ipv4(client4, server4, 6, 0, tcp()) }
func inner6() []byte { return ipv6(client6, server6, 6, tcp()) }

// outer4 and outer6 are those of a tunnel.
func outer4(protocol byte, carried []byte) []byte {
	return ipv4([4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 2}, protocol, 0, carried)
}

func outer6(next byte, carried []byte) []byte {
	return ipv6([16]byte{0xfd, 15: 1}, [16]byte{0xfd, 15: 2}, next, carried)
}

// extensions are n destination option headers.
func extensions(n int, next byte, carried []byte) []byte {
	for range n {
		carried = slices.Concat([]byte{next, 0, 1, 4, 0, 0, 0, 0}, carried)
		next = 60
	}
	return carried
}

// fragment6 is an IPv6 fragment header, offset in words of 8 octets.
func fragment6(next byte, offset uint16, carried []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{next, 0}, offset<<3|1)
	return slices.Concat(b, []byte{0, 0, 0, 9}, carried)
}

func ethernet(etherType uint16, carried []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	return append(binary.BigEndian.AppendUint16(b, etherType), carried...)
}

// tags are VLAN tags, the first of which the caller announces.
func tags(etherType uint16, carried []byte, identifiers ...uint16) []byte {
	for _, identifier := range slices.Backward(identifiers) {
		b := binary.BigEndian.AppendUint16(nil, 0xa000|identifier)
		carried = append(binary.BigEndian.AppendUint16(b, etherType), carried...)
		etherType = 0x8100
	}
	return carried
}

func pppoe(protocol uint16, carried []byte) []byte {
	b := []byte{0x11, 0, 0, 77}
	b = binary.BigEndian.AppendUint16(b, uint16(2+len(carried)))
	return append(binary.BigEndian.AppendUint16(b, protocol), carried...)
}

// mpls are labels, the last of them the bottom of the stack.
func mpls(labels int, carried []byte) []byte {
	var b []byte
	for i := range labels {
		label := uint32(16+i)<<12 | 64
		if i == labels-1 {
			label |= 1 << 8
		}
		b = binary.BigEndian.AppendUint32(b, label)
	}
	return append(b, carried...)
}

// gre has the optional fields that flags announce.
func gre(flags, etherType uint16, carried []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, flags)
	b = binary.BigEndian.AppendUint16(b, etherType)
	for _, flag := range []uint16{0x8000, 0x2000, 0x1000} {
		if flags&flag != 0 {
			b = append(b, 0xaa, 0xaa, 0xaa, 0xaa)
		}
	}
	return append(b, carried...)
}

// erspan2 has VLAN 300 and every bit beside the session set.
func erspan2(session uint16, carried []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x11, 0x2c}, 0xfc00|session)
	return slices.Concat(b, []byte{0, 0, 0, 5}, carried)
}

func erspan3(session uint16, subheader bool, carried []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x21, 0x2c}, 0xfc00|session)
	b = append(b, 1, 2, 3, 4, 0, 0, 0x80, 0x00)
	if subheader {
		b[11] |= 1
		b = append(b, 1, 2, 3, 4, 5, 6, 7, 8)
	}
	return append(b, carried...)
}

func udp(port uint16, carried []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, udpSource)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(carried)))
	return slices.Concat(b, []byte{0, 0}, carried)
}

func vxlan(vni uint32, carried []byte) []byte {
	b := []byte{0x08, 0, 0, 0}
	return append(binary.BigEndian.AppendUint32(b, vni<<8|0xff), carried...)
}

// geneve has options of words of 4 octets.
func geneve(vni uint32, words int, etherType uint16, carried []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{byte(words), 0}, etherType)
	b = binary.BigEndian.AppendUint32(b, vni<<8)
	return slices.Concat(b, make([]byte, 4*words), carried)
}

// gtpu has the low flags given, and extension headers of as many words as
// listed.
func gtpu(teid uint32, flags byte, carried []byte, words ...byte) []byte {
	var rest []byte
	next := func(i int) byte {
		if i < len(words) {
			return 0x85
		}
		return 0
	}
	if flags != 0 {
		rest = append(rest, 0, 9, 0, next(0))
	}
	for i, n := range words {
		extension := make([]byte, max(4*int(n), 4))
		extension[0], extension[len(extension)-1] = n, next(i+1)
		rest = append(rest, extension...)
	}
	rest = append(rest, carried...)
	b := binary.BigEndian.AppendUint16([]byte{0x30 | flags, 255}, uint16(len(rest)))
	return append(binary.BigEndian.AppendUint32(b, teid), rest...)
}

// with is frame with the octets at offset replaced; an offset below 0 counts
// from the end.
func with(frame []byte, offset int, octets ...byte) []byte {
	b := slices.Clone(frame)
	if offset < 0 {
		offset += len(b)
	}
	copy(b[offset:], octets)
	return b
}
