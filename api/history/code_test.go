package history

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A code is in the order of its duration, exact below 134 ms, and else less
// than 2 parts in 10^8 too short.
func TestCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []int64{0, 1, 1<<27 - 1, 1 << 27, 1<<27 + 1, 1 << 40, math.MaxInt64}
	for range 10_000 {
		values = append(values, rng.Int64()>>rng.UintN(63))
	}
	slices.Sort(values)
	last := Code(0)
	for _, v := range values {
		c := Encode(v)
		got := c.NS()
		if c < last || c == Unknown || got > v || v < 1<<27 && got != v || float64(v-got) > float64(v)*2e-8 {
			t.Errorf("%d became %d after %d, which is %d", v, c, last, got)
		}
		last = c
	}
}
