package conntrack

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// order is that of netlink's own numbers; ports and addresses are big endian.
var order = binary.NativeEndian

// nfgenmsg is the octets of struct nfgenmsg in front of the attributes.
const nfgenmsg = 4

// entry is what the kernel tells of one tracked connection, as far as it matters:
// how its packets look from its client to its server.
type entry struct {
	inner, outer segment.Tuple
}

// parse reads an entry. It is false where it is not TCP, or cut short.
func (e *entry) parse(message []byte) bool {
	if len(message) < nfgenmsg {
		return false
	}
	var there, back tuple
	for attributes := message[nfgenmsg:]; ; {
		kind, value, rest, ok := attribute(attributes)
		if !ok {
			break
		}
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			there.parse(value)
		case nl.CTA_TUPLE_REPLY:
			back.parse(value)
		}
		attributes = rest
	}
	e.inner = segment.Tuple{Client: there.source, Server: there.destination, ClientPort: there.sourcePort, ServerPort: there.destinationPort}
	e.outer = segment.Tuple{Client: back.destination, Server: back.source, ClientPort: back.destinationPort, ServerPort: back.sourcePort}
	return there.whole() && back.whole()
}

// translated tells whether the box rewrites the connection.
func (e *entry) translated() bool { return e.inner != e.outer }

// tuple is one direction of an entry.
type tuple struct {
	source, destination         [16]byte
	sourcePort, destinationPort uint16
	seen                        uint8 // bits of what was there
}

// Bits of tuple.seen.
const (
	seenTCP = 1 << iota
	seenSource
	seenDestination
	seenSourcePort
	seenDestinationPort

	seenAll = seenTCP | seenSource | seenDestination | seenSourcePort | seenDestinationPort
)

func (t *tuple) whole() bool { return t.seen == seenAll }

// parse reads CTA_TUPLE_IP and CTA_TUPLE_PROTO (linux/netfilter/nfnetlink_conntrack.h).
func (t *tuple) parse(attributes []byte) {
	for {
		kind, value, rest, ok := attribute(attributes)
		if !ok {
			return
		}
		switch kind {
		case nl.CTA_TUPLE_IP:
			t.parseAddresses(value)
		case nl.CTA_TUPLE_PROTO:
			t.parsePorts(value)
		}
		attributes = rest
	}
}

func (t *tuple) parseAddresses(attributes []byte) {
	for {
		kind, value, rest, ok := attribute(attributes)
		if !ok {
			return
		}
		switch {
		case kind == nl.CTA_IP_V4_SRC && len(value) == 4:
			t.source, t.seen = mapped(value), t.seen|seenSource
		case kind == nl.CTA_IP_V4_DST && len(value) == 4:
			t.destination, t.seen = mapped(value), t.seen|seenDestination
		case kind == nl.CTA_IP_V6_SRC && len(value) == 16:
			t.source, t.seen = [16]byte(value), t.seen|seenSource
		case kind == nl.CTA_IP_V6_DST && len(value) == 16:
			t.destination, t.seen = [16]byte(value), t.seen|seenDestination
		}
		attributes = rest
	}
}

func (t *tuple) parsePorts(attributes []byte) {
	for {
		kind, value, rest, ok := attribute(attributes)
		if !ok {
			return
		}
		switch {
		case kind == nl.CTA_PROTO_NUM && len(value) == 1 && value[0] == unix.IPPROTO_TCP:
			t.seen |= seenTCP
		case kind == nl.CTA_PROTO_SRC_PORT && len(value) == 2:
			t.sourcePort, t.seen = binary.BigEndian.Uint16(value), t.seen|seenSourcePort
		case kind == nl.CTA_PROTO_DST_PORT && len(value) == 2:
			t.destinationPort, t.seen = binary.BigEndian.Uint16(value), t.seen|seenDestinationPort
		}
		attributes = rest
	}
}

// mapped is an IPv4 address as an IPv6 one (RFC 4291 section 2.5.5.2).
func mapped(v4 []byte) (a [16]byte) {
	a[10], a[11] = 0xff, 0xff
	copy(a[12:], v4)
	return a
}

// attribute takes the first of some attributes apart (struct nlattr of
// linux/netlink.h).
func attribute(b []byte) (kind uint16, value, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlAttr {
		return 0, nil, nil, false
	}
	length := int(order.Uint16(b))
	if length < unix.SizeofNlAttr || length > len(b) {
		return 0, nil, nil, false
	}
	aligned := min((length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b))
	return order.Uint16(b[2:]) & nl.NLA_TYPE_MASK, b[unix.SizeofNlAttr:length], b[aligned:], true
}
