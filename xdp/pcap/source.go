// Package pcap reads capture files and streams: the contract of the sockets
// on an interface, fulfilled from pcap and pcapng, either of them compressed
// by gzip or not.
//
// Terms. A packet is what the file calls one: a time stamp and a captured
// frame. Captured octets are those in the file, original octets those that
// were on the wire. Damage is where a file contradicts its format or ends
// before it says it does.
//
// A Source belongs to one goroutine, except Progress, which any may call. Its
// memory is fixed when it is made, whatever lengths the file claims, but for
// the list of a pcapng section's interfaces, which is bounded. No packet
// allocates.
package pcap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

const (
	// batchMax is the most segments that one Receive returns.
	batchMax = 256

	// capturedMax is the most octets of a packet that is decoded; libpcap's
	// MAXIMUM_SNAPLEN is the same.
	capturedMax = 256 << 10

	// bufferSize is at least a packet of capturedMax with its headers and, in
	// pcapng, options. More falls out of the processor's cache before it is
	// decoded.
	bufferSize = 512 << 10
)

// StandardInput is the path that stands for standard input in Open.
const StandardInput = "-"

// Source delivers the TCP segments of one capture.
type Source struct {
	name     string
	index    uint32
	stream   stream
	format   format
	counts   Counts
	err      error                      // what every further call returns
	size     int64                      // octets of the file, -1 where unknown
	file     *os.File                   // to be closed; nil where it is not the Source's own
	arrival  *arrival                   // nil where a read does not wait for a writer
	segments []segment.Segment          // of Receive
	lent     [batchMax]*segment.Segment // all of them
	filled   int                        // how many segments the call of Fill under way has
}

// Counts is what a Source has read so far. Packets is the sum of Outcomes and
// UnsupportedLink.
type Counts struct {
	Packets  uint64
	Octets   uint64 // original octets of these packets, link headers included
	Outcomes [segment.Outcomes]uint64
	// UnsupportedLink is packets of pcapng interfaces whose link type
	// segment.Decode does not read.
	UnsupportedLink uint64
	// Untimed is packets of simple packet blocks, which have no time stamp;
	// each is given that of the packet before it, the first of a file 0.
	Untimed uint64
}

func (c *Counts) add(outcome segment.Outcome, packets int) {
	c.Packets += uint64(packets)
	c.Outcomes[outcome] += uint64(packets)
}

// format is one of the two file formats, behind its first header.
type format interface {
	// decode decodes packets into segments, from s.filled on, until they are
	// all filled, and counts those that are no segments. The error is errMore
	// where the stream has to be read before, io.EOF where the file may end and
	// does, a *DamagedError or a *LinkTypeError, both without name.
	decode(s *Source, segments []segment.Segment) error
}

// Open opens the capture at path, or standard input for "-", and reads its
// first header, waiting for it where a pipe's writer is slow. index becomes
// the Interface of every segment. The error is a *FormatError where the file
// is no capture, a *LinkTypeError where its frames are not decoded, a
// *DamagedError where its first header is.
//
// A regular file that is not compressed is mapped, and packets are decoded
// where they lie. It then has the size that it had when it was opened: what a
// writer appends later is not read, and where the file becomes shorter, or its
// medium fails, it is damaged from there on.
func Open(path string, index uint32) (*Source, error) {
	if path == StandardInput {
		s, err := NewSource(os.Stdin, "standard input", index)
		if err != nil {
			return nil, err
		}
		s.follow(os.Stdin)
		return s, nil
	}
	file, err := os.Open(path)
	if err != nil {
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err // has the path, too
		}
		return nil, fmt.Errorf("capture %q cannot be opened: %w", path, err)
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errors.Join(fmt.Errorf("capture %q is a directory; name the files in it", path), file.Close())
	}
	s, err := newFileSource(file, path, index)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s.file = file
	return s, nil
}

// newFileSource maps a file where that can be done, and reads it otherwise.
func newFileSource(file *os.File, path string, index uint32) (*Source, error) {
	s, err := newMappedSource(file, path, index)
	if s != nil || err != nil {
		return s, err
	}
	if s, err = NewSource(file, path, index); err != nil {
		return nil, err
	}
	s.follow(file)
	return s, nil
}

// newMappedSource returns neither a Source nor an error where the file has to
// be read.
func newMappedSource(file *os.File, path string, index uint32) (*Source, error) {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	m := newMapping(file, info.Size())
	if m == nil {
		return nil, nil
	}
	s := newSource(file, path, index)
	s.size = info.Size()
	s.stream.mapped, s.stream.buffer = m, m.octets
	missing, err := s.detectMapped()
	if missing {
		_, err = s.detectMapped()
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, errCompressed):
		return nil, m.close()
	}
	return nil, errors.Join(s.named(err), m.close())
}

