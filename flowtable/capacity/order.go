package capacity

import "math/bits"

// order visits the numbers from 0 to n-1 in a pseudo-random order, each once
// in a pass. It permutes the least power of two that has room for n, by
// multiplications with odd numbers and shifts, each of which can be undone,
// and skips what is not below n.
type order struct {
	n, mask uint64
	shift   uint
	at      uint64 // position among mask+1
	pass    uint64 // of the latest number, from 0
}

func newOrder(n uint32) order {
	width := bits.Len32(n - 1)
	return order{n: uint64(n), mask: 1<<width - 1, shift: uint(width+1) / 2}
}

// fill returns how many numbers it put into out, all of one pass: fewer than
// there is room for at the pass's end, at least one. That pass is o.pass
// afterwards.
func (o *order) fill(out []uint32) int {
	i, at, n, mask, shift := 0, o.at, o.n, o.mask, o.shift&63
	for i < len(out) && at <= mask {
		x := permute(at, mask, shift)
		out[i] = uint32(x)
		i += int((x - n) >> 63) // 1 below n; a branch would be mispredicted
		at++
	}
	o.at = at
	if i == 0 { // nothing below n was left
		o.at, o.pass = 0, o.pass+1
		return o.fill(out)
	}
	return i
}

// permute maps the numbers of as many bits as mask has, each to another one.
// The odd factors are those of SplitMix64 (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, 2014).
func permute(x, mask uint64, shift uint) uint64 {
	x = (x*0x9e3779b97f4a7c15 + 0x1234567) & mask
	x ^= x >> (shift & 63)
	x = x * 0xbf58476d1ce4e5b9 & mask
	x ^= x >> (shift & 63)
	x = x * 0x94d049bb133111eb & mask
	return x ^ x>>(shift&63)
}
