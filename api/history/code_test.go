package history

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A code is in the order of its duration, exact below 2^27 - 1 ns, else less
// than 2 parts in 10^8 too short, and never like that of what is not known.
func TestCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []int64{0, 1, 2, 1<<27 - 3, 1<<27 - 2, 1<<27 - 1, 1 << 27, 1<<27 + 1, 1 << 40, math.MaxInt64 - 1, math.MaxInt64}
	for range 10_000 {
		values = append(values, rng.Int64()>>rng.UintN(63))
	}
	slices.Sort(values)
	last := Code(0)
	for _, v := range values {
		c := Encode(v)
		got := c.NS()
		if c < last || c>>25 == Unknown>>25 || got > v || c.Exact() && got != v || c.Exact() != (v < 1<<27-1) || float64(v-got) > float64(v)*2e-8 {
			t.Errorf("%d became %d after %d, which is %d", v, c, last, got)
		}
		last = c
	}
}
