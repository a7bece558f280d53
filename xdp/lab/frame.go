package lab

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/finwait/finwait/flowtable/segment"
)

// The header lengths and numbers that crafted frames use.
const (
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	etherTypeVLAN = 0x8100 // IEEE 802.1Q
	etherTypeQinQ = 0x88a8 // IEEE 802.1ad
	ipv4Header    = 20
	ipv6Header    = 40
	tcpHeader     = 20
	l4ProtoTCP    = 6
	hopLimit      = 64
	craftedWindow = 65535
)

// station is the sender or receiver of a crafted segment.
type station struct {
	mac     net.HardwareAddr
	address netip.AddrPort
}

// crafted is one segment made by hand.
type crafted struct {
	from, to station
	seq, ack uint32
	tcpFlags uint8
	payload  int   // octets
	vlans    []int // identifiers, outermost first
}

// octets is the length of the IP header and all behind it.
func (c *crafted) octets() int {
	if c.from.address.Addr().Is4() {
		return ipv4Header + tcpHeader + c.payload
	}
	return ipv6Header + tcpHeader + c.payload
}

// frame appends the Ethernet frame to b, its checksums computed.
func (c *crafted) frame(b []byte) []byte {
	b = append(append(b, c.to.mac...), c.from.mac...)
	for i, id := range c.vlans {
		tag := uint16(etherTypeVLAN)
		if i+1 < len(c.vlans) {
			tag = etherTypeQinQ
		}
		b = binary.BigEndian.AppendUint16(b, tag)
		b = binary.BigEndian.AppendUint16(b, uint16(id))
	}
	b = c.ipHeader(b)
	return c.tcpSegment(b)
}

func (c *crafted) ipHeader(b []byte) []byte {
	source, destination := c.from.address.Addr().AsSlice(), c.to.address.Addr().AsSlice()
	if c.from.address.Addr().Is6() {
		b = binary.BigEndian.AppendUint16(b, etherTypeIPv6)
		b = binary.BigEndian.AppendUint32(b, 6<<28)
		b = binary.BigEndian.AppendUint16(b, uint16(tcpHeader+c.payload))
		b = append(b, l4ProtoTCP, hopLimit)
		return append(append(b, source...), destination...)
	}
	b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)
	start := len(b)
	b = append(b, 4<<4|ipv4Header/4, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(c.octets()))
	b = append(b, 0, 0, 0x40, 0) // identification 0, do not fragment (RFC 6864)
	b = append(b, hopLimit, l4ProtoTCP, 0, 0)
	b = append(append(b, source...), destination...)
	binary.BigEndian.PutUint16(b[start+10:], ^fold(add(0, b[start:])))
	return b
}

func (c *crafted) tcpSegment(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, c.from.address.Port())
	b = binary.BigEndian.AppendUint16(b, c.to.address.Port())
	b = binary.BigEndian.AppendUint32(b, c.seq)
	b = binary.BigEndian.AppendUint32(b, c.ack)
	b = append(b, tcpHeader/4<<4, c.tcpFlags)
	b = binary.BigEndian.AppendUint16(b, craftedWindow)
	b = append(b, 0, 0, 0, 0)
	for i := range c.payload {
		b = append(b, 'a'+byte(i%26))
	}
	sum := add(0, c.from.address.Addr().AsSlice())
	sum = add(sum, c.to.address.Addr().AsSlice())
	sum += l4ProtoTCP + uint32(tcpHeader+c.payload)
	binary.BigEndian.PutUint16(b[start+16:], ^fold(add(sum, b[start:])))
	return b
}

// add sums 16-bit words (RFC 1071), a last odd octet padded by zero.
func add(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// fold brings a sum to 16 bits.
func fold(sum uint32) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// advance is how far a segment moves its sender's sequence number.
func (c *crafted) advance() uint32 {
	length := uint32(c.payload)
	for _, flag := range []uint8{segment.SYN, segment.FIN} {
		if c.tcpFlags&flag != 0 {
			length++
		}
	}
	return length
}
