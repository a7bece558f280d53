package query

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/finwait/finwait/flowtable"
)

// Percentiles are those of sorting, whatever the values look like.
func TestPercentilesAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draws := map[string]func() int64{
		"exponential": func() int64 { return int64(rng.ExpFloat64() * 1e6) },
		"any":         func() int64 { return rng.Int64() >> rng.UintN(63) },
		"equal":       func() int64 { return 47 },
		"two":         func() int64 { return int64(rng.UintN(2)) * math.MaxInt64 },
		"close":       func() int64 { return 1<<40 + int64(rng.UintN(100)) },
		"small":       func() int64 { return int64(rng.UintN(300)) },
	}
	for name, draw := range draws {
		for _, n := range []int{1, 2, 3, 99, 100, 101, sortedBelow, sortedBelow + 1, 5000} {
			values := make([]int64, n)
			for i := range values {
				values[i] = draw()
			}
			got := percentilesOf(n, func(yield func([]int64) bool) {
				for rest := values; len(rest) > 0; {
					k := min(len(rest), 1+rng.IntN(700))
					if !yield(rest[:k]) {
						return
					}
					rest = rest[k:]
				}
			})
			sorted := slices.Sorted(slices.Values(values))
			rank := func(percent int) int64 { return sorted[int(math.Ceil(float64(n*percent)/100))-1] }
			if want := (percentiles{uint64(n), rank(50), rank(90), rank(99), sorted[n-1]}); got != want {
				t.Errorf("%s, %d values: %+v, want %+v", name, n, got, want)
			}
		}
	}
}

func TestBucketsRise(t *testing.T) {
	last := -1
	for _, v := range []int64{0, 1, 63, 64, 65, 127, 128, 129, 130, 255, 256, 1 << 20, 1<<20 + 1<<15, 1 << 40, math.MaxInt64} {
		if b := bucketOf(v); b < last || b >= buckets {
			t.Errorf("value %d in bucket %d after %d", v, b, last)
		} else {
			last = b
		}
	}
}

// Cells keep every value of their own, however the groups take turns.
func TestDurationsKeepValues(t *testing.T) {
	records := randomRecords(5, 3000)
	h := historyOf(t, records)
	g, err := NewGrouping([]string{"client_network", "close_kind"}, Networks{30, 127})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := Teardown(t.Context(), h, new(Filter), g, "-count", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var phases [flowtable.Phases]uint64
	for i := range records {
		if records[i].EndReason == flowtable.EndActiveTimeout {
			continue
		}
		for p := range phases {
			if _, known := records[i].Phase(flowtable.Phase(p)); known {
				phases[p]++
			}
		}
	}
	var got [flowtable.Phases]uint64
	for _, group := range answer.Groups {
		got[0] += group.FINWait1.Count
		got[1] += group.CloseWait.Count
		got[2] += group.LastACK.Count
		got[3] += group.Teardown.Count
	}
	if got != phases {
		t.Errorf("phases %v, want %v", got, phases)
	}
}
