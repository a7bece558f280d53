package xdp

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// Count is one line of the ledger: what became of some frames or segments.
type Count struct {
	Interface string // empty for what belongs to no interface
	Queue     int    // receive queue, -1 for none
	Stage     string
	Reason    string
	Value     uint64
}

// Stages of the ledger, in the order in which a frame meets them.
const (
	// StageNIC: what the interface itself dropped since the tap was opened.
	// Some drivers count there also what a socket could not take.
	StageNIC = "nic"
	// StageProgram: every frame that reached the program. "frames" is the sum
	// of the others but "octets" and what was forgotten.
	StageProgram = "program"
	// StageIngress and StageEgress: the same of what arrives at and what leaves an
	// interface of a gateway.
	StageIngress = "ingress"
	StageEgress  = "egress"
	// StageRing: what a gateway's ring held that was no segment.
	StageRing = "ring"
	// StageSocket: the kernel's counters of a queue's socket (XDP_STATISTICS),
	// of segments that the program had passed.
	StageSocket = "socket"
	// StageFlowTable: what was done to the flow table from user space.
	StageFlowTable = "flow_table"
)

// EndNames are the reasons of enum end in ledger.h, in its order.
var EndNames = [...]string{"counted", "not_ip", "not_tcp", "fragment", "undecodable",
	"passed", "flow_table_full", "describe_error", "no_socket",
	"ring_full", "held_back"}

const (
	// tapEnds is how many of EndNames there are on a tap.
	tapEnds = 9
	// The places of flow_table_full, ring_full and held_back.
	endFlowTableFull = 6
	endRingFull      = 9
	endHeldBack      = 10
)

// ProgramCounts is struct ledger of ledger.h: what became of the frames that a
// program saw.
type ProgramCounts struct {
	Octets uint64
	// The program's clock: no counters.
	TickJiffies uint64
	TickAt      int64
	Ends        [len(EndNames)]uint64 // by EndNames
	// By sequence alone, of no frame's end.
	FinAcksForgotten       uint64
	SynAckAnswersForgotten uint64
}

// Frames is the number of frames: each has one end.
func (c *ProgramCounts) Frames() uint64 {
	var sum uint64
	for _, n := range c.Ends {
		sum += n
	}
	return sum
}

func (p *program) counts() (ProgramCounts, error) { return ReadCounts(p.Counts) }

// ReadCounts sums the ledger of one program over all CPUs.
func ReadCounts(ledger *ebpf.Map) (ProgramCounts, error) {
	perCPU := make([]ProgramCounts, ebpf.MustPossibleCPU())
	if err := ledger.Lookup(uint32(0), &perCPU); err != nil {
		return ProgramCounts{}, fmt.Errorf("read the program's ledger: %w", err)
	}
	var sum ProgramCounts
	for _, c := range perCPU {
		sum.Octets += c.Octets
		sum.FinAcksForgotten += c.FinAcksForgotten
		sum.SynAckAnswersForgotten += c.SynAckAnswersForgotten
		for i, n := range c.Ends {
			sum.Ends[i] += n
		}
	}
	return sum, nil
}

// Uncounted is how many segments found no room in the flow table.
func (c *ProgramCounts) Uncounted() uint64 { return c.Ends[endFlowTableFull] }

// NotPassed is how many segments of a gateway were to be passed, and were not.
func (c *ProgramCounts) NotPassed() uint64 { return c.Ends[endRingFull] + c.Ends[endHeldBack] }

// nicDrops are the interface's own counters (struct rtnl_link_stats64).
type nicDrops struct{ dropped, missed uint64 }

func readNICDrops(handle *netlink.Handle, index int) (nicDrops, bool) {
	link, err := handle.LinkByIndex(index)
	if err != nil || link.Attrs().Statistics == nil {
		return nicDrops{}, false
	}
	s := link.Attrs().Statistics
	return nicDrops{dropped: s.RxDropped, missed: s.RxMissedErrors}, true
}

// Ledger says what became of every frame so far: the NIC's own drops, the
// program's ends per interface, each queue's socket, and the flow table. What
// cannot be read is left out. It may be called from any goroutine.
func (t *Tap) Ledger() []Count {
	var counts []Count
	for _, p := range t.ports {
		counts = append(counts, p.ledger(t.handle)...)
	}
	for _, q := range t.queues {
		counts = append(counts, q.Ledger()...)
	}
	if t.accounts == nil {
		return counts
	}
	return append(counts, Count{Queue: -1, Stage: StageFlowTable, Reason: "orphaned", Value: t.orphaned.Load()})
}

func (p *port) ledger(handle *netlink.Handle) []Count {
	var counts []Count
	add := func(stage, reason string, value uint64) {
		counts = append(counts, Count{Interface: p.nic.name, Queue: -1, Stage: stage, Reason: reason, Value: value})
	}
	if now, ok := readNICDrops(handle, p.nic.index); ok {
		add(StageNIC, "rx_dropped", p.ownDrops(now.dropped-p.drops.dropped))
		add(StageNIC, "rx_missed", now.missed-p.drops.missed)
	}
	if sum, err := p.program.counts(); err == nil {
		add(StageProgram, "frames", sum.Frames())
		add(StageProgram, "octets", sum.Octets)
		for i, value := range sum.Ends[:tapEnds] {
			add(StageProgram, EndNames[i], value)
		}
		if p.program.sequence {
			add(StageProgram, "fin_acks_forgotten", sum.FinAcksForgotten)
			add(StageProgram, "syn_ack_answers_forgotten", sum.SynAckAnswersForgotten)
		}
	}
	return counts
}

// ownDrops takes from an interface's drops those of its sockets, which veth
// counts as its own (rx_drops in drivers/net/veth.c): they have a line already.
func (p *port) ownDrops(dropped uint64) uint64 {
	if p.nic.driver != "veth" {
		return dropped
	}
	for _, q := range p.queues {
		dropped -= min(dropped, q.dropped())
	}
	return dropped
}

// Uncounted is how many segments so far found no room in the flow table. It
// may be called from any goroutine.
func (t *Tap) Uncounted() uint64 {
	var n uint64
	for _, p := range t.ports {
		if sum, err := p.program.counts(); err == nil {
			n += sum.Uncounted()
		}
	}
	return n
}

// Ledger is the kernel's counters of the queue's socket. What cannot be read is
// left out.
func (q *Queue) Ledger() []Count {
	stats, err := q.socket.statistics()
	if err != nil {
		return nil
	}
	var counts []Count
	add := func(reason string, value uint64) {
		counts = append(counts, Count{Interface: q.name, Queue: q.index, Stage: StageSocket, Reason: reason, Value: value})
	}
	add("rx_dropped", stats.Rx_dropped)
	add("rx_ring_full", stats.Rx_ring_full)
	add("rx_invalid_descs", stats.Rx_invalid_descs)
	add("fill_ring_empty", stats.Rx_fill_ring_empty_descs)
	add("malformed", q.malformed.Load())
	return counts
}
