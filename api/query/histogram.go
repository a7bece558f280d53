package query

import (
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// A histogram counts codes in buckets, which are as many as fit in a line of the
// cache for each power of two, an octave: the middle of a bucket is at most 1/128
// off what is in it. The last bucket has what is not known, and nothing else.
const (
	octaves       = 1 << (32 - history.CodeMantissa)
	bucketBits    = 6
	buckets       = 1 << bucketBits // of an octave
	bucketShift   = history.CodeMantissa - bucketBits
	unknownBucket = octaves*buckets - 1
)

// middle is the duration that stands for those in a bucket, in ns; in the bucket of
// the very longest it is beyond them.
func middle(bucket uint32) uint64 {
	least, next := uint64(history.Code(bucket<<bucketShift).NS()), uint64(history.Code((bucket+1)<<bucketShift).NS())
	if least == next { // there are more buckets than durations
		return least
	}
	return least + (next-1-least)/2
}

// counts has the histograms of groups, one for each phase, whose octaves stand in a
// row: where a code is counted follows from its group and itself, and nothing has to
// be read to know it. Of the waits of a group only a few octaves are written to. What
// does not fit in the octets of an octave is carried.
type counts struct {
	octaves   []uint8  // buckets by octave by phase by group
	carriedIn []uint32 // for each octave: which of carried; 0 while it is none
	carried   [][buckets]uint32
	ends      [][flowtable.Phases]history.Code // by group: after the greatest that is known
}

// stride is the octaves from one histogram to the next. One of them is not used: with a
// power of two the same octave of all would fall on the same lines of the nearest cache.
const stride = octaves + 1

// reset empties the counts.
func (c *counts) reset() {
	c.octaves, c.carriedIn = c.octaves[:0], c.carriedIn[:0]
	c.carried = append(c.carried[:0], [buckets]uint32{})
	c.ends = c.ends[:0]
}

// group returns the number of a new group.
func (c *counts) group() (number uint32) {
	c.octaves = append(c.octaves, make([]uint8, flowtable.Phases*stride*buckets)...)
	c.carriedIn = append(c.carriedIn, make([]uint32, flowtable.Phases*stride)...)
	c.ends = append(c.ends, [flowtable.Phases]history.Code{})
	return uint32(len(c.ends) - 1)
}

// histogram is the first octave of a phase of a group.
func histogram(group, phase uint32) (octave uint64) {
	return (uint64(group)*flowtable.Phases + uint64(phase)) * stride
}

// add counts a phase of rows, each in its group.
func (c *counts) add(phase uint32, codes *[history.Rows]history.Code, rows []uint16, groups []uint32) {
	all, ends := c.octaves, c.ends
	groups, phase = groups[:len(rows)], phase%flowtable.Phases
	for k, row := range rows {
		code, group := codes[row], groups[k]
		if end := &ends[group][phase]; code+1 > *end { // never of what is not known
			*end = code + 1
		}
		place := histogram(group, phase)*buckets + uint64(code>>bucketShift)
		n := &all[place]
		if *n++; *n == 0 {
			c.carry(place)
		}
	}
}

// carry takes what is in a bucket that is full.
func (c *counts) carry(place uint64) {
	octave := place / buckets
	if c.carriedIn[octave] == 0 {
		c.carriedIn[octave] = uint32(len(c.carried))
		c.carried = append(c.carried, [buckets]uint32{})
	}
	c.carried[c.carriedIn[octave]][place%buckets] += 1 << 8
}

// in is how many codes are in a bucket of an octave.
func (c *counts) in(octave, bucket uint64) uint32 {
	bucket %= buckets
	return c.carried[c.carriedIn[octave]][bucket] + uint32(c.octaves[octave*buckets+bucket])
}

// percentiles are those of a phase of a group of n connections.
func (c *counts) percentiles(group, phase, n uint32) (p percentiles) {
	first := histogram(group, phase)
	n -= c.in(first+octaves-1, unknownBucket)
	if n == 0 {
		return p
	}
	p.count, p.max = uint64(n), (c.ends[group][phase] - 1).NS()
	var (
		wanted = ranks(int(n))
		to     = [...]*int64{&p.p50, &p.p90, &p.p99}
		below  = 0
	)
	for bucket, at := uint64(0), 0; ; bucket++ {
		for below += int(c.in(first+bucket>>bucketBits, bucket)); wanted[at] < below; {
			*to[at] = int64(min(middle(uint32(bucket)), uint64(p.max)))
			if at++; at == len(to) {
				return p
			}
		}
	}
}
