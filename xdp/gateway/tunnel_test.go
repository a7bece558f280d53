package gateway

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
)

// TestKernelTunnel: of packets that the kernel itself puts into a tunnel the connection
// inside is seen as well, also where a FIN is on a super-packet.
func TestKernelTunnel(t *testing.T) {
	const each = 12 // of which most have a FIN on a super-packet
	s := newSite(t)
	family := gatewaytest.Families[0]
	tunnel := func(own, remote net.IP, under, address string) error {
		link := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "overlay"}, VxlanId: 5001, Port: 4789, SrcAddr: own, Group: remote, VtepDevIndex: gatewaytest.IndexOf(under)}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	}
	s.In(s.Box, func() error { return tunnel(family.WAN.AsSlice(), family.Server.AsSlice(), wan, "192.0.2.1/24") })
	s.In(s.Server, func() error {
		return tunnel(family.Server.AsSlice(), family.WAN.AsSlice(), gatewaytest.End, "192.0.2.2/24")
	})
	var l net.Listener
	s.In(s.Server, func() (err error) { l, err = net.Listen("tcp", "192.0.2.2:0"); return err })
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			time.Sleep(20 * time.Millisecond)
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	g := s.open(Config{Interfaces: []string{wan}})
	r := s.read(g)
	for range each {
		s.In(s.Box, func() error { return sendAtOnce(l.Addr().String()) })
	}
	time.Sleep(100 * time.Millisecond)
	r.end()
	s.balanced(g, r)
	flags, carried := map[uint8]int{}, false
	for i := range r.segments {
		one := &r.segments[i]
		if one.Encapsulation.String() != "vxlan:5001" || one.VLAN != 0 {
			t.Errorf("a segment in %q", one.Encapsulation)
		}
		flags[one.TCPFlags&(segment.SYN|segment.FIN)]++
		carried = carried || one.Is(segment.FIN) && one.Payload > 1500
	}
	if flags[segment.SYN] != 2*each || flags[segment.FIN] != 2*each || !carried {
		t.Errorf("%d SYNs and %d FINs were seen, one of a super-packet: %t; %v", flags[segment.SYN], flags[segment.FIN], carried, ledger(g))
	}
}

// sendAtOnce sends more than the server has room for before it reads: the last of it
// waits, and takes the FIN along.
func sendAtOnce(to string) error {
	c, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetWriteBuffer(1 << 20); err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, 400_000)); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, c)
	return err
}
