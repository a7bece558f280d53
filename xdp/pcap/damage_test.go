package pcap_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/finwait/finwait/xdp/pcap"
)

// wantDamage reads a file to its end and expects n segments and then damage
// of the record at the offset, for a reason that contains the words. The
// error must stay.
func wantDamage(t *testing.T, file []byte, n int, offset int64, words string) {
	t.Helper()
	s := open(t, file)
	got, err := drain(s, 64)
	var damaged *pcap.DamagedError
	if !errors.As(err, &damaged) {
		t.Fatalf("error %v, want damage", err)
	}
	if len(got) != n || damaged.Offset != offset || damaged.Name != "test" || damaged.Packets != s.Counts().Packets {
		t.Errorf("%d segments, then %v; want %d and damage at octet %d after %d packets", len(got), err, n, offset, s.Counts().Packets)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("error %q does not say %q", err, words)
	}
	if more, again := drain(s, 64); len(more) != 0 || !errors.Is(again, err) {
		t.Errorf("then %d segments and %v", len(more), again)
	}
}

// checkCuts cuts a file at every offset: between records it ends, anywhere
// else it is damaged, and either way every whole record before is read.
func checkCuts(t *testing.T, file []byte, ends []int, perRecord []int) {
	t.Helper()
	whole := 0
	for cut := range len(file) {
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		if whole == 0 {
			checkMapped(t, file[:cut])
			if s, err := pcap.NewSource(bytes.NewReader(file[:cut]), "test", 0); err == nil {
				t.Fatalf("cut at %d: no error for %v", cut, s)
			}
			continue
		}
		want := 0
		for _, n := range perRecord[:whole] {
			want += n
		}
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			if ends[whole-1] != cut {
				wantDamage(t, file[:cut], want, int64(ends[whole-1]), "cut off after")
				return
			}
			if got, err := drain(open(t, file[:cut]), 3); !errors.Is(err, io.EOF) || len(got) != want {
				t.Errorf("%d segments and %v, want %d and the end", len(got), err, want)
			}
		})
	}
}

func TestClassicCutAnywhere(t *testing.T) {
	perRecord := []int{0, 1, 1, 1, 0, 1, 1, 1, 0} // header, packets, every fourth ARP
	for name, o := range orders {
		t.Run(name, func(t *testing.T) {
			file, ends := classicNano(o).write(frames(6))
			checkCuts(t, file, ends, perRecord)
			modified := classicMicro(o)
			modified.magic, modified.more = 0xa1b2cd34, 8
			file, ends = modified.write(frames(6))
			checkCuts(t, file, ends, perRecord)
		})
	}
}

func TestNGCutAnywhere(t *testing.T) {
	file, ends := everyBlock()
	checkCuts(t, file, ends, []int{0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 1})
}

func TestNGOptionsCutAnywhere(t *testing.T) {
	perRecord := []int{0, 0, 1, 1, 1, 0, 1, 1, 1, 0} // section, interface, packets
	for name, o := range orders {
		t.Run(name, func(t *testing.T) {
			file, ends := ngOf(o, frames(6))
			checkCuts(t, file, ends, perRecord)
		})
	}
}

func TestGzipCutAnywhere(t *testing.T) {
	packets := frames(30)
	file, _ := classicNano(binary.LittleEndian).write(packets)
	whole := gzipped(t, file)
	want := wantSegments(t, packets, 1)
	for i := range want {
		want[i].Interface = 0
	}
	for cut := range len(whole) {
		checkMapped(t, whole[:cut])
		s, err := pcap.NewSource(bytes.NewReader(whole[:cut]), "test", 0)
		if err == nil {
			got, end := drain(s, 64)
			if !slices.Equal(got, want[:len(got)]) {
				t.Fatalf("cut at %d: segments differ", cut)
			}
			err = end
		}
		var damaged *pcap.DamagedError
		var format *pcap.FormatError
		if !errors.As(err, &damaged) && (cut >= 2 || !errors.As(err, &format)) {
			t.Fatalf("cut at %d of %d: %v", cut, len(whole), err)
		}
		if cut >= 2 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d of %d: cause %v", cut, len(whole), damaged.Err)
		}
	}
}

func TestGzipDamage(t *testing.T) {
	packets := frames(40)
	file, _ := classicNano(binary.LittleEndian).write(packets)
	n := len(wantSegments(t, packets, 1))
	whole := gzipped(t, file)

	sum := bytes.Clone(whole)
	sum[len(sum)-5] ^= 1 // of the CRC, behind everything
	got, err := drain(open(t, sum), 64)
	if len(got) != n || !errors.Is(err, gzip.ErrChecksum) {
		t.Errorf("wrong checksum: %d segments of %d, then %v", len(got), n, err)
	}
	got, err = drain(open(t, append(whole, "something behind it"...)), 64)
	if len(got) != n || !errors.Is(err, gzip.ErrHeader) {
		t.Errorf("something behind: %d segments of %d, then %v", len(got), n, err)
	}
}

