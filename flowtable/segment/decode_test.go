package segment_test

import (
	"fmt"
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/segment/segmenttest"
)

// wanted is what a decoded frame of the test's one connection may differ in.
type wanted struct {
	ipv6            bool
	octets, payload uint32
	vlan            uint16
	layer           segment.Layer
	inner           segment.Layer // behind layer
	flags           uint8
}

func (w wanted) segment() segment.Segment {
	s := segment.Segment{
		SrcPort: 40000, DstPort: 443, Seq: testSeq, Ack: testAck,
		Octets: w.octets, Payload: w.payload, VLAN: w.vlan, TCPFlags: w.flags,
		Encapsulation: segment.Encapsulation{Layers: [4]segment.Layer{w.layer, w.inner}},
		Src:           [16]byte{10: 0xff, 11: 0xff, 12: client4[0], 13: client4[1], 14: client4[2], 15: client4[3]},
		Dst:           [16]byte{10: 0xff, 11: 0xff, 12: server4[0], 13: server4[1], 14: server4[2], 15: server4[3]},
	}
	if w.ipv6 {
		s.Src, s.Dst = client6, server6
	}
	return s
}

type decodeCase struct {
	name    string
	link    segment.LinkType
	frame   []byte
	outcome segment.Outcome
	want    wanted
}

const fin = segment.FIN | segment.ACK

var (
	tcp0 = tcp(fin, 0, 0)
	v4   = ipv4(6, 0, tcp0)
	v6   = ipv6(6, tcp0)
	is4  = wanted{octets: 40, flags: fin}
	is6  = wanted{ipv6: true, octets: 60, flags: fin}
)

func ethernetCases() []decodeCase {
	const eth = segment.LinkEthernet
	q, s, nine := uint16(0x8100), uint16(0x88a8), uint16(0x9100)
	vlan := wanted{octets: 40, vlan: 101, layer: segment.LayerVLAN, flags: fin}
	qinq := wanted{octets: 40, vlan: 101, layer: segment.LayerQinQ, flags: fin}
	return []decodeCase{
		{"empty", eth, nil, segment.Undecodable, wanted{}},
		{"13 octets", eth, ethernet(0x0800, nil)[:13], segment.Undecodable, wanted{}},
		{"ARP", eth, ethernet(0x0806, v4), segment.NotIP, wanted{}},
		{"802.3 length", eth, ethernet(46, v4), segment.NotIP, wanted{}},
		{"IPv4", eth, ethernet(0x0800, v4), segment.TCP, is4},
		{"IPv6", eth, ethernet(0x86dd, v6), segment.TCP, is6},
		{"padded", eth, append(ethernet(0x0800, v4), make([]byte, 6)...), segment.TCP, is4},
		{"IPv6 under the IPv4 ether type", eth, ethernet(0x0800, v6), segment.Undecodable, wanted{}},
		{"IPv4 under the IPv6 ether type", eth, ethernet(0x86dd, v4), segment.Undecodable, wanted{}},
		{"VLAN", eth, tagged([]uint16{q}, 0x0800, v4), segment.TCP, vlan},
		{"VLAN 802.1ad", eth, tagged([]uint16{s}, 0x0800, v4), segment.TCP, vlan},
		{"VLAN 0x9100", eth, tagged([]uint16{nine}, 0x0800, v4), segment.TCP, vlan},
		{"VLAN priority tag", eth, with(tagged([]uint16{q}, 0x0800, v4), 14, 0xe0, 0), segment.TCP,
			wanted{octets: 40, layer: segment.LayerVLAN, flags: fin}},
		{"VLAN 4095", eth, with(tagged([]uint16{q}, 0x0800, v4), 14, 0xff, 0xff), segment.TCP,
			wanted{octets: 40, vlan: 4095, layer: segment.LayerVLAN, flags: fin}},
		{"QinQ", eth, tagged([]uint16{s, q}, 0x0800, v4), segment.TCP, qinq},
		{"QinQ IPv6", eth, tagged([]uint16{q, q}, 0x86dd, v6), segment.TCP,
			wanted{ipv6: true, octets: 60, vlan: 101, layer: segment.LayerQinQ, flags: fin}},
		{"3 tags", eth, tagged([]uint16{s, q, nine}, 0x0800, v4), segment.TCP, qinq},
		{"4 tags", eth, tagged([]uint16{s, q, q, q}, 0x0800, v4), segment.TCP, qinq},
		{"5 tags", eth, tagged([]uint16{s, q, q, q, q}, 0x0800, v4), segment.NotIP, wanted{}},
		{"5 tags, the fifth cut off", eth, tagged([]uint16{s, q, q, q, q}, 0x0800, nil)[:30], segment.NotIP, wanted{}},
		{"tag cut off", eth, tagged([]uint16{q}, 0x0800, nil)[:17], segment.Undecodable, wanted{}},
		{"second tag cut off", eth, tagged([]uint16{s, q}, 0x0800, nil)[:21], segment.Undecodable, wanted{}},
		{"VLAN of something else", eth, tagged([]uint16{q}, 0x88cc, v4), segment.NotIP, wanted{}},
	}
}

