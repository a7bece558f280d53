package load

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ports goes round one thread's part of the source addresses and ports, so
// that each is left alone as long as can be. Addresses alternate.
type ports struct {
	addresses []unix.Sockaddr // one for each source
	low       int
	count     int // ports of each address
	next      int // from 0 to len(addresses) * count
}

func newPorts(sources []netip.Addr, low, count int) (*ports, error) {
	p := &ports{low: low, count: count}
	for _, s := range sources {
		a, err := sockaddr(netip.AddrPortFrom(s, 0))
		if err != nil {
			return nil, err
		}
		p.addresses = append(p.addresses, a)
	}
	return p, nil
}

// take returns the next source. It stays valid until the next call.
func (p *ports) take() unix.Sockaddr {
	a := p.addresses[p.next%len(p.addresses)]
	port := p.low + p.next/len(p.addresses)
	if p.next++; p.next == len(p.addresses)*p.count {
		p.next = 0
	}
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		a.Port = port
	case *unix.SockaddrInet6:
		a.Port = port
	}
	return a
}

// sockaddr is an address as the kernel has it; a zone is looked up.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, nil
	}
	s := &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		ifi, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, fmt.Errorf("address %q: interface %q: %w", a.Addr(), zone, err)
		}
		s.ZoneId = uint32(ifi.Index)
	}
	return s, nil
}
