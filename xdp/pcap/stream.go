package pcap

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// emptyReadsMax is after how many reads in a row without octets or an error a
// reader is given up.
const emptyReadsMax = 100

// counted counts the octets read from a file.
type counted struct {
	in   io.Reader
	read atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// stream is a reader behind one fixed buffer, in which a record is looked at
// as a whole before it is stepped over. Where a file is mapped, the buffer is
// all of it, and reading is fetching more of it into the processor's cache.
type stream struct {
	in     *counted
	packed io.Reader // in decompressed, nil where it is not compressed
	mapped *mapping  // nil where in is read
	buffer []byte
	begin  int   // of what is buffered
	end    int   // of what is buffered
	mark   int   // begin of the record that is being read; kept where mapped
	passed int64 // octets of the stream before buffer[0]
	err    error // why there is no more to read
}

// errMore tells that a record is not buffered as a whole, and that there may
// be more to read.
var errMore = errors.New("more is needed")

// offset is the position in the stream of the first octet buffered.
func (t *stream) offset() int64 { return t.passed + int64(t.begin) }

// buffered is how many octets can be looked at.
func (t *stream) buffered() int { return t.end - t.begin }

// front is what is buffered. It is valid until more, need or skip.
func (t *stream) front() []byte { return t.buffer[t.begin:t.end] }

// more reads once, to the end of the buffer. There must be room: no record is
// looked at that is larger than the buffer.
func (t *stream) more() {
	if t.mapped != nil {
		t.end, t.err = t.mapped.touch(t.begin, t.end)
		t.in.read.Store(int64(t.end))
		return
	}
	if t.begin > 0 {
		copy(t.buffer, t.front())
		t.passed += int64(t.begin)
		t.begin, t.end = 0, t.buffered()
	}
	for range emptyReadsMax {
		n, err := t.read(t.buffer[t.end:])
		t.end += n
		t.err = err
		if n > 0 || err != nil {
			return
		}
	}
	t.err = io.ErrNoProgress
}

func (t *stream) read(p []byte) (int, error) {
	if t.packed != nil {
		return t.packed.Read(p)
	}
	return t.in.Read(p)
}

// short is for a record of which not all size octets are buffered: errMore,
// or the damage where there is no more to read.
func (t *stream) short(what string, size int64) error {
	if t.err == nil {
		return errMore
	}
	return t.cut(what, t.offset(), size)
}

// need reads until n octets are buffered, at most the buffer's size. It is
// false where the stream ends before.
func (t *stream) need(n int) bool {
	for t.buffered() < n && t.err == nil {
		t.more()
	}
	return t.buffered() >= n
}

// advance steps over n octets that are buffered.
func (t *stream) advance(n int) { t.begin += n }

// skip steps over n octets, whatever their number. It is false where the
// stream ends before.
func (t *stream) skip(n int64) bool {
	for n > int64(t.buffered()) {
		n -= int64(t.buffered())
		t.advance(t.buffered())
		if t.err != nil {
			return false
		}
		t.more()
	}
	t.advance(int(n))
	return true
}

// cut is the damage where what, begun at the offset, should have size octets
// and the stream ended before.
func (t *stream) cut(what string, offset, size int64) *DamagedError {
	if errors.Is(t.err, io.EOF) {
		had := t.passed + int64(t.end) - offset
		return &DamagedError{Offset: offset, Reason: fmt.Sprintf("%s is cut off after %d of %d octets", what, had, size)}
	}
	if errors.Is(t.err, io.ErrUnexpectedEOF) {
		return &DamagedError{Offset: offset, Reason: what + " is cut off with the compressed data", Err: t.err}
	}
	return &DamagedError{Offset: offset, Reason: what + " cannot be read", Err: t.err}
}
