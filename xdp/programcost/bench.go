package programcost

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/bpf"
)

// Program is one that is timed.
type Program int

// The programs, from the least to the most.
const (
	Empty    Program = iota // drops
	Parse                   // the tap's own way through the headers
	Sequence                // the tap that accounts by sequence, as it is shipped
	Minimal                 // plain IPv4 and TCP, one look-up of the 5-tuple, two additions
	Counted                 // the tap that counts, as it is shipped
	programs
)

func (p Program) String() string {
	return [...]string{"empty", "parse", "sequence", "minimal", "counted"}[p]
}

// Programs lists all.
func Programs() []Program {
	all := make([]Program, programs)
	for i := range all {
		all[i] = Program(i)
	}
	return all
}

const (
	xdpDrop = 1 // enum xdp_action of linux/bpf.h
	payload = 1000
	// insertBatch is how many flows one call prepares.
	insertBatch = 1 << 14
)

// bench holds what is loaded for the measurement.
type bench struct {
	frame    []byte
	programs [programs]*ebpf.Program
	fronts   [keysOf]*ebpf.Program
	slot     *ebpf.Map
	// Variables of the fronts.
	frames, framesSeen, firstAt, lastAt *ebpf.Variable

	closers []func() error
}

// tuple is struct tuple of cost.c, as it stands on the wire.
type tuple struct {
	source, destination         [4]byte
	sourcePort, destinationPort [2]byte
	protocol                    uint8
	_                           [3]uint8
}

// count is struct count of cost.c.
type count [2]uint64 // packets, octets

func openBench(flows int) (*bench, error) {
	b := &bench{frame: dataSegment()}
	err := b.loadCost(flows)
	if err == nil {
		err = b.loadTap(flows)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// loadCost loads the fronts and what the tap is compared with.
func (b *bench) loadCost(flows int) error {
	spec, err := loadCost()
	if err != nil {
		return fmt.Errorf("read the programs of the benchmark: %w", err)
	}
	spec.Maps[costMapTuples].MaxEntries = uint32(flows)
	if err := spec.Variables[costVarTupleMask].Set(uint32(flows - 1)); err != nil {
		return fmt.Errorf("set %q of the programs of the benchmark: %w", costVarTupleMask, err)
	}
	var objects struct {
		Hot     *ebpf.Program `ebpf:"cost_hot"`
		Random  *ebpf.Program `ebpf:"cost_random"`
		Parse   *ebpf.Program `ebpf:"cost_parse"`
		Minimal *ebpf.Program `ebpf:"cost_minimal"`
		Slot    *ebpf.Map     `ebpf:"slot"`
		Tuples  *ebpf.Map     `ebpf:"tuples"`

		Frames     *ebpf.Variable `ebpf:"frames"`
		FramesSeen *ebpf.Variable `ebpf:"frames_seen"`
		FirstAt    *ebpf.Variable `ebpf:"first_at"`
		LastAt     *ebpf.Variable `ebpf:"last_at"`
	}
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return loadError("the programs of the benchmark", flows, err)
	}
	b.fronts = [keysOf]*ebpf.Program{Hot: objects.Hot, Random: objects.Random}
	b.programs[Parse], b.programs[Minimal] = objects.Parse, objects.Minimal
	b.slot = objects.Slot
	b.frames, b.framesSeen, b.firstAt, b.lastAt = objects.Frames, objects.FramesSeen, objects.FirstAt, objects.LastAt
	b.closers = append(b.closers, objects.Hot.Close, objects.Random.Close, objects.Parse.Close,
		objects.Minimal.Close, objects.Slot.Close, objects.Tuples.Close)
	return insert(objects.Tuples, flows, b.tuple, count{})
}

// loadTap loads the programs of the tap.
func (b *bench) loadTap(flows int) error {
	spec, err := bpf.LoadTap()
	if err != nil {
		return fmt.Errorf("read the tap program: %w", err)
	}
	spec.Maps[bpf.TapMapFlowsIpv4].MaxEntries = uint32(flows)
	var objects struct {
		Idle     *ebpf.Program `ebpf:"finwait_idle"`
		Tap      *ebpf.Program `ebpf:"finwait_tap"`
		Sequence *ebpf.Program `ebpf:"finwait_sequence"`
		Flows    *ebpf.Map     `ebpf:"flows_ipv4"`
	}
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return loadError("the tap programs", flows, err)
	}
	b.programs[Empty], b.programs[Counted], b.programs[Sequence] = objects.Idle, objects.Tap, objects.Sequence
	b.closers = append(b.closers, objects.Idle.Close, objects.Tap.Close, objects.Sequence.Close, objects.Flows.Close)
	// Flows that have counted: the segments that follow are plain data.
	direction := segment.Direction{
		Packets: 1, FirstAt: 1, LastAt: 1,
		Marks: segment.DirectionStarted | segment.DirectionAcked,
	}
	return insert(objects.Flows, flows, b.key, segment.Counters{direction, direction})
}

