package history

import "encoding/binary"

// Addresses are those of one side in three columns: where all are of IPv4 a question
// reads the last 4 octets of each and no more.
type Addresses struct {
	High [Rows]uint64 // the first 64 bits
	Mid  [Rows]uint32
	Last [Rows]uint32 // an IPv4 address, behind a High of 0 and mapped (RFC 4291 section 2.5.5.2)
}

// mapped is Mid of an IPv4 address.
const mapped = 0xffff

// At returns the address of row i.
func (a *Addresses) At(i int) (address [16]byte) {
	high, low := a.Halves(i)
	binary.BigEndian.PutUint64(address[:8], high)
	binary.BigEndian.PutUint64(address[8:], low)
	return address
}

// Halves returns the address of row i, its first 64 bits and its last.
func (a *Addresses) Halves(i int) (high, low uint64) {
	return a.High[i], uint64(a.Mid[i])<<32 | uint64(a.Last[i])
}

// set makes row i an address.
func (a *Addresses) set(i int, address *[16]byte) {
	high, low := binary.BigEndian.Uint64(address[:8]), binary.BigEndian.Uint64(address[8:])
	a.High[i], a.Mid[i], a.Last[i] = high, uint32(low>>32), uint32(low)
}

// areIPv4 tells whether all rows are.
func (a *Addresses) areIPv4() bool {
	var other uint64
	for i, high := range a.High {
		other |= high | uint64(a.Mid[i]^mapped)
	}
	return other == 0
}
