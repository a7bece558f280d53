package pcap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/pcap"
)

// source is worker.Source, which this package may not import.
type source interface {
	Receive(batch []*segment.Segment, wait time.Duration) (int, error)
}

var _ source = (*pcap.Source)(nil)

const testIndex = 7

// drain reads a source to its end.
func drain(s *pcap.Source, batchSize int) ([]segment.Segment, error) {
	var all []segment.Segment
	batch := make([]*segment.Segment, batchSize)
	for {
		n, err := s.Receive(batch, time.Second)
		for _, one := range batch[:n] {
			all = append(all, *one)
		}
		if err != nil {
			return all, err
		}
	}
}

// open reads a file's octets, which must read the same where they are mapped.
func open(t testing.TB, file []byte) *pcap.Source {
	t.Helper()
	if _, ok := t.(*testing.T); ok {
		checkMapped(t, file)
	}
	s, err := pcap.NewSource(bytes.NewReader(file), "test", testIndex)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantSegments is what packets of Ethernet, IPv4 and TCP become where time
// stamps have the given unit.
func wantSegments(t testing.TB, packets []packet, unit int64) []segment.Segment {
	t.Helper()
	var want []segment.Segment
	for _, p := range packets {
		s := segment.Segment{At: p.at - p.at%unit, WireLength: p.wire(), Interface: testIndex}
		if segment.Decode(segment.LinkEthernet, p.octets, &s) == segment.TCP {
			want = append(want, s)
		}
	}
	if len(want) == 0 {
		t.Fatal("no segments to compare")
	}
	return want
}

func compare(t testing.TB, got, want []segment.Segment) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d segments, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("segment %d: %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestClassic(t *testing.T) {
	packets := frames(40)
	packets[3].original = 9000
	for name, o := range orders {
		micro, nano, modified, old := classicMicro(o), classicNano(o), classicMicro(o), classicMicro(o)
		modified.magic, modified.more = 0xa1b2cd34, 8
		old.minor, old.exchanged = 2, true
		either := old
		either.minor = 3
		check := classicMicro(o)
		check.link |= 0x50000000 // a frame check sequence of 4 octets
		for kind, c := range map[string]classicFile{
			"micro": micro, "nano": nano, "modified": modified, "2.2": old, "2.3 exchanged": either, "FCS": check,
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				packets := packets
				if c.minor == 3 { // tells the lengths apart by their size
					packets = slices.Clone(packets)
					packets[5].original = 2000
				}
				file, _ := c.write(packets)
				s := open(t, file)
				got, err := drain(s, 64)
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				compare(t, got, wantSegments(t, packets, c.unit))
				checkCounts(t, s, packets)
			})
		}
	}
}