// NewSource reads a capture from r, which stays the caller's to close. The
// name is for errors. Everything else is as in Open, except that Fill and
// Receive wait as long as r does.
func NewSource(r io.Reader, name string, index uint32) (*Source, error) {
	s := newSource(r, name, index)
	s.stream.buffer = make([]byte, bufferSize)
	if err := s.detect(); err != nil {
		return nil, s.named(err)
	}
	return s, nil
}

func newSource(r io.Reader, name string, index uint32) *Source {
	s := &Source{name: name, index: index, size: -1}
	s.stream.in = &counted{in: r}
	return s
}

// Name is the path the Source was opened by, "standard input", or the name
// given to NewSource.
func (s *Source) Name() string { return s.name }

// Receive fills batch with the next segments of the file that decode as TCP,
// at most 256, and returns how many. The segments are the Source's and valid
// until the next call. Everything else is as in Fill.
func (s *Source) Receive(batch []*segment.Segment, wait time.Duration) (int, error) {
	if s.segments == nil {
		s.segments = make([]segment.Segment, batchMax)
		for i := range s.segments {
			s.lent[i] = &s.segments[i]
		}
	}
	n, err := s.Fill(s.segments[:min(len(batch), batchMax)], wait)
	copy(batch, s.lent[:n])
	return n, err
}

// Fill decodes the next segments of the file that are TCP, in the file's
// order, and returns how many. At is ns since the epoch, WireLength the
// original length, Interface the Source's index; the fields that Decode sets
// are set, and Marks, Own and Other left as they are: zero in memory that only
// Fill writes to.
//
// It does not wait for the file to yield more when it has some already. When
// it has none it waits about as long as wait for a pipe's writer, and reads
// about that long through packets that are not TCP; then it returns 0 and no
// error. A compressed pipe, and the reader of NewSource, are waited for
// without limit.
//
// The end of the file is io.EOF. Where the file is damaged, the segments
// before the damage come first and then, instead of io.EOF, a *DamagedError;
// where a pcapng file had no interface that is decoded, a *LinkTypeError.
// Either comes again from every further call.
func (s *Source) Fill(segments []segment.Segment, wait time.Duration) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.filled = 0
	missing, err := s.fill(segments, wait)
	if missing || err != nil && s.stream.shrunk() {
		_, err = s.fill(segments, wait)
	}
	s.counts.add(segment.TCP, s.filled)
	if err != nil {
		if s.err = s.named(err); s.filled == 0 {
			return 0, s.err
		}
	}
	return s.filled, nil
}

// fill is Fill for once. Where a page of a mapped file turns out to be
// missing, the stream has been cut before it, and what comes until there has
// still to be decoded.
func (s *Source) fill(segments []segment.Segment, wait time.Duration) (missing bool, err error) {
	if s.stream.mapped != nil {
		defer s.stream.guard(debug.SetPanicOnFault(true), &missing)
	}
	var since time.Time
	for s.filled < len(segments) {
		if err := s.format.decode(s, segments); !errors.Is(err, errMore) {
			return false, err
		}
		switch {
		case s.filled == 0:
			if !s.refill(&since, wait) {
				return false, nil
			}
		case s.stream.mapped == nil:
			return false, nil
		default:
			s.stream.more() // does not wait
		}
	}
	return false, nil
}

// refill reads once. It is false, without having read, where the caller has
// waited long enough; the first of a call always tries.
func (s *Source) refill(since *time.Time, wait time.Duration) bool {
	now := time.Now()
	if since.IsZero() {
		*since = now
	} else if now.Sub(*since) >= wait {
		return false
	}
	if s.arrival != nil && !s.arrival.within(wait-now.Sub(*since)) {
		return false
	}
	s.stream.more()
	return true
}

// ReadAhead tells that the file is compressed: then most of the time goes into
// inflating it, which a goroutine of its own can do while others use what it
// gave.
func (s *Source) ReadAhead() bool { return s.stream.packed != nil }

// Counts is what was read so far. It may be called between calls of Fill or
// Receive and after the last.
func (s *Source) Counts() Counts { return s.counts }

// Progress is how many octets of the file were read, compressed as they are,
// and how many it has, -1 where that is not known. Any goroutine may call it.
func (s *Source) Progress() (read, size int64) { return s.stream.in.read.Load(), s.size }

// Close closes the file. Standard input, and the reader of NewSource, stay
// open. It must not be called during Fill or Receive.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	file, m := s.file, s.stream.mapped
	s.file, s.stream.mapped, s.stream.buffer = nil, nil, nil
	if s.err == nil {
		s.err = fmt.Errorf("capture %q: %w", s.name, fs.ErrClosed)
	}
	var err error
	if m != nil {
		err = m.close()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("capture %q: %w", s.name, err)
	}
	return nil
}
