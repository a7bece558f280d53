package main

import (
	"time"

	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/gateway"
)

const (
	modeTap     = "tap"
	modeGateway = "gateway"
)

// capture is where an appliance has its segments from: a tap or a gateway.
type capture interface {
	// Queues are the sources, each for a worker of its own.
	Queues() []*xdp.Queue
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

var (
	_ capture = (*xdp.Tap)(nil)
	_ capture = (*gateway.Gateway)(nil)
)

// openCapture opens what the configuration asks for, in the calling thread's network
// namespace.
func openCapture(c *applianceConfig) (capture, error) {
	if c.gateway != nil {
		return gateway.Open(*c.gateway)
	}
	return xdp.Open(c.tap)
}
