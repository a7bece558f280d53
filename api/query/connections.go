package query

import (
	"context"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// fewest is how many connections are looked at together at least.
const fewest = 64

// Connections returns at most limit of the connections that are followed and
// fit, in an order, and counts all. now is in ns since the epoch.
func Connections(ctx context.Context, live history.Live, names *api.Names, f *Filter, o Order, limit int, now int64) (*api.Connections, error) {
	answer := &api.Connections{Connections: []api.Connection{}, States: []api.StateCount{}}
	var (
		states [flowtable.States]api.StateCount
		first  = ranking{order: &o, limit: limit}
		places []flowtable.Place // of those in first
	)
	l := newLook(live, names, f, o.by.needs, names.At(now))
	defer l.release()
	if l.whole && (o.by.start != 0 || o.byHalfClosed()) { // the sooner the first are known, the fewer are looked at
		l.batch = min(max(limit, fewest), history.Rows)
		l.glance.NewestFirst = o.Descending == (o.by.start > 0)
	}
	err := l.walk(ctx, func(rows []uint16) error {
		answer.Total += uint64(len(rows))
		for _, row := range rows {
			states[l.frame.block.Client.State[row]].Client++
			states[l.frame.block.Server.State[row]].Server++
			r := ranked{id: l.frame.block.Serial[row]}
			r.value, r.known = o.by.value(&l.frame, int(row))
			switch slot, taken := first.offer(r); {
			case taken && slot == len(places):
				places = append(places, l.places[row])
			case taken:
				places[slot] = l.places[row]
			}
		}
		if last, full := first.last(); full && l.whole {
			o.restrict(&l.glance, last, l.frame.now)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if answer.Connections, err = l.show(first.sorted(), places); err != nil {
		return nil, err
	}
	answer.Followed = l.glance.Looked
	for o, n := range l.glance.Counted {
		if n != 0 {
			client, server := flowtable.Outline(o).States()
			states[client].Client += n
			states[server].Server += n
			answer.Total += n
		}
	}
	for s := range states {
		if states[s].Client|states[s].Server != 0 {
			states[s].State = flowtable.State(s).String()
			answer.States = append(answer.States, states[s])
		}
	}
	return answer, nil
}

// show returns the connections of an order in full; those that are over by now
// are left out.
func (l *look) show(order []ranked, places []flowtable.Place) ([]api.Connection, error) {
	bySlot := make([]*api.Connection, len(places))
	err := l.live.View(places, func(i int, r *flowtable.Record) bool {
		c := newConnection(r, &l.frame)
		bySlot[i] = &c
		return true
	})
	list := make([]api.Connection, 0, len(order))
	for _, r := range order {
		if c := bySlot[r.slot]; c != nil {
			list = append(list, *c)
		}
	}
	return list, err
}

// FindFollowed returns the connection of a flow_id among those that are
// followed; it is false where there is none.
func FindFollowed(live history.Live, names *api.Names, flowID string) (row Row, found bool, err error) {
	serial, ok := names.Serial(flowID)
	if !ok {
		return row, false, nil
	}
	place, found := live.Seek(serial)
	if !found {
		return row, false, nil
	}
	found = false
	err = live.View([]flowtable.Place{place}, func(_ int, r *flowtable.Record) bool {
		row, found = Row{Record: *r, Names: names}, true
		return false
	})
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
