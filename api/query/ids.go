package query

import "math/rand/v2"

// groupID tells groups apart: what each field is, in 16 octets.
type groupID [MaxGroupFields][2]uint64

// ids numbers groups from 0, in a table of open addressing with linear probing: a
// question looks up every connection. Its hash has a secret of its own, for
// addresses are chosen by others.
type ids struct {
	list   []groupID // by number
	places []uint32  // number + 1 by hash, 0 where there is none: a power of two, at most half are taken
	shift  uint      // of a hash, to a place
	secret [len(groupID{})][2]uint64
}

// idBits is the size of a table that is new: for as many servers as most networks
// have.
const idBits = 12

func newIDs() ids {
	s := ids{places: make([]uint32, 1<<idBits), shift: 32 - idBits}
	for n := range s.secret {
		s.secret[n] = [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}
	}
	return s
}

// hash is a multilinear one, mixed once more since neighbours' products are evenly
// spaced.
func (s *ids) hash(id *groupID) uint32 {
	h := id[0][0]*s.secret[0][0] + id[0][1]*s.secret[0][1] + id[1][0]*s.secret[1][0] + id[1][1]*s.secret[1][1]
	return uint32((h ^ h>>32) * 0x9e3779b97f4a7c15 >> 32)
}

// atOnce is how many connections are dealt to groups at a time: what is written in
// between stays in the nearest cache.
const atOnce = 128

// number writes the numbers of groups, new or not, at most atOnce of them.
func (s *ids) number(of []groupID, to []uint32) {
	var hashes [atOnce]uint32
	for k := range of {
		hashes[k%atOnce] = s.hash(&of[k])
	}
	to = to[:len(of)]
	for k := range of {
		n := s.places[hashes[k%atOnce]>>(s.shift&31)]
		if n == 0 || !s.list[n-1].is(&of[k]) {
			n = s.find(&of[k], hashes[k%atOnce])
		}
		to[k] = n - 1
	}
}

// find returns the number of a group, new or not, plus 1.
func (s *ids) find(id *groupID, hash uint32) uint32 {
	at := hash >> s.shift
	for ; s.places[at] != 0; at = (at + 1) & uint32(len(s.places)-1) {
		if s.list[s.places[at]-1].is(id) {
			return s.places[at]
		}
	}
	s.list = append(s.list, *id)
	s.places[at] = uint32(len(s.list))
	if 2*len(s.list) > len(s.places) {
		s.grow()
	}
	return uint32(len(s.list))
}

func (a *groupID) is(b *groupID) bool {
	return a[0][1] == b[0][1] && a[1][1] == b[1][1] && a[0][0] == b[0][0] && a[1][0] == b[1][0]
}

// grow doubles the places.
func (s *ids) grow() {
	s.places = make([]uint32, 2*len(s.places))
	s.shift--
	for n := range s.list {
		at := s.hash(&s.list[n]) >> s.shift
		for s.places[at] != 0 {
			at = (at + 1) & uint32(len(s.places)-1)
		}
		s.places[at] = uint32(n + 1)
	}
}
