package query

import (
	"context"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// look is a walk over the connections that are followed, a block at a time.
// What only the kernel knows costs system calls, and is asked for where the
// answer hangs on it.
type look struct {
	filter *Filter
	live   history.Live
	needs  knowledge // of the whole question
	frame  frame
	places [history.Rows]flowtable.Place
	n      int

	selected selection
	viewed   []flowtable.Place
	rows     []uint16 // of viewed
	arrived  [history.Rows]bool
}

// newLook is for a time on the records' clock. needs is what the question takes
// beside the filter.
func newLook(live history.Live, names *api.Names, f *Filter, needs knowledge, at int64) *look {
	return &look{filter: f, live: live, needs: max(needs, f.needs()), frame: frame{block: new(history.Block), names: names, now: at}}
}

// walk calls yield with the connections that fit, and with how many it looked
// at: all, or those with a FIN where others cannot fit.
func (l *look) walk(ctx context.Context, yield func(rows []uint16, looked int) error) error {
	var err error
	flush := func() {
		var rows []uint16
		if rows, err = l.choose(); err == nil {
			err = yield(rows, l.n)
		}
		l.n = 0
	}
	l.live.Look(l.filter.closing, func(p flowtable.Place, r *flowtable.Record) bool {
		l.places[l.n] = p
		l.frame.block.Set(l.n, r, 0)
		if l.n++; l.n == history.Rows {
			flush()
			return err == nil && ctx.Err() == nil
		}
		return true
	})
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		flush()
	}
	return err
}

// choose returns the rows that fit.
func (l *look) choose() ([]uint16, error) {
	rows := l.filter.narrow(&l.frame, l.selected.all(0, l.n), func(k knowledge) bool { return k == opened })
	rows, err := l.complete(rows)
	if err != nil {
		return nil, err
	}
	return l.filter.narrow(&l.frame, rows, func(k knowledge) bool { return k != opened }), nil
}

// complete adds what the kernel knows to rows where it matters, and leaves out
// those that are over by then.
func (l *look) complete(rows []uint16) ([]uint16, error) {
	b := l.frame.block
	l.viewed, l.rows = l.viewed[:0], l.rows[:0]
	for _, row := range rows {
		undecided := l.needs >= closed && b.SawMoment(int(row), flowtable.FIN1At) && !b.Complete[row]
		if l.arrived[row] = true; undecided || l.needs == accounted {
			l.arrived[row] = false
			l.viewed, l.rows = append(l.viewed, l.places[row]), append(l.rows, row)
		}
	}
	err := l.live.View(l.viewed, func(i int, r *flowtable.Record) bool {
		b.Set(int(l.rows[i]), r, 0)
		l.arrived[l.rows[i]] = true
		return true
	})
	return keep(rows, func(row uint16) bool { return l.arrived[row] }), err
}
