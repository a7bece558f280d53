// Package segmenttest has Ethernet frames that carry one TCP connection in
// every encapsulation, and what a decoder must make of them. The tests of
// segment.Decode and of the kernel program hold both against the same cases.
//
// The functions make their frames anew on each call, and may be called from any
// goroutine.
package segmenttest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/finwait/finwait/flowtable/segment"
)

const tcpFlags = segment.FIN | segment.ACK

// Case is a frame and what it is. The fields behind Outcome are of TCP only.
type Case struct {
	Name          string
	Frame         []byte
	Outcome       segment.Outcome
	Encapsulation string
	VLAN          uint16
	IPv6          bool
}

// Segment is what a decoder makes of the frame, all but the encapsulation.
func (c Case) Segment() segment.Segment {
	s := segment.Segment{
		SrcPort: clientPort, DstPort: serverPort, Seq: testSeq, Ack: testAck, TCPFlags: tcpFlags,
		VLAN: c.VLAN, Octets: uint32(40 + payloadOctets), Payload: uint32(payloadOctets),
		Src: [16]byte{10: 0xff, 11: 0xff, 12: client4[0], 13: client4[1], 14: client4[2], 15: client4[3]},
		Dst: [16]byte{10: 0xff, 11: 0xff, 12: server4[0], 13: server4[1], 14: server4[2], 15: server4[3]},
	}
	if c.IPv6 {
		s.Src, s.Dst = client6, server6
		s.Octets += 20
	}
	return s
}

// Cuts are the cases of a TCP frame cut off behind each of its octets, from
// the least given on up to the last octet of its TCP header.
func (c Case) Cuts(least int) []Case {
	var cuts []Case
	for n := least; n < bytes.LastIndex(c.Frame, []byte(payload)); n++ {
		cut := Case{Name: fmt.Sprintf("%s, %d octets of it", c.Name, n), Frame: c.Frame[:n:n], Outcome: segment.Undecodable}
		if c.withinUDP(n) {
			cut.Outcome = segment.NotTCP
		}
		cuts = append(cuts, cut)
	}
	return cuts
}

// withinUDP tells whether the frame's first n octets end before a UDP header
// does that has begun, or would begin with the next octet.
func (c Case) withinUDP(n int) bool {
	mark := binary.BigEndian.AppendUint16(nil, udpSource)
	for start := 0; ; start += len(mark) {
		found := bytes.Index(c.Frame[start:], mark)
		if found < 0 {
			return false
		}
		start += found
		if start <= n && n < start+8 {
			return true
		}
	}
}

// Cases are all of them.
func Cases() []Case {
	var all []Case
	for _, group := range [][]Case{labels(), overIP(), erspans(), overUDP(), nested(), fragments(), refused(), notInside()} {
		all = append(all, group...)
	}
	return all
}

// is is a frame that is decoded.
func is(encapsulation string, frame []byte) Case {
	return Case{Name: encapsulation, Frame: frame, Encapsulation: encapsulation}
}

func (c Case) named(name string) Case { c.Name = name; return c }
func (c Case) vlan(id uint16) Case    { c.VLAN = id; return c }
func (c Case) v6() Case               { c.IPv6 = true; return c }

func labels() []Case {
	return []Case{
		is("", ethernet(0x0800, inner4())),
		is("", ethernet(0x86dd, inner6())).named("ipv6").v6(),
		is("vlan", ethernet(0x8100, tags(0x0800, inner4(), 5))).vlan(5),
		is("qinq", ethernet(0x88a8, tags(0x86dd, inner6(), 6, 7))).vlan(6).v6(),
		is("pppoe", ethernet(0x8864, pppoe(0x21, inner4()))),
		is("qinq,pppoe", ethernet(0x88a8, tags(0x8864, pppoe(0x57, inner6()), 6, 7, 8, 9))).vlan(6).v6(),
		is("mpls", ethernet(0x8847, mpls(1, inner4()))),
		is("mpls", ethernet(0x8848, mpls(1, inner6()))).named("mpls 8848").v6(),
		is("mpls", ethernet(0x8847, mpls(8, inner6()))).named("8 labels").v6(),
		is("vlan,mpls", ethernet(0x8100, tags(0x8847, mpls(3, inner4()), 4095))).vlan(4095),
	}
}

