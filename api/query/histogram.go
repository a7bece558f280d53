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

// counts has the histograms of groups. The waits of a group spread over few octaves,
// which come with the first code in them. What does not fit in the octets of an
// octave is carried.
type counts struct {
	histograms []histograms
	octaves    []uint8  // buckets of each; there is nothing in number 0
	carriedIn  []uint32 // for each octave: which of carried; 0 while it is none
	carried    [][buckets]uint32

	places [history.Rows]uint32 // in octaves, of one call of add
}

// histograms are of the phases of one group, side by side: they are about as long.
type histograms struct {
	octaves [octaves][flowtable.Phases]uint32 // which of counts; 0 while there is nothing in one
	end     [flowtable.Phases]history.Code    // after the greatest that is known
}

// reset empties the counts.
func (c *counts) reset() {
	c.histograms = c.histograms[:0]
	c.octaves, c.carriedIn = append(c.octaves[:0], make([]uint8, buckets)...), append(c.carriedIn[:0], 0)
	c.carried = append(c.carried[:0], [buckets]uint32{})
}

// group returns the number of a new group.
func (c *counts) group() (number uint32) {
	c.histograms = append(c.histograms, histograms{})
	return uint32(len(c.histograms) - 1)
}

// add counts a phase of rows, each in its group. It first finds all the buckets
// and then counts in them: a processor that does not know yet where it writes to
// cannot go on reading.
func (c *counts) add(phase uint32, codes *[history.Rows]history.Code, rows []uint16, groups []uint32) {
	in, places := c.histograms, c.places[:len(rows)]
	groups, phase = groups[:len(rows)], phase%flowtable.Phases
	for k, row := range rows {
		code := codes[row]
		h := &in[groups[k]]
		octave := h.octaves[code>>history.CodeMantissa][phase]
		if octave == 0 {
			octave = c.octave()
			h.octaves[code>>history.CodeMantissa][phase] = octave
		}
		places[k] = octave*buckets + uint32(code>>bucketShift%buckets)
		if code+1 > h.end[phase] { // never of what is not known
			h.end[phase] = code + 1
		}
	}
	all := c.octaves
	for _, place := range places {
		n := &all[place]
		if *n++; *n == 0 {
			c.carry(place)
		}
	}
}

// octave returns the number of a new one.
func (c *counts) octave() (number uint32) {
	number = uint32(len(c.carriedIn))
	c.octaves, c.carriedIn = append(c.octaves, make([]uint8, buckets)...), append(c.carriedIn, 0)
	return number
}

// carry takes what is in a bucket that is full.
func (c *counts) carry(place uint32) {
	octave := place / buckets
	if c.carriedIn[octave] == 0 {
		c.carriedIn[octave] = uint32(len(c.carried))
		c.carried = append(c.carried, [buckets]uint32{})
	}
	c.carried[c.carriedIn[octave]][place%buckets] += 1 << 8
}

// in is how many codes are in a bucket of an octave.
func (c *counts) in(octave, bucket uint32) uint32 {
	bucket %= buckets
	return c.carried[c.carriedIn[octave]][bucket] + uint32(c.octaves[octave*buckets+bucket])
}

// percentiles are those of a phase of a group of n connections.
func (c *counts) percentiles(group, phase, n uint32) (p percentiles) {
	h := &c.histograms[group]
	n -= c.in(h.octaves[octaves-1][phase], unknownBucket)
	if n == 0 {
		return p
	}
	p.count, p.max = uint64(n), (h.end[phase] - 1).NS()
	var (
		wanted = ranks(int(n))
		to     = [...]*int64{&p.p50, &p.p90, &p.p99}
		below  = 0
	)
	for bucket, at := uint32(0), 0; ; bucket++ {
		octave := h.octaves[bucket>>bucketBits][phase]
		if octave == 0 {
			bucket |= buckets - 1
			continue
		}
		for below += int(c.in(octave, bucket)); wanted[at] < below; {
			*to[at] = int64(min(middle(bucket), uint64(p.max)))
			if at++; at == len(to) {
				return p
			}
		}
	}
}
