package pcap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/finwait/finwait/flowtable/segment"
)

// DamagedError is where a capture is cut off, contradicts its format or can
// no longer be read. All packets before it were delivered.
type DamagedError struct {
	Name    string // of the capture
	Offset  int64  // octets into it, decompressed, where the damaged record begins
	Packets uint64 // read before it
	Reason  string
	Err     error // of the reader or the decompressor, nil where there was none
}

func (e *DamagedError) Error() string {
	reason := e.Reason
	if e.Err != nil {
		reason += ": " + e.Err.Error()
	}
	return fmt.Sprintf("capture %q is damaged at octet %d: %s; %d packets before it were read", e.Name, e.Offset, reason, e.Packets)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// FormatError says that a file is no capture, or not of a kind that is read.
type FormatError struct {
	Name   string
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%q is no capture that can be read: %s; pcap and pcapng are read, either also compressed by gzip", e.Name, e.Reason)
}

// LinkTypeError says that none of a capture's frames can be decoded.
type LinkTypeError struct {
	Name string
	Link uint32 // LINKTYPE_ number, the first one met
}

func (e *LinkTypeError) Error() string {
	return fmt.Sprintf("capture %q has link type %d, which is not decoded; "+
		"Ethernet, Linux cooked, raw IP, null, loop and PPP are", e.Name, e.Link)
}

// supported tells whether frames of a link type, as wide as files have it,
// are decoded.
func supported(link uint32) bool {
	return link <= 0xffff && segment.Supported(segment.LinkType(link))
}

// named adds to an error of a format what only the Source knows.
func (s *Source) named(err error) error {
	var (
		damaged *DamagedError
		format  *FormatError
		link    *LinkTypeError
	)
	switch {
	case errors.As(err, &damaged):
		damaged.Name, damaged.Packets = s.name, s.counts.Packets
	case errors.As(err, &format):
		format.Name = s.name
	case errors.As(err, &link):
		link.Name = s.name
	}
	return err
}

// otherCompressions are those that a capture is often found in and that are
// not decompressed here, by their first octets.
var otherCompressions = []struct{ first, name string }{
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"\xfd7zX", "xz"},
	{"BZh", "bzip2"},
	{"\x04\x22\x4d\x18", "lz4"},
	{"PK\x03\x04", "zip"},
}

// unknownFormat describes a file by its first octets, at most four.
func unknownFormat(first []byte) *FormatError {
	if len(first) == 0 {
		return &FormatError{Reason: "it is empty"}
	}
	for _, c := range otherCompressions {
		if strings.HasPrefix(string(first), c.first) {
			return &FormatError{Reason: fmt.Sprintf("it is compressed by %s; decompress it and give it on standard input", c.name)}
		}
	}
	return &FormatError{Reason: fmt.Sprintf("it begins with the octets % x (%q)", first, first)}
}