// checkCounts compares with the packets of frames.
func checkCounts(t testing.TB, s *pcap.Source, packets []packet) {
	t.Helper()
	var want pcap.Counts
	for _, p := range packets {
		want.Packets++
		want.Octets += uint64(p.wire())
		if binary.BigEndian.Uint16(p.octets[12:]) == 0x0806 {
			want.Outcomes[segment.NotIP]++
		} else {
			want.Outcomes[segment.TCP]++
		}
	}
	if got := s.Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestLinkTypes(t *testing.T) {
	ip := tcpIPv4(1, 0)
	for link, octets := range map[uint32][]byte{
		0: append([]byte{2, 0, 0, 0}, ip...), 1: ethernet(0x0800, ip), 9: append([]byte{0, 0x21}, ip...),
		12: ip, 14: ip, 50: append([]byte{0xff, 3, 0, 0x21}, ip...), 101: ip,
		108: append([]byte{0, 0, 0, 2}, ip...), 113: append(append(make([]byte, 14), 8, 0), ip...),
		228: ip, 276: append(append([]byte{8, 0}, make([]byte, 18)...), ip...),
	} {
		c := classicMicro(binary.LittleEndian)
		c.link = link
		file, _ := c.write([]packet{{octets: octets}})
		got, err := drain(open(t, file), 1)
		if !errors.Is(err, io.EOF) || len(got) != 1 || got[0].Seq != 1 {
			t.Errorf("link type %d: %v and %+v", link, err, got)
		}
	}
}

func TestNG(t *testing.T) {
	packets := frames(40)
	for name, o := range orders {
		t.Run(name, func(t *testing.T) {
			file, _ := ngOf(o, packets)
			s := open(t, file)
			got, err := drain(s, 64)
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			compare(t, got, wantSegments(t, packets, 1))
			checkCounts(t, s, packets)
		})
	}
}

func TestNGEveryBlock(t *testing.T) {
	file, _ := everyBlock()
	s := open(t, file)
	got, err := drain(s, 64)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	type brief struct {
		seq, wire, payload uint32
		at                 int64
	}
	var briefs []brief
	for _, g := range got {
		briefs = append(briefs, brief{g.Seq, g.WireLength, g.Payload, g.At})
	}
	want := []brief{
		{1, 63, 9, 1_000_000_001},
		{2, 59, 5, 1_000_000_001}, // a simple packet: the time before
		{3, 43, 3, 103_500_000_000},
		{4, 54, 0, 7_000_001_000},
	}
	if !slices.Equal(briefs, want) {
		t.Errorf("segments %v, want %v", briefs, want)
	}
	counts := pcap.Counts{Packets: 5, Octets: 63 + 33 + 59 + 43 + 54, UnsupportedLink: 1, Untimed: 1}
	counts.Outcomes[segment.TCP] = 4
	if s.Counts() != counts {
		t.Errorf("counts %+v, want %+v", s.Counts(), counts)
	}
}

// A simple packet is snapped to its interface's limit.
func TestNGSimpleSnapped(t *testing.T) {
	n := &ngFile{}
	n.section(binary.LittleEndian)
	n.device(1, 54)
	n.simple(ethernet(0x0800, tcpIPv4(1, 900))[:54], 954)
	n.simple(ethernet(0x0800, tcpIPv4(2, 900))[:54], 954)
	got, err := drain(open(t, n.b), 8)
	if !errors.Is(err, io.EOF) || len(got) != 2 {
		t.Fatalf("%v and %d segments", err, len(got))
	}
	if got[1].Payload != 900 || got[1].WireLength != 954 || got[1].At != 0 {
		t.Errorf("segment %+v", got[1])
	}
}

func TestNGTime(t *testing.T) {
	offset := func(seconds int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(seconds)) }
	for _, c := range []struct {
		name       string
		resolution byte
		offset     []byte
		stamp      uint64
		want       int64 // -1 for out of range
	}{
		{"seconds", 0, nil, 1_700_000_000, 1_700_000_000_000_000_000},
		{"ms", 3, nil, 1_234_567, 1_234_567_000_000},
		{"us", 6, nil, 1_700_000_000_123_456, 1_700_000_000_123_456_000},
		{"100 ns", 7, nil, 15_000_000_0, 15_000_000_000},
		{"ns", 9, nil, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789},
		{"ps", 12, nil, 1_700_000_123_456_789, 1_700_000_123_456},
		{"10^-19", 19, nil, 15_000_000_000_000_000_000, 1_500_000_000},
		{"10^-20", 20, nil, 15_000_000_000_000_000_000, 150_000_000},
		{"10^-28", 28, nil, 15_000_000_000_000_000_000, 1},
		{"10^-29", 29, nil, 15_000_000_000_000_000_000, 0},
		{"10^-127", 127, nil, ^uint64(0), 0},
		{"2^-0", 0x80, nil, 3, 3_000_000_000},
		{"2^-10", 0x80 | 10, nil, 1024*5 + 512, 5_500_000_000},
		{"2^-32", 0x80 | 32, nil, 1_700_000_000<<32 | 1<<31, 1_700_000_000_500_000_000},
		{"2^-32, rounded down", 0x80 | 32, nil, ^uint64(0), 4_294_967_295_999_999_999},
		{"2^-63", 0x80 | 63, nil, 1<<63 | 1<<62, 1_500_000_000},
		{"2^-64", 0x80 | 64, nil, 1 << 63, 500_000_000},
		{"2^-65", 0x80 | 65, nil, 1 << 63, 250_000_000},
		{"2^-127", 0x80 | 127, nil, ^uint64(0), 0},
		{"offset", 6, offset(1_000), 1_500_000, 1_001_500_000_000},
		{"negative offset", 6, offset(-1), 1_500_000, 500_000_000},
		{"before the epoch", 6, offset(-2), 1_500_000, -500_000_000},
		{"since 1601", 7, offset(-11_644_473_600), 133_444_736_000_000_000, 1_700_000_000_000_000_000},
		{"ns since 1601", 9, offset(-11_644_473_600), 13_344_473_600_000_000_000, 1_700_000_000_000_000_000},
		{"last year", 0, nil, 9_223_372_035, 9_223_372_035_000_000_000},
		{"beyond", 0, nil, 9_223_372_036, -1},
		{"far beyond", 0, nil, ^uint64(0), -1},
		{"offset beyond", 6, offset(1 << 62), 0, -1},
		{"offset before", 6, offset(-1 << 63), 0, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := &ngFile{}
			n.section(binary.LittleEndian)
			options := [][]byte{n.option(9, c.resolution)}
			if c.offset != nil {
				options = append(options, n.option(14, c.offset...))
			}
			n.device(1, 0, options...)
			n.enhanced(0, c.stamp, ethernet(0x0800, tcpIPv4(1, 0)), 54)
			got, err := drain(open(t, n.b), 8)
			if c.want == -1 {
				var damaged *pcap.DamagedError
				if !errors.As(err, &damaged) || len(got) != 0 {
					t.Fatalf("%v and %d segments", err, len(got))
				}
				return
			}
			if !errors.Is(err, io.EOF) || len(got) != 1 || got[0].At != c.want {
				t.Fatalf("%v and %+v, want at %d", err, got, c.want)
			}
		})
	}
}