func pppoeCases() []decodeCase {
	const eth = segment.LinkEthernet
	session := wanted{octets: 40, layer: segment.LayerPPPoE, flags: fin}
	frame := ethernet(0x8864, pppoe(0x0021, v4))
	tag := []uint16{0x88a8, 0x8100}
	cases := []decodeCase{
		{"IPv4", eth, frame, segment.TCP, session},
		{"IPv6", eth, ethernet(0x8864, pppoe(0x0057, v6)), segment.TCP,
			wanted{ipv6: true, octets: 60, layer: segment.LayerPPPoE, flags: fin}},
		{"IPv6 under the protocol of IPv4", eth, ethernet(0x8864, pppoe(0x0021, v6)), segment.Undecodable, wanted{}},
		{"VLAN", eth, tagged(tag[1:], 0x8864, pppoe(0x0021, v4)), segment.TCP,
			wanted{octets: 40, vlan: 101, layer: segment.LayerVLAN, inner: segment.LayerPPPoE, flags: fin}},
		{"QinQ", eth, tagged(tag, 0x8864, pppoe(0x0021, v4)), segment.TCP,
			wanted{octets: 40, vlan: 101, layer: segment.LayerQinQ, inner: segment.LayerPPPoE, flags: fin}},
		{"cooked", segment.LinkLinuxSLL, sll(0x8864, pppoe(0x0021, v4)), segment.TCP, session},
		{"LCP", eth, ethernet(0x8864, pppoe(0xc021, v4)), segment.NotIP, wanted{}},
		{"discovery", eth, ethernet(0x8863, pppoe(0x0021, v4)), segment.NotIP, wanted{}},
		{"version 2", eth, with(frame, 14, 0x21), segment.NotIP, wanted{}},
		{"type 2", eth, with(frame, 14, 0x12), segment.NotIP, wanted{}},
		{"code 9", eth, with(frame, 15, 9), segment.NotIP, wanted{}},
		{"session 0", eth, with(frame, 16, 0, 0), segment.TCP, session},
		{"UDP", eth, ethernet(0x8864, pppoe(0x0021, ipv4(17, 0, tcp0))), segment.NotTCP, wanted{}},
	}
	for n := range len(frame) {
		cases = append(cases, decodeCase{fmt.Sprintf("%d octets", n), eth, frame[:n], segment.Undecodable, wanted{}})
	}
	return cases
}

