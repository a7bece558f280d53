package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/ring"
)

const (
	// DefaultSegmentLimit is far above what connections on a machine that can forward
	// them make: each is about seven control segments on each interface.
	DefaultSegmentLimit = 400_000
	// DefaultRingSize is the segments of a tenth of a second at that limit, and of
	// seconds otherwise.
	DefaultRingSize = 38_000

	// cpusPerQueue is how many CPUs share a worker: forwarding a connection costs many
	// times what following it does.
	cpusPerQueue = 4
	maxQueues    = 16
	maxRingSize  = 1 << 22
)

// Config is what a Gateway is asked to do. Only Interfaces is required.
type Config struct {
	// Interfaces are names in the calling thread's network namespace, at most 255.
	Interfaces []string
	// MaxFlows is the number of entries of each interface's flow table; see
	// xdp.Config.
	MaxFlows uint32
	// SegmentLimit is how many segments are passed to user space in a second, of all
	// interfaces together; 0 for DefaultSegmentLimit. Of segments without an entry in the
	// flow table, as those of a SYN flood, there may be a sixteenth of it, and four for
	// each connection that was really opened a moment before.
	SegmentLimit uint64
	// RingSize is the number of segments that find room in one queue, at least, up to
	// 4,194,304; 0 for DefaultRingSize. Each takes 216 octets, with Owners 224, and all together
	// a power of two.
	RingSize int
	// Queues is the number of queues, each of which wants a worker; 0 for one for
	// every four CPUs.
	Queues int
	// Owners tells of segments of this machine's own sockets which control group
	// (cgroup v2) sent them.
	Owners bool

	// classic attaches by filters of tc where there is tcx; for tests.
	classic bool
	// describeAll passes every TCP segment; for tests.
	describeAll bool
}

// Gateway measures on its interfaces.
type Gateway struct {
	config   Config
	handle   *netlink.Handle
	claim    *claim
	ports    []*port
	outlet   *outlet
	facts    []string
	warnings []string
	orphaned atomic.Uint64
	once     sync.Once
	closed   error
}

// port is one interface of a Gateway.
type port struct {
	name     string
	index    int
	driver   string
	number   uint32
	bare     bool // IP packets without a link header
	loopback bool
	accounts *xdp.Accounts
	hooks    []*hook
}

