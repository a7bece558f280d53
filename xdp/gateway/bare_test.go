package gateway

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
)

// TestBare: an interface without link headers, as those of tunnels, is measured like
// any other, in both directions.
func TestBare(t *testing.T) {
	for _, classic := range []bool{false, true} {
		s := newSite(t)
		tun := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tunnel"}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI, NonPersist: true, Queues: 1}
		var peer netlink.Addr
		s.In(s.Box, func() error {
			if err := netlink.LinkAdd(tun); err != nil {
				return err
			}
			address, err := netlink.ParseAddr("192.0.2.1/24")
			if err != nil {
				return err
			}
			peer = *address
			if err := netlink.AddrAdd(tun, &peer); err != nil {
				return err
			}
			return netlink.LinkSetUp(tun)
		})
		t.Cleanup(func() { _ = tun.Fds[0].Close() })
		g := s.open(Config{Interfaces: []string{"tunnel", wan}, classic: classic})
		r := s.read(g)
		family := gatewaytest.Family{Client: netip.MustParseAddr("192.0.2.2"), Server: gatewaytest.Families[0].Server}
		frame := tcpFrame(t, make(net.HardwareAddr, 6), make(net.HardwareAddr, 6), family, layers.TCP{SrcPort: 3000, DstPort: 1, Seq: 7, SYN: true, Window: 100}, 0)
		if _, err := tun.Fds[0].Write(frame[etherHeader:]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		r.end()
		seen := map[string]int{}
		for i := range r.segments {
			one := &r.segments[i]
			seen[g.InterfaceName(one.Interface)+map[bool]string{true: " SYN", false: " RST"}[one.Is(segment.SYN)]]++
		}
		// Nobody listens: the server's RST comes back the same way.
		for _, want := range []string{"tunnel SYN", "tunnel RST", "wan SYN", "wan RST"} {
			if seen[want] != 1 {
				t.Errorf("%q was seen %d times; %v, %v", want, seen[want], seen, ledger(g))
			}
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		s.clean(time.Second)
	}
}
