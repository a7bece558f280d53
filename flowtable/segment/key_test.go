package segment

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestKeyOf holds the key against its definition: the lower pair of address and
// port first, and the interface where that is part of the identity.
func TestKeyOf(t *testing.T) {
	f := rand.New(rand.NewPCG(1, 2))
	pair := func(address [16]byte, port uint16) []byte {
		return binary.BigEndian.AppendUint16(address[:], port)
	}
	for range 100_000 {
		s := Segment{SrcPort: uint16(f.Uint32N(3)) << f.Uint32N(15), DstPort: uint16(f.Uint32N(3)) << f.Uint32N(15)}
		// Few differences, anywhere.
		s.Src[f.IntN(16)], s.Dst[f.IntN(16)] = byte(f.Uint32N(3)<<f.Uint32N(8)), byte(f.Uint32N(3)<<f.Uint32N(8))
		s.Interface, s.Marks = f.Uint32N(MaxScope+1), uint8(f.Uint32())
		scope := s.Interface
		if s.Marks&PerInterface == 0 {
			scope = 0
		}
		key, side := KeyOf(&s)
		want, wantSide := Key{Low: s.Src, High: s.Dst, LowPort: s.SrcPort, HighPort: s.DstPort}, uint8(0)
		if bytes.Compare(pair(s.Src, s.SrcPort), pair(s.Dst, s.DstPort)) > 0 {
			want, wantSide = Key{Low: s.Dst, High: s.Src, LowPort: s.DstPort, HighPort: s.SrcPort}, 1
		}
		want.Scope = scope
		if key != want || side != wantSide {
			t.Fatalf("%x:%d to %x:%d: %+v, side %d", s.Src, s.SrcPort, s.Dst, s.DstPort, key, side)
		}
	}
}

// TestHashSpreads: neighbouring addresses and ports fall evenly on every octet of
// the hash, under any secret, and both directions have the same.
func TestHashSpreads(t *testing.T) {
	const n = 1 << 16
	for range 5 {
		h := NewHasher()
		var counts [8][256]int
		seen := make(map[uint64]bool, n)
		for i := range uint32(n) {
			s := Segment{SrcPort: uint16(32768 + i&15), DstPort: 443}
			s.Src[10], s.Src[11], s.Dst[10], s.Dst[11] = 0xff, 0xff, 0xff, 0xff
			binary.BigEndian.PutUint32(s.Src[12:], 10<<24|i>>4)
			binary.BigEndian.PutUint32(s.Dst[12:], 192<<24)
			key, _ := KeyOf(&s)
			hash := h.Hash(&key)
			seen[hash] = true
			for octet := range counts {
				counts[octet][hash>>(8*octet)&0xff]++
			}
			s.Src, s.Dst, s.SrcPort, s.DstPort = s.Dst, s.Src, s.DstPort, s.SrcPort
			if back, _ := KeyOf(&s); h.Hash(&back) != hash {
				t.Fatal("the other direction has another hash")
			}
		}
		if len(seen) != n {
			t.Errorf("%d flows have %d hashes", n, len(seen))
		}
		for octet := range counts {
			chi := 0.0
			for _, c := range counts[octet] {
				d := float64(c) - n/256
				chi += d * d / (n / 256)
			}
			// 255 degrees of freedom: 400 is passed once in 10^8 times.
			if chi > 400 {
				t.Errorf("octet %d: chi-square %.0f", octet, chi)
			}
		}
	}
	if a, b := NewHasher(), NewHasher(); a == b {
		t.Error("two secrets are equal")
	}
}
