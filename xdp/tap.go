package xdp

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// Sizes where a Config says nothing.
const (
	// DefaultMaxFlows is the number of entries of the flow table.
	DefaultMaxFlows = 1 << 20
	// DefaultRingSize holds the segments of a stall of milliseconds at a
	// million control segments a second.
	DefaultRingSize = 8192

	maxRingSize = 1 << 16
)

// Config is what a Tap is asked to do. Only Interfaces is required.
type Config struct {
	// Interfaces are names in the calling thread's network namespace.
	Interfaces []string
	// MaxFlows is the number of entries of the flow table for IPv4, of ~210
	// octets each, reserved at once, and of as many for IPv6, of ~230 octets
	// each, taken when they are made; 0 for DefaultMaxFlows.
	MaxFlows uint32
	// Sequence accounts by sequence numbers: without a flow table, so that
	// segments carry no counters. Those that acknowledge a FIN or a SYN-ACK
	// are passed as ever.
	Sequence bool
	// ControlOnly passes SYN, FIN and RST alone: no plain ACK, whether it
	// opens a flow or acknowledges a FIN.
	ControlOnly bool
	// Force takes also an interface with an address of this machine, which is
	// then not reached through it any more.
	Force bool
	// Generic asks for generic XDP where the driver has native.
	Generic bool
	// RingSize is the number of segments that may wait in one queue, a power
	// of two up to 65536; 0 for DefaultRingSize. Each takes 4 KiB.
	RingSize int
	// BusyPoll lets whoever receives from a Queue empty the NIC's queue too,
	// in place of its interrupts (SO_PREFER_BUSY_POLL, Linux 5.11).
	BusyPoll bool

	// describeAll passes every TCP segment; for tests.
	describeAll bool
}

// Tap receives what arrives at its interfaces. It consumes every frame.
type Tap struct {
	config   Config
	accounts *Accounts     // nil by sequence
	awaited  *awaitedNotes // nil otherwise
	handle   *netlink.Handle
	ethtool  *ethtool
	ports    []*port
	queues   []*Queue
	names    map[uint32]string
	facts    []string
	warnings []string
	orphaned atomic.Uint64
	once     sync.Once
	closed   error
}

// port is one interface of a Tap with what was attached to it.
type port struct {
	nic        *netInterface
	program    *program
	queues     []*Queue
	attachment *attachment
	drops      nicDrops // when the tap was opened
}

