package query

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// prefix matches 16-octet addresses. Its zero value matches all. An IPv6
// prefix matches no IPv4-mapped address, so that ::/0 is all of IPv6.
type prefix struct {
	high, low         uint64
	highMask, lowMask uint64
	isIPv6            bool
}

// ofIPv4 is the same of addresses that are all of IPv4, by their last word; it is
// false where none of them can match.
func (p *prefix) ofIPv4() (value, mask uint32, some bool) {
	return uint32(p.low), uint32(p.lowMask), !p.isIPv6
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

func (p *prefix) contains(high, low uint64) bool {
	if p.isIPv6 && high == 0 && low>>32<<32 == mappedMark {
		return false
	}
	return high&p.highMask == p.high && low&p.lowMask == p.low
}

// prefixes matches an address that any of them contains.
type prefixes []prefix

func (p prefixes) contain(addresses *history.Addresses, row uint16) bool {
	high, low := addresses.Halves(int(row))
	return p.have(flowtable.Address{High: high, Low: low})
}

func (p prefixes) have(a flowtable.Address) bool {
	for i := range p {
		if p[i].contains(a.High, a.Low) {
			return true
		}
	}
	return false
}

// keep leaves the rows of which any of them contains the address of a side.
func (p prefixes) keep(f *frame, of sides, rows []uint16) []uint16 {
	addresses, allIPv4 := f.addresses(of)
	if allIPv4 && len(p) == 1 {
		return p[0].keepIPv4(&addresses.Last, rows)
	}
	n := 0
	for _, row := range rows {
		rows[n] = row
		if p.contain(addresses, row) {
			n++
		}
	}
	return rows[:n]
}

// keepIPv4 leaves the rows whose address it contains.
func (p *prefix) keepIPv4(addresses *[history.Rows]uint32, rows []uint16) []uint16 {
	value, mask, some := p.ofIPv4()
	if !some {
		return rows[:0]
	}
	n := 0
	for _, row := range rows {
		rows[n] = row
		if addresses[row]&mask == value {
			n++
		}
	}
	return rows[:n]
}

// addresses are those of a side, and whether all are known to be of IPv4.
func (f *frame) addresses(of sides) (a *history.Addresses, allIPv4 bool) {
	if of == clientSide {
		return &f.block.Client.Address, f.summary != nil && f.summary.ClientIPv4
	}
	return &f.block.Server.Address, f.summary != nil && f.summary.ServerIPv4
}

var errAddress = errors.New(`not an IP address or CIDR prefix such as "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32"`)

// parsePrefix reads an IPv4 or IPv6 address, alone or with a prefix length.
func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, errAddress
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errAddress
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}
