package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// findRoute tells the interface by which the target is reached, and the local
// addresses to connect from: those named, or that of the route.
func findRoute(target netip.Addr, device string, named []string) (string, []netip.Addr, error) {
	var sources []netip.Addr
	for _, text := range named {
		source, err := netip.ParseAddr(text)
		if err != nil {
			return "", nil, fmt.Errorf("--source %q: an address is needed", text)
		}
		if local, err := routeTo(source, netip.Addr{}); err != nil || local.Type != unix.RTN_LOCAL {
			return "", nil, fmt.Errorf("--source %q: it is no address of this machine; see 'ip address', and 'ip address add' to make it one", text)
		}
		if source.Unmap().Is4() != target.Unmap().Is4() {
			return "", nil, fmt.Errorf("--source %q: it is not of the IP version of the target %q", text, target)
		}
		sources = append(sources, source)
	}
	if len(sources) == 0 {
		route, err := routeTo(target, netip.Addr{})
		if err != nil {
			return "", nil, err
		}
		source, ok := netip.AddrFromSlice(route.Src)
		if !ok {
			return "", nil, fmt.Errorf("--target %q: the route to it names no local address; choose one with --source", target)
		}
		sources = append(sources, source.Unmap().WithZone(target.Zone()))
	}
	if device != "" {
		if _, err := net.InterfaceByName(device); err != nil {
			return "", nil, fmt.Errorf("--interface %q: %w; see 'ip link' for those that are there", device, err)
		}
		return device, sources, nil
	}
	device, err := deviceOf(target, sources)
	return device, sources, err
}

// deviceOf is the interface that all connections leave by.
func deviceOf(target netip.Addr, sources []netip.Addr) (string, error) {
	found := 0
	for _, source := range sources {
		route, err := routeTo(target, source)
		if err != nil {
			return "", err
		}
		if found != 0 && route.LinkIndex != found {
			return "", fmt.Errorf("--source %q: it leaves by another interface than %q; name those of one interface", source, sources[0])
		}
		found = route.LinkIndex
	}
	ifi, err := net.InterfaceByIndex(found)
	if err != nil {
		return "", fmt.Errorf("--target %q: the interface of its route: %w", target, err)
	}
	return ifi.Name, nil
}

// routeTo asks the kernel, and refuses what is no host.
func routeTo(target, source netip.Addr) (*netlink.Route, error) {
	options := &netlink.RouteGetOptions{}
	if source.IsValid() {
		options.SrcAddr = source.Unmap().WithZone("").AsSlice()
	}
	if zone := target.Zone(); zone != "" {
		options.Oif = zone
	}
	routes, err := netlink.RouteGetWithOptions(target.Unmap().WithZone("").AsSlice(), options)
	if err != nil {
		return nil, fmt.Errorf("--target %q: %w: there is no route to it; see 'ip route get %s'", target, err, target)
	}
	if len(routes) == 0 {
		return nil, fmt.Errorf("--target %q: there is no route to it; see 'ip route get %s'", target, target)
	}
	switch routes[0].Type {
	case unix.RTN_BROADCAST, unix.RTN_MULTICAST, unix.RTN_ANYCAST:
		return nil, fmt.Errorf("--target %q: it is not the address of one host; name one", target)
	}
	return &routes[0], nil
}