func TestReadError(t *testing.T) {
	packets := frames(40)
	file, _ := classicNano(binary.LittleEndian).write(packets)
	broken := errors.New("the disk is gone")
	s, err := pcap.NewSource(io.MultiReader(bytes.NewReader(file), failing{broken}), "test", testIndex)
	if err != nil {
		t.Fatal(err)
	}
	got, err := drain(s, 64)
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	compare(t, got, wantSegments(t, packets, 1))
	if _, err := pcap.NewSource(failing{broken}, "test", 0); !errors.Is(err, broken) {
		t.Errorf("error %v at once", err)
	}
	if _, err := pcap.NewSource(idle{}, "test", 0); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error %v of a reader that returns nothing", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestClassicDamage(t *testing.T) {
	file, ends := classicNano(binary.LittleEndian).write(frames(6))
	put := func(at int, value uint32) []byte {
		b := bytes.Clone(file)
		binary.LittleEndian.PutUint32(b[at:], value)
		return b
	}
	third := ends[2]
	wantDamage(t, put(third+8, 256<<10+1), 2, int64(third), "262145 captured octets")
	wantDamage(t, put(third+8, 0xffffffff), 2, int64(third), "4294967295 captured octets")
	wantDamage(t, put(third+8, 256<<10), 2, int64(third), "cut off after")
	wantDamage(t, file[:len(file)-1], 6, int64(ends[7]), "cut off after")
}

// The largest packet is read; the buffer holds it.
func TestLargestPacket(t *testing.T) {
	large := ethernet(0x0800, tcpIPv4(1, 0))
	large = append(large, make([]byte, 256<<10-len(large))...)
	packets := []packet{{octets: large}, {octets: ethernet(0x0800, tcpIPv4(2, 0))}, {octets: large}}
	classic, _ := classicNano(binary.LittleEndian).write(packets)
	ng, _ := ngOf(binary.LittleEndian, packets)
	for _, file := range [][]byte{classic, ng} {
		got, err := drain(open(t, file), 64)
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		compare(t, got, wantSegments(t, packets, 1))
	}
}

func TestNGDamage(t *testing.T) {
	good := ethernet(0x0800, tcpIPv4(1, 0))
	for name, c := range map[string]struct {
		words  string
		damage func(n *ngFile, at int)
	}{
		"trailer": {"76 octets at its begin", func(n *ngFile, at int) {
			n.enhanced(0, 2, good[:42], 54)
			binary.LittleEndian.PutUint32(n.b[len(n.b)-4:], 72)
		}},
		"trailer of a skipped block": {"at its end", func(n *ngFile, at int) {
			n.comment(1 << 20)
			n.b[len(n.b)-1] = 1
		}},
		"length not a multiple of 4": {"length of 31", func(n *ngFile, at int) {
			n.comment(20)
			n.b[at+4] = 31
		}},
		"length 0": {"length of 0", func(n *ngFile, at int) {
			n.comment(20)
			n.b[at+4] = 0
		}},
		"packet block too short":    {"length of 28", func(n *ngFile, at int) { n.block(6, make([]byte, 16)) }},
		"interface block too short": {"length of 16", func(n *ngFile, at int) { n.block(1, make([]byte, 4)) }},
		"simple block too short":    {"length of 12", func(n *ngFile, at int) { n.block(3, nil) }},
		"section too short": {"length of 24", func(n *ngFile, at int) {
			n.block(0x0a0d0d0a, []byte{0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 0, 0, 0, 0})
		}},
		"section without byte order": {"without a byte order", func(n *ngFile, at int) { n.block(0x0a0d0d0a, make([]byte, 16)) }},
		"section of version 2": {"version 2", func(n *ngFile, at int) {
			n.section(binary.LittleEndian)
			n.b[at+12] = 2
		}},
		"unknown interface": {"interface 2 where 2", func(n *ngFile, at int) { n.enhanced(2, 2, good, 54) }},
		"no such interface": {"interface 4294967295", func(n *ngFile, at int) { n.enhanced(0xffffffff, 2, good, 54) }},
		"interface of another section": {"interface 0 where 0", func(n *ngFile, at int) {
			n.section(binary.LittleEndian)
			n.enhanced(0, 2, good, 54)
		}},
		"captured more than the block": {"4294967295 captured", func(n *ngFile, at int) {
			n.enhanced(0, 2, good, 54)
			binary.LittleEndian.PutUint32(n.b[at+20:], 0xffffffff)
		}},
		"captured into the trailer": {"57 captured", func(n *ngFile, at int) {
			n.enhanced(0, 2, good, 54)
			n.b[at+20] = 57
		}},
		"captured more than is sane":          {"300000 captured", func(n *ngFile, at int) { n.enhanced(0, 2, make([]byte, 300000), 300000) }},
		"options beyond bounds":               {"more than 524288", func(n *ngFile, at int) { n.enhanced(0, 2, good, 54, make([]byte, 600000)...) }},
		"simple packet longer than its block": {"100 captured", func(n *ngFile, at int) { n.simple(good, 100) }},
		"huge block": {"cut off after", func(n *ngFile, at int) {
			n.comment(20)
			binary.LittleEndian.PutUint32(n.b[at+4:], 0xfffffffc)
		}},
		"resolution of 2 octets": {"if_tsresol", func(n *ngFile, at int) { n.device(1, 0, n.option(9, 6, 6)) }},
		"offset of 4 octets":     {"if_tsoffset", func(n *ngFile, at int) { n.device(1, 0, n.option(14, 1, 2, 3, 4)) }},
		"option beyond the block": {"option 2 of 60000", func(n *ngFile, at int) {
			n.device(1, 0, []byte{2, 0, 0x60, 0xea, 0, 0, 0, 0})
		}},
		"interface without end": {"more than 524288", func(n *ngFile, at int) { n.device(1, 0, make([]byte, 600000)) }},
	} {
		t.Run(name, func(t *testing.T) {
			n := &ngFile{}
			n.section(binary.LittleEndian)
			n.device(1, 0)
			n.device(105, 0)
			n.enhanced(0, 1, good, 54)
			at := len(n.b)
			c.damage(n, at)
			damagedAt := at
			if name == "interface of another section" {
				damagedAt = n.ends[len(n.ends)-2]
			}
			if name != "huge block" { // what is behind must not be read
				n.enhanced(0, 3, good, 54)
			}
			wantDamage(t, n.b, 1, int64(damagedAt), c.words)
		})
	}
}

