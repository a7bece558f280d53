package pcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/finwait/finwait/flowtable/segment"
)

// The pcap format: draft-ietf-opsawg-pcap. The names here are those of its
// figures.
const (
	classicHeader   = 24
	packetHeader    = 16
	packetHeaderMod = 24 // with interface index, protocol and packet type behind it

	classicMajor = 2
	linkTypeMask = 0x03ffffff // above it: the length of the frame check sequence
)

// variant is what the magic number says beside the byte order.
type variant struct {
	magic      uint32
	fractionNS int64 // ns in one unit of a time stamp's fraction
	header     int   // octets before each packet
}

var variants = []variant{
	{magic: 0xa1b2c3d4, fractionNS: 1000, header: packetHeader},
	{magic: 0xa1b23c4d, fractionNS: 1, header: packetHeader},
	// "Modified", of Linux distributions about 1999.
	{magic: 0xa1b2cd34, fractionNS: 1000, header: packetHeaderMod},
}

func classicVariant(first []byte) (variant, byteOrder, bool) {
	for _, v := range variants {
		switch v.magic {
		case binary.LittleEndian.Uint32(first):
			return v, byteOrder{}, true
		case binary.BigEndian.Uint32(first):
			return v, byteOrder{big: true}, true
		}
	}
	return variant{}, byteOrder{}, false
}

// classic reads pcap files. The snapshot length of their header is not held
// against the packets: writers are known that exceed it.
type classic struct {
	variant
	stream *stream
	order  byteOrder
	minor  uint16
	link   segment.LinkType
}

func newClassic(t *stream, v variant, order byteOrder) (*classic, error) {
	if !t.need(classicHeader) {
		return nil, t.cut("file header", 0, classicHeader)
	}
	header := t.front()
	major, minor := order.uint16(header[4:]), order.uint16(header[6:])
	if major != classicMajor {
		return nil, &FormatError{Reason: fmt.Sprintf("it is pcap of version %d.%d, not 2", major, minor)}
	}
	link := order.uint32(header[20:]) & linkTypeMask
	if !supported(link) {
		return nil, &LinkTypeError{Link: link}
	}
	t.advance(classicHeader)
	return &classic{variant: v, stream: t, order: order, minor: minor, link: segment.LinkType(link)}, nil
}

// packet reads the four words of a packet header.
func (o byteOrder) packet(header *[packetHeader]byte) (seconds, fraction, captured, original uint32) {
	if o.big {
		return binary.BigEndian.Uint32(header[0:]), binary.BigEndian.Uint32(header[4:]),
			binary.BigEndian.Uint32(header[8:]), binary.BigEndian.Uint32(header[12:])
	}
	return binary.LittleEndian.Uint32(header[0:]), binary.LittleEndian.Uint32(header[4:]),
		binary.LittleEndian.Uint32(header[8:]), binary.LittleEndian.Uint32(header[12:])
}

func (c *classic) decode(s *Source, segments []segment.Segment) error {
	for t := c.stream; s.filled < len(segments); {
		t.mark = t.begin
		record := t.front()
		if len(record) < c.header {
			if len(record) == 0 && errors.Is(t.err, io.EOF) {
				return io.EOF
			}
			return t.short("packet header", int64(c.header))
		}
		header := (*[packetHeader]byte)(record)
		seconds, fraction, captured, original := c.order.packet(header)
		// They changed places in version 2.3; some of its writers had not heard.
		if c.minor <= 3 && (c.minor < 3 || captured > original) {
			captured, original = original, captured
		}
		if captured > capturedMax {
			return &DamagedError{Offset: t.offset(), Reason: fmt.Sprintf("packet of %d captured octets, more than %d", captured, capturedMax)}
		}
		size := c.header + int(captured)
		if len(record) < size {
			return t.short("packet", int64(size))
		}
		to := &segments[s.filled]
		// Here, so that little need be kept during the call.
		to.At = int64(seconds)*1e9 + int64(fraction)*c.fractionNS
		to.WireLength, to.Interface = original, s.index
		outcome := segment.Decode(c.link, record[c.header:size], to)
		t.advance(size)
		s.counts.Octets += uint64(original)
		if outcome != segment.TCP {
			s.counts.add(outcome, 1)
			continue
		}
		s.filled++
	}
	return nil
}
