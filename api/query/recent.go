package query

import (
	"math/bits"
	"math/rand/v2"
)

// recent keeps the groups of what was met lately, where two numbers of 32 bits tell
// groups apart. It is looked at before ids, which has a larger key and takes it
// apart. A pair of numbers may stand in one of two places, which are side by side.
type recent struct {
	places *[1 << recentBits]recentGroup
	secret [2]uint64 // of the hash: addresses are chosen by others
}

type recentGroup struct {
	numbers uint64
	group   uint32 // plus 1; 0 where there is nothing
}

// recentBits is for some hundred groups, most of which meet no other.
const recentBits = 12

func newRecent() recent {
	return recent{places: new([1 << recentBits]recentGroup), secret: [2]uint64{rand.Uint64(), rand.Uint64() | 1}}
}

// place is the first place of numbers. One product alone crowds what lies at equal
// distances, as the addresses of a network do.
func (r *recent) place(numbers uint64) uint32 {
	high, low := bits.Mul64(numbers^r.secret[0], r.secret[1])
	return uint32((high ^ low) * r.secret[1] >> (64 - recentBits))
}

func (r *recent) find(numbers uint64) (group uint32, found bool) {
	at := r.place(numbers)
	g := &r.places[at]
	if g.numbers != numbers {
		g = &r.places[at^1]
	}
	return g.group - 1, g.numbers == numbers && g.group != 0
}

// keep puts a group where find looks first, and what was there beside it, where it is
// looked for too.
func (r *recent) keep(numbers uint64, group uint32) {
	at := r.place(numbers)
	if r.places[at].group != 0 {
		r.places[at^1] = r.places[at]
	}
	r.places[at] = recentGroup{numbers, group + 1}
}
