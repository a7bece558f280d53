package query

import (
	"iter"
	"math/bits"
	"slices"

	"github.com/finwait/finwait/api"
)

// percentiles are of values, by the nearest rank; nothing is known where count
// is 0.
type percentiles struct {
	count              uint64
	p50, p90, p99, max int64
}

func (p *percentiles) stats() api.PhaseStats {
	if p.count == 0 {
		return api.PhaseStats{}
	}
	return api.PhaseStats{Count: p.count, P50NS: &p.p50, P90NS: &p.p90, P99NS: &p.p99, MaxNS: &p.max}
}

// ranks are the percents of percentiles; the last is the greatest value.
var ranks = [...]int{50, 90, 99, 100}

// places are where in their order n values have each rank: the smallest of them
// that so many per cent do not exceed.
func places(n int) (at [len(ranks)]int) {
	for i, percent := range ranks {
		at[i] = (n*percent+99)/100 - 1
	}
	return at
}

// percentilesOf takes n values in pieces, none of them negative.
func percentilesOf(n int, pieces iter.Seq[[]int64]) percentiles {
	if n == 0 {
		return percentiles{}
	}
	var found [len(ranks)]int64
	if n <= sortedBelow {
		var all [sortedBelow]int64
		values := all[:0]
		for piece := range pieces {
			values = append(values, piece...)
		}
		slices.Sort(values)
		for i, at := range places(n) {
			found[i] = values[at]
		}
	} else {
		found = nth(pieces, places(n))
	}
	return percentiles{count: uint64(n), p50: found[0], p90: found[1], p99: found[2], max: found[3]}
}

// sortedBelow is how many values are sorted rather than counted by buckets.
const sortedBelow = 512

// Values below 128 have a bucket each, the others 64 for each power of two.
const (
	bucketBits = 6
	buckets    = (64 - bucketBits + 1) << bucketBits
)

func bucketOf(v int64) int {
	exponent := bits.Len64(uint64(v)|1<<bucketBits) - 1 - bucketBits
	return exponent<<bucketBits + int(v>>exponent)
}

// nth returns the values that sorting would put at the places given, in rising
// order. It counts the values by buckets, and sorts what fell into the buckets
// that have the places: exact, and without sorting everything.
func nth(pieces iter.Seq[[]int64], at [len(ranks)]int) (found [len(ranks)]int64) {
	var counts [buckets]uint32
	for piece := range pieces {
		for _, v := range piece {
			counts[bucketOf(v)]++
		}
	}
	var (
		wanted [buckets]uint8      // number of a bucket that has a place, plus 1
		sorted [len(ranks)][]int64 // the values of these buckets
		bucket [len(ranks)]int     // of each place: which of sorted
		before [len(ranks)]int     // of each place: values in lower buckets
		below  = 0
		next   = 0
		n      = 0
	)
	for b := 0; next < len(at); b++ {
		for ; next < len(at) && at[next] < below+int(counts[b]); next++ {
			if wanted[b] == 0 {
				sorted[n] = make([]int64, 0, counts[b])
				n++
				wanted[b] = uint8(n)
			}
			bucket[next], before[next] = n-1, below
		}
		below += int(counts[b])
	}
	for piece := range pieces {
		for _, v := range piece {
			if w := wanted[bucketOf(v)]; w != 0 {
				sorted[w-1] = append(sorted[w-1], v)
			}
		}
	}
	for i := range n {
		slices.Sort(sorted[i])
	}
	for i := range at {
		found[i] = sorted[bucket[i]][at[i]-before[i]]
	}
	return found
}
