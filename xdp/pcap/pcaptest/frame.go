package pcaptest

import (
	"bufio"
	"encoding/binary"
)

const (
	ethernetHeader = 14
	ipv4Header     = 20
	ipv6Header     = 40
	tcpHeader      = 32 // with the time stamps option
	handshakePort  = 443
	clientsBefore  = 20011 // clients, before one opens a second connection
)

// length is that of a step's frame on the wire, in octets.
func (c *connection) length(s step) int {
	ip := ipv4Header
	if c.v6 {
		ip = ipv6Header
	}
	return ethernetHeader + ip + tcpHeader + int(s.payload)
}

// frame is a step's Ethernet frame. The TCP checksum is 0, as where a capture
// is taken above a NIC that computes it.
func (c *connection) frame(s step) []byte {
	b := make([]byte, ethernetHeader, c.length(s))
	b[0], b[6] = 2, 2
	b[5], b[11] = 2, 1
	if s.server {
		b[5], b[11] = 1, 2
	}
	client := binary.BigEndian.AppendUint32(nil, 10<<24|c.number%clientsBefore)
	server := binary.BigEndian.AppendUint32(nil, 198<<24|18<<16|c.number*2654435761>>24)
	source, destination := client, server
	if s.server {
		source, destination = server, client
	}
	carried := tcpHeader + int(s.payload)
	if c.v6 {
		binary.BigEndian.PutUint16(b[12:], 0x86dd)
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(carried))
		b = append(b, 6, 64)
		for _, host := range [][]byte{source, destination} {
			b = append(b, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0)
			b = append(b, host...)
		}
	} else {
		binary.BigEndian.PutUint16(b[12:], 0x0800)
		b = ipv4(b, 6, carried, source, destination)
	}
	b = c.tcp(b, s)
	return b[:cap(b)] // the payload is zeros
}

// ipv4 appends a header with its checksum.
func ipv4(b []byte, protocol byte, carried int, source, destination []byte) []byte {
	start := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(ipv4Header+carried))
	b = append(b, 0, 0, 0x40, 0, 64, protocol, 0, 0)
	b = append(append(b, source...), destination...)
	sum := uint32(0)
	for i := start; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[start+10:], ^uint16(sum))
	return b
}

// tcp appends a header. Ports and initial sequence numbers follow from the
// connection's number, so that no tuple comes twice.
func (c *connection) tcp(b []byte, s step) []byte {
	clientPort, serverPort := uint16(32768+c.number/clientsBefore), uint16(handshakePort)
	clientStart, serverStart := c.number*2246822519, c.number*3266489917
	seq, ack := clientStart+s.seq, serverStart+s.ack
	if s.server {
		clientPort, serverPort = serverPort, clientPort
		seq, ack = serverStart+s.seq, clientStart+s.ack
	}
	if s.flags&0x10 == 0 {
		ack = 0
	}
	b = binary.BigEndian.AppendUint16(b, clientPort)
	b = binary.BigEndian.AppendUint16(b, serverPort)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, tcpHeader/4<<4, s.flags, 0xfa, 0xf0, 0, 0, 0, 0)
	return append(b, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1) // RFC 7323 section 3.2
}

// datagram is a frame of UDP to port 53.
func datagram() []byte {
	b := make([]byte, ethernetHeader, ethernetHeader+ipv4Header+8+32)
	b[0], b[6] = 2, 2
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	b = ipv4(b, 17, 40, []byte{10, 0, 0, 1}, []byte{10, 0, 0, 2})
	b = append(b, 0xc0, 0, 0, 53, 0, 40, 0, 0)
	return b[:cap(b)]
}

// fileWriter writes pcap of ns, or pcapng of ns, little endian. The errors of
// its writer show when that is flushed.
type fileWriter struct {
	to      *bufio.Writer
	snap    int // 0 for all
	ng      bool
	written int64
	head    []byte
}

func (w *fileWriter) write(b []byte) {
	w.written += int64(len(b))
	_, _ = w.to.Write(b)
}

func (w *fileWriter) header() {
	order := binary.LittleEndian
	var b []byte
	if !w.ng {
		b = order.AppendUint32(b, 0xa1b23c4d)
		b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		b = order.AppendUint32(b, 262144)
		w.write(order.AppendUint32(b, 1))
		return
	}
	for _, v := range []uint32{0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28} {
		b = order.AppendUint32(b, v)
	}
	for _, v := range []uint32{1, 32, 1, 0, 1<<16 | 9, 9, 0, 32} { // if_tsresol of ns
		b = order.AppendUint32(b, v)
	}
	w.write(b)
}

// packet writes one frame at a time in ns since the epoch.
func (w *fileWriter) packet(at int64, frame []byte) {
	order, captured := binary.LittleEndian, frame
	if w.snap > 0 && len(captured) > w.snap {
		captured = captured[:w.snap]
	}
	b := w.head[:0]
	if !w.ng {
		for _, v := range []uint32{uint32(at / 1e9), uint32(at % 1e9), uint32(len(captured)), uint32(len(frame))} {
			b = order.AppendUint32(b, v)
		}
		w.head = b
		w.write(b)
		w.write(captured)
		return
	}
	padding := -len(captured) & 3
	total := uint32(32 + len(captured) + padding)
	for _, v := range []uint32{6, total, 0, uint32(at >> 32), uint32(at), uint32(len(captured)), uint32(len(frame))} {
		b = order.AppendUint32(b, v)
	}
	w.head = b
	w.write(b)
	w.write(captured)
	w.write(order.AppendUint32(make([]byte, padding, 8), total))
}
