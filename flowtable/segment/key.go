package segment

import (
	"encoding/binary"
	"hash/maphash"
	"unsafe"
)

// Key is a flow's tuple without direction: the lower of the two (address,
// port) pairs first, addresses compared as octets, then ports as numbers. It
// is also the key of the kernel's flow table, octet by octet.
type Key struct {
	Low, High         [16]byte
	LowPort, HighPort uint16
	_                 uint32
}

// KeySize is the size of a Key in octets, shared with the kernel program.
const KeySize = 40

var _ [KeySize]byte = [unsafe.Sizeof(Key{})]byte{}

// KeyOf returns the key of a segment's flow, and 0 where the segment's sender
// is the key's Low, 1 where it is its High.
func KeyOf(s *Segment) (key Key, side uint8) {
	if lower(&s.Src, s.SrcPort, &s.Dst, s.DstPort) {
		return Key{Low: s.Src, High: s.Dst, LowPort: s.SrcPort, HighPort: s.DstPort}, 0
	}
	return Key{Low: s.Dst, High: s.Src, LowPort: s.DstPort, HighPort: s.SrcPort}, 1
}

func lower(a *[16]byte, aPort uint16, b *[16]byte, bPort uint16) bool {
	for i := 0; i < 16; i += 8 {
		x, y := binary.BigEndian.Uint64(a[i:]), binary.BigEndian.Uint64(b[i:])
		if x != y {
			return x < y
		}
	}
	return aPort <= bPort
}

// Hasher is a keyed hash of flows. Its secret is random per process, so that
// nobody outside can choose which flows collide. The zero value is not usable.
type Hasher struct{ seed maphash.Seed }

// NewHasher draws a secret.
func NewHasher() Hasher { return Hasher{maphash.MakeSeed()} }

// Hash is the same for both directions of a flow.
func (h Hasher) Hash(k *Key) uint64 {
	return maphash.Bytes(h.seed, unsafe.Slice((*byte)(unsafe.Pointer(k)), KeySize))
}
