package query

import (
	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// durations collects how long the phases of connections took, by group. Of a
// group of few connections it lists all, those of a larger one it counts: what
// a question writes to stays in the nearest caches, and leaves the others to the
// workers.
type durations struct {
	cells  []cell // for each group
	lists  list
	counts counts

	// Of one call of add, what is to be counted: rows, and their groups in counts.
	rows   [history.Rows]uint16
	groups [history.Rows]uint32
}

// cell is the connections of one group.
type cell struct {
	count uint32
	at    uint32 // the last chunk of its list; where there are more than listed, its number in counts
}

// listed is how many connections of a group are listed.
const listed = 512

// spare keeps the memory of one question for the next, which would have to
// fault it in again. Questions beside each other have their own.
var spare = make(chan *durations, 1)

// newDurations has room for so many connections in as many groups; where fewer
// groups take more, it grows.
func newDurations(connections uint64) (*durations, error) {
	d := new(durations)
	select {
	case d = <-spare:
	default:
	}
	d.cells = d.cells[:0]
	d.counts.reset()
	return d, d.lists.reset(connections)
}

// release ends a question.
func (d *durations) release() {
	select {
	case spare <- d:
	default:
		_ = d.lists.free() // unmapping what was mapped does not fail
	}
}

// add takes the phases of rows, which are of the groups, of which there are n.
func (d *durations) add(f *frame, rows []uint16, groups []uint32, n int) error {
	if missing := n - len(d.cells); missing > 0 {
		d.cells = append(d.cells, make([]cell, missing)...)
	}
	counted := 0
	for k, row := range rows {
		c := &d.cells[groups[k]]
		if c.count < listed {
			if err := d.lists.add(c, &f.block.Phases, row); err != nil {
				return err
			}
			continue
		}
		if c.count == listed {
			d.turn(c)
		}
		c.count++
		d.rows[counted], d.groups[counted] = row, c.at
		counted++
	}
	for p := range f.block.Phases {
		d.counts.add(uint32(p), &f.block.Phases[p], d.rows[:counted], d.groups[:counted])
	}
	return nil
}

// turn counts what was listed of a group.
func (d *durations) turn(c *cell) {
	var (
		codes  [history.Rows]history.Code
		rows   [listed]uint16
		groups [listed]uint32
		number = d.counts.group()
	)
	for i := range rows {
		rows[i], groups[i] = uint16(i), number
	}
	for p := range uint32(flowtable.Phases) {
		d.lists.phase(c, p, codes[:])
		d.counts.reserve(number, p, codes[:listed])
		d.counts.add(p, &codes, rows[:], groups[:])
	}
	c.at = number
}

// phases returns the percentiles of the phases of a group.
func (d *durations) phases(group uint32) (of [flowtable.Phases]percentiles) {
	if int(group) >= len(d.cells) {
		return of
	}
	c := &d.cells[group]
	var codes [listed]history.Code
	for p := range uint32(flowtable.Phases) {
		if c.count > listed {
			of[p] = d.counts.percentiles(c.at, p, c.count)
		} else {
			of[p] = percentilesOf(codes[:d.lists.phase(c, p, codes[:])])
		}
	}
	return of
}

// stats returns them for an answer.
func (d *durations) stats(group uint32) api.PhasesStats {
	of := d.phases(group)
	return api.PhasesStats{FINWait1: of[flowtable.FINWait1].stats(), CloseWait: of[flowtable.CloseWait].stats(),
		LastACK: of[flowtable.LastACK].stats(), Teardown: of[flowtable.Teardown].stats()}
}
