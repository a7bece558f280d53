// Package gatewaytest is the ground on which gateways are tested: a client, a server
// and a box between them that forwards, each a network namespace without a name, and
// real connections from one end to the other.
package gatewaytest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/netns"
)

// The interfaces of a Site.
const (
	LAN = "lan"
	WAN = "wan"
	End = "end" // of client and server
)

// Site is a client and a server with a box between them that forwards. Nothing of it
// has a name, and it vanishes with the process.
type Site struct {
	tb                  testing.TB
	Client, Box, Server *os.File
}

// Family is what a Site's hosts are called in one version of IP. Client and server
// have many addresses beside it, of nobody (RFC 2544 appendix C.2.2).
type Family struct {
	Client, LAN, WAN, Server netip.Addr
	prefix                   int
	beyond                   string // all of the server's network
}

// Families are both versions of IP.
var Families = []Family{
	{netip.MustParseAddr("198.18.255.2"), netip.MustParseAddr("198.18.255.1"), netip.MustParseAddr("198.19.255.1"), netip.MustParseAddr("198.19.255.2"), 16, "198.19.0.0/16"},
	{netip.MustParseAddr("2001:2:0:1::2"), netip.MustParseAddr("2001:2:0:1::1"), netip.MustParseAddr("2001:2:0:2::1"), netip.MustParseAddr("2001:2:0:2::2"), 64, ""},
}

// NeedRoot skips without privilege, and fails instead where CI must not skip.
func NeedRoot(tb testing.TB) {
	tb.Helper()
	if xdp.CheckPrivilege(xdp.SysAdmin) == nil && os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatal("needs root")
	}
	tb.Skip("needs root")
}

// anHour, in ms: frames of the kernel's own, by which it tells multicast groups again at
// some moment of an interval, would be counted with the test's.
const anHour = "3600000"

// New builds a site, which is gone when the test ends.
func New(tb testing.TB) *Site {
	tb.Helper()
	NeedRoot(tb)
	s := &Site{tb: tb}
	for _, ns := range []**os.File{&s.Client, &s.Box, &s.Server} {
		made, err := netns.New()
		if err != nil {
			tb.Fatal(err)
		}
		*ns = made
		tb.Cleanup(func() { _ = made.Close() })
		s.In(made, func() error {
			return errors.Join(up("lo"), netns.Sysctl(map[string]string{
				"ipv6/conf/default/accept_ra": "0", "ipv6/conf/default/dad_transmits": "0", "ipv6/conf/default/router_solicitations": "0",
				"ipv6/conf/default/addr_gen_mode": "1", "ipv6/conf/default/mldv2_unsolicited_report_interval": anHour, "ipv4/conf/all/rp_filter": "0", "ipv4/ip_local_port_range": "10000 65000",
				"ipv4/tcp_tw_reuse": "1", "ipv4/tcp_max_tw_buckets": "262144",
				// What is sent is what the CPUs can do: BBR would keep to what it thinks of the path.
				"ipv4/tcp_congestion_control": "reno",
			}))
		})
	}
	s.In(s.Box, func() error {
		return errors.Join(
			netns.Sysctl(map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}),
			join(LAN, s.Client), join(WAN, s.Server),
			address(LAN, func(f Family) netip.Addr { return f.LAN }), address(WAN, func(f Family) netip.Addr { return f.WAN }))
	})
	s.In(s.Client, func() error {
		return errors.Join(up(End), address(End, func(f Family) netip.Addr { return f.Client }), gatewayRoutes(func(f Family) netip.Addr { return f.LAN }))
	})
	s.In(s.Server, func() error {
		return errors.Join(up(End), address(End, func(f Family) netip.Addr { return f.Server }), gatewayRoutes(func(f Family) netip.Addr { return f.WAN }))
	})
	s.acquaint()
	return s
}

// In runs fn in one of the Site's namespaces.
func (s *Site) In(ns *os.File, fn func() error) {
	s.tb.Helper()
	if err := netns.Do(ns, fn); err != nil {
		s.tb.Fatal(err)
	}
}

// join makes a veth pair to another namespace.
func join(name string, other *os.File) error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: End, PeerNamespace: netlink.NsFd(int(other.Fd()))}
	return errors.Join(netlink.LinkAdd(veth), up(name))
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

func address(name string, of func(Family) netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range Families {
		a, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", of(f), f.prefix))
		a.Flags = unix.IFA_F_NODAD
		errs = append(errs, err, netlink.AddrAdd(link, a))
	}
	return errors.Join(errs...)
}

func gatewayRoutes(of func(Family) netip.Addr) error {
	var errs []error
	for _, f := range Families {
		errs = append(errs, netlink.RouteAdd(&netlink.Route{Gw: of(f).AsSlice()}))
	}
	return errors.Join(errs...)
}

// acquaint enters all neighbours, so that nobody needs to ask, and sends to the server
// what is for anybody in its network.
func (s *Site) acquaint() {
	s.tb.Helper()
	ends := map[*os.File]net.HardwareAddr{}
	boxes := map[string]net.HardwareAddr{}
	for _, ns := range []*os.File{s.Client, s.Server} {
		s.In(ns, func() error { return Hardware(End, func(a net.HardwareAddr) { ends[ns] = a }) })
	}
	for _, name := range []string{LAN, WAN} {
		s.In(s.Box, func() error { return Hardware(name, func(a net.HardwareAddr) { boxes[name] = a }) })
	}
	for _, f := range Families {
		s.In(s.Client, func() error { return neighbour(End, f.LAN, boxes[LAN]) })
		s.In(s.Server, func() error { return neighbour(End, f.WAN, boxes[WAN]) })
		s.In(s.Box, func() error {
			return errors.Join(neighbour(LAN, f.Client, ends[s.Client]), neighbour(WAN, f.Server, ends[s.Server]), beyond(f))
		})
	}
}

// Hardware gives the address of an interface of the calling thread's namespace.
func Hardware(name string, take func(net.HardwareAddr)) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		take(link.Attrs().HardwareAddr)
	}
	return err
}

func neighbour(name string, ip netip.Addr, hardware net.HardwareAddr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: ip.AsSlice(), HardwareAddr: hardware})
}

func beyond(f Family) error {
	if f.beyond == "" {
		return nil
	}
	_, network, err := net.ParseCIDR(f.beyond)
	if err != nil {
		return err
	}
	for _, more := range []int{1, 0} { // two halves, each more specific than the interface's own
		half := &net.IPNet{IP: append(net.IP{}, network.IP...), Mask: net.CIDRMask(f.prefix+1, 32)}
		half.IP[2] |= byte(more) << 7
		if err := netlink.RouteAdd(&netlink.Route{Dst: half, Gw: f.Server.AsSlice(), Flags: int(netlink.FLAG_ONLINK), LinkIndex: IndexOf(WAN)}); err != nil {
			return err
		}
	}
	return nil
}

// IndexOf is the index of an interface of the calling thread's namespace, 0 for none.
func IndexOf(name string) int {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0
	}
	return link.Attrs().Index
}

// Statistics are the own counters of an interface of the calling thread's namespace.
func Statistics(name string) (netlink.LinkStatistics, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return netlink.LinkStatistics{}, err
	}
	return *link.Attrs().Statistics, nil
}
