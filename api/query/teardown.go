package query

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// byCount is the order of groups by their size.
const byCount = "count"

// GroupOrders lists what groups of a Teardown can be sorted by: their size or
// the p99 of a phase.
func GroupOrders() []string {
	list := []string{byCount}
	for p := range flowtable.Phase(flowtable.Phases) {
		list = append(list, p.String())
	}
	return list
}

// Teardown returns how long connections that fit took to close, by group, at
// most limit of them. order is of GroupOrders, with a minus for descending.
func Teardown(ctx context.Context, h history.History, f *Filter, g *Grouping, order string, limit int) (*api.Teardown, error) {
	name, descending := strings.CutPrefix(order, "-")
	by := slices.Index(GroupOrders(), name)
	if by < 0 {
		return nil, oneOf(GroupOrders())
	}
	var (
		span   = h.Span()
		s      selection
		groups [history.Rows]uint32
		failed error
	)
	r, err := f.positions(ctx, h, span)
	if err != nil {
		return nil, err
	}
	d, err := newDurations(r.End - r.First)
	if err != nil {
		return nil, err
	}
	defer d.release()
	_, err = h.Scan(ctx, r, func(run history.Run) bool {
		in := frameOf(&run)
		rows := final(&in, f.choose(&s, &in, run.From, run.To))
		g.deal(&in, rows, groups[:])
		failed = d.add(&in, rows, groups[:], g.groups())
		return failed == nil
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	values := make([]int64, g.groups())
	for i := range values {
		values[i] = int64(d.cells[i].count)
		if by > 0 {
			p := d.phases(uint32(i))[by-1]
			if values[i] = p.p99; p.count == 0 {
				values[i] = unknown
			}
		}
	}
	shown := g.first(values, descending, limit)
	answer := &api.Teardown{GroupBy: g.names(), GroupsTotal: len(values), Groups: make([]api.TeardownGroup, len(shown)), History: SpanAnswer(span)}
	for i := range d.cells {
		answer.Count += uint64(d.cells[i].count)
	}
	for i, n := range shown {
		answer.Groups[i] = api.TeardownGroup{Key: g.key(n), Count: uint64(d.cells[n].count), PhasesStats: d.stats(n)}
	}
	return answer, nil
}

// unknown is the value of a group that has none.
const unknown = -1

// first returns the first limit groups by their values, those of unknown value
// last, equals by their keys.
func (g *Grouping) first(values []int64, descending bool, limit int) []uint32 {
	shown := make([]uint32, len(values))
	for i := range shown {
		shown[i] = uint32(i)
	}
	slices.SortFunc(shown, func(a, b uint32) int {
		x, y := values[a], values[b]
		if (x == unknown) != (y == unknown) {
			return cmp.Compare(y, x)
		}
		c := cmp.Compare(x, y)
		if descending {
			c = -c
		}
		return cmp.Or(c, g.compare(a, b))
	})
	return shown[:min(limit, len(shown))]
}

// final leaves the records that ended a connection: not slices of one that went
// on.
func final(f *frame, rows []uint16) []uint16 {
	if f.summary != nil && f.summary.EndReasons>>flowtable.EndActiveTimeout&1 == 0 {
		return rows
	}
	return terms(opened, endReason, ^uint32(1<<flowtable.EndActiveTimeout)).narrow(f, rows)
}

func endReason(b *history.Block) *[history.Rows]flowtable.EndReason { return &b.EndReason }

// SpanAnswer is what a history keeps, for an answer.
func SpanAnswer(s history.Span) api.HistorySpan {
	answer := api.HistorySpan{Records: s.End - s.First, FromAt: api.WallTime(s.FromAt), Overwritten: s.First}
	if s.End > 0 {
		answer.NewestAt = new(api.WallTime(s.NewestAt))
	}
	return answer
}
