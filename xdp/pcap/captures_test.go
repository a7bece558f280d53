package pcap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/pcap"
)

// sharedCaptures finds the captures that lie beside the repository.
func sharedCaptures(t testing.TB) []string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
	captures, err := filepath.Glob(filepath.Join(dir, "..", "shared", "captures", "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	if len(captures) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("no captures in ../shared/captures")
		}
		t.Skip("no captures in ../shared/captures")
	}
	return captures
}

// Every shared capture holds what pcapgo and gopacket's decoder find in it.
func TestSharedCaptures(t *testing.T) {
	segments := 0
	for _, path := range sharedCaptures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			s, err := pcap.Open(path, testIndex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := drain(s, 64)
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			packets, link := readByPcapgo(t, path)
			if s.Counts().Packets != uint64(len(packets)) {
				t.Errorf("%d packets, pcapgo reads %d", s.Counts().Packets, len(packets))
			}
			var want []segment.Segment
			for _, p := range packets {
				if s, ok := decodeByGopacket(p, link); ok {
					want = append(want, s)
				}
			}
			compare(t, got, want)
			segments += len(got)
		})
	}
	if segments == 0 {
		t.Error("no segment in any capture")
	}
	t.Logf("%d segments agree", segments)
}

func readByPcapgo(t testing.TB, path string) ([]packet, layers.LinkType) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var packets []packet
	for {
		octets, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return packets, r.LinkType()
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, packet{at: info.Timestamp.UnixNano(), octets: octets, original: uint32(info.Length)})
	}
}

// decodeByGopacket makes the Segment of a TCP packet from gopacket's layers.
func decodeByGopacket(p packet, link layers.LinkType) (segment.Segment, bool) {
	decoded := gopacket.NewPacket(p.octets, link, gopacket.NoCopy)
	s := segment.Segment{At: p.at, WireLength: p.original, Interface: testIndex}
	var tags, layer int
	for _, header := range decoded.Layers() {
		switch l := header.(type) {
		case *layers.PPPoE:
			s.Encapsulation.Layers[layer] = segment.LayerPPPoE
			layer++
		case *layers.Dot1Q:
			if tags++; tags > 1 {
				s.Encapsulation.Layers[0] = segment.LayerQinQ
				continue
			}
			s.VLAN = l.VLANIdentifier
			s.Encapsulation.Layers[0] = segment.LayerVLAN
			layer++
		case *layers.IPv4:
			s.Src, s.Dst = [16]byte(l.SrcIP.To16()), [16]byte(l.DstIP.To16())
			s.Octets = uint32(l.Length)
			s.Payload = s.Octets - uint32(l.IHL)*4
		case *layers.IPv6:
			s.Src, s.Dst = [16]byte(l.SrcIP), [16]byte(l.DstIP)
			s.Octets = uint32(l.Length) + 40
			s.Payload = uint32(l.Length)
		case *layers.TCP:
			s.SrcPort, s.DstPort, s.Seq, s.Ack = uint16(l.SrcPort), uint16(l.DstPort), l.Seq, l.Ack
			s.TCPFlags = l.Contents[13]
			s.Payload -= uint32(l.DataOffset) * 4
			return s, true
		}
	}
	return s, false
}

// A capture that pcapgo writes anew, as pcapng of ns, as pcap of ns and
// compressed, reads the same.
func TestRewrittenByPcapgo(t *testing.T) {
	for _, path := range sharedCaptures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			original, err := pcap.Open(path, testIndex)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = original.Close() }()
			want, err := drain(original, 64)
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			packets, link := readByPcapgo(t, path)
			for name, file := range map[string][]byte{
				"pcap": writeClassic(t, packets, link), "pcapng": writeNG(t, packets, link),
			} {
				for _, octets := range [][]byte{file, gzipped(t, file), gzipped(t, file[:len(file)/2], file[len(file)/2:])} {
					s := open(t, octets)
					got, err := drain(s, 64)
					if !errors.Is(err, io.EOF) {
						t.Fatalf("%s: %v", name, err)
					}
					compare(t, got, want)
					if s.Counts() != original.Counts() {
						t.Errorf("%s: counts %+v, want %+v", name, s.Counts(), original.Counts())
					}
				}
			}
		})
	}
}

func info(p packet, device int) gopacket.CaptureInfo {
	return gopacket.CaptureInfo{Timestamp: time.Unix(0, p.at), CaptureLength: len(p.octets), Length: int(p.wire()), InterfaceIndex: device}
}

func writeClassic(t testing.TB, packets []packet, link layers.LinkType) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	if err := w.WriteFileHeader(65535, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if err := w.WritePacket(info(p, 0), p.octets); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// writeNG spreads the packets over two interfaces and puts statistics behind.
func writeNG(t testing.TB, packets []packet, link layers.LinkType) []byte {
	t.Helper()
	var b bytes.Buffer
	device := pcapgo.NgInterface{Name: "tap0", LinkType: link, SnapLength: 0, TimestampResolution: 9}
	w, err := pcapgo.NewNgWriterInterface(&b, device, pcapgo.DefaultNgWriterOptions)
	if err != nil {
		t.Fatal(err)
	}
	device.Name = "tap1"
	if _, err := w.AddInterface(device); err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		if err := w.WritePacket(info(p, i%2), p.octets); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteInterfaceStats(1, pcapgo.NgInterfaceStatistics{PacketsReceived: uint64(len(packets))}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What this package's own test writer writes, pcapgo reads the same, so the
// writer is no private dialect.
func TestWriterAgainstPcapgo(t *testing.T) {
	packets := frames(9)
	for name, o := range orders {
		classic, _ := classicNano(o).write(packets)
		r, err := pcapgo.NewReader(bytes.NewReader(classic))
		if err != nil {
			t.Fatal(err)
		}
		samePackets(t, name+" pcap", r, packets)
		ng, _ := ngOf(o, packets)
		n, err := pcapgo.NewNgReader(bytes.NewReader(ng), pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		samePackets(t, name+" pcapng", n, packets)
	}
	every, _ := everyBlock()
	r, err := pcapgo.NewNgReader(bytes.NewReader(every), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, seq := range []uint32{1, 0, 2, 3, 4} {
		octets, _, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		at := map[bool]int{true: 24, false: 38}[seq == 3]
		if seq != 0 && binary.BigEndian.Uint32(octets[at:]) != seq {
			t.Errorf("packet %d has another sequence number than %d", i, seq)
		}
	}
}

func samePackets(t *testing.T, name string, r gopacket.PacketDataSource, packets []packet) {
	t.Helper()
	for i, p := range packets {
		octets, info, err := r.ReadPacketData()
		if err != nil || !bytes.Equal(octets, p.octets) || info.Timestamp.UnixNano() != p.at {
			t.Fatalf("%s, packet %d: %v, at %v", name, i, err, info.Timestamp)
		}
	}
	if _, _, err := r.ReadPacketData(); !errors.Is(err, io.EOF) {
		t.Errorf("%s: %v at the end", name, err)
	}
}
