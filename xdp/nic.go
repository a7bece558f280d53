package xdp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netInterface is one interface of the tap: what was found, and what was
// changed and must be put back.
type netInterface struct {
	name    string
	index   int
	mtu     int
	driver  string
	queues  int
	ethtool *ethtool

	symmetric bool // RSS spreads both directions of a flow alike
	promisc   int  // packet socket that holds the promiscuity, -1 for none
	changes   []change
}

// change is one setting that differs from what was found.
type change struct {
	what string
	undo func() error
}

// inspect validates an interface and changes nothing.
func inspect(handle *netlink.Handle, tool *ethtool, name string, force bool) (*netInterface, error) {
	link, err := handle.LinkByName(name)
	if err != nil {
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			return nil, fmt.Errorf("interface %q does not exist in this network namespace; ip link lists those that do", name)
		}
		return nil, fmt.Errorf("look up interface %q: %w", name, err)
	}
	attributes := link.Attrs()
	nic := &netInterface{
		name: name, index: attributes.Index, mtu: attributes.MTU,
		driver: tool.driver(name), queues: tool.queues(name), ethtool: tool, promisc: -1,
	}
	if nic.queues == 0 {
		nic.queues = max(attributes.NumRxQueues, 1)
	}
	if attributes.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("interface %q is down: bring it up first (ip link set dev %s up)", name, name)
	}
	if x := attributes.Xdp; x != nil {
		if err := foreign(nic, x.Attached, x.ProgId); err != nil {
			return nil, err
		}
	}
	if force {
		return nic, nil
	}
	return nic, checkAddresses(handle, link)
}

// checkAddresses refuses an interface through which the box itself is reached:
// by its own address, its bridge's or bond's, or that of a VLAN upon it. Link-local IPv6
// addresses are on every interface that is up, and do not count.
func checkAddresses(handle *netlink.Handle, link netlink.Link) error {
	links, err := handle.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	own := link.Attrs()
	for _, other := range links {
		a := other.Attrs()
		above := a.Index == own.MasterIndex || a.ParentIndex == own.Index && other.Type() != "veth"
		if a.Index != own.Index && !above {
			continue
		}
		addresses, err := handle.AddrList(other, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list the addresses of interface %q: %w", a.Name, err)
		}
		for _, address := range addresses {
			ip, ok := netip.AddrFromSlice(address.IP)
			if ip = ip.Unmap(); !ok || ip.Is6() && ip.IsLinkLocalUnicast() {
				continue
			}
			return fmt.Errorf("interface %q carries this machine's address %s (on %q), and a tap consumes what arrives: "+
				"count its own traffic with --mode gateway, or cut it off with --force", own.Name, ip, a.Name)
		}
	}
	return nil
}

// offloads hide what was on the wire: LRO and hardware GRO merge segments, and
// VLAN stripping moves the tag where an XDP program does not see it.
var offloads = []string{"rx-lro", "rx-gro-hw", "rx-vlan-hw-parse"}

// prepare makes the NIC show every frame as it was sent. What the driver
// cannot do is left as it is.
func (n *netInterface) prepare() error {
	if err := n.promiscuous(); err != nil {
		return err
	}
	n.switchOffloads()
	if n.queues > 1 {
		n.spread()
	}
	return nil
}

// promiscuous is held by a packet socket, so that the kernel ends it with the
// process whatever becomes of that (packet(7)).
func (n *netInterface) promiscuous() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a packet socket for interface %q: %w: CAP_NET_RAW is needed", n.name, err)
	}
	membership := unix.PacketMreq{Ifindex: int32(n.index), Type: unix.PACKET_MR_PROMISC}
	err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &membership)
	if err != nil {
		return errors.Join(fmt.Errorf("set interface %q promiscuous: %w", n.name, err), unix.Close(fd))
	}
	n.promisc = fd
	return nil
}

func (n *netInterface) switchOffloads() {
	features, err := n.ethtool.features(n.name)
	if err != nil {
		return
	}
	for _, name := range offloads {
		f, ok := features[name]
		if !ok || !f.on || !f.mutable || n.ethtool.setFeature(n.name, f.bit, len(features), false) != nil {
			continue
		}
		n.changes = append(n.changes, change{name + " off", func() error {
			return n.ethtool.setFeature(n.name, f.bit, len(features), true)
		}})
	}
}

// spread makes RSS symmetric: with a Toeplitz key that repeats every 16 bits,
// exchanging source and destination leaves the hash as it is (Woo and Park,
// "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", 2012).
func (n *netInterface) spread() {
	key, err := n.ethtool.rssKey(n.name)
	if err != nil {
		return
	}
	for _, flow := range []struct {
		name string
		kind uint32
	}{{"TCP over IPv4", flowTCP4}, {"TCP over IPv6", flowTCP6}} {
		fields, err := n.ethtool.hashFields(n.name, flow.kind)
		if err != nil {
			return
		}
		if fields == hashTuple {
			continue
		}
		if n.ethtool.setHashFields(n.name, flow.kind, hashTuple) != nil {
			return
		}
		n.changes = append(n.changes, change{"RSS of " + flow.name + " by addresses and ports", func() error {
			return n.ethtool.setHashFields(n.name, flow.kind, fields)
		}})
	}
	symmetric := bytes.Repeat([]byte{0x6d, 0x5a}, (len(key)+1)/2)[:len(key)]
	if bytes.Equal(key, symmetric) {
		n.symmetric = true
		return
	}
	if n.ethtool.setRSSKey(n.name, symmetric) != nil {
		return
	}
	n.symmetric = true
	n.changes = append(n.changes, change{"RSS key symmetric", func() error {
		return n.ethtool.setRSSKey(n.name, key)
	}})
}

// restore puts back what prepare changed, the last first.
func (n *netInterface) restore() error {
	var errs []error
	for _, c := range slices.Backward(n.changes) {
		// An interface that is gone has nothing to put back.
		if err := c.undo(); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("undo %q of interface %q: %w", c.what, n.name, err))
		}
	}
	n.changes = nil
	if n.promisc >= 0 {
		errs = append(errs, unix.Close(n.promisc))
		n.promisc = -1
	}
	return errors.Join(errs...)
}
