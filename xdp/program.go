package xdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/bpf"
)

// program is the tap program of one interface, with its own ledger and its own
// map of sockets. All programs of a Tap count into one flow table.
type program struct {
	Tap     *ebpf.Program `ebpf:"finwait_tap"`
	Sockets *ebpf.Map     `ebpf:"sockets"`
	Counts  *ebpf.Map     `ebpf:"ledger"`
}

// programOptions are fixed when the program is loaded.
type programOptions struct {
	queues      int
	controlOnly bool
	crossing    bool // both directions of a flow may arrive on two queues
	describeAll bool // pass every TCP segment; for tests
}

func loadProgram(accounts *Accounts, opts programOptions) (*program, error) {
	spec, err := bpf.LoadTap()
	if err != nil {
		return nil, fmt.Errorf("read the tap program: %w", err)
	}
	replacements := map[string]*ebpf.Map{bpf.TapMapFlowsIpv4: accounts.ipv4, bpf.TapMapFlowsIpv6: accounts.ipv6}
	for name, m := range replacements {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	spec.Maps[bpf.TapMapSockets].MaxEntries = uint32(max(opts.queues, 1))
	for name, on := range map[string]bool{
		bpf.TapVarControlOnly: opts.controlOnly,
		bpf.TapVarCrossing:    opts.crossing,
		bpf.TapVarDescribeAll: opts.describeAll,
	} {
		var value uint8
		if on {
			value = 1
		}
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %q of the tap program: %w", name, err)
		}
	}
	p := new(program)
	err = spec.LoadAndAssign(p, &ebpf.CollectionOptions{
		MapReplacements: replacements,
	})
	if err != nil {
		return nil, loadError("the tap program", err)
	}
	return p, nil
}

func (p *program) close() error {
	return errors.Join(p.Tap.Close(), p.Sockets.Close(), p.Counts.Close())
}

// loadError says what the user can do about a program or map that the kernel
// refused.
func loadError(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("load %s: %w: run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_NET_RAW", what, err)
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.E2BIG):
		return fmt.Errorf("load %s: %w: ask for fewer flows with --max-flows", what, err)
	case errors.Is(err, ebpf.ErrNotSupported), !kernelAtLeast(5, 18):
		return fmt.Errorf("load %s: %w: Linux 5.18 or later with BTF (CONFIG_DEBUG_INFO_BTF) is needed, this is %s", what, err, kernelRelease())
	default:
		return fmt.Errorf("load %s: %w", what, err)
	}
}

// memory is what a map takes in the kernel, in octets; 0 where it does not say.
func memory(m *ebpf.Map) uint64 {
	info, err := m.Info()
	if err != nil {
		return 0
	}
	octets, _ := info.Memlock()
	return octets
}
