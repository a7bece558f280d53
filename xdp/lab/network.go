// Package lab builds a small network out of namespaces, sends real TCP
// connections through it that end in every way, and says exactly what it did,
// so that what finwait saw can be held against it.
//
// A Network has a hub in its middle, for a tap, or a gateway (BuildGateway).
//
// Terms. The hub is a Linux bridge that learns no addresses and so repeats
// every frame on every port; client, server and tap each hang on one port.
// A scenario is one way to open and close a connection; a play is one run of
// it, on one connection or two. An Expectation is what a play knows of its
// connection, from both of its ends. The kernel's truth is what the sockets
// themselves report of their states (Trace).
//
// Nothing has a name outside the process: the namespaces are held by file
// descriptors and vanish with it, also when it is killed. A Network may be
// used from several goroutines; Close is to be called once nothing else uses
// it, and may be called again.
package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/xdp/netns"
)

// TapInterface is the name of the tap's interface in the namespace Tap. It
// has no address.
const TapInterface = "tap0"

// maxTapQueues is what a veth takes without a queue mapping of its own.
const maxTapQueues = 64

// Config is how a Network is built. Its zero value is useful.
type Config struct {
	// TapQueues is the number of receive queues of the tap's interface, 1
	// where it is 0. The hub spreads connections over them by the hash of
	// their sockets, so the two directions of one may arrive on two queues.
	TapQueues int
}

// Network is a hub with a client, a server and a tap on it, or a client and a
// server with a gateway between them.
type Network struct {
	namespace [namespaces]*os.File
	hub       *netlink.Handle // of what is in the middle
	gateway   bool
	nat       NAT
	families  []family
	lastPort  atomic.Uint32
	closing   sync.Once
	closeErr  error
}

// Build makes the namespaces and joins them. It needs root. Where a step does
// not succeed, what was made before it is removed.
func Build(config Config) (*Network, error) {
	if config.TapQueues == 0 {
		config.TapQueues = 1
	}
	if config.TapQueues < 1 || config.TapQueues > maxTapQueues {
		return nil, fmt.Errorf("tap queues %d: choose 1 to %d", config.TapQueues, maxTapQueues)
	}
	n := &Network{families: families}
	if err := n.build(config, (*Network).makeNamespaces, (*Network).makeHub, (*Network).joinEnds, (*Network).prepareEnds); err != nil {
		return nil, err
	}
	return n, nil
}

// build takes the steps, and undoes them where one does not return well.
func (n *Network) build(config Config, steps ...func(*Network, Config) error) error {
	built := false
	defer func() {
		if !built {
			n.Close()
		}
	}()
	for _, step := range steps {
		if err := step(n, config); err != nil {
			return fmt.Errorf("build lab: %w", err)
		}
	}
	built = true
	return nil
}

// Do runs fn with the calling thread in one of the network's namespaces:
// sockets that fn makes belong to it for good. Goroutines that fn starts run
// elsewhere. Do does not limit how long fn runs, nor how many do.
func (n *Network) Do(in Namespace, fn func() error) error {
	ns := n.namespace[in]
	if ns == nil {
		return fmt.Errorf("namespace %q: the lab is closed", in)
	}
	return netns.Do(ns, fn)
}

// Inode returns the inode number of a namespace, by which the kernel names it
// in /proc/PID/ns/net and in struct net.
func (n *Network) Inode(in Namespace) (uint32, error) {
	ns := n.namespace[in]
	if ns == nil {
		return 0, fmt.Errorf("namespace %q: the lab is closed", in)
	}
	return netns.Inode(ns)
}

// Close removes the interfaces and lets go of the namespaces. It may be
// called more than once, and on a network that was built in part.
func (n *Network) Close() error {
	n.closing.Do(func() {
		var problems []error
		if n.hub != nil {
			// A bridge port takes its other end along, wherever that is.
			links, err := n.hub.LinkList()
			problems = append(problems, err)
			for _, link := range links {
				if link.Attrs().Flags&net.FlagLoopback == 0 {
					problems = append(problems, n.hub.LinkDel(link))
				}
			}
			n.hub.Close()
		}
		for i, ns := range n.namespace {
			if ns != nil {
				problems = append(problems, ns.Close())
			}
			n.namespace[i] = nil
		}
		if err := errors.Join(problems...); err != nil {
			n.closeErr = fmt.Errorf("close lab: %w", err)
		}
	})
	return n.closeErr
}

func (n *Network) makeNamespaces(Config) error {
	for i := range n.namespace {
		made, err := netns.New()
		if err != nil {
			return fmt.Errorf("namespace %q: %w", Namespace(i), err)
		}
		n.namespace[i] = made
	}
	return nil
}

// port returns a client port that no other play of the last tens of
// thousands has used, so that a tuple returns only where it is meant to.
func (n *Network) port() uint16 {
	const lowest, count = 10000, 50000
	return uint16(lowest + n.lastPort.Add(1)%count)
}
