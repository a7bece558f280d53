package gateway

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/bpf"
)

// stepName is numbered on by the kernel.
const stepName = "finwait-ip%d"

// step is a tun interface that stays down. Clones of an interface without link headers
// pass it: its program gives them one, which the kernel wants of all that goes to the
// pair. It is gone with the file that made it, so with the process.
type step struct {
	link     *netlink.Tuntap
	program  *ebpf.Program
	attached *attachment
}

// openStep makes a step to the pair.
func openStep(handle *netlink.Handle, to *pair, attach *attacher) (s *step, err error) {
	s = &step{link: &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: stepName}, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI, NonPersist: true, Queues: 1,
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	if err = handle.LinkAdd(s.link); err != nil {
		return s, fmt.Errorf("make a tun interface, which interfaces without link headers need: %w: /dev/net/tun is needed", err)
	}
	name, index := s.link.Attrs().Name, s.link.Attrs().Index
	if err = handle.LinkSetAlias(s.link, pairAlias+"a step of clones"); err != nil {
		return s, fmt.Errorf("name interface %q: %w", name, err)
	}
	spec, err := bpf.LoadGateway()
	if err != nil {
		return s, fmt.Errorf("read the gateway's programs: %w", err)
	}
	if err = spec.Variables[bpf.GatewayVarNearEnd].Set(uint32(to.near.Attrs().Index)); err != nil {
		return s, fmt.Errorf("set %q of the gateway's program: %w", bpf.GatewayVarNearEnd, err)
	}
	var objects struct {
		Program *ebpf.Program `ebpf:"finwait_step"`
	}
	if err = spec.LoadAndAssign(&objects, nil); err != nil {
		return s, xdp.LoadError(fmt.Sprintf("the program of interface %q", name), err)
	}
	s.program = objects.Program
	s.attached, err = attach.to(name, index, egress, s.program)
	return s, err
}

func (s *step) close() error {
	var errs []error
	if s.attached != nil {
		errs = append(errs, s.attached.release())
	}
	if s.program != nil {
		errs = append(errs, s.program.Close())
	}
	for _, f := range s.link.Fds {
		if err := f.Close(); err != nil && !errors.Is(err, unix.EBADF) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
