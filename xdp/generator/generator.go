package generator

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/netns"
)

// Kind is what a segment is to its connection.
type Kind uint8

// The kinds, in the order of enum step in bpf/generator.c, which is that in
// which a connection sends them.
const (
	SYN Kind = iota
	SYNACK
	HandshakeACK
	Data
	FIN1
	ACK1
	FIN2
	ACK2

	Kinds = 8
)

func (k Kind) String() string {
	return [...]string{"SYN", "SYN-ACK", "ACK of the SYN-ACK", "data", "FIN1", "ACK1", "FIN2", "ACK2"}[k]
}

// Counts are what a Generator did so far.
type Counts struct {
	Opened, Closed uint64 // connections
	Made           uint64 // frames, all kinds together
	Kinds          [Kinds]uint64
	Octets         uint64 // of frames, without their check sequence
	Payload        uint64 // octets of TCP payload
	Failed         uint64 // frames that the kernel did not let be cut to their length; they were not sent
	Sent           uint64 // frames that the interface's driver took
	Refused        uint64 // frames that it did not: its ring was full
}

// Unsent are frames that did not even come to the driver: the interface was
// down, or its driver takes no redirected frames.
func (c Counts) Unsent() uint64 { return c.Made - c.Sent - c.Refused }

// Control are the segments with SYN, FIN or RST.
func (c Counts) Control() uint64 {
	return c.Kinds[SYN] + c.Kinds[SYNACK] + c.Kinds[FIN1] + c.Kinds[FIN2]
}

// Since is what came after an earlier count.
func (c Counts) Since(before Counts) Counts {
	for i := range c.Kinds {
		c.Kinds[i] -= before.Kinds[i]
	}
	c.Opened -= before.Opened
	c.Closed -= before.Closed
	c.Made -= before.Made
	c.Octets -= before.Octets
	c.Payload -= before.Payload
	c.Failed -= before.Failed
	c.Sent -= before.Sent
	c.Refused -= before.Refused
	return c
}

// Generator makes connections. It needs root.
type Generator struct {
	config   Config
	objects  generatorObjects
	watch    link.Link
	anchor   link.Link // see dropAnchor
	nowhere  *os.File
	mappings [][]byte
	slots    []generatorSlot
	state    *generatorState
	frame    []byte // what every live frame begins as
	jobs     chan func()
	closing  sync.Once
	closeErr error
}

// Open loads the program for an interface of the calling thread's namespace,
// which the caller has locked. Nothing is sent yet.
func Open(c Config) (*Generator, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("generator: %w", err)
	}
	g := &Generator{config: c, frame: make([]byte, c.FrameLength), jobs: make(chan func())}
	if err := g.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("generator on interface %q: %w", c.Interface, err), g.Close())
	}
	return g, nil
}

// Config is what the generator makes, completed.
func (g *Generator) Config() Config { return g.config }

func (g *Generator) open() error {
	device, err := netlink.LinkByName(g.config.Interface)
	if err != nil {
		return fmt.Errorf("look it up: %w; ip link lists those that there are", err)
	}
	home, err := os.Open(netns.Current)
	if err != nil {
		return fmt.Errorf("open its network namespace: %w", err)
	}
	defer home.Close()
	if err := g.load(device.Attrs(), home); err != nil {
		return err
	}
	if err := g.share(); err != nil {
		return err
	}
	g.state.Last = uint64(g.config.Connections)
	g.watch, err = link.AttachTracing(link.TracingOptions{Program: g.objects.Watch})
	if err != nil {
		return fmt.Errorf("count what its driver takes (tracepoint xdp_devmap_xmit): %w", err)
	}
	if err := g.dropAnchor(); err != nil {
		return err
	}
	return g.startThread(home)
}

// dropAnchor attaches the program where nothing ever arrives. The kernel enters
// a program that BPF_PROG_RUN repeats in its XDP dispatcher and takes it out
// after, and waits for all CPUs each time, tens of milliseconds, but for one that
// is there already (bpf_dispatcher_change_prog in kernel/bpf/dispatcher.c).
func (g *Generator) dropAnchor() (err error) {
	const loopback = 1 // the index of lo in every namespace
	if g.nowhere, err = netns.New(); err != nil {
		return err
	}
	return netns.Do(g.nowhere, func() (err error) {
		g.anchor, err = link.AttachXDP(link.XDPOptions{Program: g.objects.Generate, Interface: loopback, Flags: link.XDPGenericMode})
		if err != nil {
			return fmt.Errorf("attach the generator's program to a loopback interface of its own: %w", err)
		}
		return nil
	})
}

