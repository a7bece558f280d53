package query

import "math/rand/v2"

// recent keeps the groups of what was met lately, where two numbers of 32 bits tell
// groups apart. It is looked at before ids, which has a larger key and takes it
// apart. A pair of numbers may stand in one of two places, which are side by side.
type recent struct {
	places *[1 << recentBits]recentGroup
	secret uint64 // of the hash, odd: addresses are chosen by others
}

type recentGroup struct {
	numbers uint64
	group   uint32 // plus 1; 0 where there is nothing
}

// recentBits is for some hundred groups, most of which meet no other.
const recentBits = 12

func newRecent() recent {
	return recent{places: new([1 << recentBits]recentGroup), secret: rand.Uint64() | 1}
}

// place is the first place of numbers.
func (r *recent) place(numbers uint64) uint32 {
	return uint32(numbers * r.secret >> (64 - recentBits))
}

func (r *recent) find(numbers uint64) (group uint32, found bool) {
	at := r.place(numbers)
	g := &r.places[at%(1<<recentBits)]
	if g.numbers != numbers {
		g = &r.places[(at^1)%(1<<recentBits)]
	}
	return g.group - 1, g.numbers == numbers && g.group != 0
}

// keep puts a group where find looks first, and what was there beside it, where it is
// looked for too.
func (r *recent) keep(numbers uint64, group uint32) {
	at := r.place(numbers) % (1 << recentBits)
	r.places[at^1] = r.places[at]
	r.places[at] = recentGroup{numbers, group + 1}
}
