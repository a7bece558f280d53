package packet

import (
	"math/rand/v2"
	"testing"
)

// The distance of the clocks is found to half of what a look takes, does not
// move with every look, and follows a step.
func TestClock(t *testing.T) {
	const distance = 1_700_000_000_000_000_000
	random := rand.New(rand.NewPCG(1, 2))
	var c clock
	look := func(distance int64) {
		before := int64(1e12 + random.IntN(1e9))
		took := int64(200 + random.IntN(300))
		if random.IntN(10) == 0 {
			took += 5e6 // preempted
		}
		c.observe(before, before+random.Int64N(took+1)+distance, before+took)
	}
	for range 1000 {
		look(distance)
	}
	for _, d := range []int64{distance, distance + 1e9, distance - 3e6} {
		for range 20 { // a preempted look may hide a small step until the next one
			look(d)
		}
		settled, moved := c.offset, 0
		if wrong := settled - d; wrong > 500 || wrong < -500 {
			t.Errorf("the distance is off by %d ns", wrong)
		}
		for range 1000 {
			before := c.offset
			if look(d); c.offset != before {
				moved++
			}
		}
		if moved > 100 {
			t.Errorf("the distance moved %d times in 1000 looks", moved)
		}
	}
	if got := c.monotonic(c.offset + 42); got != 42 {
		t.Errorf("42 became %d", got)
	}
}
