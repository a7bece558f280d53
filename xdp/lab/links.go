package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/netns"
)

// The interfaces other than the tap's.
const (
	hubInterface    = "hub0"
	clientInterface = "client0"
	serverInterface = "server0"
)

// family is what the network's hosts are called in one version of IP. The
// addresses are those set aside for benchmarks (RFC 2544, RFC 5180), so they
// are nobody's.
type family struct {
	name                   string
	client, server, ghost  netip.Addr // ghost is nobody, but has a neighbour entry
	lan, wan               netip.Addr // the gateway's towards the client and the server, where there is one
	second                 netip.Addr // the client's other address behind a gateway
	phantomClient, phantom netip.Addr // spoken for by crafted segments only
	prefixLength           int
}

var families = []family{
	{
		name:          "IPv4",
		client:        netip.MustParseAddr("198.18.0.1"),
		server:        netip.MustParseAddr("198.18.0.2"),
		ghost:         netip.MustParseAddr("198.18.0.9"),
		phantomClient: netip.MustParseAddr("198.18.0.101"),
		phantom:       netip.MustParseAddr("198.18.0.102"),
		prefixLength:  24,
	},
	{
		name:          "IPv6",
		client:        netip.MustParseAddr("2001:2::1"),
		server:        netip.MustParseAddr("2001:2::2"),
		ghost:         netip.MustParseAddr("2001:2::9"),
		phantomClient: netip.MustParseAddr("2001:2::101"),
		phantom:       netip.MustParseAddr("2001:2::102"),
		prefixLength:  64,
	},
}

// Locally administered unicast addresses. Nobody owns the last three.
var (
	clientMAC        = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x01}
	serverMAC        = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x02}
	ghostMAC         = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x09}
	phantomClientMAC = net.HardwareAddr{0x02, 0, 0, 0, 0x01, 0x01}
	phantomMAC       = net.HardwareAddr{0x02, 0, 0, 0, 0x01, 0x02}
)

// silentSysctls keep a namespace from speaking on its own.
var silentSysctls = map[string]string{
	"ipv6/conf/default/disable_ipv6":   "1",
	"bridge/bridge-nf-call-iptables?":  "0",
	"bridge/bridge-nf-call-ip6tables?": "0",
	"bridge/bridge-nf-call-arptables?": "0",
}

// hostSysctls keep a host from asking for routers and duplicates, and every
// connection from what an earlier one learnt.
var hostSysctls = map[string]string{
	"ipv6/conf/default/accept_ra":            "0",
	"ipv6/conf/default/autoconf":             "0",
	"ipv6/conf/default/router_solicitations": "0",
	"ipv6/conf/default/dad_transmits":        "0",
	"ipv6/conf/default/addr_gen_mode":        "1", // no link-local address
	"ipv4/tcp_no_metrics_save":               "1",
}

// makeHub makes the bridge. With an ageing time of 0 it forgets every address
// at once, and floods.
func (n *Network) makeHub(Config) error {
	for in, sysctls := range map[Namespace]map[string]string{
		Hub: silentSysctls, Tap: silentSysctls, Client: hostSysctls, Server: hostSysctls,
	} {
		if err := n.Do(in, func() error { return netns.Sysctl(sysctls) }); err != nil {
			return fmt.Errorf("namespace %q: %w", in, err)
		}
	}
	var err error
	if n.hub, err = n.handle(Hub); err != nil {
		return err
	}
	ageing, snooping := uint32(0), false
	bridge := &netlink.Bridge{
		LinkAttrs:         netlink.LinkAttrs{Name: hubInterface, TxQLen: -1},
		AgeingTime:        &ageing,
		MulticastSnooping: &snooping,
	}
	if err := n.hub.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge %q: %w", hubInterface, err)
	}
	return n.up(Hub, n.hub, hubInterface)
}