func linkCases() []decodeCase {
	vlan := wanted{octets: 40, vlan: 0x123, layer: segment.LayerVLAN, flags: fin}
	tag := []byte{0x01, 0x23, 0x08, 0x00}
	cases := []decodeCase{
		{"SLL cut off", segment.LinkLinuxSLL, sll(0x0800, nil)[:15], segment.Undecodable, wanted{}},
		{"SLL IPv4", segment.LinkLinuxSLL, sll(0x0800, v4), segment.TCP, is4},
		{"SLL IPv6", segment.LinkLinuxSLL, sll(0x86dd, v6), segment.TCP, is6},
		{"SLL VLAN", segment.LinkLinuxSLL, sll(0x8100, prefixed(v4, tag...)), segment.TCP, vlan},
		{"SLL VLAN cut off", segment.LinkLinuxSLL, sll(0x8100, tag[:3]), segment.Undecodable, wanted{}},
		{"SLL ARP", segment.LinkLinuxSLL, sll(0x0806, v4), segment.NotIP, wanted{}},
		{"SLL2 cut off", segment.LinkLinuxSLL2, sll2(0x0800, nil)[:19], segment.Undecodable, wanted{}},
		{"SLL2 IPv4", segment.LinkLinuxSLL2, sll2(0x0800, v4), segment.TCP, is4},
		{"SLL2 IPv6", segment.LinkLinuxSLL2, sll2(0x86dd, v6), segment.TCP, is6},
		{"SLL2 VLAN", segment.LinkLinuxSLL2, sll2(0x88a8, prefixed(v4, tag...)), segment.TCP, vlan},
		{"NULL little endian", segment.LinkNull, prefixed(v4, 2, 0, 0, 0), segment.TCP, is4},
		{"NULL big endian", segment.LinkNull, prefixed(v4, 0, 0, 0, 2), segment.TCP, is4},
		{"NULL cut off", segment.LinkNull, []byte{2, 0, 0}, segment.Undecodable, wanted{}},
		{"NULL other family", segment.LinkNull, prefixed(v4, 7, 0, 0, 0), segment.NotIP, wanted{}},
		{"NULL unknown in both orders", segment.LinkNull, prefixed(v4, 2, 1, 1, 2), segment.NotIP, wanted{}},
		{"LOOP IPv4", segment.LinkLoop, prefixed(v4, 0, 0, 0, 2), segment.TCP, is4},
		{"LOOP IPv6", segment.LinkLoop, prefixed(v6, 0, 0, 0, 24), segment.TCP, is6},
		{"LOOP little endian", segment.LinkLoop, prefixed(v4, 2, 0, 0, 0), segment.NotIP, wanted{}},
		{"LOOP cut off", segment.LinkLoop, []byte{0, 0, 0}, segment.Undecodable, wanted{}},
		{"IPV4", segment.LinkIPv4, v4, segment.TCP, is4},
		{"IPV4 with IPv6 in it", segment.LinkIPv4, v6, segment.Undecodable, wanted{}},
		{"IPV6", segment.LinkIPv6, v6, segment.TCP, is6},
		{"IPV6 with IPv4 in it", segment.LinkIPv6, v4, segment.Undecodable, wanted{}},
		{"unsupported", segment.LinkType(105), v4, segment.NotIP, wanted{}},
	}
	for _, family := range []byte{10, 24, 28, 30} {
		cases = append(cases,
			decodeCase{fmt.Sprintf("NULL family %d", family), segment.LinkNull, prefixed(v6, family, 0, 0, 0), segment.TCP, is6},
			decodeCase{fmt.Sprintf("NULL family %d big endian", family), segment.LinkNull, prefixed(v6, 0, 0, 0, family), segment.TCP, is6})
	}
	for _, link := range []segment.LinkType{segment.LinkRaw, segment.LinkRaw12, segment.LinkRaw14} {
		name := fmt.Sprintf("RAW %d ", link)
		cases = append(cases,
			decodeCase{name + "IPv4", link, v4, segment.TCP, is4},
			decodeCase{name + "IPv6", link, v6, segment.TCP, is6},
			decodeCase{name + "version 5", link, with(v4, 0, 0x55), segment.NotIP, wanted{}},
			decodeCase{name + "empty", link, nil, segment.Undecodable, wanted{}})
	}
	for _, link := range []segment.LinkType{segment.LinkPPP, segment.LinkPPPHDLC} {
		name := fmt.Sprintf("PPP %d ", link)
		cases = append(cases,
			decodeCase{name + "IPv4", link, prefixed(v4, 0, 0x21), segment.TCP, is4},
			decodeCase{name + "IPv6", link, prefixed(v6, 0, 0x57), segment.TCP, is6},
			decodeCase{name + "framed IPv4", link, prefixed(v4, 0xff, 3, 0, 0x21), segment.TCP, is4},
			decodeCase{name + "framed IPv6", link, prefixed(v6, 0xff, 3, 0, 0x57), segment.TCP, is6},
			decodeCase{name + "compressed IPv4", link, prefixed(v4, 0x21), segment.TCP, is4},
			decodeCase{name + "framed compressed IPv6", link, prefixed(v6, 0xff, 3, 0x57), segment.TCP, is6},
			decodeCase{name + "LCP", link, prefixed(v4, 0xff, 3, 0xc0, 0x21), segment.NotIP, wanted{}},
			decodeCase{name + "empty", link, nil, segment.Undecodable, wanted{}},
			decodeCase{name + "framed and nothing else", link, []byte{0xff, 3}, segment.Undecodable, wanted{}},
			decodeCase{name + "protocol cut off", link, []byte{0xff, 3, 0}, segment.Undecodable, wanted{}})
	}
	return cases
}

