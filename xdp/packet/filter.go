package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// snapLength is the octets of a packet that are copied, from the IP header on:
// IPv4 with all options, or IPv6 with a hop-by-hop header of a super-packet,
// and the TCP header.
const snapLength = 128

// Offsets in IPv4 (RFC 791 section 3.1) and IPv6 (RFC 8200 section 3).
const (
	ipv4Fragment = 6
	ipv4Protocol = 9
	ipv4Source   = 12
	ipv4Target   = 16
	ipv6Next     = 6
	ipv6Source   = 8
	ipv6Target   = 24
	ipv6Header   = 40
	// jumboHeader is a hop-by-hop header with the jumbo payload option alone
	// (RFC 2675 section 2), as Linux puts it into IPv6 super-packets of more
	// than 65,535 octets.
	jumboHeader = 8
)

// attachFilter lets a packet socket take only what program passes.
func attachFilter(fd int, c Config) error {
	raw, err := bpf.Assemble(program(c))
	if err != nil {
		return fmt.Errorf("assemble filter for %v: %w", c.Target, err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach filter for %v: %w", c.Target, err)
	}
	return nil
}

// program passes TCP between the target and the ports of the other end, in
// both directions, from packets that begin with the IP header. Fragments other
// than the first have no ports and do not pass.
func program(c Config) []bpf.Instruction {
	a := &assembler{c: c}
	if c.Target.Addr().Unmap().Is4() {
		a.ipv4()
	} else {
		a.ipv6()
	}
	return a.resolve()
}

// Where a jump of an unfinished program goes. 0 is the next instruction.
const (
	onward = iota
	pass
	drop
	incoming // where the addresses are compared the other way round
)

// jump is a comparison whose targets are not known yet.
type jump struct {
	at              int
	ifTrue, ifFalse int
}

// assembler builds the program; see resolve for its end.
type assembler struct {
	c        Config
	code     []bpf.Instruction
	jumps    []jump
	incoming int // index of the instruction
}

func (a *assembler) emit(i bpf.Instruction) { a.code = append(a.code, i) }

func (a *assembler) compare(cond bpf.JumpTest, value uint32, ifTrue, ifFalse int) {
	a.jumps = append(a.jumps, jump{len(a.code), ifTrue, ifFalse})
	a.emit(bpf.JumpIf{Cond: cond, Val: value})
}

func (a *assembler) ipv4() {
	a.version(4)
	a.emit(bpf.LoadAbsolute{Off: ipv4Protocol, Size: 1})
	a.compare(bpf.JumpEqual, unix.IPPROTO_TCP, onward, drop)
	a.emit(bpf.LoadAbsolute{Off: ipv4Fragment, Size: 2})
	a.compare(bpf.JumpBitsSet, 0x1fff, drop, onward)
	a.emit(bpf.LoadMemShift{Off: 0})
	a.eitherWay(ipv4Source, ipv4Target, 0)
}

func (a *assembler) ipv6() {
	a.version(6)
	a.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	a.emit(bpf.LoadAbsolute{Off: ipv6Next, Size: 1})
	a.code = append(a.code,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_HOPOPTS, SkipFalse: 4},
		bpf.LoadConstant{Dst: bpf.RegX, Val: jumboHeader},
		bpf.LoadAbsolute{Off: ipv6Header, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipFalse: 1},
		bpf.Jump{Skip: 1},
		bpf.RetConstant{Val: 0},
	)
	a.eitherWay(ipv6Source, ipv6Target, ipv6Header)
}

func (a *assembler) version(version uint32) {
	a.emit(bpf.LoadAbsolute{Off: 0, Size: 1})
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
	a.compare(bpf.JumpEqual, version, onward, drop)
}

// eitherWay compares addresses and ports. The TCP header begins at X + tcp.
func (a *assembler) eitherWay(source, target, tcp uint32) {
	const sourcePort, targetPort = 0, 2 // RFC 9293 section 3.1
	a.address(target, incoming)
	a.ports(tcp+targetPort, tcp+sourcePort, incoming)
	a.incoming = len(a.code)
	a.address(source, drop)
	a.ports(tcp+sourcePort, tcp+targetPort, drop)
}

// address compares the target's, in words.
func (a *assembler) address(at uint32, otherwise int) {
	for i, word := range words(a.c.Target.Addr().Unmap()) {
		a.emit(bpf.LoadAbsolute{Off: at + uint32(4*i), Size: 4})
		a.compare(bpf.JumpEqual, word, onward, otherwise)
	}
}

// ports compares the target's port and the bounds of the other end's.
func (a *assembler) ports(target, other uint32, otherwise int) {
	a.emit(bpf.LoadIndirect{Off: target, Size: 2})
	a.compare(bpf.JumpEqual, uint32(a.c.Target.Port()), onward, otherwise)
	a.emit(bpf.LoadIndirect{Off: other, Size: 2})
	a.compare(bpf.JumpGreaterOrEqual, uint32(a.c.LowPort), onward, otherwise)
	a.compare(bpf.JumpGreaterThan, uint32(a.c.HighPort), otherwise, pass)
}

// resolve appends the ends and fills in where jumps go.
func (a *assembler) resolve() []bpf.Instruction {
	ends := [...]int{pass: len(a.code), drop: len(a.code) + 1, incoming: a.incoming}
	a.emit(bpf.RetConstant{Val: snapLength})
	a.emit(bpf.RetConstant{Val: 0})
	for _, j := range a.jumps {
		skip := func(to int) uint8 {
			if to == onward {
				return 0
			}
			return uint8(ends[to] - j.at - 1)
		}
		instruction := a.code[j.at].(bpf.JumpIf)
		instruction.SkipTrue, instruction.SkipFalse = skip(j.ifTrue), skip(j.ifFalse)
		a.code[j.at] = instruction
	}
	return a.code
}

func words(a netip.Addr) []uint32 {
	octets := a.AsSlice()
	var all []uint32
	for ; len(octets) > 0; octets = octets[4:] {
		all = append(all, binary.BigEndian.Uint32(octets))
	}
	return all
}
