package lab

import (
	"fmt"
	"maps"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/netns"
)

// LANInterface and WANInterface are the gateway's interfaces towards the client
// and towards the server.
const (
	LANInterface = "lan0"
	WANInterface = "wan0"
)

// The gateway's own addresses, one in each network.
var (
	lanMAC = net.HardwareAddr{0x02, 0, 0, 0, 0, 0xfd}
	wanMAC = net.HardwareAddr{0x02, 0, 0, 0, 0, 0xfe}
)

// gatewayFamilies are the hosts with a gateway between them: client and server are
// in two networks.
var gatewayFamilies = []family{
	{
		name:          "IPv4",
		client:        netip.MustParseAddr("198.18.0.1"),
		second:        netip.MustParseAddr("198.18.0.3"),
		lan:           netip.MustParseAddr("198.18.0.254"),
		wan:           netip.MustParseAddr("198.19.0.254"),
		server:        netip.MustParseAddr("198.19.0.2"),
		ghost:         netip.MustParseAddr("198.19.0.9"),
		phantomClient: netip.MustParseAddr("198.18.0.101"),
		phantom:       netip.MustParseAddr("198.19.0.102"),
		prefixLength:  24,
	},
	{
		name:          "IPv6",
		client:        netip.MustParseAddr("2001:2::1"),
		second:        netip.MustParseAddr("2001:2::3"),
		lan:           netip.MustParseAddr("2001:2::fd"),
		wan:           netip.MustParseAddr("2001:2:0:1::fe"),
		server:        netip.MustParseAddr("2001:2:0:1::2"),
		ghost:         netip.MustParseAddr("2001:2:0:1::9"),
		phantomClient: netip.MustParseAddr("2001:2::101"),
		phantom:       netip.MustParseAddr("2001:2:0:1::102"),
		prefixLength:  64,
	},
}

// NAT is what a gateway does to addresses.
type NAT uint8

// The ways of a gateway.
const (
	Masquerade NAT = iota // clients go by the gateway's own address
	Routed                // addresses stay as they are
)

// BuildGateway makes a client, a server and a gateway between them, which forwards
// IPv4 and IPv6. Its interfaces, and those at the other ends of its links, hand on
// several segments in one, as a real one's do (GSO and GRO). It needs root, and for
// Masquerade a kernel with nftables.
func BuildGateway(nat NAT) (*Network, error) {
	n := &Network{gateway: true, nat: nat, families: gatewayFamilies}
	steps := []func(*Network, Config) error{(*Network).makeNamespaces, (*Network).makeGateway, (*Network).joinGateway, (*Network).prepareGateway}
	if nat == Masquerade {
		steps = append(steps, (*Network).masquerade)
	}
	if err := n.build(Config{}, steps...); err != nil {
		return nil, err
	}
	return n, nil
}

// outside is a connection's tuple on the server's side of the gateway. Its ports
// stay as they are, as long as no two connections of the network have the same.
func (s *stage) outside(t Tuple) Tuple {
	if s.network.gateway && s.network.nat == Masquerade {
		t.ClientIP = s.wan
	}
	return t
}

// gatewaySysctls have a host say at once, while the network is built, what groups it
// is in.
var gatewaySysctls = map[string]string{
	"ipv6/conf/default/mldv1_unsolicited_report_interval": "1",
	"ipv6/conf/default/mldv2_unsolicited_report_interval": "1",
}

// makeGateway has the namespace in the middle forward.
func (n *Network) makeGateway(Config) (err error) {
	host := maps.Clone(hostSysctls)
	maps.Copy(host, gatewaySysctls)
	forwarding := maps.Clone(host)
	forwarding["ipv4/ip_forward"] = "1"
	forwarding["ipv6/conf/all/forwarding"] = "1"
	for in, sysctls := range map[Namespace]map[string]string{Gateway: forwarding, Client: host, Server: host} {
		if err := n.Do(in, func() error { return netns.Sysctl(sysctls) }); err != nil {
			return fmt.Errorf("namespace %q: %w", in, err)
		}
	}
	n.hub, err = n.handle(Gateway)
	return err
}