func ipv4Cases() []decodeCase {
	const raw = segment.LinkIPv4
	large := with(ipv4(6, 0, tcp(fin, 0, 70000)), 2, 0, 0)
	return []decodeCase{
		{"19 octets", raw, v4[:19], segment.Undecodable, wanted{}},
		{"version 5", raw, with(v4, 0, 0x55), segment.Undecodable, wanted{}},
		{"header of 16 octets", raw, with(v4, 0, 0x44), segment.Undecodable, wanted{}},
		{"options", raw, ipv4(6, 4, tcp(fin, 0, 7)), segment.TCP, wanted{octets: 51, payload: 7, flags: fin}},
		{"most options", raw, ipv4(6, 40, tcp(fin, 40, 7)), segment.TCP, wanted{octets: 127, payload: 7, flags: fin}},
		{"options cut off", raw, ipv4(6, 40, nil)[:59], segment.Undecodable, wanted{}},
		{"UDP", raw, ipv4(17, 0, tcp0), segment.NotTCP, wanted{}},
		{"UDP, header only", raw, ipv4(17, 0, nil), segment.NotTCP, wanted{}},
		{"UDP, options cut off", raw, ipv4(17, 40, nil)[:20], segment.NotTCP, wanted{}},
		{"UDP, later fragment", raw, with(ipv4(17, 0, tcp0), 6, 0x20, 1), segment.NotTCP, wanted{}},
		{"first fragment", raw, with(v4, 6, 0x20, 0), segment.TCP, is4},
		{"don't fragment", raw, with(v4, 6, 0x40, 0), segment.TCP, is4},
		{"reserved flag", raw, with(v4, 6, 0x80, 0), segment.TCP, is4},
		{"second fragment", raw, with(v4, 6, 0x20, 1), segment.Fragment, wanted{}},
		{"last fragment", raw, with(v4, 6, 0x1f, 0xff), segment.Fragment, wanted{}},
		{"later fragment, header only", raw, with(v4, 6, 0, 1)[:20], segment.Fragment, wanted{}},
		{"total length 0", raw, large, segment.TCP, wanted{octets: 70040, payload: 70000, flags: fin}},
		{"total length 0, header only", raw, with(v4, 2, 0, 0), segment.TCP, is4},
		{"snapped behind TCP's 20 octets", raw, ipv4(6, 0, tcp(fin, 12, 1000))[:40], segment.TCP,
			wanted{octets: 1052, payload: 1000, flags: fin}},
		{"snapped before TCP's 20 octets", raw, ipv4(6, 0, tcp(fin, 12, 1000))[:39], segment.Undecodable, wanted{}},
		{"snapped, total length 0", raw, with(ipv4(6, 0, tcp(fin, 0, 1000)), 2, 0, 0)[:100], segment.TCP,
			wanted{octets: 100, payload: 60, flags: fin}},
	}
}

