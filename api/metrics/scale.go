package metrics

import (
	"math"
	"math/bits"
	"slices"
	"sort"
)

// nativeSchema is the resolution of the native histograms: each power of two is in
// nativeParts, so that a bucket is less than a tenth wide.
const (
	nativeSchema = 3
	nativeParts  = 1 << nativeSchema
)

// Where a duration's cell is looked for: the durations of one octave, a power of two, are
// in hintParts equal parts, and those below two octaves' parts are each by itself.
const (
	hintBits  = 4
	hintParts = 1 << hintBits
	hints     = (64 - hintBits) * hintParts
)

// scale cuts the durations from 0 into cells: none of them lies across a bound of a
// classic bucket or of a native one, so that counts by cell are counts by both.
type scale struct {
	classic []float64     // upper bounds of the classic buckets, in seconds
	cells   []cell        // in order
	most    []int64       // by cell: its longest duration, in ns
	hint    [hints]uint16 // the first cell that may be a duration's
}

// cell is where the durations of a cell belong.
type cell struct {
	native  int // the number of its native bucket
	classic int // which of the classic buckets; behind the last for +Inf
}

func newScale(classic []float64) *scale {
	s := &scale{classic: classic, most: []int64{0, math.MaxInt64}}
	for key := nativeKey(1); key < nativeKey(math.MaxInt64); key++ {
		s.most = append(s.most, longest(func(ns int64) bool { return nativeKey(ns) <= key }))
	}
	for _, bound := range classic {
		s.most = append(s.most, longest(func(ns int64) bool { return seconds(ns) <= bound }))
	}
	slices.Sort(s.most)
	s.most = slices.Compact(s.most)
	for _, ns := range s.most {
		s.cells = append(s.cells, cell{nativeKey(ns), sort.SearchFloat64s(classic, seconds(ns))})
	}
	for ns, at := int64(0), -1; ; ns = s.most[at] + 1 {
		// All hints between the one before and this one are of this cell, too.
		first := 0
		if at++; ns > 0 {
			first = hintOf(ns-1) + 1
		}
		for i := first; i <= hintOf(s.most[at]); i++ {
			s.hint[i] = uint16(at)
		}
		if s.most[at] == math.MaxInt64 {
			return s
		}
	}
}

// longest is the longest duration in ns for which ok, which is so for all shorter ones.
func longest(ok func(ns int64) bool) int64 {
	from, to := int64(0), int64(math.MaxInt64)
	for from < to {
		middle := from + (to-from)/2 + (to-from)%2
		if ok(middle) {
			from = middle
		} else {
			to = middle - 1
		}
	}
	return from
}

// find returns the cell of a duration of ns, at least 0.
func (s *scale) find(ns int64) int {
	at := int(s.hint[hintOf(ns)])
	for s.most[at] < ns {
		at++
	}
	return at
}

// hintOf does not fall as ns grows.
func hintOf(ns int64) int {
	shift := max(bits.Len64(uint64(ns))-hintBits-1, 0)
	return shift*hintParts + int(uint64(ns)>>shift)
}

// nativeLowest are the upper bounds of the buckets of a power of two below 1.
var nativeLowest = func() (bounds [nativeParts]float64) {
	for i := range bounds {
		bounds[i] = math.Exp2(float64(i)/nativeParts - 1)
	}
	return bounds
}()

// nativeKey is the number of a duration's native bucket: those from
// 2^((key-1)/nativeParts) seconds up to 2^(key/nativeParts), which is included.
func nativeKey(ns int64) int {
	fraction, exponent := math.Frexp(seconds(ns))
	return sort.SearchFloat64s(nativeLowest[:], fraction) + (exponent-1)*nativeParts
}
