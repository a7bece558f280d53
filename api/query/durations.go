package query

import (
	"fmt"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// durations collects how long the phases of connections took, by group. It
// keeps all of them, 16 octets for each connection, and so is bounded by the
// history that feeds it.
//
// The connections of a group are a list of chunks in one arena, each as large
// as all before it up to a bound. The first place of a chunk is its header.
type durations struct {
	arena []history.Codes // memory of flowtable.Reserve
	used  uint32
	cells []cell // for each group
}

// cell is the connections of one group. Places are in the arena; there is
// nothing at 0.
type cell struct {
	first, last uint32 // chunks
	next, end   uint32 // of the last: where the next connection goes, and where it is full
	count       uint32 // in the chunks before the last
}

// Chunks end up at maxChunk places: no power of two, for then the places that
// many groups write to next would fall on the same few lines of the nearest
// cache.
const (
	minChunk = 4
	maxChunk = 1000
)

// The header of a chunk has its size and where the next one is.
const (
	headerSize = iota
	headerNext
)

// spare keeps the memory of one question for the next, which would have to
// fault it in again. Questions beside each other have their own.
var spare = make(chan *durations, 1)

// newDurations has room for so many connections, or a few more.
func newDurations(connections uint64) (*durations, error) {
	d := new(durations)
	select {
	case d = <-spare:
	default:
	}
	d.used, d.cells = 1, d.cells[:0]
	// A group of one connection takes a chunk of four places.
	return d, d.enlarge(minChunk*connections + 1<<10)
}

// enlarge makes the arena have at least so many places.
func (d *durations) enlarge(places uint64) error {
	if uint64(len(d.arena)) >= places {
		return nil
	}
	larger, err := flowtable.Reserve[history.Codes](places)
	if err != nil {
		return fmt.Errorf("the phases of connections: %w", err)
	}
	copy(larger, d.arena[:min(int(d.used), len(d.arena))])
	err = d.free()
	d.arena = larger
	return err
}

// release ends a question.
func (d *durations) release() {
	select {
	case spare <- d:
	default:
		_ = d.free() // unmapping what was mapped does not fail
	}
}

func (d *durations) free() error {
	arena := d.arena
	d.arena = nil
	return flowtable.Release(arena)
}

// add takes the phases of rows, which are of the groups, of which there are n.
func (d *durations) add(f *frame, rows []uint16, groups []uint32, n int) error {
	if missing := n - len(d.cells); missing > 0 {
		d.cells = append(d.cells, make([]cell, missing)...)
	}
	for k, row := range rows {
		c := &d.cells[groups[k]]
		if c.next == c.end {
			if err := d.grow(c); err != nil {
				return err
			}
		}
		d.arena[c.next] = f.block.Phases[row]
		c.next++
	}
	return nil
}

// grow gives a group one more chunk.
func (d *durations) grow(c *cell) error {
	size := uint32(minChunk)
	if c.first != 0 {
		size = min(2*(c.end-c.last), maxChunk)
		c.count += c.end - c.last - 1
		d.arena[c.last][headerNext] = history.Code(d.used)
	} else {
		c.first = d.used
	}
	if int(d.used+size) > len(d.arena) {
		if err := d.enlarge(2 * uint64(d.used+size)); err != nil {
			return err
		}
	}
	c.last, c.next, c.end = d.used, d.used+1, d.used+size
	d.arena[c.last] = history.Codes{headerSize: history.Code(size)}
	d.used += size
	return nil
}

// len is how many connections a group has.
func (c *cell) len() int {
	if c.first == 0 {
		return 0
	}
	return int(c.count + c.next - c.last - 1)
}

// chunks calls yield with the connections of a group, piece by piece.
func (d *durations) chunks(c *cell, yield func([]history.Codes) bool) {
	for at := c.first; at != 0; {
		header := d.arena[at]
		end := at + uint32(header[headerSize])
		if at == c.last {
			end = c.next
		}
		if !yield(d.arena[at+1 : end]) {
			return
		}
		at = uint32(header[headerNext])
	}
}

// phases returns the percentiles of the phases of a group.
func (d *durations) phases(group uint32) [flowtable.Phases]percentiles {
	if int(group) >= len(d.cells) {
		return [flowtable.Phases]percentiles{}
	}
	c := &d.cells[group]
	return percentilesOf(c.len(), func(yield func([]history.Codes) bool) { d.chunks(c, yield) })
}

// stats returns them for an answer.
func (d *durations) stats(group uint32) api.PhasesStats {
	of := d.phases(group)
	return api.PhasesStats{FINWait1: of[flowtable.FINWait1].stats(), CloseWait: of[flowtable.CloseWait].stats(),
		LastACK: of[flowtable.LastACK].stats(), Teardown: of[flowtable.Teardown].stats()}
}
