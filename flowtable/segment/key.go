package segment

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Key is a flow's tuple without direction: the lower of the two (address,
// port) pairs first, addresses compared as octets, then ports as numbers. It
// is also the key of the kernel's flow table, octet by octet.
//
// A gateway sees a connection on each of its interfaces, and follows it on each
// by itself: there, Scope is the number of the interface.
type Key struct {
	Low, High         [16]byte
	LowPort, HighPort uint16
	Scope             uint32 // up to MaxScope; 0 where the tuple alone is the connection's identity
}

// MaxScope bounds Key.Scope.
const MaxScope = 255

// KeySize is the size of a Key in octets, shared with the kernel program.
const KeySize = 40

var (
	_ [KeySize]byte = [unsafe.Sizeof(Key{})]byte{}
	_ [16]byte      = [unsafe.Offsetof(Segment{}.Dst) - unsafe.Offsetof(Segment{}.Src)]byte{}
	_ [2]byte       = [unsafe.Offsetof(Segment{}.DstPort) - unsafe.Offsetof(Segment{}.SrcPort)]byte{}
)

// KeyOf returns the key of a segment's flow, and 0 where the segment's sender
// is the key's Low, 1 where it is its High.
func KeyOf(s *Segment) (key Key, side uint8) {
	var sides [1]uint8
	Keys([]*Segment{s}, unsafe.Slice(&key, 1), sides[:])
	return key, sides[0]
}

// Keys makes keys[i] and sides[i] what KeyOf returns of batch[i]. It has no branch that
// depends on addresses, which no processor could predict, and writes whole words, so
// that whoever reads the keys at once need not wait for the parts of one. Ports stand
// side by side in a little-endian word, as on every machine that the kernel programs
// are compiled for.
func Keys(batch []*Segment, keys []Key, sides []uint8) {
	keys, sides = keys[:len(batch)], sides[:len(batch)]
	for i, s := range batch {
		ends := (*[2][2]uint64)(unsafe.Pointer(&s.Src)) // and Dst
		ports := *(*uint32)(unsafe.Pointer(&s.SrcPort))
		_, higher := bits.Sub64(uint64(ports>>16), uint64(ports&0xffff), 0)
		_, higher = bits.Sub64(bits.ReverseBytes64(ends[1][1]), bits.ReverseBytes64(ends[0][1]), higher)
		_, higher = bits.Sub64(bits.ReverseBytes64(ends[1][0]), bits.ReverseBytes64(ends[0][0]), higher)
		low, high := &ends[higher&1], &ends[higher&1^1]
		words := (*[KeySize / 8]uint64)(unsafe.Pointer(&keys[i]))
		words[0], words[1] = low[0], low[1]
		words[2], words[3] = high[0], high[1]
		scope := uint64(s.Interface) & -uint64(s.Marks/PerInterface&1)
		words[4] = uint64(bits.RotateLeft32(ports, int(16*higher))) | scope<<32
		sides[i] = uint8(higher)
	}
}

// Hasher is a keyed hash of flows. Its secret is random, so that nobody outside
// can choose which flows collide. The zero value is not usable.
type Hasher struct{ secret [6]uint64 }

// NewHasher draws a secret.
func NewHasher() (h Hasher) {
	for i := range h.secret {
		var octets [8]byte
		_, _ = rand.Read(octets[:]) // never fails, says crypto/rand
		h.secret[i] = binary.NativeEndian.Uint64(octets[:])
	}
	return h
}

// Hash is the same for both directions of a flow.
func (h *Hasher) Hash(k *Key) uint64 {
	var hashes [1]uint64
	h.Hashes(unsafe.Slice(k, 1), hashes[:])
	return hashes[0]
}

// Hashes makes hashes[i] the hash of keys[i]. It folds products of words that
// the secret has changed, as the hash of Go's maps does on machines without AES:
// without the secret, no product can be foreseen.
func (h *Hasher) Hashes(keys []Key, hashes []uint64) {
	hashes = hashes[:len(keys)]
	for i := range keys {
		w := (*[KeySize / 8]uint64)(unsafe.Pointer(&keys[i]))
		low := fold(w[0]^h.secret[0], w[1]^h.secret[1])
		high := fold(w[2]^h.secret[2], w[3]^h.secret[3])
		mixed := fold(low^w[4]^h.secret[4], high^h.secret[5])
		// Where all flows share an end, its factor is the same for all: one more
		// multiplication spreads what is left of their order.
		mixed = (mixed ^ mixed>>32) * 0x9e3779b97f4a7c15
		hashes[i] = mixed ^ mixed>>32
	}
}

// fold is the sum modulo 2 of the halves of a product.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