// loadError says what the user can do about what the kernel refused.
func loadError(what string, flows int, err error) error {
	err = fmt.Errorf("load %s, with %d flows: %w", what, flows, err)
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN", err)
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.E2BIG):
		return fmt.Errorf("%w: ask for fewer flows", err)
	default:
		return err
	}
}

// insert puts all flows into a map, with one value.
func insert[K, V any](m *ebpf.Map, flows int, key func(flow int) K, value V) error {
	n := min(flows, insertBatch)
	keys, values := make([]K, n), make([]V, n)
	for i := range values {
		values[i] = value
	}
	for at := 0; at < flows; at += n {
		for i := range keys {
			keys[i] = key(at + i)
		}
		if _, err := m.BatchUpdate(keys, values, nil); err != nil {
			return fmt.Errorf("prepare %d flows: %w", flows, err)
		}
	}
	return nil
}

// The place of the addresses and ports in dataSegment.
const (
	atSource      = 14 + 12
	atDestination = atSource + 4
	atPorts       = atDestination + 4
)

// dataSegment is an Ethernet frame with plain IPv4 and TCP, from flow 0.
func dataSegment() []byte {
	total := 20 + 20 + payload
	f := make([]byte, 12, 14+total)
	f = append(f, 8, 0, 0x45, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(total))
	f = append(f, 0, 1, 0x40, 0, 64, 6, 0, 0)
	f = append(f, 10, 0, 0, 0)
	f = append(f, 10, 128, 0, 1) // in the middle of the sources
	f = append(f, 0x9c, 0x40, 0x01, 0xbb)
	f = append(f, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, segment.ACK, 1, 0, 0, 0, 0, 0)
	return append(f, make([]byte, payload)...)
}

// source is the source address of a flow; see spread in cost.c.
func source(flow int) (a [4]byte) {
	binary.BigEndian.PutUint32(a[:], 10<<24|uint32(flow)*0x9e3779b1&0xffffff)
	return a
}

// tuple is the key of a flow in the minimal program's map.
func (b *bench) tuple(flow int) tuple {
	return tuple{
		source:          source(flow),
		destination:     [4]byte(b.frame[atDestination:]),
		sourcePort:      [2]byte(b.frame[atPorts:]),
		destinationPort: [2]byte(b.frame[atPorts+2:]),
		protocol:        6,
	}
}

// tapKey is struct ipv4_key of flows.h.
type tapKey struct {
	low, high         [4]byte
	lowPort, highPort uint16
}

// key is the key of a flow in the tap's flow table.
func (b *bench) key(flow int) tapKey {
	k := tapKey{
		low:      source(flow),
		high:     [4]byte(b.frame[atDestination:]),
		lowPort:  binary.BigEndian.Uint16(b.frame[atPorts:]),
		highPort: binary.BigEndian.Uint16(b.frame[atPorts+2:]),
	}
	if order := bytes.Compare(k.low[:], k.high[:]); order > 0 || order == 0 && k.lowPort > k.highPort {
		k.low, k.high, k.lowPort, k.highPort = k.high, k.low, k.highPort, k.lowPort
	}
	return k
}

func (b *bench) close() error {
	var errs []error
	for _, c := range b.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