func ipv6Cases() []decodeCase {
	const raw = segment.LinkIPv6
	payload7 := tcp(fin, 0, 7)
	nine := ipv6(60, options(9, tcp0))
	cases := []decodeCase{
		{"39 octets", raw, v6[:39], segment.Undecodable, wanted{}},
		{"version 5", raw, with(v6, 0, 0x50), segment.Undecodable, wanted{}},
		{"UDP", raw, ipv6(17, tcp0), segment.NotTCP, wanted{}},
		{"no next header", raw, ipv6(59, nil), segment.NotTCP, wanted{}},
		{"ESP", raw, ipv6(50, tcp0), segment.NotTCP, wanted{}},
		{"ICMPv6 behind an extension", raw, ipv6(0, extension(0, 58, 8, tcp0)), segment.NotTCP, wanted{}},
		{"UDP beyond what was captured", raw, ipv6(0, extension(0, 17, 64, nil))[:48], segment.NotTCP, wanted{}},
		{"TCP beyond what was captured", raw, ipv6(0, extension(0, 6, 64, tcp0))[:48], segment.Undecodable, wanted{}},
		{"payload length 0", raw, with(ipv6(6, tcp(fin, 0, 70000)), 4, 0, 0), segment.TCP,
			wanted{ipv6: true, octets: 70060, payload: 70000, flags: fin}},
		{"snapped behind TCP's 20 octets", raw, ipv6(6, tcp(fin, 12, 1000))[:60], segment.TCP,
			wanted{ipv6: true, octets: 1072, payload: 1000, flags: fin}},
		{"snapped before TCP's 20 octets", raw, ipv6(6, tcp(fin, 12, 1000))[:59], segment.Undecodable, wanted{}},
		{"first fragment", raw, ipv6(44, fragment(6, 0, payload7)), segment.TCP,
			wanted{ipv6: true, octets: 75, payload: 7, flags: fin}},
		{"later fragment", raw, ipv6(44, fragment(6, 1, payload7)), segment.Fragment, wanted{}},
		{"later fragment, header only", raw, ipv6(44, fragment(6, 1, nil)), segment.Fragment, wanted{}},
		{"later fragment of UDP", raw, ipv6(44, fragment(17, 1, nil)), segment.NotTCP, wanted{}},
		{"later fragment behind an extension", raw, ipv6(0, extension(0, 44, 8, fragment(6, 8191, nil))), segment.Fragment, wanted{}},
		{"later fragment that begins with an extension", raw, ipv6(44, fragment(60, 1, options(1, tcp0))), segment.NotTCP, wanted{}},
		{"8 extensions", raw, ipv6(60, options(8, tcp0)), segment.TCP,
			wanted{ipv6: true, octets: 124, flags: fin}},
		{"9 extensions", raw, nine, segment.Undecodable, wanted{}},
		{"authentication of 8 octets", raw, ipv6(51, extension(51, 6, 8, payload7)), segment.TCP,
			wanted{ipv6: true, octets: 75, payload: 7, flags: fin}},
		{"longest option header", raw, ipv6(60, extension(60, 6, 2048, payload7)), segment.TCP,
			wanted{ipv6: true, octets: 2115, payload: 7, flags: fin}},
		{"extensions longer than the payload length", raw, with(ipv6(0, extension(0, 6, 24, tcp0)), 4, 0, 43), segment.Undecodable, wanted{}},
	}
	for _, kind := range []byte{0, 43, 60, 135, 51, 44} {
		size := map[byte]int{51: 24, 44: 8}[kind]
		if size == 0 {
			size = 16
		}
		frame := ipv6(kind, extension(kind, 6, size, payload7))
		cases = append(cases,
			decodeCase{fmt.Sprintf("extension %d", kind), raw, frame, segment.TCP,
				wanted{ipv6: true, octets: uint32(67 + size), payload: 7, flags: fin}},
			decodeCase{fmt.Sprintf("extension %d, 7 octets of it", kind), raw, frame[:47], segment.Undecodable, wanted{}},
			decodeCase{fmt.Sprintf("extension %d, nothing of it", kind), raw, frame[:40], segment.Undecodable, wanted{}})
	}
	return cases
}

