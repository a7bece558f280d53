package gateway

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/finwait/finwait/xdp"
)

// passage is struct passage of clone.h.
type passage struct {
	Described     uint64
	CutErrors     uint64
	Foreign       uint64
	Arrived       uint64
	NoSocket      uint64
	DescribeError uint64
}

// hookEnds are the places in xdp.EndNames of what a hook can do; what a tap does with
// segments that are passed stands between.
var hookEnds = [...]int{0, 1, 2, 3, 4, 5, 6, 9, 10}

// passed sums up what became of clones, over all CPUs.
func (p *pair) passed() (passage, error) {
	perCPU := make([]passage, ebpf.MustPossibleCPU())
	if err := p.programs.Passages.Lookup(uint32(0), &perCPU); err != nil {
		return passage{}, fmt.Errorf("read the ledger of clones: %w", err)
	}
	var sum passage
	for _, c := range perCPU {
		sum.Described += c.Described
		sum.CutErrors += c.CutErrors
		sum.Foreign += c.Foreign
		sum.Arrived += c.Arrived
		sum.NoSocket += c.NoSocket
		sum.DescribeError += c.DescribeError
	}
	return sum, nil
}

// dropped are the clones that the pair dropped: for want of room in its ring of 256 for
// each queue (tx_dropped of the near end), and for want of memory at the far end.
func (p *pair) dropped() (ring, memory uint64) {
	if l, err := p.handle.LinkByIndex(p.near.Attrs().Index); err == nil && l.Attrs().Statistics != nil {
		ring = l.Attrs().Statistics.TxDropped
	}
	if l, err := p.farHandle.LinkByIndex(p.far.Attrs().Index); err == nil && l.Attrs().Statistics != nil {
		memory = l.Attrs().Statistics.RxDropped
		for _, q := range p.queues { // veth counts a socket's drops as its own
			memory -= min(memory, q.Dropped())
		}
	}
	return ring, memory
}

// Ledger says what became of every packet at the interfaces, of every clone, and of
// every segment at its socket. What cannot be read is left out.
func (g *Gateway) Ledger() []xdp.Count {
	var counts []xdp.Count
	for _, p := range g.ports {
		for _, h := range p.hooks {
			counts = append(counts, h.counts(p.name)...)
		}
	}
	if sum, err := g.pair.passed(); err == nil {
		ring, memory := g.pair.dropped()
		for _, c := range []struct {
			reason string
			value  uint64
		}{
			{"described", sum.Described}, {"cut_error", sum.CutErrors}, {"veth_ring_full", ring}, {"veth_no_memory", memory},
			{"arrived", sum.Arrived}, {"describe_error", sum.DescribeError}, {"no_socket", sum.NoSocket}, {"foreign", sum.Foreign},
		} {
			counts = append(counts, xdp.Count{Interface: g.pair.near.Attrs().Name, Queue: -1, Stage: xdp.StageClone, Reason: c.reason, Value: c.value})
		}
	}
	for _, q := range g.queues {
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
	var n uint64
	g.each(func(c *xdp.ProgramCounts) { n += c.Uncounted() })
	return n
}

func (g *Gateway) each(do func(*xdp.ProgramCounts)) {
	for _, p := range g.ports {
		for _, h := range p.hooks {
			if sum, err := xdp.ReadCounts(h.ledger); err == nil {
				do(&sum)
			}
		}
	}
}

// lost is how many segments were to be passed and did not come to a socket.
func (g *Gateway) lost() (uint64, error) {
	sum, err := g.pair.passed()
	if err != nil {
		return 0, err
	}
	ring, memory := g.pair.dropped()
	lost := sum.CutErrors + sum.NoSocket + sum.DescribeError + ring + memory
	g.each(func(c *xdp.ProgramCounts) { lost += c.NotCloned() })
	return lost, nil
}
