package gateway

import (
	"errors"

	"github.com/finwait/finwait/xdp"
)

// hookEnds are the places in xdp.EndNames of what a hook can do; what a tap does with
// segments that are passed stands between.
var hookEnds = [...]int{0, 1, 2, 3, 4, 5, 6, 9, 10}

// Ledger says what became of every packet at the interfaces, and what was wrong in the
// rings. What cannot be read is left out.
func (g *Gateway) Ledger() []xdp.Count {
	var counts []xdp.Count
	for _, p := range g.ports {
		for _, h := range p.hooks {
			counts = append(counts, h.counts(p.name)...)
		}
	}
	for _, q := range g.outlet.queues {
		counts = append(counts, q.Ledger()...)
	}
	return append(counts, xdp.Count{Queue: -1, Stage: xdp.StageFlowTable, Reason: "orphaned", Value: g.orphaned.Load()})
}

func (h *hook) counts(name string) []xdp.Count {
	sum, err := xdp.ReadCounts(h.ledger)
	if err != nil {
		return nil
	}
	stage := xdp.StageIngress
	if h.direction == egress {
		stage = xdp.StageEgress
	}
	counts := []xdp.Count{
		{Interface: name, Queue: -1, Stage: stage, Reason: "frames", Value: sum.Frames()},
		{Interface: name, Queue: -1, Stage: stage, Reason: "octets", Value: sum.Octets},
	}
	for _, end := range hookEnds {
		counts = append(counts, xdp.Count{Interface: name, Queue: -1, Stage: stage, Reason: xdp.EndNames[end], Value: sum.Ends[end]})
	}
	return counts
}

// Uncounted is how many segments so far found no room in a flow table.
func (g *Gateway) Uncounted() uint64 {
	n, _ := g.sum((*xdp.ProgramCounts).Uncounted)
	return n
}

// lost is how many segments were to be passed and came to no ring.
func (g *Gateway) lost() (uint64, error) { return g.sum((*xdp.ProgramCounts).NotPassed) }

// sum adds up what the ledgers of all hooks say; those that cannot be read are left out.
func (g *Gateway) sum(of func(*xdp.ProgramCounts) uint64) (n uint64, err error) {
	for _, p := range g.ports {
		for _, h := range p.hooks {
			counts, failure := xdp.ReadCounts(h.ledger)
			n, err = n+of(&counts), errors.Join(err, failure)
		}
	}
	return n, err
}
