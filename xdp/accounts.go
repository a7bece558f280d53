package xdp

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/bpf"
)

const (
	// accountsBatch is the most keys of one call, BATCH_KEYS in accounts.h.
	accountsBatch = 64
	// accountsSlots is how many calls may be under way, BATCH_SLOTS there.
	accountsSlots = 16
	// sweepBatch is how many entries one look at the flow table returns.
	sweepBatch = 4096
)

// walkMode is enum batch_mode of accounts.h.
type walkMode uint32

const (
	peek walkMode = iota
	take
	sweep
)

// walkBatch is struct batch of accounts.h, shared through a mapping.
type walkBatch struct {
	keys     [accountsBatch]segment.Key
	counters [accountsBatch]segment.Counters
}

// walkRequest is struct request of accounts.h.
type walkRequest struct {
	deadline int64 // ns, CLOCK_MONOTONIC
	slot     uint32
	count    uint32
	mode     walkMode
	_        uint32
}

// progRun is the BPF_PROG_RUN member of union bpf_attr (linux/bpf.h). The
// call is made directly because ebpf.Program.Run allocates.
type progRun struct {
	progFD             uint32
	retval             int32
	dataSizeIn         uint32
	dataSizeOut        uint32
	dataIn, dataOut    uint64
	repeat, durationNS uint32
	ctxSizeIn          uint32
	ctxSizeOut         uint32
	ctxIn              unsafe.Pointer
	ctxOut             uint64
	flags, cpu         uint32
	batchSize          uint32
	_                  uint32
}

// walkCall is the memory of one call; it stays with its slot.
type walkCall struct {
	request walkRequest
	attr    progRun
}

// ipv4Key is struct ipv4_key of flows.h: a segment.Key of two IPv4 addresses.
type ipv4Key struct {
	Low, High         [4]byte
	LowPort, HighPort uint16
}

// wide is the same as a segment.Key.
func (k ipv4Key) wide() segment.Key {
	return segment.Key{Low: mapped(k.Low), High: mapped(k.High), LowPort: k.LowPort, HighPort: k.HighPort}
}

// mapped is an IPv4 address as an IPv6 one (RFC 4291 section 2.5.5.2).
func mapped(a [4]byte) [16]byte {
	return [16]byte{10: 0xff, 11: 0xff, 12: a[0], 13: a[1], 14: a[2], 15: a[3]}
}

// FlowTable is where the counters of connections are read, those of one flow table
// of the kernel or of several. See Accounts for its methods.
type FlowTable interface {
	Peek(keys []segment.Key, counters []segment.Counters) error
	Take(keys []segment.Key, counters []segment.Counters) error
}

// Accounts is the kernel's flow table: the counters of every followed
// connection, by tuple. Its methods may be called from any goroutine; at most
// 16 calls are under way at once, others wait.
type Accounts struct {
	ipv4    *ebpf.Map // by ipv4Key
	ipv6    *ebpf.Map // by segment.Key
	walk    *ebpf.Program
	batches *ebpf.Map
	mapping []byte
	calls   [accountsSlots]walkCall
	free    chan uint32
}

// OpenAccounts makes a flow table of maxFlows entries for IPv4, preallocated,
// and of as many for IPv6.
func OpenAccounts(maxFlows uint32) (*Accounts, error) {
	spec, err := bpf.LoadTap()
	if err != nil {
		return nil, fmt.Errorf("read the flow table's programs: %w", err)
	}
	spec.Maps[bpf.TapMapFlowsIpv4].MaxEntries = maxFlows
	spec.Maps[bpf.TapMapFlowsIpv6].MaxEntries = maxFlows
	var objects struct {
		Walk    *ebpf.Program `ebpf:"finwait_walk"`
		IPv4    *ebpf.Map     `ebpf:"flows_ipv4"`
		IPv6    *ebpf.Map     `ebpf:"flows_ipv6"`
		Batches *ebpf.Map     `ebpf:"batches"`
	}
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return nil, LoadError(fmt.Sprintf("a flow table of %d entries", maxFlows), err)
	}
	a := &Accounts{
		ipv4:    objects.IPv4,
		ipv6:    objects.IPv6,
		walk:    objects.Walk,
		batches: objects.Batches,
		free:    make(chan uint32, accountsSlots),
	}
	size := accountsSlots * int(unsafe.Sizeof(walkBatch{}))
	a.mapping, err = unix.Mmap(a.batches.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the flow table's batches, %d octets: %w", size, err), a.Close())
	}
	for slot := range uint32(accountsSlots) {
		a.free <- slot
	}
	return a, nil
}

// Shared are the maps that all programs which count in this table have in
// common, by name.
func (a *Accounts) Shared() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{bpf.TapMapFlowsIpv4: a.ipv4, bpf.TapMapFlowsIpv6: a.ipv6}
}

// Memory is the octets that the kernel has reserved for the table.
func (a *Accounts) Memory() uint64 { return memory(a.ipv4) + memory(a.ipv6) }

// Peek reads the counters of keys, at most 64 of them, and leaves the entries.
// counters[i] belongs to keys[i] and is zero where there is no entry.
func (a *Accounts) Peek(keys []segment.Key, counters []segment.Counters) error {
	return a.PeekOf(0, keys, counters)
}

