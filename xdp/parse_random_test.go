package xdp

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/segment/segmenttest"
)

// TestMutationsAgree changes, grafts and cuts the frames of TestParse and of
// TestEncapsulations at random with a fixed seed, so that rules meet in ways
// nobody wrote down.
func TestMutationsAgree(t *testing.T) {
	r := newRunner(t, 1000, programOptions{describeAll: true})
	var parse, encapsulation [][]byte
	for _, c := range parseCases() {
		parse = append(parse, c.frame)
	}
	for _, c := range segmenttest.Cases() {
		encapsulation = append(encapsulation, c.Frame)
	}
	outcomes, layers := compareMutations(t, r, 20000, parse)
	t.Logf("plain: outcomes %v, layers %v", outcomes, layers)
	outcomes, layers = compareMutations(t, r, 40000, encapsulation)
	t.Logf("encapsulated: outcomes %v, layers %v", outcomes, layers)
	if len(outcomes) != segment.Outcomes || len(layers) != segment.Layers {
		t.Errorf("only outcomes %v and layers %v were met", outcomes, layers)
	}
}

// TestMutatedCapturesAgree does the same to the first frames of each capture.
func TestMutatedCapturesAgree(t *testing.T) {
	const each = 50
	files := captures(t)
	r := newRunner(t, 1000, programOptions{describeAll: true})
	var frames [][]byte
	for _, file := range files {
		first := len(frames)
		eachPacket(t, file, func(packet []byte) {
			if len(frames) < first+each {
				frames = append(frames, packet)
			}
		})
		if len(frames) == first {
			t.Errorf("%s has no frames", filepath.Base(file))
		}
	}
	outcomes, layers := compareMutations(t, r, 20000, frames)
	t.Logf("outcomes %v, layers %v", outcomes, layers)
}

// compareMutations stops at the first frame on which the two disagree.
func compareMutations(t *testing.T, r *runner, n int, frames [][]byte) (map[segment.Outcome]int, map[segment.Layer]int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	outcomes, layers := map[segment.Outcome]int{}, map[segment.Layer]int{}
	for range n {
		f := mutated(random, frames)
		outcomes[compare(t, r, "mutated", f)]++
		var s segment.Segment
		segment.Decode(segment.LinkEthernet, f, &s)
		for _, l := range s.Encapsulation.Layers {
			layers[l]++
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	return outcomes, layers
}

// mutated leaves the MAC addresses, and no frame longer than a driver without
// fragments takes.
func mutated(random *rand.Rand, frames [][]byte) []byte {
	const addresses, header = 12, 14
	pick := func() []byte { return frames[random.IntN(len(frames))] }
	f := append([]byte(nil), pick()...)
	if random.IntN(6) == 0 {
		other := pick()
		f = append(f[:header+random.IntN(len(f)-header+1)], other[random.IntN(len(other)):]...)
	}
	f = f[:min(len(f), 2500)]
	place := func() []byte { return f[addresses+random.IntN(min(len(f)-addresses, 180)):] }
	for range random.IntN(4) {
		place()[0] = octets[random.IntN(len(octets))]
	}
	if at := place(); len(at) >= 2 && random.IntN(3) == 0 {
		binary.BigEndian.PutUint16(at, words[random.IntN(len(words))])
	}
	if random.IntN(3) == 0 {
		place()[0] = byte(random.Uint32())
	}
	if random.IntN(4) == 0 {
		f = f[:header+random.IntN(len(f)-header+1)]
	}
	return f
}

// octets and words of interest: lengths, flags, protocol numbers, types, ports
// and their neighbours.
var (
	octets = []byte{0, 1, 2, 4, 5, 6, 7, 8, 0x0f, 0x10, 0x11, 17, 20, 0x20, 0x21, 0x30, 0x34, 40, 41, 43, 44, 45, 0x46, 47, 50, 51,
		0x57, 59, 60, 0x60, 0x64, 0x7c, 0x80, 0x81, 0x85, 0x86, 0x88, 0x91, 0xa8, 135, 0xdd, 0xf0, 0xff}
	words = []uint16{0x0800, 0x86dd, 0x6558, 0x8100, 0x88a8, 0x9100, 0x8847, 0x8848, 0x8864, 0x88be, 0x22eb, 0x0021, 0x0057,
		2152, 4789, 6081, 0x1000, 0x2000, 0x4000, 0x8000, 0xb000, 0x1100, 0x3fff, 0x34ff, 0, 0xffff}
)
