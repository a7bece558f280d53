package query

import (
	"math/rand/v2"
	"testing"
)

// What was followed and is on record is met twice, and nothing else, however many there
// were in the question before.
func TestTwice(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 8))
	w := newTwice()
	defer w.release()
	if w.met(0) || w.met(1) {
		t.Error("something is met before anything is known")
	}
	for _, n := range []int{0, 1, 2, 7, 8, 1000, 50, 0} {
		w.followed = w.followed[:0]
		w.expect(uint64(n))
		followed := map[uint64]bool{}
		for range 3 * n {
			serial := rng.Uint64N(uint64(4*n)) << (40 * (n % 2))
			followed[serial] = true
			w.followed = append(w.followed, serial)
		}
		recorded := map[uint64]bool{}
		for range n {
			serial := rng.Uint64N(uint64(4*n)) << (40 * (n % 2))
			recorded[serial] = true
			w.record(serial)
		}
		w.compare()
		for i := range uint64(4*n) + 2 {
			serial := i << (40 * (n % 2))
			if got, want := w.met(serial), followed[serial] && recorded[serial]; got != want {
				t.Fatalf("%d records: %d is met %v, want %v", n, serial, got, want)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { w.expect(1000); w.record(3); w.compare() }); n != 0 {
		t.Errorf("%v allocations once there is memory", n)
	}
}
