package query

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// draws are durations of all sorts; those below 0 stand for what is not known.
func draws(rng *rand.Rand) map[string]func() int64 {
	return map[string]func() int64{
		"exponential": func() int64 { return int64(rng.ExpFloat64() * 1e6) },
		"any":         func() int64 { return rng.Int64() >> rng.UintN(63) },
		"equal":       func() int64 { return 47_000 },
		"two":         func() int64 { return int64(rng.UintN(2)) * math.MaxInt64 },
		"close":       func() int64 { return 1<<40 + int64(rng.UintN(100)) },
		"small":       func() int64 { return int64(rng.UintN(300)) },
		"unknown":     func() int64 { return -1 },
	}
}

// phasesOf is a record whose phases take so long.
func phasesOf(waits [flowtable.Phases - 1]int64) (r flowtable.Record) {
	r.CloseKind = flowtable.FourWay
	at, moment := int64(0), flowtable.FIN1At
	for _, ns := range waits {
		if ns < 0 || at > math.MaxInt64-ns {
			return r
		}
		apitest.At(&r, moment, at)
		apitest.At(&r, moment+1, at+ns)
		at, moment = at+ns, moment+1
	}
	return r
}

// Percentiles are those of sorting, exact as far as a code is where a group has
// few connections, and no more than 1/128 off where it has many.
func TestDurationsAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range draws(rng) {
		for _, n := range []int{1, 2, 3, 99, 100, 101, listed, listed + 1, 5000, 70_000} {
			d, err := newDurations(1)
			if err != nil {
				t.Fatal(err)
			}
			var sorted [flowtable.Phases][]int64
			in := frame{block: new(history.Block)}
			for left := n; left > 0; {
				var rows []uint16
				for row := range min(left, 1+rng.IntN(history.Rows)) {
					r := phasesOf([...]int64{draw(), draw(), draw()})
					in.block.Set(row, &r, 0)
					rows = append(rows, uint16(row))
					for p := range sorted {
						if ns, known := r.Phase(flowtable.Phase(p)); known {
							sorted[p] = append(sorted[p], ns)
						}
					}
				}
				if err := d.add(&in, rows, make([]uint32, len(rows)), 1); err != nil {
					t.Fatal(err)
				}
				left -= len(rows)
			}
			for p, got := range d.phases(0) {
				if !got.near(percentilesOfAll(sorted[p]), n > listed) {
					t.Errorf("%s, phase %d of %d connections: %+v, want %+v", name, p, n, got, percentilesOfAll(sorted[p]))
				}
			}
			d.release()
		}
	}
}

// percentilesOfAll are exact.
func percentilesOfAll(values []int64) (p percentiles) {
	slices.Sort(values)
	rank := func(percent int) int64 { return values[(len(values)*percent+99)/100-1] }
	if len(values) > 0 {
		p = percentiles{uint64(len(values)), rank(50), rank(90), rank(99), rank(100)}
	}
	return p
}

// near tells whether p is as near to what is exact as the API says.
func (p percentiles) near(exact percentiles, counted bool) bool {
	off := 0.0
	if counted {
		off = 1.0 / 128
	}
	within := func(got, want int64, off float64) bool {
		return math.Abs(float64(got)-float64(want)) <= float64(want)*off || got == history.Encode(want).NS()
	}
	return p.count == exact.count && within(p.p50, exact.p50, off) && within(p.p90, exact.p90, off) &&
		within(p.p99, exact.p99, off) && within(p.max, exact.max, 0)
}

// The middle of a bucket is at most 1/128 off both of its ends.
func TestMiddles(t *testing.T) {
	for bucket := range uint32((octaves - 1) * buckets) {
		least, most := history.Code(bucket<<bucketShift).NS(), history.Code((bucket+1)<<bucketShift-1).NS()
		m := int64(middle(bucket))
		if m < least || m > most && m > least || float64(m-least) > float64(least)/128 || float64(most-m) > float64(most)/128 {
			t.Errorf("bucket %d from %d to %d has the middle %d", bucket, least, most, m)
		}
	}
}

// Groups keep what is theirs, however they take turns, with fresh memory and with
// that of the last question.
func TestGroupsOfDurations(t *testing.T) {
	for _, each := range []int{40, listed + 300} {
		d, err := newDurations(1)
		if err != nil {
			t.Fatal(err)
		}
		const groups = 700
		in := frame{block: new(history.Block)}
		rows, of := make([]uint16, groups), make([]uint32, groups)
		for i := range each {
			for g := range groups {
				rows[g], of[g] = uint16(g), uint32(g)
				r := phasesOf([...]int64{int64(1000*g + i), -1, -1})
				in.block.Set(g, &r, 0)
			}
			if err := d.add(&in, rows, of, groups); err != nil {
				t.Fatal(err)
			}
		}
		for g := range groups {
			of := d.phases(uint32(g))
			at := func(percent int) int64 { return int64(1000*g + (each*percent+99)/100 - 1) }
			want := percentiles{uint64(each), at(50), at(90), at(99), at(100)}
			if !of[flowtable.FINWait1].near(want, each > listed) || of[flowtable.CloseWait].count != 0 {
				t.Fatalf("group %d of %d: %+v, want %+v", g, each, of, want)
			}
		}
		d.release()
	}
}