// joinEnds makes a veth pair for every end. Only the tap's has more than one
// queue: a frame that left another pair by its second queue would keep that
// number as a mark, and the bridge hand it to the first of the next. So the
// queue is chosen on the way to the tap, by the hash of the sender's socket.
// The tap joins last, since a bridge floods to its youngest port first: its
// copy is queued before anybody can react to the frame.
func (n *Network) joinEnds(config Config) error {
	bridge, err := n.hub.LinkByName(hubInterface)
	if err != nil {
		return fmt.Errorf("find bridge %q: %w", hubInterface, err)
	}
	for _, end := range []struct {
		in     Namespace
		name   string
		mac    net.HardwareAddr
		queues int
	}{
		{Client, clientInterface, clientMAC, 1},
		{Server, serverInterface, serverMAC, 1},
		{Tap, TapInterface, nil, config.TapQueues},
	} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "to-" + end.name
		attrs.NumTxQueues, attrs.NumRxQueues = end.queues, end.queues
		attrs.MasterIndex = bridge.Attrs().Index
		pair := netlink.NewVeth(attrs)
		pair.PeerName, pair.PeerHardwareAddr = end.name, end.mac
		pair.PeerNamespace = netlink.NsFd(n.namespace[end.in].Fd())
		pair.PeerNumTxQueues, pair.PeerNumRxQueues = uint32(end.queues), uint32(end.queues)
		if err := n.hub.LinkAdd(pair); err != nil {
			return fmt.Errorf("add veth pair %q, %q: %w", attrs.Name, end.name, err)
		}
		if err := n.up(Hub, n.hub, attrs.Name); err != nil {
			return err
		}
	}
	return nil
}

// Dropped is how many frames the hub had for the tap and could not hand over:
// nobody at the tap can know of them. Of a gateway it is how many it could not send.
func (n *Network) Dropped() (dropped uint64, err error) {
	names := []string{"to-" + TapInterface}
	if n.gateway {
		names = []string{LANInterface, WANInterface}
	}
	for _, name := range names {
		link, err := n.hub.LinkByName(name)
		if err != nil {
			return 0, fmt.Errorf("find interface %q: %w", name, err)
		}
		if link.Attrs().Statistics == nil {
			return 0, fmt.Errorf("interface %q tells no statistics", name)
		}
		dropped += link.Attrs().Statistics.TxDropped
	}
	return dropped, nil
}

// prepareEnds brings the ends up and gives the hosts addresses and permanent
// neighbours, so that no frame is spent on finding each other.
func (n *Network) prepareEnds(Config) error {
	for _, end := range []struct {
		in         Namespace
		name       string
		address    func(f *family) netip.Addr
		neighbours func(f *family) map[netip.Addr]net.HardwareAddr
	}{
		{Tap, TapInterface, nil, nil},
		{
			Client, clientInterface, func(f *family) netip.Addr { return f.client },
			func(f *family) map[netip.Addr]net.HardwareAddr {
				return map[netip.Addr]net.HardwareAddr{f.server: serverMAC, f.ghost: ghostMAC}
			},
		},
		{
			Server, serverInterface, func(f *family) netip.Addr { return f.server },
			func(f *family) map[netip.Addr]net.HardwareAddr {
				return map[netip.Addr]net.HardwareAddr{f.client: clientMAC}
			},
		},
	} {
		handle, err := n.handle(end.in)
		if err != nil {
			return err
		}
		defer handle.Close()
		if err := n.up(end.in, handle, end.name); err != nil {
			return err
		}
		if end.address == nil {
			continue
		}
		for i := range families {
			f := &families[i]
			if err := furnish(handle, end.name, f, end.address(f), end.neighbours(f)); err != nil {
				return err
			}
		}
	}
	return nil
}

// furnish gives an interface its address and neighbours in one family.
func furnish(handle *netlink.Handle, name string, f *family, own netip.Addr, neighbours map[netip.Addr]net.HardwareAddr) error {
	link, err := handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %q: %w", name, err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: own.AsSlice(), Mask: net.CIDRMask(f.prefixLength, own.BitLen())}}
	if own.Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	if err := handle.AddrAdd(link, address); err != nil {
		return fmt.Errorf("add address %q to %q: %w", own, name, err)
	}
	for ip, mac := range neighbours {
		neighbour := &netlink.Neigh{
			LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: ip.AsSlice(), HardwareAddr: mac,
		}
		if err := handle.NeighSet(neighbour); err != nil {
			return fmt.Errorf("add neighbour %q to %q: %w", ip, name, err)
		}
	}
	return nil
}

// up makes an interface wire-like, or a gateway's, and brings it up.
func (n *Network) up(in Namespace, handle *netlink.Handle, name string) error {
	prepare := makeWireLike
	if n.gateway {
		prepare = coalesce
	}
	if err := n.Do(in, func() error { return prepare(name) }); err != nil {
		return err
	}
	link, err := handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %q: %w", name, err)
	}
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up %q: %w", name, err)
	}
	return nil
}

// handle opens a netlink handle that speaks to one of the namespaces.
func (n *Network) handle(in Namespace) (*netlink.Handle, error) {
	var handle *netlink.Handle
	err := n.Do(in, func() (err error) {
		handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("namespace %q: open netlink: %w", in, err)
	}
	return handle, nil
}
