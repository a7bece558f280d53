package packet

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/net/bpf"
)

// end is one end of a crafted segment.
type end struct {
	address string
	port    uint16
}

// craft makes an IP packet with a TCP segment in it.
func craft(t *testing.T, from, to end, change func(*layers.IPv4)) []byte {
	t.Helper()
	tcp := &layers.TCP{SrcPort: layers.TCPPort(from.port), DstPort: layers.TCPPort(to.port), SYN: true, DataOffset: 5}
	src, dst := net.ParseIP(from.address), net.ParseIP(to.address)
	var ip gopacket.SerializableLayer
	if src.To4() != nil {
		v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src, DstIP: dst}
		if change != nil {
			change(v4)
		}
		ip = v4
	} else {
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: src, DstIP: dst}
	}
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, ip, tcp); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// behindHopByHop puts a hop-by-hop header before an IPv6 packet's TCP header,
// as Linux does with super-packets.
func behindHopByHop(packet []byte, next byte) []byte {
	out := append([]byte{}, packet[:40]...)
	out[4], out[5], out[6] = 0, 0, 0
	out = append(out, next, 0, 194, 4, 0, 1, 0, 0)
	return append(out, packet[40:]...)
}

func TestFilter(t *testing.T) {
	const port = 8080
	for _, family := range []struct{ target, client, other string }{
		{"10.1.2.3", "10.1.2.9", "10.1.2.4"},
		{"2001:db8::3", "2001:db8::9", "2001:db8:0:1::3"},
	} {
		target, client := end{family.target, port}, end{family.client, 40000}
		vm, err := bpf.NewVM(program(Config{Target: netip.AddrPortFrom(netip.MustParseAddr(family.target), port), LowPort: 32768, HighPort: 60999}))
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			packet []byte
			pass   bool
		}{
			"to the target":             {craft(t, client, target, nil), true},
			"from the target":           {craft(t, target, client, nil), true},
			"target to itself":          {craft(t, end{family.target, 40000}, target, nil), true},
			"lowest port":               {craft(t, end{family.client, 32768}, target, nil), true},
			"highest port":              {craft(t, target, end{family.client, 60999}, nil), true},
			"below the ports":           {craft(t, end{family.client, 32767}, target, nil), false},
			"above the ports":           {craft(t, target, end{family.client, 61000}, nil), false},
			"another port":              {craft(t, client, end{family.target, port + 1}, nil), false},
			"from another port":         {craft(t, end{family.target, port - 1}, client, nil), false},
			"another address":           {craft(t, client, end{family.other, port}, nil), false},
			"from another address":      {craft(t, end{family.other, port}, client, nil), false},
			"the ports the wrong way":   {craft(t, end{family.client, port}, end{family.target, 40000}, nil), false},
			"cut within the addresses":  {craft(t, client, target, nil)[:14], false},
			"the client as if a target": {craft(t, end{family.other, 40000}, end{family.client, port}, nil), false},
		} {
			t.Run(fmt.Sprintf("%s/%s", family.target, name), func(t *testing.T) { check(t, vm, c.packet, c.pass) })
		}
	}
}

func check(t *testing.T, vm *bpf.VM, packet []byte, pass bool) {
	t.Helper()
	n, err := vm.Run(packet)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	if pass {
		want = snapLength
	}
	if n != want {
		t.Errorf("%d octets, expected %d", n, want)
	}
}

func TestFilterOfHeaders(t *testing.T) {
	client, target := end{"10.1.2.9", 40000}, end{"10.1.2.3", 8080}
	vm, err := bpf.NewVM(program(Config{Target: netip.MustParseAddrPort("10.1.2.3:8080"), HighPort: 65535}))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*layers.IPv4)
		pass   bool
	}{
		"options":         {func(ip *layers.IPv4) { ip.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}} }, true},
		"first fragment":  {func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }, true},
		"later fragment":  {func(ip *layers.IPv4) { ip.FragOffset = 3 }, false},
		"UDP":             {func(ip *layers.IPv4) { ip.Protocol = layers.IPProtocolUDP }, false},
		"another version": {func(ip *layers.IPv4) { ip.Version = 6 }, false},
	} {
		t.Run(name, func(t *testing.T) { check(t, vm, craft(t, client, target, c.change), c.pass) })
	}
	client, target = end{"fd00::9", 40000}, end{"fd00::3", 8080}
	if vm, err = bpf.NewVM(program(Config{Target: netip.MustParseAddrPort("[fd00::3]:8080"), HighPort: 65535})); err != nil {
		t.Fatal(err)
	}
	check(t, vm, behindHopByHop(craft(t, client, target, nil), 6), true)
	check(t, vm, behindHopByHop(craft(t, client, target, nil), 17), false)
}
