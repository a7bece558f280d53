package gateway

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Modes of an attached program.
const (
	modeTCX     = "tcx"
	modeClassic = "tc"
)

// direction is the way of a packet at an interface.
type direction uint8

const (
	ingress direction = iota
	egress
)

func (d direction) String() string {
	if d == egress {
		return "egress"
	}
	return "ingress"
}

// attachment is a program at an interface, in the chain of those of others.
type attachment struct {
	mode    string
	release func() error
}

// attacher puts programs at interfaces: by tcx, a bpf_link, which the kernel removes
// when the process ends in whatever way; where there is none, by filters of tc.
type attacher struct {
	handle  *netlink.Handle
	claim   *claim
	classic bool // no tcx; set by the first interface that finds none
}

// to attaches before all other programs, since one that ends the chain hides what
// passes from those behind it.
func (a *attacher) to(name string, index int, d direction, p *ebpf.Program) (*attachment, error) {
	if !a.classic {
		kind := ebpf.AttachTCXIngress
		if d == egress {
			kind = ebpf.AttachTCXEgress
		}
		l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: kind, Anchor: link.Head()})
		if err == nil {
			return &attachment{mode: modeTCX, release: l.Close}, nil
		}
		if !errors.Is(err, ebpf.ErrNotSupported) {
			return nil, attachError(name, d, err)
		}
		a.classic = true
	}
	attached, err := attachClassic(a.handle, a.claim, index, d, p)
	if err != nil {
		return nil, attachError(name, d, err)
	}
	return attached, nil
}

func attachError(name string, d direction, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("attach to the %v of interface %q: %w: run as root, or with CAP_BPF and CAP_NET_ADMIN", d, name, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("attach to the %v of interface %q: %w: it is gone", d, name, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("attach to the %v of interface %q: %w: Linux 6.6 with tcx, or CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF are needed", d, name, err)
	default:
		return fmt.Errorf("attach to the %v of interface %q: %w", d, name, err)
	}
}
