package gateway

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/bpf"
	"github.com/finwait/finwait/xdp/netns"
)

const (
	// pairMTU lets a jumbo frame through with a struct segment before it, where the
	// kernel does not let it be cut.
	pairMTU = 9216 + segmentRoom
	// segmentRoom is more than a struct segment and an Ethernet header.
	segmentRoom = 256

	// pairName is numbered on from 0, for as many as run in one namespace.
	pairName  = "finwait"
	pairNames = 64
	farName   = "far"
	// pairAlias begins what ip-link(8) shows of the near end.
	pairAlias = "finwait: "

	addressesNone = 1 // IN6_ADDR_GEN_MODE_NONE in linux/if_link.h
)

// pair is a veth pair with what is attached to its ends. Clones leave by the near
// end, in the namespace of the interfaces. The far end is in a namespace that
// nothing but this process holds: with that one the kernel removes the pair.
type pair struct {
	handle    *netlink.Handle // of the near end's namespace, not the pair's own
	ns        *os.File        // of the far end
	farHandle *netlink.Handle
	near      netlink.Link
	far       netlink.Link
	queues    []*xdp.Queue
	programs  *pairPrograms
	attached  *attachment
	farLink   link.Link
	step      *step // nil where no interface needs one
}

// pairPrograms are the programs at both ends, and the maps that the hooks share.
type pairPrograms struct {
	Near     *ebpf.Program `ebpf:"finwait_near"`
	Far      *ebpf.Program `ebpf:"finwait_far"`
	Sockets  *ebpf.Map     `ebpf:"sockets"`
	Parcels  *ebpf.Map     `ebpf:"parcels"`
	Budgets  *ebpf.Map     `ebpf:"budgets"`
	Passages *ebpf.Map     `ebpf:"passages"`
}

// openPair makes the pair, with both ends down.
func openPair(handle *netlink.Handle, queues int, c *claim) (p *pair, err error) {
	p = &pair{handle: handle}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
			p = nil
		}
	}()
	if p.ns, err = netns.New(); err != nil {
		return p, fmt.Errorf("a namespace for the clones: %w", err)
	}
	if err = p.addLinks(uint32(queues)); err != nil {
		return p, err
	}
	if err = handle.LinkSetAlias(p.near, fmt.Sprintf("%sclones of control segments (process %d, %s)", pairAlias, os.Getpid(), c.token)); err != nil {
		return p, fmt.Errorf("name interface %q: %w", p.near.Attrs().Name, err)
	}
	// Nobody is to be spoken to by it. A kernel without IPv6 has no such mode.
	_ = handle.LinkSetIP6AddrGenMode(p.near, addressesNone)
	if err = handle.LinkSetARPOff(p.near); err != nil {
		return p, fmt.Errorf("set interface %q quiet: %w", p.near.Attrs().Name, err)
	}
	return p, p.load(queues)
}

func (p *pair) addLinks(queues uint32) error {
	for i := range pairNames {
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("%s%d", pairName, i), MTU: pairMTU, NumTxQueues: int(queues), NumRxQueues: int(queues)},
			PeerName:  farName, PeerNamespace: netlink.NsFd(int(p.ns.Fd())), PeerMTU: pairMTU, PeerNumTxQueues: queues, PeerNumRxQueues: queues,
		}
		err := p.handle.LinkAdd(veth)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return fmt.Errorf("make a veth pair, %q: %w: the kernel's module veth is needed (CONFIG_VETH)", veth.Name, err)
		}
		if p.near, err = p.handle.LinkByName(veth.Name); err != nil {
			return fmt.Errorf("look up interface %q: %w", veth.Name, err)
		}
		return netns.Do(p.ns, func() (err error) {
			if p.farHandle, err = netlink.NewHandle(); err != nil {
				return fmt.Errorf("open a netlink socket in the clones' namespace: %w", err)
			}
			if p.far, err = p.farHandle.LinkByName(farName); err != nil {
				return fmt.Errorf("look up the far end of interface %q: %w", veth.Name, err)
			}
			return nil
		})
	}
	return fmt.Errorf("the interfaces %s0 to %s%d exist already: stop finwait where it runs", pairName, pairName, pairNames-1)
}

func (p *pair) load(queues int) error {
	spec, err := bpf.LoadGateway()
	if err != nil {
		return fmt.Errorf("read the gateway's programs: %w", err)
	}
	spec.Maps[bpf.GatewayMapSockets].MaxEntries = uint32(queues)
	p.programs = new(pairPrograms)
	if err := spec.LoadAndAssign(p.programs, nil); err != nil {
		p.programs = nil
		return xdp.LoadError("the programs of the clones' interfaces", err)
	}
	return nil
}

// connect attaches to both ends and sets them up. What others send there is dropped
// from the first moment on.
func (p *pair) connect(attach *attacher) (err error) {
	name := p.near.Attrs().Name
	if p.attached, err = attach.to(name, p.near.Attrs().Index, egress, p.programs.Near); err != nil {
		return err
	}
	err = netns.Do(p.ns, func() (err error) {
		// Native alone: generic XDP receives nothing of what is redirected.
		p.farLink, err = link.AttachXDP(link.XDPOptions{Program: p.programs.Far, Interface: p.far.Attrs().Index, Flags: link.XDPDriverMode})
		if err != nil {
			return fmt.Errorf("attach to the far end of interface %q: %w", name, err)
		}
		return p.farHandle.LinkSetUp(p.far)
	})
	if err != nil {
		return err
	}
	if err := p.handle.LinkSetUp(p.near); err != nil {
		return fmt.Errorf("set interface %q up: %w", name, err)
	}
	return nil
}

// firstStep is the interface to which clones of another go.
func (p *pair) firstStep(bare bool) int {
	if bare {
		return p.step.link.Attrs().Index
	}
	return p.near.Attrs().Index
}

// openQueues binds a socket to each queue of the far end. What is lost on the way
// there is the first one's.
func (p *pair) openQueues(ringSize int, lost func() (uint64, error)) ([]*xdp.Queue, error) {
	err := netns.Do(p.ns, func() error {
		for index := range int(p.programs.Sockets.MaxEntries()) {
			c := xdp.QueueConfig{Name: p.near.Attrs().Name, Interface: p.far.Attrs().Index, Index: index, ID: index, RingSize: ringSize}
			if index == 0 {
				c.Lost = lost
			}
			q, err := xdp.OpenQueue(c)
			if err != nil {
				return err
			}
			p.queues = append(p.queues, q)
			if err := q.Enter(p.programs.Sockets); err != nil {
				return err
			}
		}
		return nil
	})
	return p.queues, err
}

// close removes the pair. The hooks must be gone.
func (p *pair) close() error {
	var errs []error
	if p.step != nil {
		errs = append(errs, p.step.close())
	}
	if p.near != nil {
		// Both ends at once: the kernel removes a namespace's interfaces later.
		if err := p.handle.LinkDel(p.near); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("remove interface %q: %w", p.near.Attrs().Name, err))
		}
	}
	for _, q := range p.queues {
		errs = append(errs, q.Close())
	}
	if p.attached != nil {
		errs = append(errs, p.attached.release())
	}
	if p.farLink != nil {
		errs = append(errs, p.farLink.Close())
	}
	if o := p.programs; o != nil {
		errs = append(errs, o.Near.Close(), o.Far.Close(), o.Sockets.Close(), o.Parcels.Close(), o.Budgets.Close(), o.Passages.Close())
	}
	if p.farHandle != nil {
		p.farHandle.Close()
	}
	if p.ns != nil {
		errs = append(errs, p.ns.Close())
	}
	return errors.Join(errs...)
}