// Take is Peek and deletes the entries. A segment counted on another CPU
// between the two is lost from the counters.
func (a *Accounts) Take(keys []segment.Key, counters []segment.Counters) error {
	return a.TakeOf(0, keys, counters)
}

// PeekOf is Peek of those keys that are of a scope, which in the kernel is the table:
// the counters of the others stay as they are.
func (a *Accounts) PeekOf(scope uint32, keys []segment.Key, counters []segment.Counters) error {
	_, err := a.call(peek, 0, scope, keys, counters)
	return err
}

// TakeOf is PeekOf and deletes the entries, as Take does.
func (a *Accounts) TakeOf(scope uint32, keys []segment.Key, counters []segment.Counters) error {
	_, err := a.call(take, 0, scope, keys, counters)
	return err
}

// Orphans deletes entries of whose two directions neither counted a segment
// within olderThan: those whose opening segment never reached user space, so
// that nobody else deletes them. It reads the whole table.
func (a *Accounts) Orphans(olderThan time.Duration) (deleted int, err error) {
	now, err := monotonic()
	if err != nil {
		return 0, err
	}
	deadline := now - olderThan.Nanoseconds()
	deleted, err = sweepMap(a, a.ipv4, deadline, ipv4Key.wide)
	if err != nil {
		return deleted, err
	}
	n, err := sweepMap(a, a.ipv6, deadline, func(k segment.Key) segment.Key { return k })
	return deleted + n, err
}

// sweepMap is Orphans for one of the maps, of which wide translates the keys.
func sweepMap[K any](a *Accounts, m *ebpf.Map, deadline int64, wide func(K) segment.Key) (deleted int, err error) {
	var (
		cursor   ebpf.MapBatchCursor
		keys     = make([]K, sweepBatch)
		counters = make([]segment.Counters, sweepBatch)
		stale    = make([]segment.Key, 0, accountsBatch)
		scratch  = make([]segment.Counters, accountsBatch)
	)
	flush := func() error {
		n, err := a.call(sweep, deadline, 0, stale, scratch)
		deleted += n
		stale = stale[:0]
		return err
	}
	for {
		n, err := m.BatchLookup(&cursor, keys, counters, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return deleted, fmt.Errorf("read the flow table: %w", err)
		}
		for i := range n {
			if counters[i][0].LastAt >= deadline || counters[i][1].LastAt >= deadline {
				continue
			}
			if stale = append(stale, wide(keys[i])); len(stale) == accountsBatch {
				if err := flush(); err != nil {
					return deleted, err
				}
			}
		}
		if last {
			return deleted, flush()
		}
	}
}

// call runs the walk for the keys of a scope, and returns what it did.
func (a *Accounts) call(mode walkMode, deadline int64, scope uint32, keys []segment.Key, counters []segment.Counters) (int, error) {
	if len(keys) > accountsBatch || len(counters) < len(keys) {
		return 0, fmt.Errorf("%d keys and room for %d counters: at most %d keys, and room for each", len(keys), len(counters), accountsBatch)
	}
	slot := <-a.free
	defer func() { a.free <- slot }()

	batch, n := a.batch(slot), uint32(0)
	for i := range keys {
		if keys[i].Scope == scope {
			batch.keys[n] = keys[i]
			batch.keys[n].Scope = 0
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	done, err := a.run(slot, walkRequest{deadline: deadline, slot: slot, count: n, mode: mode})
	if err != nil {
		return 0, fmt.Errorf("read %d entries of the flow table: %w", n, err)
	}
	n = 0
	for i := range keys {
		if keys[i].Scope == scope {
			counters[i] = batch.counters[n]
			n++
		}
	}
	return done, nil
}

// run has the program do what a slot's owner asks.
func (a *Accounts) run(slot uint32, request walkRequest) (int, error) {
	c := &a.calls[slot]
	c.request = request
	c.attr = progRun{
		progFD:    uint32(a.walk.FD()),
		ctxIn:     unsafe.Pointer(&c.request),
		ctxSizeIn: uint32(unsafe.Sizeof(c.request)),
	}
	// Without telling the Go runtime, whose monitor would wake up and look after it 20 us
	// later, again and again: the call is over before.
	_, _, errno := unix.RawSyscall(unix.SYS_BPF, unix.BPF_PROG_RUN, uintptr(unsafe.Pointer(&c.attr)), unsafe.Sizeof(c.attr))
	runtime.KeepAlive(a)
	if errno != 0 {
		return 0, errno
	}
	if c.attr.retval < 0 {
		return 0, fmt.Errorf("program returned %d", c.attr.retval)
	}
	return int(c.attr.retval), nil
}

func (a *Accounts) batch(slot uint32) *walkBatch {
	return (*walkBatch)(unsafe.Pointer(&a.mapping[uintptr(slot)*unsafe.Sizeof(walkBatch{})]))
}

// Close gives the table back to the kernel. No call may be under way.
func (a *Accounts) Close() error {
	var errs []error
	if a.mapping != nil {
		errs = append(errs, unix.Munmap(a.mapping))
		a.mapping = nil
	}
	return errors.Join(append(errs, a.walk.Close(), a.batches.Close(), a.ipv4.Close(), a.ipv6.Close())...)
}

// monotonic is the clock of segments, in ns.
func monotonic() (int64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	return now.Nano(), nil
}
