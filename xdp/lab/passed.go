package lab

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Passed is what went over the link of one of the gateway's interfaces, in both
// directions, as a wire would have carried it: what goes in one packet through the
// machine and in several over the wire counts as several.
type Passed struct {
	Frames uint64
	Octets uint64 // from the Ethernet header on
}

// Passed asks the queues at both ends of an interface's link, which count what they
// send. The kernel counts for a veth itself what goes through the machine, not what
// would be on a wire.
func (n *Network) Passed(name string) (Passed, error) {
	other, in := clientInterface, Client
	if name == WANInterface {
		other, in = serverInterface, Server
	}
	handle, err := n.handle(in)
	if err != nil {
		return Passed{}, err
	}
	defer handle.Close()
	sent, err := queued(n.hub, name)
	if err != nil {
		return Passed{}, err
	}
	received, err := queued(handle, other)
	return Passed{sent.Frames + received.Frames, sent.Octets + received.Octets}, err
}

// addQueue puts a first-in first-out queue before an interface, as there is one before
// that of a wire.
func addQueue(handle *netlink.Handle, name string) error {
	link, err := handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %q: %w", name, err)
	}
	queue := &netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT}, QdiscType: "pfifo"}
	if err := handle.QdiscAdd(queue); err != nil {
		return fmt.Errorf("add queue to %q: %w", name, err)
	}
	return nil
}

// queued is what an interface's queue has sent.
func queued(handle *netlink.Handle, name string) (Passed, error) {
	link, err := handle.LinkByName(name)
	if err != nil {
		return Passed{}, fmt.Errorf("find interface %q: %w", name, err)
	}
	queues, err := handle.QdiscList(link)
	if err != nil {
		return Passed{}, fmt.Errorf("read the queue of %q: %w", name, err)
	}
	for _, queue := range queues {
		if s := queue.Attrs().Statistics; queue.Attrs().Parent == netlink.HANDLE_ROOT && s != nil && s.Basic != nil {
			return Passed{Frames: uint64(s.Basic.Packets), Octets: s.Basic.Bytes}, nil
		}
	}
	return Passed{}, fmt.Errorf("interface %q has no queue that counts", name)
}