// Open validates everything, then attaches to the interfaces. A failed Open leaves
// nothing behind. It works in the network namespace of the calling thread, which the
// caller has locked; the Gateway is not bound to that thread.
func Open(config Config) (*Gateway, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	if err := xdp.CheckPrivilege(); err != nil {
		return nil, err
	}
	if config.Owners {
		if err := checkOwners(); err != nil {
			return nil, err
		}
	}
	g := &Gateway{config: config}
	if err := g.open(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	g.report()
	return g, nil
}

func (c *Config) complete() error {
	if len(c.Interfaces) == 0 {
		return errors.New("no interface to measure on: name one with --interface")
	}
	if len(c.Interfaces) > segment.MaxScope {
		return fmt.Errorf("%d interfaces: at most %d can be measured at once", len(c.Interfaces), segment.MaxScope)
	}
	for i, name := range c.Interfaces {
		if slices.Contains(c.Interfaces[:i], name) {
			return fmt.Errorf("interface %q is named twice", name)
		}
	}
	if c.MaxFlows == 0 {
		c.MaxFlows = xdp.DefaultMaxFlows
	}
	if c.SegmentLimit == 0 {
		c.SegmentLimit = DefaultSegmentLimit
	}
	if c.RingSize == 0 {
		c.RingSize = DefaultRingSize
	}
	if c.RingSize < 0 || c.RingSize > maxRingSize {
		return fmt.Errorf("room for %d segments in a queue: choose a number from 1 to %d", c.RingSize, maxRingSize)
	}
	if c.Queues == 0 {
		c.Queues = min(max(runtime.NumCPU()/cpusPerQueue, 1), maxQueues)
	}
	if c.Queues < 0 || c.Queues > maxQueues {
		return fmt.Errorf("%d queues: choose a number from 1 to %d", c.Queues, maxQueues)
	}
	return nil
}

func (g *Gateway) open() (err error) {
	if g.handle, err = netlink.NewHandle(); err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	for i, name := range g.config.Interfaces {
		p, err := inspect(g.handle, name)
		if err != nil {
			return err
		}
		p.number = uint32(i + 1)
		g.ports = append(g.ports, p)
	}
	if g.claim, err = newClaim(); err != nil {
		return err
	}
	if err := removeStale(g.handle); err != nil {
		return err
	}
	if g.outlet, err = openOutlet(g.config.Queues, ring.Octets(g.config.RingSize), g.lost); err != nil {
		return err
	}
	if err := g.loadHooks(); err != nil {
		return err
	}
	attach := attacher{handle: g.handle, claim: g.claim, classic: g.config.classic}
	for _, p := range g.ports {
		for _, h := range p.hooks {
			if h.attached, err = attach.to(p.name, p.index, h.direction, h.program); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadHooks loads the programs of all interfaces before the first is attached. The
// kernel takes a third of a second to verify one.
func (g *Gateway) loadHooks() (err error) {
	secret := rand.Uint64()
	var loading errgroup.Group
	loading.SetLimit(runtime.NumCPU())
	for _, p := range g.ports {
		if p.accounts, err = xdp.OpenAccounts(g.config.MaxFlows); err != nil {
			break
		}
		directions := p.directions(g.config.Owners)
		p.hooks = make([]*hook, len(directions))
		for i, d := range directions {
			loading.Go(func() (err error) {
				p.hooks[i], err = openHook(p, d, g.outlet, &g.config, secret)
				return err
			})
		}
	}
	return errors.Join(err, loading.Wait())
}

// directions are those that show each packet once: on a loopback interface what
// leaves arrives, where it has lost its socket.
func (p *port) directions(owners bool) []direction {
	switch {
	case p.loopback && owners:
		return []direction{egress}
	case p.loopback:
		return []direction{ingress}
	default:
		return []direction{ingress, egress}
	}
}

// Queues are in the order of their numbers.
func (g *Gateway) Queues() []*Queue { return g.outlet.queues }

// InterfaceName is the name of an interface by its number, empty for any other.
func (g *Gateway) InterfaceName(number uint32) string {
	if number == 0 || int(number) > len(g.ports) {
		return ""
	}
	return g.ports[number-1].name
}

// Interfaces lists what the gateway measures on.
func (g *Gateway) Interfaces() []xdp.InterfaceInfo {
	infos := make([]xdp.InterfaceInfo, 0, len(g.ports))
	for _, p := range g.ports {
		infos = append(infos, xdp.InterfaceInfo{Name: p.name, Driver: p.driver, Mode: p.hooks[0].attached.mode, Queues: len(g.outlet.queues)})
	}
	return infos
}

// Warnings are what the operator should know but need not act upon.
func (g *Gateway) Warnings() []string { return g.warnings }

// Facts are what was found and done, one line each.
func (g *Gateway) Facts() []string { return g.facts }

// Orphans deletes entries of the flow tables that counted nothing within olderThan,
// and returns how many; see xdp.Tap.
func (g *Gateway) Orphans(olderThan time.Duration) (int, error) {
	var (
		deleted int
		errs    []error
	)
	for _, p := range g.ports {
		n, err := p.accounts.Orphans(olderThan)
		deleted += n
		errs = append(errs, err)
	}
	g.orphaned.Add(uint64(deleted))
	return deleted, errors.Join(errs...)
}

// Close detaches from the interfaces and gives the rings back. No Receive may be under
// way, and no segment may be used any more. Calling it again returns the first
// call's error.
func (g *Gateway) Close() error {
	g.once.Do(func() {
		var errs []error
		for _, p := range slices.Backward(g.ports) {
			errs = append(errs, p.close())
		}
		if g.outlet != nil {
			errs = append(errs, g.outlet.close())
		}
		if g.claim != nil {
			errs = append(errs, g.claim.close())
		}
		if g.handle != nil {
			g.handle.Close()
		}
		g.closed = errors.Join(errs...)
	})
	return g.closed
}

func (p *port) close() error {
	var errs []error
	for _, h := range slices.Backward(p.hooks) {
		if h != nil {
			errs = append(errs, h.close())
		}
	}
	if p.accounts != nil {
		errs = append(errs, p.accounts.Close())
	}
	return errors.Join(errs...)
}

// report notes the facts and warnings of an opened gateway.
func (g *Gateway) report() {
	var kernel uint64
	for _, p := range g.ports {
		where := "ingress and egress"
		if p.loopback {
			where = p.hooks[0].direction.String()
		}
		g.facts = append(g.facts, fmt.Sprintf("interface %q: driver %s, programs at %s by %s, the traffic goes on as it is", p.name, p.driver, where, p.hooks[0].attached.mode))
		kernel += p.accounts.Memory()
	}
	g.facts = append(g.facts,
		fmt.Sprintf("control segments: at most %d a second, by %d ring(s) of %.1f MiB", g.config.SegmentLimit, len(g.outlet.queues), float64(ring.Octets(g.config.RingSize))/(1<<20)),
		fmt.Sprintf("flow tables: one of %d entries for each interface, %.1f MiB reserved in the kernel; as many for IPv6, of which the memory is taken as they come",
			g.config.MaxFlows, float64(kernel)/(1<<20)))
	if g.ports[0].hooks[0].attached.mode == modeClassic {
		g.warnings = append(g.warnings, "this kernel has no tcx (Linux 6.6): filters of tc are used, which stay behind where finwait is killed, "+
			"doing no harm, until its next start removes them")
	}
}