func tcpCases() []decodeCase {
	const raw = segment.LinkIPv4
	return []decodeCase{
		{"data offset of 16 octets", raw, with(v4, 20+12, 0x40), segment.Undecodable, wanted{}},
		{"data offset beyond the packet", raw, with(v4, 20+12, 0x60), segment.Undecodable, wanted{}},
		{"total length without TCP", raw, with(v4, 2, 0, 20), segment.Undecodable, wanted{}},
		{"total length one short", raw, with(v4, 2, 0, 39), segment.Undecodable, wanted{}},
		{"total length below the IP header", raw, with(v4, 2, 0, 1), segment.Undecodable, wanted{}},
		{"reserved bits beside the data offset", raw, with(v4, 20+12, 0x5f), segment.TCP, is4},
		{"all flags", raw, ipv4(6, 0, tcp(0xff, 0, 0)), segment.TCP, wanted{octets: 40, flags: 0xff}},
		{"no flags", raw, ipv4(6, 0, tcp(0, 0, 0)), segment.TCP, wanted{octets: 40}},
		{"options and payload", raw, ipv4(6, 0, tcp(fin, 40, 1)), segment.TCP, wanted{octets: 81, payload: 1, flags: fin}},
	}
}

func allCases() map[string][]decodeCase {
	return map[string][]decodeCase{
		"ethernet": ethernetCases(), "pppoe": pppoeCases(), "link": linkCases(),
		"ipv4": ipv4Cases(), "ipv6": ipv6Cases(), "tcp": tcpCases(),
	}
}

// caller is a Segment whose fields that Decode must leave alone are set.
func caller() segment.Segment {
	return segment.Segment{
		At: 1, WireLength: 2, Interface: 3, Marks: 4,
		Own:   segment.Direction{Packets: 5, High: 6},
		Other: segment.Direction{Octets: 7, MaxAck: 8},
	}
}

func TestDecode(t *testing.T) {
	for group, cases := range allCases() {
		for _, c := range cases {
			t.Run(group+"/"+c.name, func(t *testing.T) {
				got, want := caller(), caller()
				if c.outcome == segment.TCP {
					want = c.want.segment()
					keep := caller()
					want.At, want.WireLength, want.Interface, want.Marks = keep.At, keep.WireLength, keep.Interface, keep.Marks
					want.Own, want.Other = keep.Own, keep.Other
				}
				if o := segment.Decode(c.link, c.frame, &got); o != c.outcome {
					t.Fatalf("outcome %v, want %v", o, c.outcome)
				}
				if got != want {
					t.Errorf("segment %+v\nwant    %+v", got, want)
				}
			})
		}
	}
}

