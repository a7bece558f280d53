package query

import (
	"math/bits"
	"sync"
)

// twice tells which connections a question meets twice: among those that are followed,
// and on record since. Its memory is used again, for with many connections it is
// megabytes a question, and the collector's work would be felt by the workers.
type twice struct {
	followed []uint64 // serials
	serials  []uint64 // of records, by hash, with open addressing and linear probing
	states   []meeting
	shift    uint // of a hash, to a place
}

// meeting is what is known of a place.
type meeting uint8

const (
	nobody meeting = iota
	onRecord
	followedToo
)

var twices = sync.Pool{New: func() any { return new(twice) }}

func newTwice() *twice {
	t := twices.Get().(*twice)
	t.followed = t.followed[:0]
	t.expect(0)
	return t
}

func (t *twice) release() { twices.Put(t) }

// expect begins anew with room for so many records, at most half of the places.
func (t *twice) expect(records uint64) {
	bitsOf := bits.Len64(2*records + 1)
	if n := 1 << bitsOf; cap(t.serials) < n {
		t.serials, t.states = make([]uint64, n), make([]meeting, n)
	} else {
		t.serials, t.states = t.serials[:n], t.states[:n]
		clear(t.states)
	}
	t.shift = uint(64 - bitsOf)
}

// place is where a serial is, or would be. Serials are counted up, and chosen by nobody.
func (t *twice) place(serial uint64) uint64 {
	at := serial * 0x9e3779b97f4a7c15 >> t.shift
	for t.states[at] != nobody && t.serials[at] != serial {
		at = (at + 1) & uint64(len(t.states)-1)
	}
	return at
}

// record takes a record of those that are expected.
func (t *twice) record(serial uint64) {
	at := t.place(serial)
	t.serials[at], t.states[at] = serial, onRecord
}

// compare looks for all that were followed among the records.
func (t *twice) compare() {
	for _, serial := range t.followed {
		if at := t.place(serial); t.states[at] == onRecord {
			t.states[at] = followedToo
		}
	}
}

// met tells whether a connection on record was followed.
func (t *twice) met(serial uint64) bool { return t.states[t.place(serial)] == followedToo }