func overIP() []Case {
	all := []Case{
		is("ipip", ethernet(0x0800, outer4(4, inner4()))),
		is("ipip", ethernet(0x0800, outer4(41, inner6()))).named("6 in 4").v6(),
		is("ipip", ethernet(0x86dd, outer6(4, inner4()))).named("4 in 6"),
		is("ipip", ethernet(0x86dd, outer6(41, inner6()))).named("6 in 6").v6(),
		is("ipip", ethernet(0x86dd, outer6(60, extensions(8, 41, inner6())))).named("6 in 6 behind 8 extensions").v6(),
		is("gre", ethernet(0x0800, outer4(47, gre(0, 0x6558, ethernet(0x86dd, inner6()))))).named("gre ethernet").v6(),
		is("gre,qinq", ethernet(0x86dd, outer6(47, gre(0, 0x6558, ethernet(0x9100, tags(0x0800, inner4(), 5, 6)))))),
		is("gre,pppoe", ethernet(0x0800, outer4(47, gre(0, 0x6558, ethernet(0x8864, pppoe(0x21, inner4())))))),
		is("gre,mpls", ethernet(0x0800, outer4(47, gre(0, 0x6558, ethernet(0x8847, mpls(2, inner4())))))),
		is("vlan,gre,vlan", ethernet(0x8100, tags(0x0800, outer4(47, gre(0, 0x6558, ethernet(0x8100, tags(0x0800, inner4(), 8)))), 5))).vlan(5),
		is("gre", ethernet(0x0800, outer4(47, gre(0x0ff8, 0x0800, inner4())))).named("gre reserved flags"),
	}
	for _, flags := range []uint16{0, 0x8000, 0x2000, 0x1000, 0xa000, 0x9000, 0x3000, 0xb000} {
		name := fmt.Sprintf("gre flags %04x", flags)
		all = append(all,
			is("gre", ethernet(0x0800, outer4(47, gre(flags, 0x0800, inner4())))).named(name),
			is("gre", ethernet(0x86dd, outer6(47, gre(flags, 0x86dd, inner6())))).named(name+" ipv6").v6())
	}
	return all
}

func erspans() []Case {
	return []Case{
		is("erspan", ethernet(0x0800, outer4(47, gre(0, 0x88be, ethernet(0x0800, inner4()))))),
		is("erspan", ethernet(0x0800, outer4(47, gre(0x2000, 0x88be, ethernet(0x0800, inner4()))))).named("erspan type I with a key"),
		is("erspan:0", ethernet(0x0800, outer4(47, gre(0x1000, 0x88be, erspan2(0, ethernet(0x0800, inner4())))))),
		is("erspan:1023,vlan", ethernet(0x0800, outer4(47, gre(0x1000, 0x88be, erspan2(1023, ethernet(0x8100, tags(0x0800, inner4(), 9))))))),
		is("erspan:7", ethernet(0x86dd, outer6(47, gre(0x3000, 0x88be, erspan2(7, ethernet(0x86dd, inner6())))))).v6(),
		is("erspan:99", ethernet(0x0800, outer4(47, gre(0x1000, 0x22eb, erspan3(99, false, ethernet(0x0800, inner4())))))),
		is("erspan:98", ethernet(0x0800, outer4(47, gre(0x1000, 0x22eb, erspan3(98, true, ethernet(0x0800, inner4())))))),
		is("erspan:97", ethernet(0x0800, outer4(47, gre(0, 0x22eb, erspan3(97, false, ethernet(0x0800, inner4())))))),
	}
}

