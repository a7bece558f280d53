package pcap_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/pcap"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	packets := frames(40)
	file, _ := classicNano(binary.LittleEndian).write(packets)
	path := filepath.Join(dir, "x.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := pcap.Open(path, testIndex)
	if err != nil {
		t.Fatal(err)
	}
	got, err := drain(s, 64)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	compare(t, got, wantSegments(t, packets, 1))
	if read, size := s.Progress(); read != int64(len(file)) || size != read {
		t.Errorf("progress %d of %d, want all of %d", read, size, len(file))
	}
	if s.Name() != path {
		t.Errorf("name %q", s.Name())
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}

	if _, err := pcap.Open(filepath.Join(dir, "none"), 0); !errors.Is(err, os.ErrNotExist) || strings.Count(err.Error(), dir) != 1 {
		t.Errorf("missing file: %v", err)
	}
	if _, err := pcap.Open(dir, 0); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("directory: %v", err)
	}
}

func TestStandardInput(t *testing.T) {
	packets := frames(40)
	file, _ := classicNano(binary.LittleEndian).write(packets)
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, gzipped(t, file), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = in
	t.Cleanup(func() { os.Stdin = before; _ = in.Close() })

	s, err := pcap.Open(pcap.StandardInput, testIndex)
	if err != nil {
		t.Fatal(err)
	}
	got, err := drain(s, 64)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	compare(t, got, wantSegments(t, packets, 1))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := in.Stat(); err != nil {
		t.Errorf("standard input was closed: %v", err)
	}
}

// A pipe whose writer is silent, or stopped within a packet, holds nobody up,
// and what it wrote so far is delivered.
func TestSilentPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	packets := frames(2)
	file, ends := classicNano(binary.LittleEndian).write(packets)
	writer := make(chan *os.File, 1)
	go func() {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
		} else if _, err := w.Write(file[:ends[0]]); err != nil {
			t.Error(err)
		}
		writer <- w
	}()
	s, err := pcap.Open(path, testIndex)
	w := <-writer
	if err != nil || w == nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	batch := make([]*segment.Segment, 8)
	receive := func(want int, wantErr error) {
		t.Helper()
		if n, err := s.Receive(batch, 5*time.Millisecond); n != want || !errors.Is(err, wantErr) {
			t.Fatalf("%d and %v, want %d and %v", n, err, want, wantErr)
		}
	}
	write := func(octets []byte) {
		t.Helper()
		if _, err := w.Write(octets); err != nil {
			t.Fatal(err)
		}
	}

	receive(0, nil)
	write(file[ends[0] : ends[1]+20])
	receive(1, nil)
	receive(0, nil)
	write(file[ends[1]+20:])
	receive(1, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	receive(0, io.EOF)
	receive(0, io.EOF)
}