// Open validates everything, then attaches to the interfaces. A failed Open
// leaves nothing behind. It works in the network namespace of the calling
// thread, which the caller has locked; the Tap is not bound to that thread.
func Open(config Config) (*Tap, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	if err := CheckPrivilege(NetRaw); err != nil {
		return nil, err
	}
	t := &Tap{config: config, names: make(map[uint32]string)}
	if err := t.open(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.report()
	return t, nil
}

func (c *Config) complete() error {
	if len(c.Interfaces) == 0 {
		return errors.New("no interface to tap: name one with --interface")
	}
	for i, name := range c.Interfaces {
		if slices.Contains(c.Interfaces[:i], name) {
			return fmt.Errorf("interface %q is named twice", name)
		}
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = DefaultMaxFlows
	}
	return completeRing(&c.RingSize)
}

// completeRing makes 0 the default size of a ring, and refuses what is none.
func completeRing(size *int) error {
	if *size == 0 {
		*size = DefaultRingSize
	}
	if *size < 64 || *size > maxRingSize || bits.OnesCount(uint(*size)) != 1 {
		return fmt.Errorf("ring size %d: a power of two from 64 to %d is needed", *size, maxRingSize)
	}
	return nil
}

func (t *Tap) open() error {
	var err error
	if t.handle, err = netlink.NewHandle(); err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	if t.ethtool, err = openEthtool(); err != nil {
		return err
	}
	nics := make([]*netInterface, 0, len(t.config.Interfaces))
	for _, name := range t.config.Interfaces {
		nic, err := inspect(t.handle, t.ethtool, name, t.config.Force)
		if err != nil {
			return err
		}
		nics = append(nics, nic)
	}
	if t.config.Sequence {
		t.awaited, err = openAwaited()
	} else {
		t.accounts, err = OpenAccounts(t.config.MaxFlows)
	}
	if err != nil {
		return err
	}
	for _, nic := range nics {
		p := &port{nic: nic}
		t.ports = append(t.ports, p)
		t.names[uint32(nic.index)] = nic.name
		if err := t.openPort(p); err != nil {
			return err
		}
	}
	return nil
}

// openPort fills the rings, then attaches the program, and enters the sockets
// last: the first segment finds everything ready.
func (t *Tap) openPort(p *port) error {
	err := p.nic.prepare()
	if err != nil {
		return err
	}
	options := programOptions{
		queues:      p.nic.queues,
		controlOnly: t.config.ControlOnly,
		crossing:    t.crosses(p.nic),
		sequence:    t.config.Sequence,
		describeAll: t.config.describeAll,
	}
	var shared map[string]*ebpf.Map
	if t.config.Sequence {
		shared, options.secret = t.awaited.shared(), t.awaited.secret
	} else {
		shared = t.accounts.Shared()
	}
	if p.program, err = loadProgram(shared, options); err != nil {
		return err
	}
	for index := range p.nic.queues {
		q, err := openQueue(queueConfig{
			Name: p.nic.name, Interface: p.nic.index, Index: index, ID: len(t.queues),
			RingSize: t.config.RingSize, BusyPoll: t.config.BusyPoll,
		})
		if err != nil {
			return err
		}
		p.queues = append(p.queues, q)
		t.queues = append(t.queues, q)
	}
	p.drops, _ = readNICDrops(t.handle, p.nic.index)
	if p.attachment, err = attach(p.nic, p.program.Tap, t.config.Generic); err != nil {
		return err
	}
	for _, q := range p.queues {
		if err := q.enter(p.program.Sockets); err != nil {
			return err
		}
	}
	return nil
}

// crosses tells whether both directions of a connection may arrive on two
// queues.
func (t *Tap) crosses(nic *netInterface) bool {
	return len(t.config.Interfaces) > 1 || nic.queues > 1 && !nic.symmetric
}

// Queues are the receive queues of all interfaces, in the order of their IDs.
func (t *Tap) Queues() []*Queue { return t.queues }

// Accounts is the flow table of all interfaces; nil where it accounts by
// sequence.
func (t *Tap) Accounts() FlowTable {
	if t.accounts == nil {
		return nil
	}
	return t.accounts
}

// InterfaceName is the name of an interface of this Tap by its index, empty
// for any other.
func (t *Tap) InterfaceName(index uint32) string { return t.names[index] }

// Warnings are what the operator should know but need not act upon.
func (t *Tap) Warnings() []string { return t.warnings }

// Facts are what was found and done, one line each.
func (t *Tap) Facts() []string { return t.facts }

// Orphans deletes the flow table's entries that counted nothing within
// olderThan, and returns how many; the ledger has their sum. These are the
// entries whose opening segment was lost on its way to user space. It reads
// the whole table: a thing for every few minutes, and for an olderThan above
// every idle timeout.
func (t *Tap) Orphans(olderThan time.Duration) (int, error) {
	if t.accounts == nil {
		return 0, nil
	}
	deleted, err := t.accounts.Orphans(olderThan)
	t.orphaned.Add(uint64(deleted))
	return deleted, err
}

// Close detaches from the interfaces and puts back what was changed. No
// Receive may be under way, and no segment may be used any more. Calling it
// again returns the first call's error.
func (t *Tap) Close() error {
	t.once.Do(func() {
		var errs []error
		for _, p := range slices.Backward(t.ports) {
			errs = append(errs, p.close())
		}
		if t.accounts != nil {
			errs = append(errs, t.accounts.Close())
		}
		if t.awaited != nil {
			errs = append(errs, t.awaited.close())
		}
		if t.ethtool != nil {
			errs = append(errs, t.ethtool.close())
		}
		if t.handle != nil {
			t.handle.Close()
		}
		t.closed = errors.Join(errs...)
	})
	return t.closed
}

func (p *port) close() error {
	var errs []error
	if p.attachment != nil {
		errs = append(errs, p.attachment.link.Close())
	}
	for _, q := range p.queues {
		errs = append(errs, q.Close())
	}
	if p.program != nil {
		errs = append(errs, p.program.close())
	}
	return errors.Join(append(errs, p.nic.restore())...)
}

// report notes the facts and warnings of an opened tap.
func (t *Tap) report() {
	for _, p := range t.ports {
		n := p.nic
		rss := "asymmetric or unknown"
		if n.symmetric || n.queues == 1 {
			rss = "symmetric"
		}
		t.facts = append(t.facts, fmt.Sprintf("interface %q: driver %s, %s XDP, MTU %d, %d receive queues, RSS %s, promiscuous",
			n.name, n.driver, p.attachment.mode, n.mtu, n.queues, rss))
		for _, c := range n.changes {
			t.facts = append(t.facts, fmt.Sprintf("interface %q: set %s until exit", n.name, c.what))
		}
		if p.attachment.warning != "" {
			t.warnings = append(t.warnings, p.attachment.warning)
		}
		if t.config.Sequence && t.crosses(n) {
			t.warnings = append(t.warnings, fmt.Sprintf("interface %q: both directions of a connection may arrive on two queues; "+
				"by sequence, an acknowledgement that overtakes its FIN is not known: set symmetric RSS, or one queue (ethtool -L %s combined 1)", n.name, n.name))
		}
	}
	t.facts = append(t.facts, t.accountingFact())
	t.facts = append(t.facts, socketsFact(len(t.queues), t.config.RingSize))
	if t.config.ControlOnly {
		t.facts = append(t.facts, "control segments only: SYN, FIN and RST are passed, the last acknowledgement is not seen")
	}
}

// accountingFact says how octets are accounted, and what the kernel has
// reserved for it.
func (t *Tap) accountingFact() string {
	var kernel uint64
	for _, p := range t.ports {
		kernel += memory(p.program.Sockets) + memory(p.program.Counts)
	}
	if t.config.Sequence {
		kernel += memory(t.awaited.notes) + memory(t.awaited.tags)
		return fmt.Sprintf("accounting by sequence: no flow table, %d awaited acknowledgements, %.1f MiB reserved in the kernel",
			t.awaited.capacity(), mebibytes(kernel))
	}
	kernel += t.accounts.Memory()
	return fmt.Sprintf("flow table: %d entries, %.1f MiB reserved in the kernel; as many for IPv6, of which the memory is taken as they come",
		t.config.MaxFlows, mebibytes(kernel))
}

// socketsFact says what was reserved for a number of sockets.
func socketsFact(sockets, ringSize int) string {
	umem := sockets * 2 * ringSize * frameSize
	return fmt.Sprintf("sockets: %d of %d segments each, %.1f MiB reserved", sockets, ringSize, mebibytes(uint64(umem)))
}

func mebibytes(octets uint64) float64 { return float64(octets) / (1 << 20) }
