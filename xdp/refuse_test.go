package xdp

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// TestTapRefuses: every refusal has its own message, and leaves nothing.
func TestTapRefuses(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	newPair(t, "good", "good1", 1)
	at, err := netlink.LinkByName("near")
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, config Config, wants ...string) {
		t.Helper()
		tap, err := Open(config)
		if err == nil {
			t.Errorf("%s: not refused", what)
			_ = tap.Close()
			return
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no %q in %q", what, want, err)
			}
		}
		for _, name := range []string{"near", "good"} {
			a, err := netlink.LinkByName(name)
			if err != nil {
				t.Fatal(err)
			}
			if a.Attrs().Promisc != 0 || !vlanStripped(t, name) || name == "good" && a.Attrs().Xdp != nil && a.Attrs().Xdp.Attached {
				t.Errorf("%s: something is left on %q", what, name)
			}
		}
	}
	both := Config{Interfaces: []string{"good", "near"}, MaxFlows: 100, RingSize: 64}

	refused("no interface", Config{}, "--interface")
	refused("twice", Config{Interfaces: []string{"near", "near"}}, `"near" is named twice`)
	refused("ring size", Config{Interfaces: []string{"near"}, RingSize: 100}, "ring size 100", "power of two")
	refused("unknown", Config{Interfaces: []string{"good", "nowhere"}}, `interface "nowhere" does not exist`)

	if err := netlink.LinkSetDown(at); err != nil {
		t.Fatal(err)
	}
	refused("down", both, `interface "near" is down`, "ip link set dev near up")
	up(t, "near")

	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, 8, 7), Mask: net.CIDRMask(24, 32)}}
	if err := netlink.AddrAdd(at, address); err != nil {
		t.Fatal(err)
	}
	refused("address", both, `interface "near"`, "10.9.8.7", "--mode gateway", "--force")
	forced := both
	forced.Force = true
	if err := openTap(t, forced).Close(); err != nil {
		t.Error(err)
	}
	if err := netlink.AddrDel(at, address); err != nil {
		t.Fatal(err)
	}

	holder, err := openSocket(at.Attrs().Index, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	mapped := ringMappings(t)
	refused("bound queue", both, `queue 0 of interface "near"`, "another AF_XDP socket holds the queue")
	if now := ringMappings(t); now != mapped {
		t.Errorf("%d ring mappings, %d before", now, mapped)
	}
	if err := holder.close(); err != nil {
		t.Error(err)
	}

	detach := attachForeign(t, at.Attrs().Index)
	refused("foreign program", both, `interface "near" has XDP program`, `"somebody_else"`)
	detach()
	if err := openTap(t, both).Close(); err != nil {
		t.Error(err)
	}
}

// TestRefusesAbove: an address on what stands upon the interface counts.
func TestRefusesAbove(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	near, err := netlink.LinkByName("near")
	if err != nil {
		t.Fatal(err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "above"
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(bridge); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetMaster(near, bridge); err != nil {
		t.Fatal(err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP("2001:db8::7"), Mask: net.CIDRMask(64, 128)}}
	if err := netlink.AddrAdd(bridge, address); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{Interfaces: []string{"near"}, MaxFlows: 100})
	if err == nil || !strings.Contains(err.Error(), `2001:db8::7 (on "above")`) {
		t.Errorf("%v", err)
	}
}

func attachForeign(t *testing.T, index int) (detach func()) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "somebody_else", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: index})
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = errors.Join(l.Close(), p.Close()) }
}

// TestMissingCapability runs without them in one thread.
func TestMissingCapability(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	// The effective set alone is cut, of this thread, which ends with the test.
	data[0].Effective &^= 1 << unix.CAP_NET_RAW
	data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
	data[1].Effective &^= 1 << (unix.CAP_BPF - 32)
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Interfaces: []string{"near"}})
	if err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW, CAP_BPF") {
		t.Errorf("%v", err)
	}
}

// TestLeastCapabilities: what is asked for suffices.
func TestLeastCapabilities(t *testing.T) {
	newNamespace(t)
	newPair(t, "near", "far", 1)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective = 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_ADMIN
	data[1].Effective = 1<<(unix.CAP_BPF-32) | 1<<(unix.CAP_PERFMON-32)
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	tap := openTap(t, Config{Interfaces: []string{"near"}, RingSize: 64})
	if err := tap.Accounts().Peek(make([]segment.Key, 1), make([]segment.Counters, 1)); err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(tap.Facts(), func(fact string) bool { return strings.Contains(fact, "native XDP") }) {
		t.Error(tap.Facts())
	}
}

// TestAdvice: every refusal of the kernel becomes a message that says what to do.
func TestAdvice(t *testing.T) {
	nic := &netInterface{name: "near", driver: "slow", mtu: 9000}
	for _, c := range []struct {
		err  error
		is   error
		want string
	}{
		{attachError(nic, modeNative, unix.ERANGE), unix.ERANGE, "MTU of 9000 may be too large for native mode; lower it (ip link set dev near mtu 1500)"},
		{attachError(nic, modeNative, unix.EINVAL), unix.EINVAL, "MTU of 9000"},
		{attachError(nic, modeNative, unix.EPERM), unix.EPERM, "CAP_NET_ADMIN"},
		{attachError(nic, modeNative, unix.EBUSY), unix.EBUSY, "another XDP program"},
		{attachError(nic, modeGeneric, unix.ENODEV), unix.ENODEV, "it is gone"},
		{attachError(&netInterface{name: "near", mtu: 1500}, modeNative, unix.EINVAL), unix.EINVAL, "in native mode"},
		{foreign(nic, true, 0), nil, "several modes"},
		{LoadError("it", unix.EPERM), unix.EPERM, "run as root"},
		{LoadError("it", unix.ENOMEM), unix.ENOMEM, "--max-flows"},
		{LoadError("it", ebpf.ErrNotSupported), ebpf.ErrNotSupported, "Linux 5.18 or later with BTF"},
		{bindError(errors.New("bind: " + unix.ENOBUFS.Error())), unix.ENOBUFS, "limit of locked memory"},
		{bindError(errors.New("socket: " + unix.EAFNOSUPPORT.Error())), unix.EAFNOSUPPORT, "CONFIG_XDP_SOCKETS"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("no %q in %q", c.want, c.err)
		}
		if c.is != nil && !errors.Is(c.err, c.is) {
			t.Errorf("%q does not wrap %q", c.err, c.is)
		}
	}
}
