package api

import (
	"math"
	"testing"
)

func TestDuration(t *testing.T) {
	for ns, want := range map[int64]string{
		0: "0ns", 999: "999ns", 1000: "1.00us", 1009: "1.00us", 1010: "1.01us", 99_999: "99.9us", 100_000: "100us",
		999_999: "999us", 1_000_000: "1.00ms", 12_340_000: "12.3ms", 999_999_999: "999ms", 1_000_000_000: "1.00s",
		59_990_000_000: "59.9s", 3_600_000_000_000: "3600s", math.MaxInt64: "9223372036s",
	} {
		if got := Duration(ns); got != want {
			t.Errorf("duration of %d ns: %q, want %q", ns, got, want)
		}
	}
}
