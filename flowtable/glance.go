package flowtable

import (
	"encoding/binary"
	"unsafe"
)

// Glance says what a look is for, so that most connections cost it an octet or a
// line of memory in place of all that is known of them. Its zero value has all
// connections shown.
//
// What a glance rules out or only counts need not be what Look's caller would:
// who asks by more than that looks at what is shown again.
type Glance struct {
	// Sights is what becomes of the connections of each outline. It may be
	// changed while Look goes on, by what it calls.
	Sights [Outlines]Sight
	// Fits, unless it is nil, says by addresses and ports which connections are
	// looked for; others are passed over. The Tuple is valid during the call.
	Fits func(*Tuple) bool
	// Among, unless it is nil, says as much as can be told of 64 connections at
	// once.
	Among func(*Ends) Guess
	// Bounded has those counted in place of shown that did not begin between
	// NotBefore and NotAfter. These may be changed as Sights may.
	Bounded             bool
	NotBefore, NotAfter int64
	// HalfClosed has those counted in place of shown that are half closed and sent
	// their FIN after HalfClosedBy. These may be changed as Sights may.
	HalfClosed   bool
	HalfClosedBy int64
	// NewestFirst has neighbours shown from the last to the first: slots tend to
	// stand in the order in which their connections began.
	NewestFirst bool
	// Done ends the look early.
	Done <-chan struct{}

	// Look adds to these: all connections, and by their outlines those that
	// were counted.
	Looked  uint64
	Counted [Outlines]uint64
}

// Sight is what becomes of a connection that fits.
type Sight uint8

// What becomes of it.
const (
	Show   Sight = iota // it is shown where it lies within the bounds, else counted
	Count               // it is counted
	Pass                // it does not fit
	Insist              // it is shown in any case
)

// Tuple is what tells a connection from others.
type Tuple struct {
	Client, Server         Address
	ClientPort, ServerPort uint16
}

// Address is the halves of the 16 octets of an IPv6 address, or of an IPv4 address
// as ::ffff:a.b.c.d, as numbers.
type Address struct{ High, Low uint64 }

// set reads a key as it stands in a slot, whose client is one of its ends.
func (t *Tuple) set(key *[4]uint64, ports uint32, client int) {
	octets, both := (*[32]byte)(unsafe.Pointer(key)), (*[2]uint16)(unsafe.Pointer(&ports))
	ends := [2]Address{
		{binary.BigEndian.Uint64(octets[:]), binary.BigEndian.Uint64(octets[8:])},
		{binary.BigEndian.Uint64(octets[16:]), binary.BigEndian.Uint64(octets[24:])},
	}
	client &= 1
	t.Client, t.ClientPort = ends[client], both[client]
	t.Server, t.ServerPort = ends[client^1], both[client^1]
}
