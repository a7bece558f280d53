package query

import (
	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// durations collects how long the phases of connections took, by group. It
// keeps every one, 8 octets each, and so is bounded by the history that feeds
// it.
//
// Each phase of each group is a cell: a list of chunks in one arena, each as
// large as all before it up to a bound. The first word of a chunk is its size
// and where the next one is.
type durations struct {
	arena []int64
	cells []cell // flowtable.Phases for each group
}

// cell is the values of one phase of one group. Places are in the arena; there
// is nothing at 0.
type cell struct {
	first, last uint32 // chunks
	next, end   uint32 // of the last: where the next value goes, and where it is full
	count       uint32
}

const (
	minChunk = 4
	maxChunk = 1024
)

// spare keeps the memory of one question for the next: tens of MB, which that
// would have to clear and fault in again. Questions beside each other have
// their own.
var spare = make(chan *durations, 1)

// newDurations has room for the phases of so many connections.
func newDurations(connections uint64) *durations {
	var d *durations
	select {
	case d = <-spare:
	default:
		d = new(durations)
	}
	if need := int(connections)*flowtable.Phases + 1<<10; cap(d.arena) < need {
		d.arena = make([]int64, 0, need+need/4)
	}
	d.arena, d.cells = append(d.arena[:0], 0), d.cells[:0]
	return d
}

func (d *durations) release() {
	select {
	case spare <- d:
	default:
	}
}

// add takes the phases of rows, which are of the groups, of which there are n.
func (d *durations) add(f *frame, rows []uint16, groups []uint32, n int) {
	if missing := n*flowtable.Phases - len(d.cells); missing > 0 {
		d.cells = append(d.cells, make([]cell, missing)...)
	}
	b := f.block
	for p := range flowtable.Phase(flowtable.Phases) {
		from, to := p.Moments(flowtable.FourWay)
		_, reset := p.Moments(flowtable.Reset)
		both, starts, ends := uint8(1<<from|1<<to), &b.At[from], &b.At[to]
		for k, row := range rows {
			var ns int64
			switch {
			case reset != to && b.CloseKind[row] == flowtable.Reset:
				known := false
				if ns, known = b.Between(int(row), from, reset); !known {
					continue
				}
			case b.Seen[row]&both != both:
				continue
			default:
				if ns = ends[row] - starts[row]; ns < 0 {
					continue
				}
			}
			c := &d.cells[groups[k]*flowtable.Phases+uint32(p)]
			if c.next == c.end {
				d.grow(c)
			}
			d.arena[c.next] = ns
			c.next++
		}
	}
}

// grow gives a cell one more chunk.
func (d *durations) grow(c *cell) {
	size := uint32(minChunk)
	if c.first != 0 {
		size = min(2*uint32(d.arena[c.last]), maxChunk)
		c.count += c.end - c.last - 1
	}
	at := uint32(len(d.arena))
	if need := len(d.arena) + int(size); need > cap(d.arena) {
		larger := make([]int64, len(d.arena), 2*need+1<<16)
		copy(larger, d.arena)
		d.arena = larger
	}
	d.arena = d.arena[:len(d.arena)+int(size)]
	d.arena[at] = int64(size)
	if c.first == 0 {
		c.first = at
	} else {
		d.arena[c.last] |= int64(at) << 32
	}
	c.last, c.next, c.end = at, at+1, at+size
}

// len is how many values a cell has.
func (c *cell) len() int {
	if c.first == 0 {
		return 0
	}
	return int(c.count + c.next - c.last - 1)
}

// chunks calls yield with the values of a cell, piece by piece.
func (d *durations) chunks(c *cell, yield func([]int64) bool) {
	for at := c.first; at != 0; {
		header := uint64(d.arena[at])
		end := at + uint32(header)
		if at == c.last {
			end = c.next
		}
		if !yield(d.arena[at+1 : end]) {
			return
		}
		at = uint32(header >> 32)
	}
}

// phase returns the percentiles of one phase of a group.
func (d *durations) phase(group uint32, p flowtable.Phase) percentiles {
	at := int(group)*flowtable.Phases + int(p)
	if at >= len(d.cells) {
		return percentiles{}
	}
	c := &d.cells[at]
	return percentilesOf(c.len(), func(yield func([]int64) bool) { d.chunks(c, yield) })
}

// stats returns the percentiles of all phases of a group.
func (d *durations) stats(group uint32) api.PhasesStats {
	stats := func(p flowtable.Phase) api.PhaseStats {
		v := d.phase(group, p)
		return v.stats()
	}
	return api.PhasesStats{FINWait1: stats(flowtable.FINWait1), CloseWait: stats(flowtable.CloseWait),
		LastACK: stats(flowtable.LastACK), Teardown: stats(flowtable.Teardown)}
}