func overUDP() []Case {
	frame4, frame6 := ethernet(0x0800, inner4()), ethernet(0x86dd, inner6())
	in4 := func(port uint16, carried []byte) []byte { return ethernet(0x0800, outer4(17, udp(port, carried))) }
	in6 := func(port uint16, carried []byte) []byte { return ethernet(0x86dd, outer6(17, udp(port, carried))) }
	return []Case{
		is("vxlan:5001", in4(4789, vxlan(5001, frame4))),
		is("vxlan:16777215", in6(4789, vxlan(1<<24-1, frame6))).v6(),
		is("vxlan:0", in4(4789, with(vxlan(0, frame4), 0, 0xff))),
		is("vlan,vxlan:5001", ethernet(0x8100, tags(0x0800, outer4(17, udp(4789, vxlan(5001, frame4))), 12))).vlan(12),
		is("geneve:7", in4(6081, geneve(7, 0, 0x6558, frame4))),
		is("geneve:8", in6(6081, geneve(8, 2, 0x0800, inner4()))),
		is("geneve:9", in4(6081, geneve(9, 63, 0x86dd, inner6()))).v6(),
		is("geneve:10", in4(6081, with(geneve(10, 0, 0x0800, inner4()), 1, 0xff))),
		is("gtpu:4294967295", in4(2152, gtpu(1<<32-1, 0, inner4()))),
		is("gtpu:1", in6(2152, gtpu(1, 0, inner6()))).v6(),
		is("gtpu:2", in4(2152, gtpu(2, 1, inner4()))),
		is("gtpu:3", in4(2152, gtpu(3, 2, inner4()))),
		is("gtpu:4", in4(2152, gtpu(4, 4, inner4()))),
		is("gtpu:5", in4(2152, gtpu(5, 4, inner4(), 1))),
		is("gtpu:6", in4(2152, gtpu(6, 7, inner6(), 1, 2, 1, 3))).v6(),
		is("gtpu:7", in4(2152, gtpu(7, 4, inner4(), 255))),
		is("gtpu:8", in4(2152, with(gtpu(8, 2, inner4()), 11, 0x85))).named("gtpu: a type of no extension"),
	}
}

func nested() []Case {
	four := ethernet(0x0800, inner4())
	inVXLAN := func(vni uint32, frame []byte) []byte { return outer4(17, udp(4789, vxlan(vni, frame))) }
	return []Case{
		is("ipip,ipip", ethernet(0x0800, outer4(4, outer4(41, inner6())))).v6(),
		is("gre,ipip", ethernet(0x0800, outer4(47, gre(0, 0x86dd, outer6(4, inner4()))))),
		is("gtpu:5,gre", ethernet(0x86dd, outer6(17, udp(2152, gtpu(5, 4, outer4(47, gre(0, 0x0800, inner4())), 2))))),
		is("vxlan:1,geneve", ethernet(0x0800, inVXLAN(1, ethernet(0x86dd, outer6(17, udp(6081, geneve(2, 1, 0x6558, four))))))),
		is("gre,vxlan:3", ethernet(0x0800, outer4(47, gre(0x2000, 0x0800, inVXLAN(3, four))))),
		is("erspan,gtpu:9", ethernet(0x0800, outer4(47, gre(0, 0x88be, ethernet(0x0800, outer4(17, udp(2152, gtpu(9, 0, inner4())))))))),
		is("erspan:4,vlan,vxlan", ethernet(0x0800, outer4(47, gre(0x1000, 0x88be, erspan2(4, ethernet(0x8100, tags(0x0800, inVXLAN(5, four), 3))))))),
		is("qinq,mpls,vxlan:6,vlan", ethernet(0x88a8, tags(0x8847, mpls(2, inVXLAN(6, ethernet(0x8100, tags(0x86dd, inner6(), 3)))), 1, 2))).vlan(1).v6(),
		is("vlan,gre,qinq,gre", ethernet(0x8100, tags(0x0800, outer4(47, gre(0, 0x6558, ethernet(0x8100, tags(0x0800, outer4(47, gre(0, 0x6558, four)), 2, 3)))), 1))).vlan(1),
		is("mpls,ipip,ipip", ethernet(0x8847, mpls(1, outer4(4, outer4(4, inner4()))))),
		is("ipip,ipip", ethernet(0x86dd, outer6(60, extensions(8, 41, outer6(60, extensions(8, 4, inner4())))))).named("16 extensions"),
	}
}
