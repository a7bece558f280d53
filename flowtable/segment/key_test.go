package segment

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestKeyOf holds the key against its definition: the lower pair of address and
// port first.
func TestKeyOf(t *testing.T) {
	f := rand.New(rand.NewPCG(1, 2))
	pair := func(address [16]byte, port uint16) []byte {
		return binary.BigEndian.AppendUint16(address[:], port)
	}
	for range 100_000 {
		s := Segment{SrcPort: uint16(f.Uint32N(3)) << f.Uint32N(15), DstPort: uint16(f.Uint32N(3)) << f.Uint32N(15)}
		// Few differences, anywhere.
		s.Src[f.IntN(16)], s.Dst[f.IntN(16)] = byte(f.Uint32N(3)<<f.Uint32N(8)), byte(f.Uint32N(3)<<f.Uint32N(8))
		key, side := KeyOf(&s)
		want, wantSide := Key{Low: s.Src, High: s.Dst, LowPort: s.SrcPort, HighPort: s.DstPort}, uint8(0)
		if bytes.Compare(pair(s.Src, s.SrcPort), pair(s.Dst, s.DstPort)) > 0 {
			want, wantSide = Key{Low: s.Dst, High: s.Src, LowPort: s.DstPort, HighPort: s.SrcPort}, 1
		}
		if key != want || side != wantSide {
			t.Fatalf("%x:%d to %x:%d: %+v, side %d", s.Src, s.SrcPort, s.Dst, s.DstPort, key, side)
		}
	}
}
