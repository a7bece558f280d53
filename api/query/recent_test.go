package query

import (
	"math/rand/v2"
	"testing"
)

// What is found is what was kept last, and nothing else; it may be gone.
func TestRecentAgainstAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	for _, n := range []uint64{1, 300, 1 << recentBits, 1 << 20} {
		r, model := newRecent(), make(map[uint64]uint32)
		found, asked := 0, 0
		for range 200_000 {
			numbers := rng.Uint64N(n) // 0 as well
			if n == 300 {
				numbers = numbers<<32 | numbers // both halves count
			}
			group, is := r.find(numbers)
			if want, known := model[numbers]; is && (!known || group != want) {
				t.Fatalf("of %d: %d is group %d, want %d %v", n, numbers, group, want, known)
			} else if known {
				asked++
				if is {
					found++
				}
			}
			if !is {
				model[numbers] = rng.Uint32N(1 << 31)
				r.keep(numbers, model[numbers])
			}
		}
		if n <= 300 && found < asked*97/100 {
			t.Errorf("of %d groups %d look-ups of %d found", n, found, asked)
		}
	}
}
