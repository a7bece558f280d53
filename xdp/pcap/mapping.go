package pcap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// window is how much of a mapped file is made ready at once. Its lines
	// are fetched in order, which the processor's prefetchers follow; by
	// itself a reader would wait for one packet header after the other, since
	// each tells where the next one is. A window fits the second level of the
	// cache and leaves room there for what the segments are followed in.
	window    = 256 << 10
	cacheLine = 64

	// watchEvery is after how many octets a mapped file is asked for its size.
	watchEvery = 1 << 20

	// releaseEvery is how much of a mapped file is let go at once behind the
	// reader, so that a large file does not fill the process.
	releaseEvery = 64 << 20
)

// errShrunk is the cause where a file lost octets that it had when it was
// opened.
var errShrunk = errors.New("the file became shorter while it was read; replay it once nothing writes to it")

// mapping is a file as it was when it was opened, in memory. What is written
// behind its end later is not read. Pages can be missing: where the file has
// become shorter, or its medium fails. Touching one is a fault, which guard
// turns into the stream's error.
type mapping struct {
	file     *os.File
	octets   []byte
	released int  // octets before it were let go
	sum      byte // keeps the loads of touch
}

// newMapping maps a regular file of the given size. It is nil where that
// cannot be done; then the file is read.
func newMapping(file *os.File, size int64) *mapping {
	if size <= 0 || int64(int(size)) != size {
		return nil
	}
	octets, err := unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	// They ask the kernel to read further ahead, and what is not in memory yet 2 MB at a
	// time, which are one page; without them all works.
	_ = unix.Madvise(octets, unix.MADV_SEQUENTIAL)
	_ = unix.Madvise(octets, unix.MADV_HUGEPAGE)
	return &mapping{file: file, octets: octets}
}

// close unmaps the file. Octets that were lent are gone with it.
func (m *mapping) close() error {
	octets := m.octets
	m.octets = nil
	if octets == nil {
		return nil
	}
	return unix.Munmap(octets)
}

// touch fetches one more window behind the first end octets and returns where
// it ends. The error says that the file ends there, or that it does by now.
func (m *mapping) touch(begin, end int) (int, error) {
	to := min(end+window, len(m.octets))
	if end%watchEvery == 0 || to == len(m.octets) {
		if size := m.size(); size < to {
			return max(end, size), errShrunk
		}
	}
	m.sum += fetch(m.octets[end:to])
	if begin-m.released >= 2*releaseEvery {
		// Pages that are not let go only stay longer than they need.
		_ = unix.Madvise(m.octets[m.released:m.released+releaseEvery], unix.MADV_DONTNEED)
		m.released += releaseEvery
	}
	if to == len(m.octets) {
		return to, io.EOF
	}
	return to, nil
}

// fetch loads one octet of every cache line, one after the other: several in one
// turn of the loop took a quarter longer.
func fetch(octets []byte) (sum byte) {
	for i := 0; i < len(octets); i += cacheLine {
		sum += octets[i]
	}
	return sum
}

// size is how many of the mapped octets the file has now.
func (m *mapping) size() int {
	var info unix.Stat_t
	if err := unix.Fstat(int(m.file.Fd()), &info); err != nil {
		return len(m.octets) // a fault will tell
	}
	return int(min(info.Size, int64(len(m.octets))))
}

// shrunk tells whether a mapped file has become shorter than what was fetched
// of it, so that it is read from the begin of the latest record on as what it
// is now: behind its end, up to that of the page, there are zeros.
func (t *stream) shrunk() bool {
	if t.mapped == nil || t.mapped.size() >= t.end {
		return false
	}
	t.cutOff(t.mapped.size(), errShrunk)
	return true
}

// cutOff ends a mapped stream, at the latest record's begin or behind it.
func (t *stream) cutOff(end int, err error) {
	t.begin, t.end, t.err = t.mark, max(t.mark, end), err
}

// fault is what a goroutine panics with that touches a page that is missing
// (debug.SetPanicOnFault).
type fault interface {
	error
	Addr() uintptr
}

// guard is deferred around what reads a mapped stream, with the setting of
// debug.SetPanicOnFault to go back to. Where a page was missing, the stream
// then ends before it with an error, at the begin of the record that was
// being read, and *missing is true.
func (t *stream) guard(before bool, missing *bool) {
	debug.SetPanicOnFault(before)
	caught := recover()
	if caught == nil {
		return
	}
	at, ok := caught.(fault)
	if !ok {
		panic(caught)
	}
	m := t.mapped
	offset := int(at.Addr() - uintptr(unsafe.Pointer(unsafe.SliceData(m.octets))))
	if offset < 0 || offset >= len(m.octets) {
		panic(caught)
	}
	t.cutOff(min(offset&^(os.Getpagesize()-1), m.size()), m.cause(offset))
	*missing = true
}

// cause finds out why a page is missing.
func (m *mapping) cause(offset int) error {
	if m.size() <= offset {
		return errShrunk
	}
	var octet [1]byte
	if _, err := m.file.ReadAt(octet[:], int64(offset)); err != nil {
		return fmt.Errorf("octet %d: %w", offset, err)
	}
	return fmt.Errorf("octet %d: %w", offset, unix.EIO)
}