func TestGzip(t *testing.T) {
	packets := frames(40)
	classic, _ := classicNano(binary.LittleEndian).write(packets)
	ng, _ := ngOf(binary.BigEndian, packets)
	for name, file := range map[string][]byte{
		"pcap":    gzipped(t, classic),
		"pcapng":  gzipped(t, ng),
		"members": gzipped(t, classic[:11], classic[11:700], nil, classic[700:]),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, file)
			got, err := drain(s, 64)
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			compare(t, got, wantSegments(t, packets, 1))
			if read, size := s.Progress(); read != int64(len(file)) || size != -1 {
				t.Errorf("progress %d of %d, want %d of -1", read, size, len(file))
			}
		})
	}
}

// The reader's habits must not show in what is read.
func TestReaders(t *testing.T) {
	packets := frames(40)
	file, _ := classicNano(binary.BigEndian).write(packets)
	ng, _ := ngOf(binary.BigEndian, packets)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"one octet": iotest.OneByteReader, "half": iotest.HalfReader, "data with error": iotest.DataErrReader,
	} {
		for kind, octets := range map[string][]byte{"pcap": file, "pcapng": ng, "gzip": gzipped(t, file)} {
			t.Run(name+" "+kind, func(t *testing.T) {
				s, err := pcap.NewSource(wrap(bytes.NewReader(octets)), "test", testIndex)
				if err != nil {
					t.Fatal(err)
				}
				got, err := drain(s, 64)
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				compare(t, got, wantSegments(t, packets, 1))
			})
		}
	}
}

// A batch is never filled beyond its length nor the source's own batch.
func TestBatchSizes(t *testing.T) {
	packets := frames(1000)
	file, _ := classicNano(binary.LittleEndian).write(packets)
	for _, size := range []int{1, 2, 255, 256, 257, 4096} {
		got, err := drain(open(t, file), size)
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		compare(t, got, wantSegments(t, packets, 1))
	}
	if n, err := open(t, file).Receive(nil, 0); n != 0 || err != nil {
		t.Errorf("%d and %v for an empty batch", n, err)
	}
}

// A long stretch without TCP does not keep Receive from returning.
func TestWaitWithoutTCP(t *testing.T) {
	arp := make([]packet, 20000)
	for i := range arp {
		arp[i] = packet{octets: ethernet(0x0806, make([]byte, 46))}
	}
	file, _ := classicMicro(binary.LittleEndian).write(arp)
	s := open(t, file)
	batch := make([]*segment.Segment, 8)
	returns := 0
	for {
		n, err := s.Receive(batch, 0)
		if n != 0 {
			t.Fatalf("%d segments", n)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if returns++; returns > len(arp) {
			t.Fatal("no progress")
		}
	}
	if returns == 0 {
		t.Error("never returned before the end")
	}
	if got := s.Counts().Packets; got != uint64(len(arp)) {
		t.Errorf("%d packets, want %d", got, len(arp))
	}
}

func TestReceiveAllocatesNothing(t *testing.T) {
	packets := frames(60000)
	classic, _ := classicNano(binary.LittleEndian).write(packets)
	ng, _ := ngOf(binary.LittleEndian, packets)
	const runs, batchSize = 200, 256
	for name, file := range map[string][]byte{"pcap": classic, "pcapng": ng, "gzip": gzipped(t, classic)} {
		t.Run(name, func(t *testing.T) {
			s := open(t, file)
			batch := make([]*segment.Segment, batchSize)
			received := 0
			allocations := testing.AllocsPerRun(runs, func() {
				n, err := s.Receive(batch, time.Second)
				if err != nil {
					t.Fatal(err)
				}
				received += n
			})
			// The standard library's inflate makes tables for each of its
			// blocks, of which a batch touches one or two.
			most := 0.0
			if name == "gzip" {
				most = 32
			}
			if allocations > most {
				t.Errorf("%v allocations per batch, want at most %v", allocations, most)
			}
			if received < 30000 {
				t.Errorf("only %d segments were read", received)
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	packets := make([]packet, 100000)
	for i := range packets {
		packets[i] = packet{at: int64(i), octets: ethernet(0x0800, tcpIPv4(uint32(i), 100))}
	}
	classic, _ := classicNano(binary.LittleEndian).write(packets)
	ng, _ := ngOf(binary.LittleEndian, packets)
	for _, c := range []struct {
		name string
		file []byte
	}{{"pcap", classic}, {"pcapng", ng}, {"pcap-gzip", gzipped(b, classic)}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.file)))
			batch := make([]*segment.Segment, 64)
			for b.Loop() {
				s := open(b, c.file)
				for {
					if _, err := s.Receive(batch, time.Second); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
			perPacket := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / float64(len(packets))
			b.ReportMetric(perPacket, "ns/packet")
		})
	}
}

func ExampleOpen() {
	_, err := pcap.NewSource(strings.NewReader("From: someone"), "mail.txt", 0)
	fmt.Println(err)
	// Output: "mail.txt" is no capture that can be read: it begins with the octets 46 72 6f 6d ("From"); pcap and pcapng are read, either also compressed by gzip
}
