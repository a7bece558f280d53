package flowtable

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Ends are the ends of the connections of 64 slots side by side, as they are noted
// for questions. They tell much and not all: of an IPv6 address there are 32 bits.
// Sets of connections are masks, bit i for that of slot i; the bits of slots that are
// free say nothing.
type Ends struct {
	clients, servers         *[groupOutlines]uint32
	clientPorts, serverPorts *[groupOutlines]uint16
	clientIPv6, serverIPv6   uint64
	known                    uint64
}

// Guess is what Ends tell of something that connections may be: those that are, and
// those that may be, the former among them.
type Guess struct{ Sure, Possible uint64 }

// And are those that are both.
func (a Guess) And(b Guess) Guess { return Guess{a.Sure & b.Sure, a.Possible & b.Possible} }

// Or are those that are either.
func (a Guess) Or(b Guess) Guess { return Guess{a.Sure | b.Sure, a.Possible | b.Possible} }

// ask asks a question. Of those that are not known, anything is possible.
func (e *Ends) ask(question func(*Ends) Guess) Guess {
	g := question(e)
	return Guess{g.Sure & e.known, g.Possible | ^e.known}
}

// Clients are those whose client is in a network.
func (e *Ends) Clients(n *Network) Guess { return n.among(e.clients, e.clientIPv6) }

// Servers are those whose server is.
func (e *Ends) Servers(n *Network) Guess { return n.among(e.servers, e.serverIPv6) }

// Ports are a set of port numbers, a bit for each from the lowest of the first word on.
type Ports [1 << 16 / 64]uint64

// ClientPorts are those whose client's port is in a set.
func (e *Ends) ClientPorts(p *Ports) Guess { return p.among(e.clientPorts) }

// ServerPorts are those whose server's port is.
func (e *Ends) ServerPorts(p *Ports) Guess { return p.among(e.serverPorts) }

func (p *Ports) among(ports *[groupOutlines]uint16) Guess {
	var found uint64
	for i := groupOutlines - 1; i >= 0; i-- {
		port := ports[i]
		found = found<<1 | p[port>>6]>>(port&63)&1
	}
	return Guess{found, found}
}

// Network is an IPv4 or IPv6 prefix, as it is looked for among Ends.
type Network struct {
	value, mask uint32
	isIPv6, all bool
}

// subnetBits are the last 16 of a /64, all of which most sites number by themselves:
// their own prefix is a /48 (RFC 6177), the same in all their addresses.
const subnetBits = 16

// NewNetwork is for a prefix, which is not IPv4-mapped.
func NewNetwork(p netip.Prefix) Network {
	length := p.Bits()
	n := Network{isIPv6: !p.Addr().Is4(), all: length == 0}
	octets := p.Masked().Addr().As16()
	address := Address{binary.BigEndian.Uint64(octets[:8]), binary.BigEndian.Uint64(octets[8:])}
	switch {
	case !n.isIPv6 || length == 128:
	case length >= 64:
		length = subnetBits
	default:
		length = max(length-(64-subnetBits), 0)
	}
	n.mask = ^uint32(0) << (32 - min(length, 32))
	n.value = address.noted() & n.mask
	return n
}

func (n *Network) among(addresses *[groupOutlines]uint32, ipv6 uint64) Guess {
	var equal uint64
	value, mask := n.value, n.mask
	for i := groupOutlines - 1; i >= 0; i-- {
		equal = equal<<1 | (uint64((addresses[i]^value)&mask)-1)>>63
	}
	switch {
	case !n.isIPv6:
		return Guess{equal &^ ipv6, equal &^ ipv6}
	case n.all:
		return Guess{ipv6, ipv6}
	default:
		return Guess{0, equal & ipv6}
	}
}

// mapped is what stands before an IPv4 address in the low half of an IPv4-mapped one
// (RFC 4291 section 2.5.5.2).
const mapped = 0xffff

func (a Address) isIPv4() bool { return a.High == 0 && a.Low>>32 == mapped }

// noted is an IPv4 address, or of an IPv6 address the subnet and 16 bits of a hash of
// all of it.
func (a Address) noted() uint32 {
	if a.isIPv4() {
		return uint32(a.Low)
	}
	const odd = 0x9e3779b97f4a7c15 // the golden ratio
	hash := (bits.RotateLeft64(a.High*odd, 32) ^ a.Low) * odd
	return uint32(a.High)<<16 | uint32(hash>>48)
}
