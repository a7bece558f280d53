package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Filters of tc, for kernels without tcx: one of cls_bpf in direct action mode for
// each direction, at the clsact qdisc. They outlive the process. Their name tells
// whose they are, so that the next start can remove those of one that was killed.

const (
	filterName = "finwait-"
	clsact     = "clsact"
	bpfKind    = "bpf"
)

// parent is where the filters of a direction stand (linux/pkt_sched.h).
func (d direction) parent() uint32 {
	if d == egress {
		return netlink.HANDLE_MIN_EGRESS
	}
	return netlink.HANDLE_MIN_INGRESS
}

// attachClassic adds a filter, and the qdisc where there is none.
func attachClassic(handle *netlink.Handle, c *claim, index int, d direction, p *ebpf.Program) (*attachment, error) {
	device := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	qdisc := clsactOf(index)
	kind, err := ingressQdisc(handle, index)
	if err != nil {
		return nil, err
	}
	switch kind {
	case clsact:
	case "":
		if err := handle.QdiscAdd(qdisc); err != nil {
			return nil, fmt.Errorf("add a %s qdisc: %w", clsact, err)
		}
	default:
		return nil, fmt.Errorf("there is a qdisc %q, by which what leaves cannot be seen: replace it by %s", kind, clsact)
	}
	made := kind == ""
	filter, err := addFilter(handle, device, c, d, p)
	if err != nil {
		if made {
			err = errors.Join(err, removeEmpty(handle, qdisc))
		}
		return nil, err
	}
	return &attachment{mode: modeClassic, release: func() error {
		err := handle.FilterDel(filter)
		if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
			return nil // with the interface or its qdisc
		}
		if err != nil {
			return fmt.Errorf("remove filter %q: %w", filter.Name, err)
		}
		if made {
			return removeEmpty(handle, qdisc)
		}
		return nil
	}}, nil
}

// clsactOf is the qdisc of an interface at which filters of both directions stand.
func clsactOf(index int) *netlink.GenericQdisc {
	return &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  clsact,
	}
}

// addFilter takes the first priority that nobody has: the lowest is the first to run.
func addFilter(handle *netlink.Handle, device netlink.Link, c *claim, d direction, p *ebpf.Program) (*netlink.BpfFilter, error) {
	filters, err := handle.FilterList(device, d.parent())
	if err != nil {
		return nil, fmt.Errorf("list the filters: %w", err)
	}
	priority := uint16(1)
	for slices.ContainsFunc(filters, func(f netlink.Filter) bool { return f.Attrs().Priority == priority }) {
		priority++
	}
	filter := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: device.Attrs().Index, Parent: d.parent(), Handle: 1, Priority: priority, Protocol: unix.ETH_P_ALL},
		Fd:          p.FD(), Name: filterName + c.token, DirectAction: true,
	}
	if err := handle.FilterAdd(filter); err != nil {
		return nil, fmt.Errorf("add a filter: %w", err)
	}
	return filter, nil
}

// ingressQdisc is the kind of the qdisc that filters may stand at, empty for none.
func ingressQdisc(handle *netlink.Handle, index int) (string, error) {
	qdiscs, err := handle.QdiscList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}})
	if err != nil {
		return "", fmt.Errorf("list the qdiscs: %w", err)
	}
	for _, q := range qdiscs {
		if a := q.Attrs(); a.LinkIndex == index && a.Parent == netlink.HANDLE_CLSACT {
			return q.Type(), nil
		}
	}
	return "", nil
}

// removeEmpty removes a qdisc that has no filter.
func removeEmpty(handle *netlink.Handle, qdisc *netlink.GenericQdisc) error {
	device := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: qdisc.LinkIndex}}
	for _, d := range []direction{ingress, egress} {
		filters, err := handle.FilterList(device, d.parent())
		if err != nil || len(filters) > 0 {
			return err
		}
	}
	if err := handle.QdiscDel(qdisc); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove the qdisc %s: %w", clsact, err)
	}
	return nil
}

// removeStale removes, from all interfaces, what a gateway left behind that was
// killed: its filters, and the qdisc that has no other.
func removeStale(handle *netlink.Handle) error {
	links, err := handle.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		if err := removeStaleFrom(handle, l); err != nil {
			return fmt.Errorf("remove what an earlier finwait left at interface %q: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

func removeStaleFrom(handle *netlink.Handle, l netlink.Link) error {
	index := l.Attrs().Index
	kind, err := ingressQdisc(handle, index)
	if err != nil || kind != clsact {
		return err
	}
	removed := false
	for _, d := range []direction{ingress, egress} {
		filters, err := handle.FilterList(l, d.parent())
		if err != nil {
			return err
		}
		for _, f := range filters {
			b, ok := f.(*netlink.BpfFilter)
			if !ok || b.Type() != bpfKind {
				continue
			}
			token, ours := strings.CutPrefix(b.Name, filterName)
			if !ours || isClaimed(token) {
				continue
			}
			if err := handle.FilterDel(f); err != nil {
				return err
			}
			removed = true
		}
	}
	if !removed {
		return nil
	}
	return removeEmpty(handle, clsactOf(index))
}
