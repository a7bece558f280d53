package query

import (
	"context"
	"sync"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// look is a walk over the connections that are followed, a block at a time of
// those that a glance does not rule out. What only the kernel knows costs system
// calls, and is asked for where the answer hangs on it.
type look struct {
	filter *Filter
	live   history.Live
	needs  knowledge // of the whole question
	frame  frame
	places [history.Rows]flowtable.Place
	n      int
	batch  int // how many are yielded at once, most of the time

	glance flowtable.Glance
	whole  bool // what the glance counts fits

	selected selection
	viewed   []flowtable.Place
	rows     []uint16 // of viewed
	arrived  [history.Rows]bool
}

// looks are kept: each has a block of several hundred KB.
var looks = sync.Pool{New: func() any { return &look{frame: frame{block: new(history.Block)}} }}

// near is how many rows of a block stay in the nearest cache, all columns of them,
// while they are set and looked at.
const near = 64

// newLook is for a time on the records' clock; release gives it back. needs is
// what the question takes beside the filter; how far connections have closed is
// always known.
func newLook(live history.Live, names *api.Names, f *Filter, needs knowledge, at int64) *look {
	l := looks.Get().(*look)
	l.filter, l.live, l.needs = f, live, max(needs, closed, f.needs())
	l.frame.names, l.frame.now, l.n, l.batch = names, at, 0, history.Rows
	if l.needs < accounted {
		l.batch = near
	}
	l.glance, l.whole = f.glance()
	return l
}

func (l *look) release() {
	l.filter, l.live, l.frame.names, l.glance = nil, nil, nil, flowtable.Glance{}
	looks.Put(l)
}

// walk calls yield with the connections that fit and that the glance does not
// count.
func (l *look) walk(ctx context.Context, yield func(rows []uint16) error) error {
	var err error
	flush := func() {
		var rows []uint16
		if rows, err = l.choose(); err == nil {
			err = yield(rows)
		}
		l.n = 0
	}
	l.glance.Done = ctx.Done()
	l.live.Look(&l.glance, func(p flowtable.Place, r *flowtable.Record) bool {
		l.places[l.n] = p
		l.frame.block.Set(l.n, r, 0)
		if l.n++; l.n == l.batch {
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
		undecided := flowtable.OutlineOf(b.Client.State[row], b.Server.State[row], false).Undecided()
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
