package query

import (
	"iter"
	"math/bits"
	"slices"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// percentiles are of durations in ns, by the nearest rank; nothing is known
// where count is 0.
type percentiles struct {
	count              uint64
	p50, p90, p99, max int64
}

func (p percentiles) stats() api.PhaseStats {
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

// percentilesOf takes the phases of n connections in pieces.
func percentilesOf(n int, pieces iter.Seq[[]history.Codes]) (of [flowtable.Phases]percentiles) {
	if n > sortedBelow {
		return selected(pieces)
	}
	var all [sortedBelow]history.Code
	for p := range of {
		values := all[:0]
		for piece := range pieces {
			for i := range piece {
				if c := piece[i][p]; c != history.Unknown {
					values = append(values, c)
				}
			}
		}
		slices.Sort(values)
		of[p].count = uint64(len(values))
		if len(values) > 0 {
			at := places(len(values))
			of[p].set(values[at[0]], values[at[1]], values[at[2]], values[at[3]])
		}
	}
	return of
}

func (p *percentiles) set(p50, p90, p99, greatest history.Code) {
	p.p50, p.p90, p.p99, p.max = p50.NS(), p90.NS(), p99.NS(), greatest.NS()
}

// sortedBelow is how many connections are sorted rather than counted by buckets.
const sortedBelow = 512

// Codes below 128 have a bucket each, the others 64 for each power of two.
const (
	bucketBits = 6
	buckets    = (32 - bucketBits + 1) << bucketBits
)

func bucketOf(c history.Code) int {
	exponent := bits.Len32(uint32(c)|1<<bucketBits) - 1 - bucketBits
	return exponent<<bucketBits + int(c>>exponent)
}

// unknownBucket has the phases that are not known.
var unknownBucket = bucketOf(history.Unknown)

// selected finds the values that sorting would put at the ranks' places. It
// counts the values by buckets, and sorts what fell into the buckets that have
// the places: that is exact, and much less than to sort everything.
func selected(pieces iter.Seq[[]history.Codes]) (of [flowtable.Phases]percentiles) {
	var (
		counts [flowtable.Phases][buckets]uint32
		wanted [flowtable.Phases][buckets]uint8 // number of a bucket that has a place, plus 1
		picks  [flowtable.Phases]picks
	)
	for piece := range pieces {
		for i := range piece {
			for p, c := range piece[i] {
				counts[p][bucketOf(c)]++
			}
		}
	}
	for p := range picks {
		picks[p].plan(&counts[p], &wanted[p])
	}
	for piece := range pieces {
		for i := range piece {
			for p, c := range piece[i] {
				if w := wanted[p][bucketOf(c)]; w != 0 {
					picks[p].values[w-1] = append(picks[p].values[w-1], c)
				}
			}
		}
	}
	for p := range picks {
		of[p] = picks[p].percentiles()
	}
	return of
}

// picks are the buckets in which the ranks of one phase are.
type picks struct {
	count  int
	at     [len(ranks)]int
	values [len(ranks)][]history.Code // of the buckets that have a place
	bucket [len(ranks)]int            // of each rank: which of values
	before [len(ranks)]int            // of each rank: values in lower buckets
}

func (k *picks) plan(counts *[buckets]uint32, wanted *[buckets]uint8) {
	for b, n := range counts {
		if b != unknownBucket {
			k.count += int(n)
		}
	}
	if k.count == 0 {
		return
	}
	k.at = places(k.count)
	below, n := 0, 0
	for b, rank := 0, 0; rank < len(ranks); b++ {
		for ; rank < len(ranks) && k.at[rank] < below+int(counts[b]); rank++ {
			if wanted[b] == 0 {
				k.values[n] = make([]history.Code, 0, counts[b])
				n++
				wanted[b] = uint8(n)
			}
			k.bucket[rank], k.before[rank] = n-1, below
		}
		below += int(counts[b])
	}
}

func (k *picks) percentiles() (p percentiles) {
	if k.count == 0 {
		return p
	}
	for i := range k.values {
		slices.Sort(k.values[i])
	}
	var found [len(ranks)]history.Code
	for i := range found {
		found[i] = k.values[k.bucket[i]][k.at[i]-k.before[i]]
	}
	p.count = uint64(k.count)
	p.set(found[0], found[1], found[2], found[3])
	return p
}
