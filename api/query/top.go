package query

import (
	"context"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// measure is what groups are compared by in a Top.
type measure struct {
	name string
	unit Unit
	// whole leaves out slices of connections that went on: what is counted
	// once for each connection.
	whole bool
	value func(f *frame, i int) int64
}

var measures = []measure{
	amount("bytes", false), amount("payload", false), amount("packets", false),
	{"connections", InConnections, true, func(*frame, int) int64 { return 1 }},
	ofKind("refused", flowtable.Refused), ofKind("resets", flowtable.Reset), ofKind("unanswered", flowtable.Unanswered),
	ofKind("half_open", flowtable.HalfOpen), ofKind("half_closed", flowtable.HalfClosed),
	amount("retransmits", true),
	amount("fin_wait_1", true), amount("close_wait", true), amount("last_ack", true), amount("teardown", true),
}

// amount adds up a quantity, where it is known.
func amount(name string, whole bool) measure {
	q := findQuantity(name)
	return measure{name, q.unit, whole, func(f *frame, i int) int64 {
		v, known := q.value(f, i)
		if !known {
			return 0
		}
		return v
	}}
}

func ofKind(name string, kind flowtable.CloseKind) measure {
	return measure{name, InConnections, true, func(f *frame, i int) int64 {
		if f.block.CloseKind[i] == kind {
			return 1
		}
		return 0
	}}
}

// Measures lists what a Top can compare.
func Measures() []string {
	list := make([]string, len(measures))
	for i := range measures {
		list[i] = measures[i].name
	}
	return list
}

// Top returns the groups that have most of a measure, at most limit of them.
func Top(ctx context.Context, h history.History, f *Filter, g *Grouping, by string, limit int) (*api.Top, error) {
	var m *measure
	for i := range measures {
		if measures[i].name == by {
			m = &measures[i]
		}
	}
	if m == nil {
		return nil, oneOf(Measures())
	}
	span := h.Span()
	r, err := f.positions(ctx, h, span)
	if err != nil {
		return nil, err
	}
	var (
		s           selection
		groups      [history.Rows]uint32
		values      []int64
		connections []uint64
	)
	_, err = h.Scan(ctx, r, func(run history.Run) bool {
		in := frameOf(&run)
		rows := f.choose(&s, &in, run.From, run.To)
		if m.whole {
			rows = final(&in, rows)
		}
		g.deal(&in, rows, groups[:])
		values = append(values, make([]int64, g.groups()-len(values))...)
		connections = append(connections, make([]uint64, g.groups()-len(connections))...)
		for k, row := range rows {
			values[groups[k]] += m.value(&in, int(row))
			if run.Block.EndReason[row] != flowtable.EndActiveTimeout {
				connections[groups[k]]++
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return newTop(m, g, values, connections, limit, span), nil
}

func newTop(m *measure, g *Grouping, values []int64, connections []uint64, limit int, span history.Span) *api.Top {
	shown := g.first(values, true, limit)
	answer := &api.Top{By: m.name, Unit: string(m.unit), GroupBy: g.names(), GroupsTotal: len(values), Groups: []api.TopGroup{}, History: SpanAnswer(span)}
	for i := range values {
		answer.Total += uint64(values[i])
		answer.Connections += connections[i]
	}
	for _, n := range shown {
		if values[n] == 0 {
			break // and so have all that come after
		}
		group := api.TopGroup{Key: g.key(n), Value: uint64(values[n]), Connections: connections[n]}
		if answer.Total > 0 {
			group.Share = float64(group.Value) / float64(answer.Total)
		}
		answer.Groups = append(answer.Groups, group)
	}
	return answer
}
