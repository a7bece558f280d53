package segmenttest

import "github.com/finwait/finwait/flowtable/segment"

// not is a frame that is no TCP segment.
func not(outcome segment.Outcome, name string, frame []byte) Case {
	return Case{Name: name, Frame: frame, Outcome: outcome}
}

// In a tunnel, the place of the outer IP header, and of what is behind it.
const (
	atIP     = 14
	behindIP = 34
)

func fragments() []Case {
	tunnel := ethernet(0x0800, outer4(47, gre(0, 0x0800, inner4())))
	gtp := udp(2152, gtpu(1, 0, inner4()))
	inGRE := func(packet []byte) []byte { return ethernet(0x0800, outer4(47, gre(0, 0x0800, packet))) }
	return []Case{
		is("gre", with(tunnel, atIP+6, 0x20, 0)).named("first fragment of GRE"),
		is("gtpu:1", ethernet(0x86dd, outer6(44, fragment6(17, 0, gtp)))).named("first fragment of UDP over IPv6"),
		is("gre", inGRE(ipv4(client4, server4, 6, 0x2000, tcp()))).named("first fragment in GRE"),
		not(segment.NotTCP, "later fragment of GRE", with(tunnel, atIP+6, 0x20, 1)),
		not(segment.NotTCP, "last fragment of GRE", with(tunnel, atIP+6, 0x1f, 0xff)),
		not(segment.NotTCP, "later fragment of UDP over IPv6", ethernet(0x86dd, outer6(44, fragment6(17, 1, gtp)))),
		not(segment.NotTCP, "later fragment of IP in IP", with(ethernet(0x0800, outer4(4, inner4())), atIP+6, 0, 1)),
		not(segment.Fragment, "later fragment in GRE", inGRE(ipv4(client4, server4, 6, 1, tcp()))),
		not(segment.Fragment, "later fragment in IPv6 in IPv4", ethernet(0x0800, outer4(41, ipv6(client6, server6, 44, fragment6(6, 1, tcp()))))),
		not(segment.NotTCP, "later fragment of GRE in GRE", inGRE(ipv4(client4, server4, 47, 1, gre(0, 0x0800, inner4())))),
		not(segment.NotTCP, "later fragment of UDP in GRE", inGRE(ipv4(client4, server4, 17, 1, gtp))),
	}
}

// refused are headers that break a rule of their own.
func refused() []Case {
	four := ethernet(0x0800, inner4())
	inGRE := func(flags, carried uint16, rest []byte) []byte {
		return ethernet(0x0800, outer4(47, gre(flags, carried, rest)))
	}
	inUDP := func(port uint16, rest []byte) []byte { return ethernet(0x0800, outer4(17, udp(port, rest))) }
	const udpTunnel = behindIP + 8
	return []Case{
		not(segment.NotIP, "9 labels", ethernet(0x8847, mpls(9, inner4()))),
		not(segment.NotIP, "8 labels without a bottom", ethernet(0x8847, mpls(9, nil)[:32])),
		not(segment.NotIP, "control word", ethernet(0x8847, mpls(2, append(make([]byte, 4), four...)))),
		not(segment.NotIP, "IP version 5 in MPLS", ethernet(0x8847, mpls(1, with(inner4(), 0, 0x55)))),
		not(segment.NotIP, "MPLS in PPP", ethernet(0x8864, pppoe(0x281, mpls(1, inner4())))),
		not(segment.NotIP, "MPLS in MPLS's place of PPPoE", ethernet(0x8864, mpls(1, inner4()))),
		not(segment.NotIP, "a frame in a frame", ethernet(0x6558, four)),
		not(segment.NotTCP, "PPTP", inGRE(0x2001, 0x880b, four)),
		not(segment.NotTCP, "GRE version 1", inGRE(1, 0x0800, inner4())),
		not(segment.NotTCP, "GRE version 2", inGRE(2, 0x0800, inner4())),
		not(segment.NotTCP, "GRE routing", inGRE(0x4000, 0x0800, inner4())),
		not(segment.NotTCP, "MPLS in GRE", inGRE(0, 0x8847, mpls(1, inner4()))),
		not(segment.NotTCP, "VLAN in GRE", inGRE(0, 0x8100, tags(0x0800, inner4(), 5))),
		not(segment.NotTCP, "ERSPAN version 0 with a sequence number", inGRE(0x1000, 0x88be, with(erspan2(1, four), 0, 0x01))),
		not(segment.NotTCP, "ERSPAN version 2 as type II", inGRE(0x1000, 0x88be, with(erspan2(1, four), 0, 0x21))),
		not(segment.NotTCP, "ERSPAN version 1 as type III", inGRE(0x1000, 0x22eb, with(erspan3(1, false, four), 0, 0x11))),
		not(segment.NotTCP, "ERSPAN type III of IP", inGRE(0x1000, 0x22eb, with(erspan3(1, false, inner4()), 10, 0x88))),
		not(segment.NotTCP, "UDP to another port", inUDP(4790, vxlan(1, four))),
		not(segment.NotTCP, "VXLAN without identifier", with(inUDP(4789, vxlan(1, four)), udpTunnel, 0xf7)),
		not(segment.NotTCP, "VXLAN of another protocol", with(inUDP(4789, vxlan(1, four)), udpTunnel+20, 0x08, 0x06)),
		not(segment.NotTCP, "GENEVE version 1", with(inUDP(6081, geneve(1, 0, 0x0800, inner4())), udpTunnel, 0x40)),
		not(segment.NotTCP, "MPLS in GENEVE", inUDP(6081, geneve(1, 0, 0x8847, mpls(1, inner4())))),
		not(segment.NotTCP, "MPLS in GENEVE, options cut off", inUDP(6081, geneve(1, 9, 0x8847, nil))[:60]),
		not(segment.NotTCP, "GTP version 0", with(inUDP(2152, gtpu(1, 0, inner4())), udpTunnel, 0x10)),
		not(segment.NotTCP, "GTP version 2", with(inUDP(2152, gtpu(1, 0, inner4())), udpTunnel, 0x50)),
		not(segment.NotTCP, "GTP'", with(inUDP(2152, gtpu(1, 0, inner4())), udpTunnel, 0x20)),
		not(segment.NotTCP, "GTP echo request", with(inUDP(2152, gtpu(1, 2, nil)), udpTunnel+1, 1)),
		not(segment.NotTCP, "GTP with 5 extensions", inUDP(2152, gtpu(1, 4, inner4(), 1, 1, 1, 1, 1))),
		not(segment.NotTCP, "GTP with a fifth extension cut off", inUDP(2152, gtpu(1, 4, nil, 1, 1, 1, 1, 1))[:udpTunnel+28]),
		not(segment.Undecodable, "GTP with an empty extension", inUDP(2152, gtpu(1, 4, inner4(), 1, 0))),
		not(segment.NotTCP, "Ethernet in GTP", inUDP(2152, gtpu(1, 0, four))),
	}
}

