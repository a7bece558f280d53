package segment_test

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Frames are put together from the inside out: a TCP header, wrapped by IP,
// wrapped by a link.

var (
	client4 = [4]byte{192, 0, 2, 1}
	server4 = [4]byte{198, 51, 100, 2}
	client6 = [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 0x01}
	server6 = [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 0x02}
)

const (
	testSeq = 0xfedcba98
	testAck = 0x01234567
)

// tcp is a header of 20 octets, options and a payload. Ports 40000 to 443.
func tcp(flags uint8, options, payload int) []byte {
	b := make([]byte, 20+options+payload)
	binary.BigEndian.PutUint16(b[0:], 40000)
	binary.BigEndian.PutUint16(b[2:], 443)
	binary.BigEndian.PutUint32(b[4:], testSeq)
	binary.BigEndian.PutUint32(b[8:], testAck)
	b[12] = uint8((20+options)/4) << 4
	b[13] = flags
	for i := range payload {
		b[20+options+i] = uint8(i)
	}
	return b
}

func ipv4(protocol byte, options int, payload []byte) []byte {
	b := make([]byte, 20+options)
	b[0] = 0x40 | uint8((20+options)/4)
	binary.BigEndian.PutUint16(b[2:], uint16(20+options+len(payload)))
	b[8], b[9] = 64, protocol
	copy(b[12:], client4[:])
	copy(b[16:], server4[:])
	return append(b, payload...)
}

func ipv6(next byte, payload []byte) []byte {
	b := make([]byte, 40)
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[6], b[7] = next, 64
	copy(b[8:], client6[:])
	copy(b[24:], server6[:])
	return append(b, payload...)
}

// extension is an IPv6 extension header of size octets before payload, with
// the length octet counted from the right unit.
func extension(kind, next byte, size int, payload []byte) []byte {
	b := make([]byte, size)
	b[0] = next
	switch kind {
	case 44:
		b[1] = 0
	case 51:
		b[1] = uint8(size/4 - 2)
	default:
		b[1] = uint8(size/8 - 1)
	}
	return append(b, payload...)
}

// options is n destination option headers before payload.
func options(n int, payload []byte) []byte {
	next := byte(6)
	for range n {
		payload = extension(60, next, 8, payload)
		next = 60
	}
	return payload
}

func fragment(next byte, offset uint16, payload []byte) []byte {
	b := extension(44, next, 8, payload)
	binary.BigEndian.PutUint16(b[2:], offset<<3|1)
	return b
}

func ethernet(etherType uint16, payload []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

// tagged is an Ethernet frame with VLAN tags of the given ether types, the
// outermost with identifier 101, the next with 102, and so on.
func tagged(etherTypes []uint16, inner uint16, payload []byte) []byte {
	followed := append(slices.Clone(etherTypes), inner)
	var b []byte
	for i := range etherTypes {
		b = binary.BigEndian.AppendUint16(b, 0xe000|uint16(101+i))
		b = binary.BigEndian.AppendUint16(b, followed[i+1])
	}
	return ethernet(followed[0], append(b, payload...))
}

// pppoe is a session's packet, of the given PPP protocol.
func pppoe(protocol uint16, payload []byte) []byte {
	b := []byte{0x11, 0, 0x12, 0x34}
	b = binary.BigEndian.AppendUint16(b, uint16(2+len(payload)))
	return append(binary.BigEndian.AppendUint16(b, protocol), payload...)
}

func sll(protocol uint16, payload []byte) []byte {
	b := make([]byte, 14)
	return append(binary.BigEndian.AppendUint16(b, protocol), payload...)
}

func sll2(protocol uint16, payload []byte) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, protocol)
	return append(b, payload...)
}

func prefixed(payload []byte, prefix ...byte) []byte {
	return slices.Concat(prefix, payload)
}

// with is frame with the octets at offset replaced.
func with(frame []byte, offset int, octets ...byte) []byte {
	b := bytes.Clone(frame)
	copy(b[offset:], octets)
	return b
}
