package query

import (
	"math/bits"
	"slices"
	"sync"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// durations collects how long the phases of connections took, by group. It
// keeps every one, 8 octets each, and so is bounded by the history that feeds
// it.
type durations struct {
	groups []uint32
	values [flowtable.Phases][]int64 // unknown where the phase is
	dealt  []int64                   // of one phase, group by group
}

const unknown = -1

// spare keeps the memory of durations from one question to the next: tens of
// MB, which a new question would have to clear and fault in again.
var spare = sync.Pool{New: func() any { return new(durations) }}

func newDurations() *durations { return spare.Get().(*durations) }

func (d *durations) release() {
	d.groups = d.groups[:0]
	for p := range d.values {
		d.values[p] = d.values[p][:0]
	}
	spare.Put(d)
}

// add takes the phases of rows, which are of the groups.
func (d *durations) add(f *frame, rows []uint16, groups []uint32) {
	d.groups = append(d.groups, groups[:len(rows)]...)
	for p := range d.values {
		values := d.values[p]
		for _, row := range rows {
			ns, ok := f.block.Phase(int(row), flowtable.Phase(p))
			if !ok {
				ns = unknown
			}
			values = append(values, ns)
		}
		d.values[p] = values
	}
}

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

// phase returns the percentiles of one phase of each of n places. place is that
// of each group, below 0 for groups that are left out.
func (d *durations) phase(p flowtable.Phase, place []int32, n int) []percentiles {
	ends := make([]int, n+1) // of each place's values, once they are dealt
	for i, ns := range d.values[p] {
		if at := place[d.groups[i]]; ns != unknown && at >= 0 {
			ends[at+1]++
		}
	}
	for i := range n {
		ends[i+1] += ends[i]
	}
	d.dealt = slices.Grow(d.dealt[:0], ends[n])[:ends[n]]
	next := slices.Clone(ends[:n])
	for i, ns := range d.values[p] {
		if at := place[d.groups[i]]; ns != unknown && at >= 0 {
			d.dealt[next[at]] = ns
			next[at]++
		}
	}
	list := make([]percentiles, n)
	for i := range list {
		list[i] = percentilesOf(d.dealt[ends[i]:ends[i+1]])
	}
	return list
}

// stats returns the percentiles of all phases of each place.
func (d *durations) stats(place []int32, n int) []api.PhasesStats {
	list := make([]api.PhasesStats, n)
	for p := range flowtable.Phase(flowtable.Phases) {
		for i, v := range d.phase(p, place, n) {
			*[...]*api.PhaseStats{&list[i].FINWait1, &list[i].CloseWait, &list[i].LastACK, &list[i].Teardown}[p] = v.stats()
		}
	}
	return list
}

// ranks are the percents of percentiles.
var ranks = [...]int{50, 90, 99}

// percentilesOf may change the order of values, none of which is negative.
func percentilesOf(values []int64) percentiles {
	n := len(values)
	if n == 0 {
		return percentiles{}
	}
	var at [len(ranks)]int
	for i, percent := range ranks {
		at[i] = (n*percent+99)/100 - 1 // the smallest that so many do not exceed
	}
	var found [len(ranks)]int64
	if n <= sortedBelow {
		slices.Sort(values)
		for i := range at {
			found[i] = values[at[i]]
		}
	} else {
		found = nth(values, at)
	}
	return percentiles{count: uint64(n), p50: found[0], p90: found[1], p99: found[2], max: slices.Max(values)}
}

// sortedBelow is how many values are sorted rather than counted by buckets.
const sortedBelow = 512

// Buckets of values: 32 for each power of two, one for each value below 32.
const (
	bucketBits = 5
	buckets    = (64 - bucketBits) << bucketBits
)

func bucketOf(v int64) int {
	exponent := bits.Len64(uint64(v)|1<<bucketBits) - 1 - bucketBits
	return exponent<<bucketBits + int(v>>exponent)
}

// nth returns the values that sorting would put at the places given, in rising
// order. It counts the values by buckets, and sorts what fell into the buckets
// that have the places.
func nth(values []int64, at [len(ranks)]int) (found [len(ranks)]int64) {
	var counts [buckets + 1<<bucketBits]uint32
	for _, v := range values {
		counts[bucketOf(v)]++
	}
	var (
		target [len(ranks)]int // bucket of each place
		before [len(ranks)]int // values in lower buckets
	)
	below, next := 0, 0
	for b := 0; next < len(at); b++ {
		for next < len(at) && at[next] < below+int(counts[b]) {
			target[next], before[next] = b, below
			next++
		}
		below += int(counts[b])
	}
	for i := range at {
		if i > 0 && target[i] == target[i-1] {
			continue
		}
		in := gather(values, target[i], int(counts[target[i]]))
		for k := i; k < len(at) && target[k] == target[i]; k++ {
			found[k] = in[at[k]-before[k]]
		}
	}
	return found
}

// gather returns the n values of a bucket, sorted.
func gather(values []int64, bucket, n int) []int64 {
	in := make([]int64, 0, n)
	for _, v := range values {
		if bucketOf(v) == bucket {
			in = append(in, v)
		}
	}
	slices.Sort(in)
	return in
}
