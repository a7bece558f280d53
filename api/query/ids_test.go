package query

import (
	"math/rand/v2"
	"testing"
)

// Every group has one number, in the order in which groups came, however many there
// are and wherever they differ.
func TestIDs(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	known := make(map[groupID]uint32)
	s := newIDs()
	for range 2000 {
		of, numbers := make([]groupID, 1+rng.IntN(atOnce)), [atOnce]uint32{}
		for k := range of {
			word := &of[k][rng.IntN(MaxGroupFields)][rng.IntN(2)]
			*word = rng.Uint64N(20_000) << (rng.UintN(4) * 16) // neighbours, in any octets of a word
		}
		s.number(of, numbers[:])
		for k, id := range of {
			want, found := known[id]
			if !found {
				want = uint32(len(known))
				known[id] = want
			}
			if numbers[k] != want || s.list[want] != id {
				t.Fatalf("group %x has number %d, want %d", id, numbers[k], want)
			}
		}
	}
	if len(s.list) != len(known) || len(known) < 1<<(idBits+1) || len(s.places) < 2*len(known) {
		t.Errorf("%d groups, want %d; room for %d", len(s.list), len(known), len(s.places))
	}
}

// Nobody can choose addresses that come to lie beside each other: two questions put
// the same groups in other places.
func TestIDsAreKeyed(t *testing.T) {
	a, b, same := newIDs(), newIDs(), 0
	for i := range uint64(1000) {
		id := groupID{{0, mappedMark | i}}
		if a.hash(&id)>>a.shift == b.hash(&id)>>b.shift {
			same++
		}
	}
	if same > 20 {
		t.Errorf("%d of 1000 groups are in the same places", same)
	}
}
