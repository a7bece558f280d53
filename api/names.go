package api

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"
)

// timeLayout is RFC 3339 in UTC with nine decimals, zeros included, so that
// times sort as text.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// flowIDLength is what 16 octets fill in base 32 without padding.
const flowIDLength = 26

var flowIDEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// Clock maps the clock of records to wall time. Its zero value is the clock of
// a replay, whose records are in ns since the epoch already. It may be set and
// read from any goroutine: a live appliance sets it again after the system's
// clock was stepped.
type Clock struct{ offset atomic.Int64 }

// Set makes wall time the records' time plus offset, in ns. When live that is
// CLOCK_REALTIME minus CLOCK_MONOTONIC (clock_gettime(2)).
func (c *Clock) Set(offset int64) { c.offset.Store(offset) }

// Wall returns the ns since the epoch of a time on the records' clock.
func (c *Clock) Wall(at int64) int64 { return at + c.offset.Load() }

// Names is what a Record leaves out because it is the same for all records of
// one process: the clock's offset, the names of interfaces, and what makes its
// serial number unique across processes. It must not be copied.
type Names struct {
	clock      *Clock
	interfaces func(uint32) string
	owners     func(uint64) string
	run        [8]byte
}

// NewNames draws the random part of flow_id for this process. A nil clock is
// that of a replay. interfaces returns the name of an interface number, empty
// where it has none; then, or where interfaces is nil, the number itself in
// decimal is the name. interfaces is called from any goroutine.
func NewNames(clock *Clock, interfaces func(number uint32) string) *Names {
	var run [8]byte
	// crypto/rand.Read never returns an error since Go 1.24: it ends the process.
	_, _ = rand.Read(run[:])
	return NamesOf(run, clock, interfaces)
}

// NamesOf is NewNames for a process whose random part of flow_id is known.
func NamesOf(run [8]byte, clock *Clock, interfaces func(number uint32) string) *Names {
	if clock == nil {
		clock = new(Clock)
	}
	return &Names{clock: clock, interfaces: interfaces, run: run}
}

// Wall returns the ns since the epoch of a time on the records' clock.
func (n *Names) Wall(at int64) int64 { return n.clock.Wall(at) }

// At returns the time on the records' clock that Wall turns into wall.
func (n *Names) At(wall int64) int64 { return wall - n.clock.offset.Load() }

// FlowID returns the flow_id of a record: 8 octets drawn at random by the
// process and the 8 octets of the record's serial number, big endian, together
// in base 32 with the lower-case extended hex alphabet and without padding (RFC
// 4648 section 7): 26 characters of 0-9 and a-v. Within one process they sort
// by serial number.
func (n *Names) FlowID(serial uint64) string {
	return string(n.appendFlowID(make([]byte, 0, flowIDLength), serial))
}

// Interface returns the name of an interface number.
func (n *Names) Interface(number uint32) string {
	if n.interfaces != nil {
		if name := n.interfaces(number); name != "" {
			return name
		}
	}
	return strconv.FormatUint(uint64(number), 10)
}

// TellOwners has owners name the owners of records, which are ids of control groups; it
// is called from any goroutine. Without it they are called by their numbers. It must be
// called before the names are used.
func (n *Names) TellOwners(owners func(owner uint64) string) { n.owners = owners }

// Owner returns the name of an owner; there is none of 0.
func (n *Names) Owner(owner uint64) string {
	if n.owners != nil {
		return n.owners(owner)
	}
	return "cgroup:" + strconv.FormatUint(owner, 10)
}

// Time returns a time on the records' clock as RFC 3339 in UTC, always with
// nine decimals.
func (n *Names) Time(at int64) string { return WallTime(n.clock.Wall(at)) }

// WallTime returns ns since the epoch as RFC 3339 in UTC, always with nine
// decimals.
func WallTime(ns int64) string { return time.Unix(0, ns).UTC().Format(timeLayout) }

// Serial returns the serial number in a flow_id of these names. It is false
// where the text is none, or that of another process.
func (n *Names) Serial(flowID string) (uint64, bool) {
	var id [17]byte // Decode may write more than it keeps
	if len(flowID) != flowIDLength {
		return 0, false
	}
	if octets, err := flowIDEncoding.Decode(id[:], []byte(flowID)); err != nil || octets != 16 || [8]byte(id[:8]) != n.run {
		return 0, false
	}
	return binary.BigEndian.Uint64(id[8:]), true
}

func (n *Names) appendFlowID(b []byte, serial uint64) []byte {
	var id [16]byte
	copy(id[:8], n.run[:])
	binary.BigEndian.PutUint64(id[8:], serial)
	return flowIDEncoding.AppendEncode(b, id[:])
}

// Address is a record's address in its usual form: IPv4-mapped ones as IPv4,
// IPv6 after RFC 5952.
func Address(a *[16]byte) netip.Addr { return netip.AddrFrom16(*a).Unmap() }
