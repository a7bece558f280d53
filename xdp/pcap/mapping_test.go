package pcap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/pcap"
)

// onDisk is a regular file with these octets that has no name; its path is
// good as long as the test runs.
func onDisk(t testing.TB, octets []byte) string {
	t.Helper()
	fd, err := unix.MemfdCreate("capture", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "capture")
	t.Cleanup(func() { _ = file.Close() })
	if _, err := file.Write(octets); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

// checkMapped holds a file that is mapped against the same octets from a
// reader: segments, counts and errors are the same, whatever they are.
func checkMapped(t testing.TB, octets []byte) {
	t.Helper()
	if len(octets) == 0 {
		return // nothing to map
	}
	path := onDisk(t, octets)
	mapped, mappedErr := pcap.Open(path, testIndex)
	read, readErr := pcap.NewSource(bytes.NewReader(octets), path, testIndex)
	if mappedErr != nil || readErr != nil {
		if fmt.Sprint(mappedErr) != fmt.Sprint(readErr) {
			t.Fatalf("mapped: %v\nread: %v", mappedErr, readErr)
		}
		return
	}
	got, mappedErr := drain(mapped, 64)
	want, readErr := drain(read, 61)
	if mappedErr.Error() != readErr.Error() || mapped.Counts() != read.Counts() || !slices.Equal(got, want) {
		t.Fatalf("mapped: %d segments, %+v, %v\nread: %d segments, %+v, %v",
			len(got), mapped.Counts(), mappedErr, len(want), read.Counts(), readErr)
	}
	if done, size := mapped.Progress(); errors.Is(mappedErr, io.EOF) && done != int64(len(octets)) || size > done && size != int64(len(octets)) {
		t.Errorf("progress %d of %d, want %d", done, size, len(octets))
	}
	if err := mapped.Close(); err != nil {
		t.Error(err)
	}
}

// longFile is some hundred windows of a mapping, in either format.
func longFile(t testing.TB) map[string][]byte {
	t.Helper()
	var packets []packet
	for i := range 30000 {
		packets = append(packets, packet{at: int64(i), octets: ethernet(0x0800, tcpIPv4(uint32(i), i%97))})
	}
	classic, _ := classicNano(binary.LittleEndian).write(packets)
	ng, _ := ngOf(binary.LittleEndian, packets)
	return map[string][]byte{"pcap": classic, "pcapng": ng}
}

func TestMapped(t *testing.T) {
	for name, octets := range longFile(t) {
		t.Run(name, func(t *testing.T) {
			checkMapped(t, octets)
			checkMapped(t, octets[:len(octets)-1])
			checkMapped(t, gzipped(t, octets))
		})
	}
}

// A file that loses octets while it is mapped ends in damage that says so, and
// what was delivered is what the file had; wherever it is cut, and however far
// reading had come.
func TestFileShrinks(t *testing.T) {
	for name, octets := range longFile(t) {
		want, err := drain(open(t, octets), 64)
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		for _, batches := range []int{0, 1, 3, 200} {
			for _, left := range []int{0, 1, 100, 4096, 10000, 16 << 10, 300 << 10, 300<<10 + 7, 1 << 20, len(octets) - 5000, len(octets) - 1} {
				t.Run(fmt.Sprintf("%s to %d after %d batches", name, left, batches), func(t *testing.T) {
					checkShrunk(t, octets, want, batches, left)
				})
			}
		}
	}
}

func checkShrunk(t *testing.T, octets []byte, want []segment.Segment, batches, left int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := pcap.Open(path, testIndex)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	batch := make([]*segment.Segment, 64)
	var got []segment.Segment
	for range batches {
		n, err := s.Receive(batch, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range batch[:n] {
			got = append(got, *one)
		}
	}
	if err := os.Truncate(path, int64(left)); err != nil {
		t.Fatal(err)
	}
	rest, err := drain(s, 64)
	got = append(got, rest...)
	var damaged *pcap.DamagedError
	if !errors.As(err, &damaged) || damaged.Name != path || damaged.Packets != s.Counts().Packets || !strings.Contains(err.Error(), "became shorter") {
		t.Fatalf("error %v after %d packets", err, s.Counts().Packets)
	}
	// Within a page, what is cut off reads as zeros until the file's size is
	// asked for again; no TCP segment comes from them.
	if len(got) < 64*batches || len(got) >= len(want) || !slices.Equal(got, want[:len(got)]) {
		t.Errorf("%d segments of %d, or others than the file had", len(got), len(want))
	}
	if more, again := drain(s, 64); len(more) != 0 || !errors.Is(again, err) {
		t.Errorf("then %d segments and %v", len(more), again)
	}
}

// What is appended after the file was opened is not read.
func TestFileGrows(t *testing.T) {
	packets := frames(40)
	octets, ends := classicNano(binary.LittleEndian).write(packets)
	path := filepath.Join(t.TempDir(), "x.pcap")
	half := ends[len(ends)/2]
	if err := os.WriteFile(path, octets[:half], 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := pcap.Open(path, testIndex)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := drain(s, 64)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	want, _ := drain(open(t, octets[:half]), 64)
	compare(t, got, want)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Receive(make([]*segment.Segment, 1), 0); !errors.Is(err, io.EOF) {
		t.Errorf("%v after the end and Close", err)
	}
}

func TestReceiveAfterClose(t *testing.T) {
	octets, _ := classicNano(binary.LittleEndian).write(frames(40))
	s, err := pcap.Open(onDisk(t, octets), testIndex)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Receive(make([]*segment.Segment, 8), 0); n != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%d and %v", n, err)
	}
}

func TestEmptyFile(t *testing.T) {
	var format *pcap.FormatError
	if _, err := pcap.Open(onDisk(t, nil), 0); !errors.As(err, &format) || !strings.Contains(err.Error(), "it is empty") {
		t.Errorf("error %v", err)
	}
}

// A mapped file without TCP does not keep Receive from returning either.
func TestMappedWithoutTCP(t *testing.T) {
	arp := make([]packet, 20000)
	for i := range arp {
		arp[i] = packet{octets: ethernet(0x0806, make([]byte, 46))}
	}
	octets, _ := classicMicro(binary.LittleEndian).write(arp)
	s, err := pcap.Open(onDisk(t, octets), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	batch := make([]*segment.Segment, 8)
	returns := 0
	for ; ; returns++ {
		n, err := s.Receive(batch, 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if n != 0 || err != nil || returns > len(arp) {
			t.Fatalf("%d segments and %v after %d calls", n, err, returns)
		}
	}
	if packets := s.Counts().Packets; returns == 0 || packets != uint64(len(arp)) {
		t.Errorf("%d packets of %d in %d calls", packets, len(arp), returns)
	}
}

func TestMappedAllocatesNothing(t *testing.T) {
	for name, octets := range longFile(t) {
		t.Run(name, func(t *testing.T) {
			s, err := pcap.Open(onDisk(t, octets), testIndex)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			batch := make([]*segment.Segment, 64)
			if allocations := testing.AllocsPerRun(300, func() {
				if n, err := s.Receive(batch, time.Second); err != nil || n != len(batch) {
					t.Fatal(n, err)
				}
			}); allocations != 0 {
				t.Errorf("%v allocations per batch", allocations)
			}
		})
	}
}