// What no interface decodes is stepped over, however large; what it says of
// itself is still held to be true.
func TestNGUnsupportedLinkTypes(t *testing.T) {
	n := &ngFile{}
	n.section(binary.LittleEndian)
	n.device(189, 0)
	n.enhanced(0, ^uint64(0), make([]byte, 1<<20), 1<<20)
	n.simple(make([]byte, 8), 8)
	alone := bytes.Clone(n.b)
	n.section(binary.LittleEndian)
	n.device(1, 0)
	n.enhanced(0, 1, ethernet(0x0800, tcpIPv4(1, 0)), 54)

	s := open(t, n.b)
	if got, err := drain(s, 4); !errors.Is(err, io.EOF) || len(got) != 1 {
		t.Errorf("%d segments and %v", len(got), err)
	}
	if c := s.Counts(); c.Packets != 3 || c.UnsupportedLink != 2 || c.Untimed != 1 {
		t.Errorf("counts %+v", c)
	}

	s = open(t, alone)
	_, err := drain(s, 4)
	var link *pcap.LinkTypeError
	if !errors.As(err, &link) || link.Link != 189 || !strings.Contains(err.Error(), `"test" has link type 189`) {
		t.Errorf("nothing supported: %v", err)
	}
	if c := s.Counts(); c.Packets != 2 || c.UnsupportedLink != 2 {
		t.Errorf("counts %+v", c)
	}
}

func TestNotRead(t *testing.T) {
	wifi := classicMicro(binary.BigEndian)
	wifi.link = 105
	file, _ := wifi.write(nil)
	_, err := pcap.NewSource(bytes.NewReader(file), "test", 0)
	var link *pcap.LinkTypeError
	if !errors.As(err, &link) || link.Link != 105 || link.Name != "test" {
		t.Errorf("link type 105: %v", err)
	}
	large := classicMicro(binary.BigEndian)
	large.link = 0x10001
	file, _ = large.write(nil)
	if _, err := pcap.NewSource(bytes.NewReader(file), "test", 0); !errors.As(err, &link) || link.Link != 0x10001 {
		t.Errorf("link type 65537: %v", err)
	}

	old, _ := classicMicro(binary.BigEndian).write(nil)
	old[5] = 1
	newer := &ngFile{}
	newer.section(binary.BigEndian)
	newer.b[13] = 2
	confused := &ngFile{}
	confused.section(binary.BigEndian)
	confused.b[8] = 0
	for words, octets := range map[string]string{
		"it is empty": "", "(\"a\")": "a", "68 65 6c 6c": "hello", "by zstd": "\x28\xb5\x2f\xfd...", "by xz": "\xfd7zXZ",
		"by bzip2": "BZh91AY", "by zip": "PK\x03\x04", "by lz4": "\x04\x22\x4d\x18",
		"pcap of version 1.4": string(old), "pcapng of version 2": string(newer.b), "0a 0d 0d 0a": string(confused.b),
		"6e 6f 74": string(gzipped(t, []byte("nothing"))),
	} {
		checkMapped(t, []byte(octets))
		_, err := pcap.NewSource(strings.NewReader(octets), "test", 0)
		var format *pcap.FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), words) || !strings.HasPrefix(err.Error(), `"test"`) {
			t.Errorf("%q: %v, want %q", octets, err, words)
		}
	}
}

// Interfaces are the one thing that takes memory as a file goes on.
func TestNGInterfacesBounded(t *testing.T) {
	n := &ngFile{}
	n.section(binary.LittleEndian)
	for range 1<<16 + 1 {
		n.device(1, 0)
	}
	wantDamage(t, n.b, 0, int64(n.ends[1<<16]), "more than 65536 interfaces")
}
