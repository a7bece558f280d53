package main

import (
	"time"

	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/gateway"
)

const (
	modeTap     = "tap"
	modeGateway = "gateway"
)

// capture is where an appliance has its segments from: a tap or a gateway.
type capture interface {
	// Accounts is where the kernel counts; nil where it does not.
	Accounts() xdp.FlowTable
	// InterfaceName is the name of a segment's Interface.
	InterfaceName(uint32) string
	Interfaces() []xdp.InterfaceInfo
	Facts() []string
	Warnings() []string
	Ledger() []xdp.Count
	// Uncounted is how many segments found no room in the kernel's flow table.
	Uncounted() uint64
	// Orphans deletes the kernel's entries that counted nothing within a time.
	Orphans(olderThan time.Duration) (int, error)
	Close() error
}

// queue is one of a capture's sources, for a worker of its own, with the names that the
// lines of its worker bear.
type queue interface {
	worker.Source
	Interface() string
	Index() int
}

var (
	_ capture = (*xdp.Tap)(nil)
	_ capture = (*gateway.Gateway)(nil)
)

// openCapture opens what the configuration asks for, in the calling thread's network
// namespace.
func openCapture(c *applianceConfig) (capture, []queue, error) {
	if c.gateway != nil {
		g, err := gateway.Open(*c.gateway)
		if err != nil {
			return nil, nil, err
		}
		return g, queuesOf(g.Queues()), nil
	}
	t, err := xdp.Open(c.tap)
	if err != nil {
		return nil, nil, err
	}
	return t, queuesOf(t.Queues()), nil
}

func queuesOf[Q queue](list []Q) []queue {
	queues := make([]queue, len(list))
	for i, q := range list {
		queues[i] = q
	}
	return queues
}