func (g *Generator) load(device *netlink.LinkAttrs, home *os.File) error {
	spec, err := loadGenerator()
	if err != nil {
		return fmt.Errorf("read the generator's program: %w", err)
	}
	inode, err := netns.Inode(home)
	if err != nil {
		return err
	}
	spec.Maps[generatorMapSlots].MaxEntries = uint32(g.config.Window)
	var ipv6 uint8
	if g.config.IPv6 {
		ipv6 = 1
	}
	for name, value := range map[string]any{
		generatorVarInterface:        uint32(device.Index),
		generatorVarNetworkNamespace: inode,
		generatorVarSlotCount:        uint32(g.config.Window),
		generatorVarDataSegments:     uint32(g.config.DataSegments),
		generatorVarDataPayload:      uint32(g.config.Payload()),
		generatorVarSeed:             g.config.Seed,
		generatorVarMultiplier:       uint32(multiplier),
		generatorVarIpv6:             ipv6,
		generatorVarCloser:           uint8(g.config.Closer),
		generatorVarSourceMac:        hardwareAddress(device.HardwareAddr),
		generatorVarDestinationMac:   hardwareAddress(g.config.Destination),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %q of the generator's program: %w", name, err)
		}
	}
	if err := spec.LoadAndAssign(&g.objects, nil); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("load the generator's program: %w: run as root", err)
		}
		if errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("load the generator's program: %w: Linux 5.18 or later with BTF (CONFIG_DEBUG_INFO_BTF) is needed", err)
		}
		return fmt.Errorf("load the generator's program: %w", err)
	}
	return nil
}

func hardwareAddress(from []byte) (to [6]byte) {
	copy(to[:], from)
	return to
}

// share maps the program's slots and its state into this process.
func (g *Generator) share() error {
	for _, m := range []struct {
		of   *ebpf.Map
		size int
	}{
		{g.objects.Slots, g.config.Window * int(unsafe.Sizeof(generatorSlot{}))},
		{g.objects.States, int(unsafe.Sizeof(generatorState{}))},
	} {
		mapping, err := unix.Mmap(m.of.FD(), 0, m.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("map %d octets of the generator's state: %w", m.size, err)
		}
		g.mappings = append(g.mappings, mapping)
	}
	g.slots = unsafe.Slice((*generatorSlot)(unsafe.Pointer(&g.mappings[0][0])), g.config.Window)
	g.state = (*generatorState)(unsafe.Pointer(&g.mappings[1][0]))
	return nil
}

// startThread makes the thread on which everything is sent. It is never
// unlocked, so that it ends with its goroutine.
func (g *Generator) startThread(home *os.File) error {
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := netns.Enter(home)
		if err == nil && g.config.CPU >= 0 {
			var set unix.CPUSet
			set.Set(g.config.CPU)
			if err = unix.SchedSetaffinity(0, &set); err != nil {
				err = fmt.Errorf("pin the generator to CPU %d: %w", g.config.CPU, err)
			}
		}
		if err == nil { // so that pauses end when they should
			err = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		}
		ready <- err
		for job := range g.jobs {
			job()
		}
	}()
	return <-ready
}

// Counts may be called while a Run is under way; then it is of several moments.
func (g *Generator) Counts() Counts {
	s := g.state
	c := Counts{
		Opened: atomic.LoadUint64(&s.Opened), Closed: atomic.LoadUint64(&s.Closed), Made: atomic.LoadUint64(&s.Made),
		Octets: atomic.LoadUint64(&s.Octets), Payload: atomic.LoadUint64(&s.Payload), Failed: atomic.LoadUint64(&s.Failed),
		Sent: atomic.LoadUint64(&s.Sent), Refused: atomic.LoadUint64(&s.Refused),
	}
	for i := range c.Kinds {
		c.Kinds[i] = atomic.LoadUint64(&s.Frames[i])
	}
	return c
}

// Number is that of the connection whose client has this address (IPv4 as
// ::ffff:a.b.c.d) and port; false where none of those opened has.
func (g *Generator) Number(client [16]byte, port uint16) (uint32, bool) {
	n := g.config.number(client, port)
	own := g.config.connection(n, 0)
	return n, uint64(n) < atomic.LoadUint64(&g.state.Opened) && own.Client.Addr().As16() == client && own.Client.Port() == port
}

// Connection is what number n sends if it has that many data segments.
func (g *Generator) Connection(n uint32, data int) Connection { return g.config.connection(n, data) }

// Close ends the generator; no Run may be under way. Calling it again returns
// the first call's error.
func (g *Generator) Close() error {
	g.closing.Do(func() {
		close(g.jobs)
		var errs []error
		if g.watch != nil {
			errs = append(errs, g.watch.Close())
		}
		if g.anchor != nil {
			errs = append(errs, g.anchor.Close())
		}
		if g.nowhere != nil {
			errs = append(errs, g.nowhere.Close())
		}
		g.slots, g.state = nil, nil
		for _, m := range g.mappings {
			errs = append(errs, unix.Munmap(m))
		}
		g.closeErr = errors.Join(append(errs, g.objects.Close())...)
	})
	return g.closeErr
}
