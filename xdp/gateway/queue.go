package gateway

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/bpf"
	"github.com/finwait/finwait/xdp/ring"
)

// Queue is the source of the segments of some connections, all of each. Receive belongs
// to one goroutine; the other methods may be called from any.
type Queue struct {
	*ring.Ring
	index int
	lost  func() (uint64, error)
}

// Interface is empty: a queue has the segments of all interfaces.
func (q *Queue) Interface() string { return "" }

// Index is the number of the queue, from 0.
func (q *Queue) Index() int { return q.index }

// Lost is how many segments were to be passed to user space, and were not. Those that
// came to no ring are the first queue's.
func (q *Queue) Lost() (uint64, error) {
	lost, err := q.lost()
	return lost + q.Malformed(), err
}

// Ledger is what was wrong in the ring.
func (q *Queue) Ledger() []xdp.Count {
	return []xdp.Count{{Queue: q.index, Stage: xdp.StageRing, Reason: "malformed", Value: q.Malformed()}}
}

// outlet is what all hooks pass segments by: the queues, by number, and the budget of
// the limit.
type outlet struct {
	queues  []*Queue
	rings   *ebpf.Map
	budgets *ebpf.Map
}

// openOutlet makes so many queues of so many octets each. lost is the first one's.
func openOutlet(queues, octets int, lost func() (uint64, error)) (o *outlet, err error) {
	o = new(outlet)
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
			o = nil
		}
	}()
	spec, err := bpf.LoadGateway()
	if err != nil {
		return o, fmt.Errorf("read the gateway's program: %w", err)
	}
	if o.budgets, err = ebpf.NewMap(spec.Maps[bpf.GatewayMapBudgets]); err != nil {
		return o, xdp.LoadError("the limit of segments", err)
	}
	rings := spec.Maps[bpf.GatewayMapRings]
	rings.MaxEntries, rings.InnerMap.MaxEntries = uint32(queues), uint32(octets)
	if o.rings, err = ebpf.NewMap(rings); err != nil {
		return o, xdp.LoadError("the rings of segments", err)
	}
	for index := range queues {
		q := &Queue{index: index, lost: func() (uint64, error) { return 0, nil }}
		if index == 0 {
			q.lost = lost
		}
		if q.Ring, err = ring.Open(octets); err != nil {
			return o, err
		}
		o.queues = append(o.queues, q)
		if err = o.rings.Put(uint32(index), q.Map()); err != nil {
			return o, fmt.Errorf("enter the ring of queue %d: %w", index, err)
		}
	}
	return o, nil
}

// close gives the rings back. The hooks must be gone.
func (o *outlet) close() error {
	var errs []error
	for _, q := range o.queues {
		errs = append(errs, q.Close())
	}
	return errors.Join(append(errs, o.rings.Close(), o.budgets.Close())...)
}
