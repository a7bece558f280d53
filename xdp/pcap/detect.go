package pcap

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"runtime/debug"
)

const (
	magicSize = 4
	gzipMagic = 0x1f8b // RFC 1952 section 2.3.1
	gzipChunk = 64 << 10
)

// byteOrder reads numbers as the capturing host wrote them.
type byteOrder struct{ big bool }

func (o byteOrder) uint16(b []byte) uint16 {
	if o.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func (o byteOrder) uint32(b []byte) uint32 {
	if o.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (o byteOrder) uint64(b []byte) uint64 {
	if o.big {
		return binary.BigEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b)
}

// errCompressed tells that a mapped file has to be decompressed.
var errCompressed = errors.New("the file is compressed")

// detectMapped is detect for a mapped file. Where a page of it is missing, the
// stream ends before that, and the question is to be asked again.
func (s *Source) detectMapped() (missing bool, err error) {
	defer s.stream.guard(debug.SetPanicOnFault(true), &missing)
	return false, s.detect()
}

// detect tells the format by the first octets and reads the first header.
func (s *Source) detect() error {
	t := &s.stream
	if t.need(2) && binary.BigEndian.Uint16(t.front()) == gzipMagic {
		if t.mapped != nil {
			return errCompressed
		}
		if err := t.decompress(); err != nil {
			return err
		}
	}
	if !t.need(magicSize) {
		if !errors.Is(t.err, io.EOF) {
			return t.cut("the first header", 0, magicSize)
		}
		return unknownFormat(t.front())
	}

	var err error
	first := t.front()[:magicSize]
	if binary.BigEndian.Uint32(first) == blockSectionHeader {
		s.format, err = newNG(t)
	} else if variant, order, ok := classicVariant(first); ok {
		s.format, err = newClassic(t, variant, order)
	} else {
		return unknownFormat(first)
	}
	return err
}

// decompress puts gzip between the reader and the buffer. Members that follow
// each other are one stream (RFC 1952 section 2.2).
func (t *stream) decompress() error {
	buffered := bytes.NewReader(bytes.Clone(t.front()))
	var in io.Reader = buffered
	if t.err == nil {
		in = io.MultiReader(buffered, t.in)
	} else if !errors.Is(t.err, io.EOF) {
		in = io.MultiReader(buffered, failing{t.err})
	}
	inflated, err := gzip.NewReader(bufio.NewReaderSize(in, gzipChunk))
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return &DamagedError{Reason: "gzip header cannot be read", Err: err}
	}
	*t = stream{in: t.in, packed: inflated, buffer: t.buffer}
	return nil
}

// failing is a reader that has ended with an error already.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
