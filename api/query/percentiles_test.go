package query

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/finwait/finwait/api/history"
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
		"unknown":     func() int64 { return -1 },
	}
	for name, draw := range draws {
		for _, n := range []int{1, 2, 3, 99, 100, 101, sortedBelow, sortedBelow + 1, 5000} {
			connections := make([]history.Codes, n)
			var sorted [flowtable.Phases][]history.Code
			for i := range connections {
				for p := range connections[i] {
					connections[i][p] = history.Unknown
					if v := draw(); v >= 0 && rng.IntN(p+1) == 0 { // some are not known
						connections[i][p] = history.Encode(v)
						sorted[p] = append(sorted[p], history.Encode(v))
					}
				}
			}
			got := percentilesOf(n, func(yield func([]history.Codes) bool) {
				for rest := connections; len(rest) > 0; {
					k := min(len(rest), 1+rng.IntN(700))
					if !yield(rest[:k]) {
						return
					}
					rest = rest[k:]
				}
			})
			for p, values := range sorted {
				slices.Sort(values)
				rank := func(percent int) int64 {
					return values[int(math.Ceil(float64(len(values)*percent)/100))-1].NS()
				}
				var want percentiles
				if len(values) > 0 {
					want = percentiles{uint64(len(values)), rank(50), rank(90), rank(99), rank(100)}
				}
				if got[p] != want {
					t.Errorf("%s, phase %d of %d connections: %+v, want %+v", name, p, n, got[p], want)
				}
			}
		}
	}
}

func TestBucketsRise(t *testing.T) {
	last := -1
	for _, c := range []history.Code{0, 1, 63, 64, 65, 127, 128, 129, 130, 255, 256, 1 << 20, 1<<20 + 1<<15, 1 << 31, history.Encode(math.MaxInt64), history.Unknown} {
		if b := bucketOf(c); b < last || b >= buckets {
			t.Errorf("code %d in bucket %d after %d", c, b, last)
		} else {
			last = b
		}
	}
	if bucketOf(history.Encode(math.MaxInt64)) == unknownBucket {
		t.Error("the longest duration is taken for one that is not known")
	}
}

// Groups keep all of their own, however they take turns, and an arena that was
// too small grows.
func TestDurationsKeepValues(t *testing.T) {
	for range 2 { // with fresh memory and with that of the last
		d, err := newDurations(1)
		if err != nil {
			t.Fatal(err)
		}
		const groups, each = 700, 40
		in := frame{block: new(history.Block)}
		rows, of := make([]uint16, groups), make([]uint32, groups)
		for i := range each {
			for g := range groups {
				rows[g], of[g] = uint16(g), uint32(g)
				r := flowtable.Record{Seen: 1<<flowtable.FIN1At | 1<<flowtable.ACK1At}
				r.At[flowtable.ACK1At] = int64(1000*g + i)
				in.block.Set(g, &r, 0)
			}
			if err := d.add(&in, rows, of, groups); err != nil {
				t.Fatal(err)
			}
		}
		for g := range groups {
			of := d.phases(uint32(g))
			if want := (percentiles{each, int64(1000*g + each/2 - 1), int64(1000*g + each*9/10 - 1), int64(1000*g + each - 1), int64(1000*g + each - 1)}); of[flowtable.FINWait1] != want || of[flowtable.CloseWait].count != 0 {
				t.Fatalf("group %d: %+v, want %+v", g, of, want)
			}
		}
		d.release()
	}
}
