package generator

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// The functions below are those of bpf/generator.c; a test holds the frames
// against them.

// multiplier spreads the numbers of connections over all tuples. It is odd, so
// that modulo 2^31 no two numbers meet.
const multiplier = 0x2545f491

// inverse undoes the multiplication modulo 2^32 by Newton's iteration: each step
// doubles the bits that are right.
var inverse = func() uint32 {
	x := uint32(multiplier)
	for range bits.Len(32) {
		x *= 2 - multiplier*x
	}
	return x
}()

const (
	tupleMask  = 1<<31 - 1
	serverPort = 443
	clientPort = 0x8000 // the lowest
)

// Connection is all that is sent of one connection, to its last segment.
type Connection struct {
	Number         uint32
	Client, Server netip.AddrPort
	ClientISN      uint32
	ServerISN      uint32
	ServerCloses   bool // its FIN is the first
	DataSegments   int
	ClientSegments uint64
	ServerSegments uint64
	ClientPayload  uint64 // octets
	ServerPayload  uint64
	ClientOctets   uint64 // IP header and all behind it
	ServerOctets   uint64
}

// connection is what number n sends if it has that many data segments.
func (c *Config) connection(n uint32, data int) Connection {
	tuple := (n*multiplier + c.Seed) & tupleMask
	own := Connection{
		Number:       n,
		Client:       netip.AddrPortFrom(c.address(tuple>>15&0xffff, false), uint16(clientPort|tuple&0x7fff)),
		Server:       netip.AddrPortFrom(c.address(1+tuple>>7&0x3f, true), serverPort),
		ClientISN:    tuple*0x9e3779b1 + c.Seed,
		ServerISN:    (tuple + 0x5bd1e995) * 0x85ebca6b,
		ServerCloses: c.Closer == ClosedByServer || c.Closer == ClosedInTurn && n&1 == 1,
		DataSegments: data,
	}
	fromClient, fromServer := uint64(data+1)/2, uint64(data)/2
	own.ClientSegments, own.ServerSegments = 4+fromClient, 3+fromServer
	own.ClientPayload, own.ServerPayload = fromClient*uint64(c.Payload()), fromServer*uint64(c.Payload())
	headers := uint64(c.headers() - etherHeader)
	own.ClientOctets = own.ClientSegments*headers + own.ClientPayload
	own.ServerOctets = own.ServerSegments*headers + own.ServerPayload
	return own
}

// address is in the networks set aside for benchmarks: 198.18.0.0/15 (RFC 2544
// appendix C.2.2) and 2001:2::/48 (RFC 5180 section 8).
func (c *Config) address(host uint32, server bool) netip.Addr {
	if c.IPv6 {
		a := [16]byte{0x20, 0x01, 0, 0x02, 7: 1}
		if server {
			a[7] = 2
		}
		binary.BigEndian.PutUint32(a[12:], host)
		return netip.AddrFrom16(a)
	}
	a := [4]byte{198, 18}
	if server {
		a[1] = 19
	}
	binary.BigEndian.PutUint16(a[2:], uint16(host))
	return netip.AddrFrom4(a)
}

// number is that of the connection from a client's address and port; whether
// there is one, its other fields tell.
func (c *Config) number(client [16]byte, port uint16) uint32 {
	host := uint32(binary.BigEndian.Uint16(client[14:]))
	tuple := host<<15 | uint32(port)&0x7fff
	return (tuple - c.Seed) * inverse & tupleMask
}
