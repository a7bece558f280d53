package xdp

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/segment/segmenttest"
)

// extension makes an IPv6 extension header of n octets.
func extension(next uint8, n int) []byte {
	header := make([]byte, n)
	header[0] = next
	header[1] = byte(n/8 - 1)
	return header
}

func authentication(next uint8, n int) []byte {
	header := make([]byte, n)
	header[0] = next
	header[1] = byte(n/4 - 2)
	return header
}

func fragment(next uint8, offset uint16) []byte {
	return []byte{next, 0, byte(offset >> 5), byte(offset<<3) | 1, 0, 0, 0, 1}
}

func join(headers ...[]byte) []byte {
	var all []byte
	for _, h := range headers {
		all = append(all, h...)
	}
	return all
}

func chain(n int) []byte {
	var all []byte
	for i := range n {
		next := uint8(60)
		if i == n-1 {
			next = 6
		}
		all = append(all, extension(next, 8)...)
	}
	return all
}

// changed is the frame with octets replaced, from the given place on.
func changed(f []byte, at int, octets ...byte) []byte {
	f = append([]byte(nil), f...)
	copy(f[at:], octets)
	return f
}

// session wraps the packet of an untagged frame in PPPoE.
func session(f []byte, protocol uint16) []byte {
	wrapped := append([]byte(nil), f[:12]...)
	wrapped = append(wrapped, 0x88, 0x64, 0x11, 0, 0x12, 0x34)
	wrapped = binary.BigEndian.AppendUint16(wrapped, uint16(len(f)-14+2))
	return append(binary.BigEndian.AppendUint16(wrapped, protocol), f[14:]...)
}

type parseCase struct {
	name  string
	frame []byte
	want  segment.Outcome
}

func parseCases() []parseCase {
	plain := frame{flags: segment.ACK, payload: 100}.bytes()
	six := frame{v6: true, flags: segment.ACK, payload: 100}.bytes()
	tagged := frame{tags: []uint16{0xe064}, flags: segment.ACK}.bytes()
	with := func(next uint8, extensions ...[]byte) []byte {
		return frame{v6: true, next: next, extensions: join(extensions...), flags: segment.ACK, payload: 10}.bytes()
	}
	return []parseCase{
		{"plain", plain, segment.TCP},
		{"shortest", frame{}.bytes(), segment.TCP},
		{"padded", frame{pad: 6}.bytes(), segment.TCP},
		{"ethernet header alone", plain[:14], segment.Undecodable},
		{"arp", changed(plain, 12, 8, 6), segment.NotIP},
		{"one tag", tagged, segment.TCP},
		{"tag cut off", tagged[:17], segment.Undecodable},
		{"service tag", frame{tags: []uint16{7}, tagType: 0x88a8}.bytes(), segment.TCP},
		{"old service tag", frame{tags: []uint16{7}, tagType: 0x9100}.bytes(), segment.TCP},
		{"two tags", frame{tags: []uint16{5, 6}}.bytes(), segment.TCP},
		{"four tags", frame{tags: []uint16{5, 6, 7, 8}}.bytes(), segment.TCP},
		{"five tags", frame{tags: []uint16{5, 6, 7, 8, 9}}.bytes(), segment.NotIP},
		{"five tags cut off", frame{tags: []uint16{5, 6, 7, 8, 9}}.bytes()[:30], segment.NotIP},
		{"tagged arp", changed(tagged, 16, 8, 6), segment.NotIP},

		{"pppoe", session(plain, 0x21), segment.TCP},
		{"pppoe of ipv6", session(six, 0x57), segment.TCP},
		{"tagged pppoe", join(tagged[:16], session(plain, 0x21)[12:]), segment.TCP},
		{"pppoe cut off", session(plain, 0x21)[:21], segment.Undecodable},
		{"pppoe control", session(plain, 0xc021), segment.NotIP},
		{"pppoe of version 2", changed(session(plain, 0x21), 14, 0x21), segment.NotIP},
		{"pppoe code", changed(session(plain, 0x21), 15, 0xa7), segment.NotIP},
		{"pppoe cut off in ipv4", session(plain, 0x21)[:41], segment.Undecodable},
		{"ipv6 as ipv4 in pppoe", session(six, 0x21), segment.Undecodable},

		{"ipv4 cut off", plain[:33], segment.Undecodable},
		{"ipv4 of version 6", changed(plain, 14, 0x65), segment.Undecodable},
		{"ipv4 header of 16", changed(plain, 14, 0x44), segment.Undecodable},
		{"ipv4 options", frame{options: 40, payload: 3}.bytes(), segment.TCP},
		{"udp", changed(plain, 23, 17), segment.NotTCP},
		{"udp fragment", changed(changed(plain, 23, 17), 20, 0, 9), segment.NotTCP},
		{"first fragment", changed(plain, 20, 0x20, 0), segment.TCP},
		{"later fragment", changed(plain, 20, 0x20, 1), segment.Fragment},
		{"last fragment", changed(plain, 20, 0x1f, 0xff), segment.Fragment},
		{"do not fragment", changed(plain, 20, 0x40, 0), segment.TCP},
		{"total length 0", frame{length: -1, payload: 30}.bytes(), segment.TCP},
		{"total length beyond the frame", frame{length: 9000}.bytes(), segment.TCP},
		{"total length before the tcp header ends", frame{length: 39}.bytes(), segment.Undecodable},
		{"total length before the tcp options end", frame{length: 47, tcpOptions: 8}.bytes(), segment.Undecodable},
		{"tcp cut off", plain[:53], segment.Undecodable},
		{"tcp options cut off", frame{tcpOptions: 40}.bytes()[:54], segment.TCP},
		{"data offset of 16", changed(plain, 46, 0x40), segment.Undecodable},
		{"data offset of 60", changed(plain, 46, 0xf0), segment.TCP},

		{"ipv6", six, segment.TCP},
		{"ipv6 cut off", six[:53], segment.Undecodable},
		{"ipv6 of version 4", changed(six, 14, 0x40), segment.Undecodable},
		{"ipv6 traffic class", changed(six, 14, 0x6f, 0xff), segment.TCP},
		{"ipv6 udp", changed(six, 20, 17), segment.NotTCP},
		{"ipv6 no next header", changed(six, 20, 59), segment.NotTCP},
		{"ipv6 payload length 0", frame{v6: true, length: -1, payload: 30}.bytes(), segment.TCP},
		{"ipv6 payload length short", frame{v6: true, length: 19}.bytes(), segment.Undecodable},
		{"hop by hop", with(0, extension(6, 8)), segment.TCP},
		{"routing of 24", with(43, extension(6, 24)), segment.TCP},
		{"destination and mobility", with(60, extension(135, 16), extension(6, 8)), segment.TCP},
		{"authentication", with(51, authentication(6, 24)), segment.TCP},
		{"first fragment of ipv6", with(44, fragment(6, 0)), segment.TCP},
		{"later fragment of ipv6", with(44, fragment(6, 3)), segment.Fragment},
		{"later udp fragment of ipv6", with(44, fragment(17, 3)), segment.NotTCP},
		{"fragment behind hop by hop", with(0, extension(44, 8), fragment(6, 1)), segment.Fragment},
		{"eight extensions", with(60, chain(8)), segment.TCP},
		{"nine extensions", with(60, chain(9)), segment.Undecodable},
		{"eight, then udp", with(60, changed(chain(8), 56, 17)), segment.NotTCP},
		{"extension cut off", with(0, extension(6, 8))[:61], segment.Undecodable},
		{"extension beyond the frame", changed(with(0, extension(6, 8)), 55, 200), segment.Undecodable},
		{"udp beyond the frame", changed(with(0, extension(17, 8)), 55, 200), segment.NotTCP},
		{"longest extension", with(60, extension(6, 2048)), segment.TCP},
		{"esp", with(50, extension(6, 8)), segment.NotTCP},
		{"jumbo", frame{payload: 8960}.bytes(), segment.TCP},
		{"merged", frame{payload: 60000}.bytes(), segment.TCP},
	}
}

