package xdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Modes of an attached program, as ip-link(8) names them.
const (
	modeNative  = "native"
	modeGeneric = "generic"
)

// attachment is a program at an interface. It is a bpf_link: the kernel
// removes the program when the process ends in whatever way.
type attachment struct {
	link    link.Link
	mode    string
	warning string // empty where there is nothing to say
}

// attach puts a program at an interface: native mode first, generic where the
// driver has no other or where it is asked for.
func attach(nic *netInterface, p *ebpf.Program, generic bool) (*attachment, error) {
	options := link.XDPOptions{Program: p, Interface: nic.index, Flags: link.XDPDriverMode}
	if generic {
		options.Flags = link.XDPGenericMode
		l, err := link.AttachXDP(options)
		if err != nil {
			return nil, attachError(nic, modeGeneric, err)
		}
		return &attachment{link: l, mode: modeGeneric}, nil
	}
	l, err := link.AttachXDP(options)
	if err == nil {
		return &attachment{link: l, mode: modeNative}, nil
	}
	if !hasNoNative(err) {
		return nil, attachError(nic, modeNative, err)
	}
	options.Flags = link.XDPGenericMode
	l, err = link.AttachXDP(options)
	if err != nil {
		return nil, attachError(nic, modeGeneric, err)
	}
	return &attachment{
		link: l,
		mode: modeGeneric,
		warning: fmt.Sprintf("driver %q of interface %q has no native XDP: generic mode is used, "+
			"which costs a socket buffer per frame", nic.driver, nic.name),
	}, nil
}

// hasNoNative tells a driver without native XDP from one that refuses this
// program: dev_xdp_attach in net/core/dev.c.
func hasNoNative(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, link.ErrNotSupported)
}

func attachError(nic *netInterface, mode string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("attach to interface %q: %w: run as root, or with CAP_BPF and CAP_NET_ADMIN", nic.name, err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("attach to interface %q: %w: it has another XDP program; detach it first "+
			"(bpftool net shows it)", nic.name, err)
	case errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL) && nic.mtu > 1500:
		return fmt.Errorf("attach to interface %q: %w: its MTU of %d may be too large for %s mode; "+
			"lower it (ip link set dev %s mtu 1500) or ask for generic mode", nic.name, err, nic.mtu, mode, nic.name)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("attach to interface %q: %w: it is gone", nic.name, err)
	default:
		return fmt.Errorf("attach to interface %q in %s mode: %w", nic.name, mode, err)
	}
}

// foreign refuses an interface that has an XDP program, and names it.
func foreign(nic *netInterface, attached bool, id uint32) error {
	if !attached {
		return nil
	}
	if id == 0 {
		return fmt.Errorf("interface %q has XDP programs in several modes: detach them first "+
			"(bpftool net shows them)", nic.name)
	}
	return fmt.Errorf("interface %q has XDP program %d, %q: stop what attached it, or detach it "+
		"(ip link set dev %s xdp off)", nic.name, id, programName(id), nic.name)
}

// programName is what the kernel knows a program by, "unknown" where it may
// not be asked.
func programName(id uint32) string {
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return "unknown"
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil || info.Name == "" {
		return "unknown"
	}
	return info.Name
}
