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
)

const (
	// DefaultCloneLimit is far above what connections on a machine that can forward
	// them make: each is about seven clones on each interface.
	DefaultCloneLimit = 400_000

	// cpusPerQueue is how many CPUs share a worker: a clone costs as much as several
	// segments that a worker follows.
	cpusPerQueue = 4
	maxQueues    = 16
)

// Config is what a Gateway is asked to do. Only Interfaces is required.
type Config struct {
	// Interfaces are names in the calling thread's network namespace, at most 255.
	Interfaces []string
	// MaxFlows is the number of entries of each interface's flow table; see
	// xdp.Config.
	MaxFlows uint32
	// CloneLimit is how many clones there may be in a second, on all interfaces
	// together; 0 for DefaultCloneLimit. Of segments without an entry in the flow table,
	// as those of a SYN flood, there may be a sixteenth of it, and four for each
	// connection that was really opened a moment before.
	CloneLimit uint64
	// RingSize is the number of segments that may wait in one queue; see xdp.Config.
	RingSize int
	// Queues is the number of queues, each of which wants a worker; 0 for one for
	// every four CPUs.
	Queues int

	// classic attaches by filters of tc where there is tcx; for tests.
	classic bool
	// describeAll passes every TCP segment; for tests.
	describeAll bool
}

// Gateway measures on its interfaces.
type Gateway struct {
	config   Config
	handle   *netlink.Handle
	pair     *pair
	claim    *claim
	ports    []*port
	queues   []*xdp.Queue
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
	if err := xdp.CheckPrivilege(xdp.SysAdmin); err != nil {
		return nil, err
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
	if c.CloneLimit == 0 {
		c.CloneLimit = DefaultCloneLimit
	}
	if c.Queues == 0 {
		c.Queues = min(max(runtime.NumCPU()/cpusPerQueue, 1), maxQueues)
	}
	if c.Queues < 0 || c.Queues > maxQueues {
		return fmt.Errorf("%d queues: choose a number from 1 to %d", c.Queues, maxQueues)
	}
	return xdp.CompleteRing(&c.RingSize)
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
	if g.pair, err = openPair(g.handle, g.config.Queues, g.claim); err != nil {
		return err
	}
	attach := attacher{handle: g.handle, claim: g.claim, classic: g.config.classic}
	if err := g.pair.connect(&attach); err != nil {
		return err
	}
	if slices.ContainsFunc(g.ports, func(p *port) bool { return p.bare }) {
		if g.pair.step, err = openStep(g.handle, g.pair, &attach); err != nil {
			return err
		}
	}
	if g.queues, err = g.pair.openQueues(g.config.RingSize, g.lost); err != nil {
		return err
	}
	if err := g.loadHooks(); err != nil {
		return err
	}
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
		directions := p.directions()
		p.hooks = make([]*hook, len(directions))
		for i, d := range directions {
			loading.Go(func() (err error) {
				p.hooks[i], err = openHook(p, d, g.pair, &g.config, secret)
				return err
			})
		}
	}
	return errors.Join(err, loading.Wait())
}

// directions are those that show each packet once: on a loopback interface what
// leaves arrives.
func (p *port) directions() []direction {
	if p.loopback {
		return []direction{ingress}
	}
	return []direction{ingress, egress}
}

// Queues are the queues of the pair, in the order of their IDs.
func (g *Gateway) Queues() []*xdp.Queue { return g.queues }

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
		infos = append(infos, xdp.InterfaceInfo{Name: p.name, Driver: p.driver, Mode: p.hooks[0].attached.mode, Queues: len(g.queues)})
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

// Close detaches from the interfaces and removes the pair. No Receive may be under
// way, and no segment may be used any more. Calling it again returns the first
// call's error.
func (g *Gateway) Close() error {
	g.once.Do(func() {
		var errs []error
		for _, p := range slices.Backward(g.ports) {
			errs = append(errs, p.close())
		}
		if g.pair != nil {
			errs = append(errs, g.pair.close())
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
			where = "ingress"
		}
		g.facts = append(g.facts, fmt.Sprintf("interface %q: driver %s, programs at %s by %s, the traffic goes on as it is", p.name, p.driver, where, p.hooks[0].attached.mode))
		kernel += p.accounts.Memory()
	}
	g.facts = append(g.facts,
		fmt.Sprintf("clones: by %q to a namespace of finwait's own, at most %d a second, gone with this process", g.pair.near.Attrs().Name, g.config.CloneLimit),
		fmt.Sprintf("flow tables: one of %d entries for each interface, %.1f MiB reserved in the kernel; as many for IPv6, of which the memory is taken as they come",
			g.config.MaxFlows, float64(kernel)/(1<<20)),
		xdp.SocketsFact(len(g.queues), g.config.RingSize))
	if g.ports[0].hooks[0].attached.mode == modeClassic {
		g.warnings = append(g.warnings, "this kernel has no tcx (Linux 6.6): filters of tc are used, which stay behind where finwait is killed, "+
			"doing no harm, until its next start removes them")
	}
}