// joinGateway makes the two links.
func (n *Network) joinGateway(Config) error {
	for _, l := range []struct {
		name     string
		mac      net.HardwareAddr
		peer     string
		peerMAC  net.HardwareAddr
		peerSide Namespace
	}{
		{LANInterface, lanMAC, clientInterface, clientMAC, Client},
		{WANInterface, wanMAC, serverInterface, serverMAC, Server},
	} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = l.name, l.mac
		pair := netlink.NewVeth(attrs)
		pair.PeerName, pair.PeerHardwareAddr = l.peer, l.peerMAC
		pair.PeerNamespace = netlink.NsFd(n.namespace[l.peerSide].Fd())
		if err := n.hub.LinkAdd(pair); err != nil {
			return fmt.Errorf("add veth pair %q, %q: %w", l.name, l.peer, err)
		}
		if err := n.up(Gateway, n.hub, l.name); err != nil {
			return err
		}
	}
	return nil
}

// prepareGateway gives everybody addresses, permanent neighbours and routes.
func (n *Network) prepareGateway(Config) error {
	for _, end := range []struct {
		in         Namespace
		name       string
		address    func(*family) netip.Addr
		neighbours func(*family) map[netip.Addr]net.HardwareAddr
		gateway    func(*family) netip.Addr // for everything else; nil for none
	}{
		{Gateway, LANInterface, func(f *family) netip.Addr { return f.lan }, func(f *family) map[netip.Addr]net.HardwareAddr {
			return map[netip.Addr]net.HardwareAddr{f.client: clientMAC, f.second: clientMAC, f.phantomClient: phantomClientMAC}
		}, nil},
		{Gateway, WANInterface, func(f *family) netip.Addr { return f.wan }, func(f *family) map[netip.Addr]net.HardwareAddr {
			return map[netip.Addr]net.HardwareAddr{f.server: serverMAC, f.phantom: phantomMAC, f.ghost: ghostMAC}
		}, nil},
		{Client, clientInterface, func(f *family) netip.Addr { return f.client }, func(f *family) map[netip.Addr]net.HardwareAddr {
			return map[netip.Addr]net.HardwareAddr{f.lan: lanMAC}
		}, func(f *family) netip.Addr { return f.lan }},
		{Server, serverInterface, func(f *family) netip.Addr { return f.server }, func(f *family) map[netip.Addr]net.HardwareAddr {
			return map[netip.Addr]net.HardwareAddr{f.wan: wanMAC}
		}, func(f *family) netip.Addr { return f.wan }},
	} {
		handle, err := n.handle(end.in)
		if err != nil {
			return err
		}
		defer handle.Close()
		if err := n.up(end.in, handle, end.name); err != nil {
			return err
		}
		if err := addQueue(handle, end.name); err != nil {
			return err
		}
		for i := range n.families {
			f := &n.families[i]
			if err := furnish(handle, end.name, f, end.address(f), end.neighbours(f)); err != nil {
				return err
			}
			if end.gateway == nil {
				continue
			}
			if end.in == Client {
				if err := furnish(handle, end.name, f, f.second, nil); err != nil {
					return err
				}
			}
			if err := handle.RouteAdd(&netlink.Route{Gw: end.gateway(f).AsSlice()}); err != nil {
				return fmt.Errorf("add route by %q: %w", end.gateway(f), err)
			}
		}
	}
	return nil
}

// masquerade is, in the words of nft(8):
//
//	table inet lab { chain out { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; } }
func (n *Network) masquerade(Config) error {
	nft, err := nftables.New(nftables.WithNetNSFd(int(n.namespace[Gateway].Fd())))
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := nft.AddTable(&nftables.Table{Name: "lab", Family: nftables.TableFamilyINet})
	chain := nft.AddChain(&nftables.Chain{
		Name: "out", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, WANInterface)
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Masq{},
	}})
	if err := nft.Flush(); err != nil {
		return fmt.Errorf("masquerade (needs nftables in the kernel): %w", err)
	}
	return nil
}
