package xdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/bpf"
)

// program is the tap program of one interface, with its own ledger and its own
// map of sockets. All programs of a Tap share a flow table, or by sequence the
// notes of awaited acknowledgements.
type program struct {
	Tap     *ebpf.Program `ebpf:"finwait_tap"` // or finwait_sequence
	Sockets *ebpf.Map     `ebpf:"sockets"`
	Counts  *ebpf.Map     `ebpf:"ledger"`

	sequence bool
}

// programOptions are fixed when the program is loaded.
type programOptions struct {
	queues      int
	controlOnly bool
	crossing    bool   // both directions of a flow may arrive on two queues
	sequence    bool   // account by sequence, without a flow table
	describeAll bool   // pass every TCP segment; for tests
	secret      uint64 // of the notes of awaited acknowledgements
}

// loadProgram loads the program that the options ask for, with the maps that
// it shares with others, by name.
func loadProgram(shared map[string]*ebpf.Map, opts programOptions) (*program, error) {
	spec, err := bpf.LoadTap()
	if err != nil {
		return nil, fmt.Errorf("read the tap program: %w", err)
	}
	for name, m := range shared {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	spec.Maps[bpf.TapMapSockets].MaxEntries = uint32(max(opts.queues, 1))
	flag := func(on bool) uint8 {
		if on {
			return 1
		}
		return 0
	}
	for name, value := range map[string]any{
		bpf.TapVarControlOnly:   flag(opts.controlOnly),
		bpf.TapVarCrossing:      flag(opts.crossing),
		bpf.TapVarDescribeAll:   flag(opts.describeAll),
		bpf.TapVarAwaitedSecret: opts.secret,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %q of the tap program: %w", name, err)
		}
	}
	if opts.sequence {
		spec.Programs[bpf.TapProgFinwaitTap] = spec.Programs[bpf.TapProgFinwaitSequence]
	}
	p := &program{sequence: opts.sequence}
	if err := spec.LoadAndAssign(p, &ebpf.CollectionOptions{MapReplacements: shared}); err != nil {
		return nil, LoadError("the tap program", err)
	}
	return p, nil
}

func (p *program) close() error {
	return errors.Join(p.Tap.Close(), p.Sockets.Close(), p.Counts.Close())
}

// LoadError says what the user can do about a program or map that the kernel
// refused.
func LoadError(what string, err error) error {
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
