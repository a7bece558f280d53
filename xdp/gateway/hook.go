package gateway

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/bpf"
)

// The window of the limit of segments, WINDOW_SHIFT of limit.h, and the part of them
// that may be without an entry in the flow table, whatever they are.
const (
	windowNS     = 1 << 26
	openingsPart = 16
)

// hook is the program at one interface for one direction, with its ledger.
type hook struct {
	direction direction
	program   *ebpf.Program
	ledger    *ebpf.Map
	attached  *attachment
}

// openHook loads a hook's program; it counts in its interface's flow table and passes
// segments by the outlet. All hooks have one secret.
func openHook(p *port, d direction, to *outlet, c *Config, secret uint64) (*hook, error) {
	spec, err := bpf.LoadGateway()
	if err != nil {
		return nil, fmt.Errorf("read the gateway's program: %w", err)
	}
	replacements := p.accounts.Shared()
	for name, m := range replacements {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	spec.Maps[bpf.GatewayMapRings].MaxEntries = to.rings.MaxEntries()
	replacements[bpf.GatewayMapRings] = to.rings
	replacements[bpf.GatewayMapBudgets] = to.budgets
	for name, value := range map[string]any{
		bpf.GatewayVarInterfaceNumber:   p.number,
		bpf.GatewayVarQueues:            uint32(c.Queues),
		bpf.GatewayVarQueueSecret:       secret,
		bpf.GatewayVarSegmentsPerWindow: perWindow(c.SegmentLimit),
		bpf.GatewayVarOpeningsPerWindow: perWindow(c.SegmentLimit / openingsPart),
		bpf.GatewayVarBare:              flag(p.bare),
		bpf.GatewayVarDescribeAll:       flag(c.describeAll),
		bpf.GatewayVarOwners:            flag(c.Owners),
		// What answers a segment comes after that has passed the interface: the two
		// directions of a connection do not overtake each other here.
		bpf.GatewayVarCrossing: uint8(0),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %q of the gateway's program: %w", name, err)
		}
	}
	var objects struct {
		Program *ebpf.Program `ebpf:"finwait_gateway"`
		Ledger  *ebpf.Map     `ebpf:"ledger"`
	}
	if err := spec.LoadAndAssign(&objects, &ebpf.CollectionOptions{MapReplacements: replacements}); err != nil {
		return nil, xdp.LoadError(fmt.Sprintf("the program of interface %q", p.name), err)
	}
	return &hook{direction: d, program: objects.Program, ledger: objects.Ledger}, nil
}

// perWindow is a limit for a second as one for a window, at least 1.
func perWindow(limit uint64) uint64 {
	return max(uint64(float64(limit)*windowNS/1e9), 1)
}

func flag(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

func (h *hook) close() error {
	var err error
	if h.attached != nil {
		err = h.attached.release()
	}
	return errors.Join(err, h.program.Close(), h.ledger.Close())
}
