package server

import (
	"encoding/binary"
	"net/netip"

	"github.com/finwait/finwait/flowtable"
)

// prefix matches 16-octet addresses. Its zero value matches all. An IPv6
// prefix matches no IPv4-mapped address, so that ::/0 is all of IPv6.
type prefix struct {
	high, low         uint64
	highMask, lowMask uint64
	isIPv6            bool
}

// mappedMark is ::ffff:0:0/96 in the low half of an address (RFC 4291 section
// 2.5.5.2), behind 64 zero bits.
const mappedMark = 0xffff << 32

func newPrefix(p netip.Prefix) prefix {
	address, bits := p.Addr(), p.Bits()
	v := prefix{isIPv6: !address.Is4()}
	if address.Is4() {
		bits += 96
	}
	octets := address.As16()
	v.highMask = ^uint64(0) << (64 - min(bits, 64))
	v.lowMask = ^uint64(0) << (64 - max(bits-64, 0))
	v.high = binary.BigEndian.Uint64(octets[:8]) & v.highMask
	v.low = binary.BigEndian.Uint64(octets[8:]) & v.lowMask
	return v
}

func (p *prefix) contains(a *[16]byte) bool {
	high, low := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	if p.isIPv6 && high == 0 && low>>32<<32 == mappedMark {
		return false
	}
	return high&p.highMask == p.high && low&p.lowMask == p.low
}

// filter says which records are asked for; its zero value asks for all. A set
// is a bit per value, 0 for any.
type filter struct {
	client, server prefix
	port           uint16 // of either side
	kinds          uint32
	initiators     uint32
	states         uint32 // of either side
}

func (f *filter) match(r *flowtable.Record) bool {
	if f.port != 0 && r.Server.Port != f.port && r.Client.Port != f.port {
		return false
	}
	if f.kinds != 0 && f.kinds&(1<<r.CloseKind) == 0 {
		return false
	}
	if f.initiators != 0 && f.initiators&(1<<r.Initiator) == 0 {
		return false
	}
	if f.states != 0 && f.states&(1<<r.Client.State|1<<r.Server.State) == 0 {
		return false
	}
	return f.client.contains(&r.Client.Address) && f.server.contains(&r.Server.Address)
}
