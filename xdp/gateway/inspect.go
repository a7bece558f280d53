package gateway

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/xdp"
)

// bareTypes are the kinds of interfaces that carry IP packets without a link header
// (dev_is_mac_header_xmit in linux/if_arp.h), by the names that netlink has for them.
var bareTypes = []string{"none", "void", "ppp", "ipip", "tunnel6", "sit", "ipgre", "ip6gre"}

// inspect validates an interface and changes nothing.
func inspect(handle *netlink.Handle, name string) (*port, error) {
	link, err := handle.LinkByName(name)
	if err != nil {
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			return nil, fmt.Errorf("interface %q does not exist in this network namespace; ip link lists those that do", name)
		}
		return nil, fmt.Errorf("look up interface %q: %w", name, err)
	}
	a := link.Attrs()
	p := &port{name: name, index: a.Index, driver: xdp.Driver(name), loopback: a.Flags&net.FlagLoopback != 0}
	switch {
	case a.EncapType == "ether" || p.loopback:
	case slices.Contains(bareTypes, a.EncapType):
		p.bare = true
	default:
		return nil, fmt.Errorf("interface %q has a link layer, %q, that finwait cannot read: measure on the interface above or below it", name, a.EncapType)
	}
	return p, nil
}
