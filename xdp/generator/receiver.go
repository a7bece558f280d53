package generator

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Receiver is what stands at the other end of a comparison: a program that does
// as little as possible with every frame.
type Receiver struct {
	program *ebpf.Program
	link    link.Link
}

// Discard drops every frame that arrives at an interface of the calling thread's
// namespace, and looks at none: the floor under every measurement.
func Discard(name string) (*Receiver, error) { return receive(name, false) }

// Deliver lets every frame go on to the network stack, as if there were no
// program. A veth takes redirected frames only where its other end has one.
func Deliver(name string) (*Receiver, error) { return receive(name, true) }

func receive(name string, deliver bool) (*Receiver, error) {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look up interface %q: %w; ip link lists those that there are", name, err)
	}
	spec, err := loadGenerator()
	if err != nil {
		return nil, fmt.Errorf("read the generator's program: %w", err)
	}
	use := "discard"
	if deliver {
		use = "deliver"
	}
	r := new(Receiver)
	if r.program, err = ebpf.NewProgram(spec.Programs[use]); err != nil {
		return nil, fmt.Errorf("load the receiving program %q: %w", use, err)
	}
	r.link, err = link.AttachXDP(link.XDPOptions{Program: r.program, Interface: device.Attrs().Index, Flags: link.XDPDriverMode})
	if err != nil {
		err = fmt.Errorf("attach to interface %q: %w", name, err)
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) {
			err = fmt.Errorf("%w: it has another XDP program; detach it first (bpftool net shows it)", err)
		}
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close takes the program away.
func (r *Receiver) Close() error {
	var err error
	if r.link != nil {
		err = r.link.Close()
	}
	return errors.Join(err, r.program.Close())
}