// notInside are tunnels whose headers are right, and what they carry is not.
func notInside() []Case {
	four := ethernet(0x0800, inner4())
	inVXLAN := func(frame []byte) []byte { return ethernet(0x0800, outer4(17, udp(4789, vxlan(1, frame)))) }
	third := outer4(4, outer4(4, outer4(4, inner4())))
	return []Case{
		not(segment.NotTCP, "ARP in VXLAN", inVXLAN(ethernet(0x0806, make([]byte, 28)))),
		not(segment.NotTCP, "UDP in VXLAN", inVXLAN(ethernet(0x0800, outer4(17, udp(53, inner4()))))),
		not(segment.NotTCP, "5 tags in VXLAN", inVXLAN(ethernet(0x8100, tags(0x0800, inner4(), 1, 2, 3, 4, 5)))),
		not(segment.NotTCP, "LCP in VXLAN", inVXLAN(ethernet(0x8864, pppoe(0xc021, inner4())))),
		not(segment.NotTCP, "9 labels in VXLAN", inVXLAN(ethernet(0x8847, mpls(9, inner4())))),
		not(segment.NotTCP, "a frame in a frame in VXLAN", inVXLAN(ethernet(0x6558, four))),
		not(segment.Undecodable, "IPv6 as IPv4 in VXLAN", inVXLAN(ethernet(0x0800, inner6()))),
		not(segment.Undecodable, "IPv6 in protocol 4", ethernet(0x0800, outer4(4, inner6()))),
		not(segment.Undecodable, "IPv4 in protocol 41", ethernet(0x0800, outer4(41, inner4()))),
		not(segment.Undecodable, "data offset of 16 in VXLAN", inVXLAN(with(four, -payloadOctets-8, 0x40))),
		not(segment.Undecodable, "total length without TCP in GRE", ethernet(0x0800, outer4(47, gre(0, 0x0800, with(inner4(), 2, 0, 20))))),
		not(segment.Undecodable, "9 extensions, then a tunnel", ethernet(0x86dd, outer6(60, extensions(9, 41, inner6())))),
		not(segment.NotTCP, "a third tunnel", ethernet(0x0800, third)),
		not(segment.NotTCP, "a third tunnel cut off", ethernet(0x0800, third[:60])),
		not(segment.NotTCP, "a third tunnel, GRE", ethernet(0x0800, outer4(4, outer4(4, outer4(47, gre(0, 0x0800, inner4())))))),
		not(segment.NotTCP, "a fifth layer, VLAN", fifth(0x8100, tags(0x0800, inner4(), 4))),
		not(segment.NotTCP, "a fifth layer, VLAN cut off", fifth(0x8100, nil)),
		not(segment.NotTCP, "a fifth layer, PPPoE", fifth(0x8864, pppoe(0x21, inner4()))),
		not(segment.NotTCP, "a fifth layer, MPLS cut off", fifth(0x8847, nil)),
		not(segment.NotTCP, "a fifth layer, GRE", ethernet(0x8100, tags(0x8847, mpls(1, outer4(47, gre(0, 0x6558, ethernet(0x8100,
			tags(0x0800, outer4(47, gre(0, 0x0800, inner4())), 2))))), 1))),
		is("vxlan:1", inVXLAN(with(four, atIP+2, 0, 0))).named("no total length in VXLAN"),
		is("ipip", ethernet(0x0800, outer4(41, with(inner6(), 4, 0, 0)))).named("no payload length in IPv6 in IPv4").v6(),
		is("gre", with(ethernet(0x0800, outer4(47, gre(0, 0x0800, inner4()))), atIP+2, 0, 0)).named("no total length around GRE"),
		is("gre", append(ethernet(0x0800, outer4(47, gre(0, 0x0800, inner4()))), make([]byte, payloadOctets)...)).named("padded"),
	}
}

// fifth has four layers around what it carries.
func fifth(etherType uint16, carried []byte) []byte {
	second := outer4(47, gre(0, 0x6558, ethernet(etherType, carried)))
	first := outer4(47, gre(0, 0x6558, ethernet(0x8100, tags(0x0800, second, 2))))
	return ethernet(0x8100, tags(0x0800, first, 1))
}
