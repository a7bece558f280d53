package conntrack

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// onlyTCP lets a netlink socket take reports of TCP connections alone: those of others,
// as of each question to a name server, would take room in its buffer and be read for
// nothing. What the kernel's helpers for attributes do not find passes, and is looked at
// here (bpf_skb_get_nlattr and its nested kin in net/core/filter.c).
var onlyTCP = []bpf.Instruction{
	bpf.LoadConstant{Dst: bpf.RegA, Val: unix.NLMSG_HDRLEN + nfgenmsg},
	bpf.LoadConstant{Dst: bpf.RegX, Val: nl.CTA_TUPLE_ORIG},
	bpf.LoadExtension{Num: bpf.ExtNetlinkAttr},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 10},
	bpf.LoadConstant{Dst: bpf.RegX, Val: nl.CTA_TUPLE_PROTO},
	bpf.LoadExtension{Num: bpf.ExtNetlinkAttrNested},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 7},
	bpf.LoadConstant{Dst: bpf.RegX, Val: nl.CTA_PROTO_NUM},
	bpf.LoadExtension{Num: bpf.ExtNetlinkAttrNested},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 4},
	bpf.TAX{},
	bpf.LoadIndirect{Off: unix.SizeofNlAttr, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
	bpf.RetConstant{Val: 0},
	bpf.RetConstant{Val: reportSize},
}

// attachFilter has a socket take what onlyTCP passes.
func attachFilter(fd int) error {
	raw, err := bpf.Assemble(onlyTCP)
	if err != nil {
		return fmt.Errorf("assemble the filter of reports: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach the filter of reports: %w", err)
	}
	return nil
}
