package query

import (
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// A histogram counts codes in buckets, which are as many as fit in a line of the
// cache for each power of two, an octave: the middle of a bucket is at most 1/128
// off what is in it.
const (
	octaves     = 1 << (32 - history.CodeMantissa)
	bucketBits  = 6
	buckets     = 1 << bucketBits // of an octave
	bucketShift = history.CodeMantissa - bucketBits
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
// and its histogram is of these, one line after the other; one more line counts what
// is not known. What does not fit in the octets of a bucket is carried.
type counts struct {
	groups    [][flowtable.Phases]spread
	lines     []uint8  // buckets of each octave, one after the other
	carriedIn []uint32 // for each line: which of carried; 0 while it is none
	carried   [][buckets]uint32

	places [history.Rows]uint32 // in lines, of one call of add
}

// spread is where a phase of a group is counted. Those of one group take a line of the
// cache, so that of some hundred groups they stay in the nearest.
type spread struct {
	least   history.Code // the first of its octaves; Unknown where it has none
	end     history.Code // after the greatest that is known; 0 where none is
	origin  uint32       // place in lines of bucket 0, if it had one: what is below its first line wraps around
	unknown uint32       // place of what is not known, behind its octaves
}

// octaves are those from first up to end.
func (s *spread) octaves() (first, end uint32) {
	first = uint32(s.least >> history.CodeMantissa)
	if s.least == history.Unknown {
		return first, first
	}
	return first, (s.unknown - s.origin) / buckets
}

// reset empties the counts.
func (c *counts) reset() {
	c.groups, c.lines, c.carriedIn = c.groups[:0], c.lines[:0], c.carriedIn[:0]
	c.carried = append(c.carried[:0], [buckets]uint32{})
}

// group returns the number of a new group.
func (c *counts) group() (number uint32) {
	var of [flowtable.Phases]spread
	for p := range of {
		of[p] = spread{least: history.Unknown, unknown: c.line(1)}
	}
	c.groups = append(c.groups, of)
	return uint32(len(c.groups) - 1)
}

// line returns the place of n new lines.
func (c *counts) line(n uint32) (place uint32) {
	place = uint32(len(c.lines))
	c.lines, c.carriedIn = append(c.lines, make([]uint8, n*buckets)...), append(c.carriedIn, make([]uint32, n)...)
	return place
}

// widen gives a spread the octaves of codes from least to greatest.
func (c *counts) widen(s *spread, least, greatest history.Code) {
	first, end := s.octaves()
	known := s.least != history.Unknown
	low, high := uint32(least>>history.CodeMantissa), uint32(greatest>>history.CodeMantissa)+1
	if known {
		low, high = min(low, first), max(high, end)
	}
	s.end = max(s.end, greatest+1)
	if known && low == first && high == end {
		return
	}
	was := *s
	place := c.line(high - low + 1)
	s.least, s.origin, s.unknown = history.Code(low<<history.CodeMantissa), place-low*buckets, place+(high-low)*buckets
	if known {
		c.move(was.origin+first*buckets, s.origin+first*buckets, end-first)
	}
	c.move(was.unknown, s.unknown, 1)
}

// reserve gives a phase of a group the octaves of codes at once.
func (c *counts) reserve(group, phase uint32, codes []history.Code) {
	bounds := history.Bounds{Least: history.Unknown}
	for _, code := range codes {
		bounds.Add(code)
	}
	if bounds.End > 0 {
		c.widen(&c.groups[group][phase], bounds.Least, bounds.End-1)
	}
}

// move takes what n lines have counted to others, which are new.
func (c *counts) move(from, to, n uint32) {
	copy(c.lines[to:], c.lines[from:][:n*buckets])
	copy(c.carriedIn[to/buckets:], c.carriedIn[from/buckets:][:n])
}

// add counts a phase of rows, each in its group. It first finds all the buckets
// and then counts in them: a processor that does not know yet where it writes to
// cannot go on reading.
func (c *counts) add(phase uint32, codes *[history.Rows]history.Code, rows []uint16, groups []uint32) {
	of, places := c.groups, c.places[:len(rows)]
	groups, phase = groups[:len(rows)], phase%flowtable.Phases
	counted := 0
	for k, row := range rows {
		code := codes[row]
		s := &of[groups[k]][phase]
		if code+1 > s.end || code < s.least { // never of what is not known
			c.count(places[counted:k]) // which may stand elsewhere afterwards
			counted = k
			c.widen(s, code, code)
		}
		place := s.origin + uint32(code>>bucketShift)
		if code == history.Unknown {
			place = s.unknown
		}
		places[k] = place
	}
	c.count(places[counted:])
}

// count adds one to each of places.
func (c *counts) count(places []uint32) {
	all := c.lines
	for _, place := range places {
		n := &all[place]
		if *n++; *n == 0 {
			c.carry(place)
		}
	}
}

// carry takes what is in a bucket that is full.
func (c *counts) carry(place uint32) {
	line := place / buckets
	if c.carriedIn[line] == 0 {
		c.carriedIn[line] = uint32(len(c.carried))
		c.carried = append(c.carried, [buckets]uint32{})
	}
	c.carried[c.carriedIn[line]][place%buckets] += 1 << 8
}

// in is how many codes are in a bucket.
func (c *counts) in(place uint32) uint32 {
	return c.carried[c.carriedIn[place/buckets]][place%buckets] + uint32(c.lines[place])
}

// percentiles are those of a phase of a group of n connections.
func (c *counts) percentiles(group, phase, n uint32) (p percentiles) {
	s := &c.groups[group][phase%flowtable.Phases]
	n -= c.in(s.unknown)
	if n == 0 {
		return p
	}
	p.count, p.max = uint64(n), (s.end - 1).NS()
	var (
		wanted     = ranks(int(n))
		to         = [...]*int64{&p.p50, &p.p90, &p.p99}
		below      = 0
		first, end = s.octaves()
	)
	for bucket, at := first*buckets, 0; bucket < end*buckets; bucket++ {
		for below += int(c.in(s.origin + bucket)); wanted[at] < below; {
			*to[at] = int64(min(middle(bucket), uint64(p.max)))
			if at++; at == len(to) {
				return p
			}
		}
	}
	return p
}
