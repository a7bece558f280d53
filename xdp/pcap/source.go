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
	err      error // what every further Receive returns
	input    *counted
	size     int64    // octets of the file, -1 where unknown
	file     *os.File // to be closed; nil where it is not the Source's own
	arrival  *arrival // nil where a read does not wait for a writer
	frame    frame    // the latest, kept here because a format fills it
	segments []segment.Segment
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

// frame is one packet as a format finds it. The octets are valid until the
// stream is read again.
type frame struct {
	at          int64 // ns since the epoch
	octets      []byte
	original    uint32 // octets on the wire
	link        segment.LinkType
	unsupported bool
	untimed     bool
}

// format is one of the two file formats, behind its first header.
type format interface {
	// ready tells that next will not have to read, or that no amount of
	// reading ahead would spare it.
	ready() bool
	// next steps over one record of the file and tells whether it was a
	// packet. The error is io.EOF where the file may end and does, a
	// *DamagedError or a *LinkTypeError, both without name.
	next(*frame) (bool, error)
}

// Open opens the capture at path, or standard input for "-", and reads its
// first header, waiting for it where a pipe's writer is slow. index becomes
// the Interface of every segment. The error is a *FormatError where the file
// is no capture, a *LinkTypeError where its frames are not decoded, a
// *DamagedError where its first header is.
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
	s, err := NewSource(file, path, index)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s.file = file
	s.follow(file)
	return s, nil
}

// NewSource reads a capture from r, which stays the caller's to close. The
// name is for errors. Everything else is as in Open, except that Receive
// waits as long as r does.
func NewSource(r io.Reader, name string, index uint32) (*Source, error) {
	s := &Source{
		name:     name,
		index:    index,
		size:     -1,
		input:    &counted{in: r},
		segments: make([]segment.Segment, batchMax),
	}
	s.stream = stream{in: s.input, buffer: make([]byte, bufferSize)}
	if err := s.detect(); err != nil {
		return nil, s.named(err)
	}
	return s, nil
}

// Name is the path the Source was opened by, "standard input", or the name
// given to NewSource.
func (s *Source) Name() string { return s.name }

// Receive fills batch with the next segments of the file that decode as TCP,
// in the file's order, at most 256, and returns how many. At is ns since the
// epoch, WireLength the original length, Interface the Source's index; Marks,
// Own and Other are zero. The segments are the Source's and valid until the
// next call.
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
func (s *Source) Receive(batch []*segment.Segment, wait time.Duration) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	var since time.Time
	room, n := min(len(batch), len(s.segments)), 0
	for n < room {
		if s.stream.err == nil && !s.format.ready() {
			if n > 0 || !s.refill(&since, wait) {
				return n, nil
			}
			continue
		}
		s.frame = frame{}
		packet, err := s.format.next(&s.frame)
		if err != nil {
			s.err = s.named(err)
			if n > 0 {
				return n, nil
			}
			return 0, s.err
		}
		if packet && s.decode(&s.frame, &s.segments[n]) {
			batch[n] = &s.segments[n]
			n++
		}
	}
	return n, nil
}

// refill reads once. It is false, without having read, where the caller has
// waited long enough; the first of a Receive always tries.
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

// decode counts a packet and reads it into to. It is false where the packet
// is no TCP segment.
func (s *Source) decode(f *frame, to *segment.Segment) bool {
	s.counts.Packets++
	s.counts.Octets += uint64(f.original)
	if f.untimed {
		s.counts.Untimed++
	}
	if f.unsupported {
		s.counts.UnsupportedLink++
		return false
	}
	outcome := segment.Decode(f.link, f.octets, to)
	s.counts.Outcomes[outcome]++
	if outcome != segment.TCP {
		return false
	}
	to.At = f.at
	to.WireLength = f.original
	to.Interface = s.index
	return true
}

// Counts is what was read so far. It may be called between calls of Receive
// and after the last.
func (s *Source) Counts() Counts { return s.counts }

// Progress is how many octets of the file were read, compressed as they are,
// and how many it has, -1 where that is not known. Any goroutine may call it.
func (s *Source) Progress() (read, size int64) { return s.input.read.Load(), s.size }

// Close closes the file. Standard input, and the reader of NewSource, stay
// open. It must not be called during Receive.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	if err := file.Close(); err != nil {
		return fmt.Errorf("capture %q: %w", s.name, err)
	}
	return nil
}
