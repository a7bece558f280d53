package query

import (
	"context"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// Connections returns at most limit of the connections that are followed and
// fit, in an order, and counts all. now is in ns since the epoch.
func Connections(ctx context.Context, live history.Live, names *api.Names, f *Filter, o Order, limit int, now int64) (*api.Connections, error) {
	answer := &api.Connections{Connections: []api.Connection{}, States: []api.StateCount{}}
	var (
		states  [flowtable.States]api.StateCount
		first   = ranking{order: &o, limit: limit}
		records []flowtable.Record // of those in first
		at      = names.At(now)
	)
	err := f.chooseLive(ctx, live, names, at, func(in *frame, rows []uint16, looked int) {
		answer.Followed += uint64(looked)
		answer.Total += uint64(len(rows))
		for _, row := range rows {
			states[in.block.Client.State[row]].Client++
			states[in.block.Server.State[row]].Server++
			r := ranked{id: in.block.Serial[row]}
			r.value, r.known = o.by.value(in, int(row))
			switch slot, taken := first.offer(r); {
			case taken && slot == len(records):
				records = append(records, in.block.Record(int(row)))
			case taken:
				records[slot] = in.block.Record(int(row))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	in := frame{block: new(history.Block), names: names, now: at}
	for _, r := range first.sorted() {
		answer.Connections = append(answer.Connections, newConnection(&records[r.slot], &in))
	}
	for s := range states {
		if states[s].Client|states[s].Server != 0 {
			states[s].State = flowtable.State(s).String()
			answer.States = append(answer.States, states[s])
		}
	}
	return answer, nil
}

// chooseLive calls yield with the connections that fit, a block at a time, and
// with how many it looked at.
func (f *Filter) chooseLive(ctx context.Context, live history.Live, names *api.Names, at int64, yield func(in *frame, rows []uint16, looked int)) error {
	var (
		s     selection
		n     int
		in    = frame{block: new(history.Block), names: names, now: at}
		flush = func() {
			yield(&in, f.choose(&s, &in, 0, n), n)
			n = 0
		}
	)
	err := live.Connections(func(r *flowtable.Record) bool {
		in.block.Set(n, r, 0)
		if n++; n == history.Rows {
			flush()
		}
		return n != 0 || ctx.Err() == nil
	})
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	flush()
	return nil
}

// FindFollowed returns the connection of a flow_id among those that are
// followed; it is false where there is none.
func FindFollowed(ctx context.Context, live history.Live, names *api.Names, flowID string) (row Row, found bool, err error) {
	serial, ok := names.Serial(flowID)
	if !ok {
		return row, false, nil
	}
	err = live.Connections(func(r *flowtable.Record) bool {
		if r.Serial == serial {
			row, found = Row{Record: *r, Names: names}, true
		}
		return !found && ctx.Err() == nil
	})
	if err == nil && !found {
		err = ctx.Err()
	}
	return row, found, err
}

// newConnection is a record of a connection that is followed, at the time of a
// frame, whose row 0 it takes.
func newConnection(r *flowtable.Record, in *frame) api.Connection {
	c := api.Connection{Flow: api.NewFlow(r, in.names), AgeNS: max(in.now-r.StartAt, 0), IdleNS: max(in.now-r.EndAt, 0)}
	in.block.Set(0, r, 0)
	for _, p := range []flowtable.Phase{flowtable.FINWait1, flowtable.CloseWait, flowtable.LastACK} {
		if ns, under := in.soFar(0, p); under {
			c.Phase, c.PhaseNS = p.String(), &ns
			break
		}
	}
	return c
}
