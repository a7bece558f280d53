package export

import (
	"fmt"
	"io"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// textChunk is how many octets of text are gathered before they are written.
const textChunk = 64 << 10

// text gathers what a sink writes. Its first error is also that of all later
// writes, so that nothing follows a gap.
type text struct {
	w   io.Writer
	b   []byte
	err error
}

func newText(w io.Writer) text { return text{w: w, b: make([]byte, 0, textChunk+4<<10)} }

// flush writes out what was gathered, where it is at least so many octets.
func (t *text) flush(atLeast int) error {
	if t.err == nil && len(t.b) > 0 && len(t.b) >= atLeast {
		if _, err := t.w.Write(t.b); err != nil {
			t.err = fmt.Errorf("write records: %w", err)
		}
		t.b = t.b[:0]
	}
	return t.err
}

// NDJSON writes one JSON object a line (media type application/x-ndjson). Every
// batch is written out whole before Write returns.
type NDJSON struct {
	out   text
	names *api.Names
}

// NewNDJSON makes a sink that writes to w, which stays the caller's to close.
func NewNDJSON(w io.Writer, names *api.Names) *NDJSON {
	return &NDJSON{out: newText(w), names: names}
}

// Write writes a line per record.
func (s *NDJSON) Write(records []flowtable.Record) error {
	for i := range records {
		s.out.b = append(api.AppendFlow(s.out.b, &records[i], s.names), '\n')
		if err := s.out.flush(textChunk); err != nil {
			return err
		}
	}
	return s.out.flush(0)
}

// Close returns the error of an earlier Write, if there was one.
func (s *NDJSON) Close() error { return s.out.flush(0) }

// JSON writes one array of objects, an object a line. The array is complete
// only once it is closed.
type JSON struct {
	out   text
	names *api.Names
	begun bool
}

// NewJSON makes a sink that writes to w, which stays the caller's to close.
func NewJSON(w io.Writer, names *api.Names) *JSON {
	return &JSON{out: newText(w), names: names}
}

// Write writes an element per record.
func (s *JSON) Write(records []flowtable.Record) error {
	for i := range records {
		s.separate()
		s.out.b = api.AppendFlow(s.out.b, &records[i], s.names)
		if err := s.out.flush(textChunk); err != nil {
			return err
		}
	}
	return s.out.flush(0)
}

// Close ends the array; without any record it is an empty one.
func (s *JSON) Close() error {
	if s.begun {
		s.out.b = append(s.out.b, "\n]\n"...)
	} else {
		s.out.b = append(s.out.b, "[]\n"...)
	}
	return s.out.flush(0)
}

func (s *JSON) separate() {
	if s.begun {
		s.out.b = append(s.out.b, ",\n"...)
		return
	}
	s.begun = true
	s.out.b = append(s.out.b, "[\n"...)
}