// A Segment that held another frame before must not keep anything of it.
func TestDecodeOverwrites(t *testing.T) {
	var s segment.Segment
	first := tagged([]uint16{0x88a8, 0x8100}, 0x86dd, ipv6(6, tcp(0xff, 8, 99)))
	if o := segment.Decode(segment.LinkEthernet, first, &s); o != segment.TCP {
		t.Fatalf("outcome %v", o)
	}
	if o := segment.Decode(segment.LinkIPv4, v4, &s); o != segment.TCP {
		t.Fatalf("outcome %v", o)
	}
	if want := is4.segment(); s != want {
		t.Errorf("segment %+v\nwant    %+v", s, want)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	var s segment.Segment
	for group, cases := range allCases() {
		for _, c := range cases {
			if n := testing.AllocsPerRun(10, func() { segment.Decode(c.link, c.frame, &s) }); n != 0 {
				t.Errorf("%s/%s: %v allocations", group, c.name, n)
			}
		}
	}
}

func TestSupported(t *testing.T) {
	want := map[segment.LinkType]bool{0: true, 1: true, 9: true, 12: true, 14: true, 50: true,
		101: true, 108: true, 113: true, 228: true, 229: true, 276: true}
	for link := range segment.LinkType(0xffff) {
		if got := segment.Supported(link); got != want[link] {
			t.Errorf("link type %d: supported %v, want %v", link, got, want[link])
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, cases := range allCases() {
		for _, c := range cases {
			if len(c.frame) < 4096 {
				f.Add(uint16(c.link), c.frame)
			}
		}
	}
	for _, c := range segmenttest.Cases() {
		f.Add(uint16(segment.LinkEthernet), c.Frame)
	}
	f.Fuzz(func(t *testing.T, link uint16, frame []byte) {
		checkPlain(t, frame)
		before := caller()
		s := before
		outcome := segment.Decode(segment.LinkType(link), frame, &s)
		if outcome != segment.TCP {
			if s != before {
				t.Fatalf("%v, but the segment was changed: %+v", outcome, s)
			}
			return
		}
		if !segment.Supported(segment.LinkType(link)) {
			t.Fatalf("decoded link type %d", link)
		}
		if s.Payload+20+20 > s.Octets {
			t.Errorf("payload %d of %d octets leaves no room for headers", s.Payload, s.Octets)
		}
		tagged := s.Encapsulation != segment.Encapsulation{}
		if s.VLAN != 0 && !tagged || s.VLAN > 4095 {
			t.Errorf("VLAN %d with encapsulation %q", s.VLAN, s.Encapsulation)
		}
		checkEncapsulation(t, s.Encapsulation)
		checkPadded(t, segment.LinkType(link), frame, s)
	})
}

// checkPadded holds that octets behind a frame change nothing, unless the
// packet's own length is missing and stands for what was captured.
func checkPadded(t *testing.T, link segment.LinkType, frame []byte, s segment.Segment) {
	const padding = 18
	padded := s
	if o := segment.Decode(link, append(frame[:len(frame):len(frame)], make([]byte, padding)...), &padded); o != segment.TCP {
		t.Fatalf("%v when padded", o)
	}
	grown := padded.Octets - s.Octets
	if grown != 0 && (grown != padding || int(s.Octets) > len(frame)) {
		t.Errorf("padding of %d octets adds %d octets", padding, grown)
	}
	if padded.Payload != s.Payload+grown {
		t.Errorf("payload %d becomes %d when padded", s.Payload, padded.Payload)
	}
	padded.Octets, padded.Payload = s.Octets, s.Payload
	if padded != s {
		t.Errorf("padding changes the segment to %+v\nfrom %+v", padded, s)
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name  string
		link  segment.LinkType
		frame []byte
	}{
		{"ethernet-ipv4", segment.LinkEthernet, ethernet(0x0800, v4)},
		{"ethernet-ipv6", segment.LinkEthernet, ethernet(0x86dd, v6)},
		{"qinq-ipv4", segment.LinkEthernet, tagged([]uint16{0x88a8, 0x8100}, 0x0800, v4)},
		{"ipv6-8-extensions", segment.LinkIPv6, ipv6(60, options(8, tcp0))},
		{"vxlan", segment.LinkEthernet, framed("vxlan:5001")},
		{"qinq-mpls-vxlan-vlan", segment.LinkEthernet, framed("qinq,mpls,vxlan:6,vlan")},
		{"udp", segment.LinkEthernet, ethernet(0x0800, ipv4(17, 0, tcp0))},
	} {
		b.Run(c.name, func(b *testing.B) {
			var s segment.Segment
			b.ReportAllocs()
			for b.Loop() {
				segment.Decode(c.link, c.frame, &s)
			}
		})
	}
}