// TestParse runs every rule, and holds program and decoder against the case
// and against each other.
func TestParse(t *testing.T) {
	r := newRunner(t, 100, programOptions{describeAll: true})
	for _, c := range parseCases() {
		if got := compare(t, r, c.name, c.frame); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestEncapsulations holds the program against every encapsulation, whole and
// cut off behind each octet.
func TestEncapsulations(t *testing.T) {
	r := newRunner(t, 100, programOptions{describeAll: true})
	frames := 0
	for _, c := range segmenttest.Cases() {
		all := []segmenttest.Case{c}
		if c.Outcome == segment.TCP {
			// The kernel takes no frame below an Ethernet header.
			all = append(all, c.Cuts(14)...)
		}
		for _, c := range all {
			if got := compare(t, r, c.Name, c.Frame); got != c.Outcome {
				t.Errorf("%s: %v, want %v", c.Name, got, c.Outcome)
			}
		}
		frames += len(all)
	}
	t.Logf("%d frames agree", frames)
}

// compare decodes one frame in both ways and returns the decoder's outcome.
func compare(t *testing.T, r *runner, name string, f []byte) segment.Outcome {
	t.Helper()
	var want segment.Segment
	outcome := segment.Decode(segment.LinkEthernet, f, &want)
	v := r.run(f)
	end := outcome.String()
	if outcome == segment.TCP {
		end = "passed"
	}
	if v.end != end {
		t.Errorf("%s: the program ended it as %q, the decoder as %q\n%x", name, v.end, end, f[:min(len(f), 128)])
		return outcome
	}
	if outcome != segment.TCP {
		return outcome
	}
	got := v.segment
	if got.At == 0 || got.Interface != 1 || got.WireLength != uint32(len(f)) {
		t.Errorf("%s: at %d, interface %d, wire length %d of %d", name, got.At, got.Interface, got.WireLength, len(f))
	}
	got.At, got.Interface, got.WireLength, got.Marks = 0, 0, 0, 0
	got.Own, got.Other = segment.Direction{}, segment.Direction{}
	if got != want {
		t.Errorf("%s: the program says\n%+v, the decoder\n%+v\n%x", name, got, want, f[:min(len(f), 128)])
	}
	return outcome
}

// TestCapturesAgree runs every packet of every capture.
func TestCapturesAgree(t *testing.T) {
	files := captures(t)
	r := newRunner(t, 10000, programOptions{describeAll: true})
	total, outcomes := 0, map[segment.Outcome]int{}
	for _, file := range files {
		eachPacket(t, file, func(packet []byte) {
			total++
			outcomes[compare(t, r, filepath.Base(file), packet)]++
		})
	}
	if outcomes[segment.TCP] == 0 {
		t.Errorf("no TCP segment in %d files", len(files))
	}
	t.Logf("%d packets of %d captures agree: %v", total, len(files), outcomes)
}

func eachPacket(t *testing.T, file string, use func([]byte)) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	reader, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if reader.LinkType() != layers.LinkTypeEthernet {
		t.Fatalf("%s: link type %v", file, reader.LinkType())
	}
	for {
		packet, _, err := reader.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		// The kernel takes no frame below an Ethernet header.
		if len(packet) >= 14 {
			use(packet)
		}
	}
}
