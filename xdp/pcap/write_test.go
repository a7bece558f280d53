package pcap_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"testing"
)

// The captures of these tests are written here, octet by octet, so that the
// reader is not held against its own idea of the formats.

type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

var orders = map[string]order{"little": binary.LittleEndian, "big": binary.BigEndian}

// packet is one to be written. An original length of 0 is that of octets.
type packet struct {
	at       int64 // ns
	octets   []byte
	original uint32
}

func (p packet) wire() uint32 {
	if p.original != 0 {
		return p.original
	}
	return uint32(len(p.octets))
}

// tcpIPv4 is an IPv4 packet of 40 octets and the payload, its sequence number
// the given one.
func tcpIPv4(seq uint32, payload int) []byte {
	b := make([]byte, 40+payload)
	b[0], b[8], b[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], []byte{192, 0, 2, 1, 198, 51, 100, 2})
	binary.BigEndian.PutUint16(b[20:], 40000)
	binary.BigEndian.PutUint16(b[22:], 443)
	binary.BigEndian.PutUint32(b[24:], seq)
	b[32], b[33] = 0x50, 0x10
	return b
}

func ethernet(etherType uint16, payload []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

// frames is n Ethernet frames of IPv4 and TCP, one after every third of them
// ARP, a second and some ns apart, their sequence numbers counting from 1.
func frames(n int) []packet {
	var packets []packet
	for i := range n {
		at := 1_700_000_000_000_000_000 + int64(i)*1_000_001_002
		packets = append(packets, packet{at: at, octets: ethernet(0x0800, tcpIPv4(uint32(i+1), i%7))})
		if i%3 == 2 {
			packets = append(packets, packet{at: at, octets: ethernet(0x0806, make([]byte, 46))})
		}
	}
	return packets
}

// classicFile is a pcap file's header.
type classicFile struct {
	order     order
	magic     uint32
	minor     uint16
	link      uint32
	unit      int64 // ns of a fraction
	more      int   // octets of a packet's header beyond 16
	exchanged bool  // original length before captured length
}

func classicMicro(o order) classicFile {
	return classicFile{order: o, magic: 0xa1b2c3d4, minor: 4, link: 1, unit: 1000}
}

func classicNano(o order) classicFile {
	return classicFile{order: o, magic: 0xa1b23c4d, minor: 4, link: 1, unit: 1}
}

// write returns the file and at which offsets it may end.
func (c classicFile) write(packets []packet) (file []byte, ends []int) {
	b := c.order.AppendUint32(nil, c.magic)
	b = c.order.AppendUint16(b, 2)
	b = c.order.AppendUint16(b, c.minor)
	b = append(b, make([]byte, 8)...)
	b = c.order.AppendUint32(b, 65535)
	b = c.order.AppendUint32(b, c.link)
	ends = append(ends, len(b))
	for _, p := range packets {
		lengths := [2]uint32{uint32(len(p.octets)), p.wire()}
		if c.exchanged {
			lengths[0], lengths[1] = lengths[1], lengths[0]
		}
		b = c.order.AppendUint32(b, uint32(p.at/1e9))
		b = c.order.AppendUint32(b, uint32(p.at%1e9/c.unit))
		b = c.order.AppendUint32(b, lengths[0])
		b = c.order.AppendUint32(b, lengths[1])
		b = append(b, make([]byte, c.more)...)
		b = append(b, p.octets...)
		ends = append(ends, len(b))
	}
	return b, ends
}

// ngFile writes pcapng block by block.
type ngFile struct {
	order order
	b     []byte
	ends  []int
}

func (n *ngFile) block(kind uint32, body []byte) {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	total := uint32(len(body) + 12)
	n.b = n.order.AppendUint32(n.b, kind)
	n.b = n.order.AppendUint32(n.b, total)
	n.b = append(n.b, body...)
	n.b = n.order.AppendUint32(n.b, total)
	n.ends = append(n.ends, len(n.b))
}

// section begins one, of a byte order of its own and of unknown length.
func (n *ngFile) section(o order, options ...byte) {
	n.order = o
	body := o.AppendUint32(nil, 0x1a2b3c4d)
	body = o.AppendUint16(body, 1)
	body = o.AppendUint16(body, 0)
	body = o.AppendUint64(body, ^uint64(0))
	n.block(0x0a0d0d0a, append(body, options...))
}

func (n *ngFile) option(code uint16, value ...byte) []byte {
	b := n.order.AppendUint16(nil, code)
	b = n.order.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func (n *ngFile) device(link uint16, snaplen uint32, options ...[]byte) {
	body := n.order.AppendUint16(nil, link)
	body = n.order.AppendUint16(body, 0)
	body = n.order.AppendUint32(body, snaplen)
	for _, option := range options {
		body = append(body, option...)
	}
	if len(options) > 0 {
		body = append(body, n.option(0)...)
	}
	n.block(1, body)
}

func (n *ngFile) enhanced(device uint32, stamp uint64, octets []byte, original uint32, options ...byte) {
	n.block(6, append(n.stamped(n.order.AppendUint32(nil, device), stamp, octets, original), options...))
}

func (n *ngFile) obsolete(device uint16, stamp uint64, octets []byte, original uint32) {
	body := n.order.AppendUint16(nil, device)
	body = n.order.AppendUint16(body, 0xffff) // drops unknown
	n.block(2, n.stamped(body, stamp, octets, original))
}

func (n *ngFile) stamped(body []byte, stamp uint64, octets []byte, original uint32) []byte {
	body = n.order.AppendUint32(body, uint32(stamp>>32))
	body = n.order.AppendUint32(body, uint32(stamp))
	body = n.order.AppendUint32(body, uint32(len(octets)))
	body = n.order.AppendUint32(body, original)
	body = append(body, octets...)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	return body
}

func (n *ngFile) simple(octets []byte, original uint32) {
	n.block(3, append(n.order.AppendUint32(nil, original), octets...))
}

// comment is a block that has nothing to do with packets.
func (n *ngFile) comment(octets int) { n.block(0x80000bad, make([]byte, octets)) }

// ngOf is a file of one section and one Ethernet interface of ns.
func ngOf(o order, packets []packet) (file []byte, ends []int) {
	n := &ngFile{}
	n.section(o)
	n.device(1, 0, n.option(2, []byte("eth0")...), n.option(9, 9))
	for i, p := range packets {
		n.enhanced(0, uint64(p.at), p.octets, p.wire(), n.option(2, 0, 0, 0, byte(i))...)
	}
	return n.b, n.ends
}

// everyBlock is a file with every kind of block that is read, in two sections
// of different byte orders.
func everyBlock() (file []byte, ends []int) {
	n := &ngFile{}
	n.section(binary.LittleEndian, 1, 0, 4, 0, 'n', 'o', 't', 'e', 0, 0, 0, 0)
	n.comment(40)
	n.device(1, 96, n.option(9, 9))
	n.device(105, 0)
	n.device(101, 0, n.option(9, 0x80|20), n.option(14, 100, 0, 0, 0, 0, 0, 0, 0))
	n.enhanced(0, 1_000_000_001, ethernet(0x0800, tcpIPv4(1, 9)), 63)
	n.enhanced(1, 5, make([]byte, 33), 33)
	n.simple(ethernet(0x0800, tcpIPv4(2, 5)), 59)
	n.obsolete(2, 3<<20|1<<19, tcpIPv4(3, 3), 43)
	n.comment(0)
	n.section(binary.BigEndian)
	n.device(1, 0)
	n.statistics()
	n.enhanced(0, 7_000_001, ethernet(0x0800, tcpIPv4(4, 0)), 54)
	return n.b, n.ends
}

// statistics writes interface statistics, which nothing is read from.
func (n *ngFile) statistics() {
	n.block(5, make([]byte, 12))
}

// gzipped is each part as a gzip member.
func gzipped(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, part := range parts {
		w := gzip.NewWriter(&b)
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}
