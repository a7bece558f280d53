package generator

import (
	"errors"
	"fmt"
	"math"
	"net"
	"time"
)

// Lengths in octets.
const (
	etherHeader = 14
	ipv4Header  = 20
	ipv6Header  = 40
	tcpHeader   = 20
	// MinFrame is the least frame on Ethernet, without its check sequence.
	MinFrame = 60
	// MaxFrame is what fits in the page of a live frame, between the kernel's
	// own data (xdp_test_run_setup in net/bpf/test_run.c).
	MaxFrame = 3000
)

// longestPulse is the most for which frames may be held back.
const longestPulse = 100 * time.Millisecond

const (
	// MaxWindow bounds the window to what one mapping of slots may take.
	MaxWindow = 1 << 26
	// MaxConnections is how many connections have a tuple of their own.
	MaxConnections = 1 << 31
	// controlSegments of each connection: SYN, SYN-ACK, and two FINs.
	controlSegments = 4
	// openingSegments and closingSegments are all that is not data.
	openingSegments = 3
	closingSegments = 4
)

// Closer says which side sends its FIN first.
type Closer uint8

// The closers, in the order of enum closer in bpf/generator.c.
const (
	ClosedByClient Closer = iota
	ClosedByServer
	// ClosedInTurn: by the client where the connection's number is even.
	ClosedInTurn
)

// Config is what a Generator is to make. Interface and Window are required.
type Config struct {
	// Interface is where frames leave, in the calling thread's namespace. Its
	// driver must take redirected frames (ndo_xdp_xmit): that of a veth does as
	// soon as the other end has an XDP program.
	Interface string
	// Destination is the frames' destination address. Where it is empty they are
	// for nobody there is, as on a port to which a switch mirrors traffic.
	Destination net.HardwareAddr
	// Window is the number of connections that are open at once.
	Window int
	// DataSegments of each connection, the client's first, then in turns.
	DataSegments int
	// FrameLength of data segments in octets, without the check sequence; 0 for
	// the least.
	FrameLength int
	IPv6        bool
	Closer      Closer
	// Pulse is how often a run that keeps to a rate sends what is due; 0 for a
	// millisecond. Every time costs a system call that makes its pages anew, a
	// tenth of a millisecond and more.
	Pulse time.Duration
	// Seed changes tuples and sequence numbers.
	Seed uint32
	// Connections is after how many none is opened any more; 0 for
	// MaxConnections, after which tuples would come again.
	Connections int
	// CPU is where to run, below 0 for wherever.
	CPU int
	// Hold, unless it is nil, has Fill and Drain wait as long as it is true. It is
	// asked before every pulse, on the generator's thread.
	Hold func() bool
}

// DataSegments is how many data segments a connection must have so that its
// control segments are a share of all, rounded to the next number that there is.
func DataSegments(share float64) (int, error) {
	const most = float64(controlSegments) / (openingSegments + closingSegments)
	if !(share > 0 && share <= 1) {
		return 0, fmt.Errorf("a share of control segments of %.4g%%: choose above 0%% and at most %.0f%%", 100*share, math.Floor(100*most))
	}
	if share > most {
		return 0, fmt.Errorf("a share of control segments of %.4g%%: a connection has %d of them among at least %d, choose at most %.0f%%",
			100*share, controlSegments, openingSegments+closingSegments, math.Floor(100*most))
	}
	segments := math.Round(controlSegments/share) - openingSegments - closingSegments
	if segments > math.MaxInt32 {
		return 0, fmt.Errorf("a share of control segments of %.4g%%: that is less than one in 2^31 segments; choose more", 100*share)
	}
	return int(segments), nil
}

// headers is the length of all headers of a segment.
func (c *Config) headers() int {
	if c.IPv6 {
		return etherHeader + ipv6Header + tcpHeader
	}
	return etherHeader + ipv4Header + tcpHeader
}

// Payload is the octets of payload in one data segment.
func (c *Config) Payload() int { return c.FrameLength - c.headers() }

// complete fills in and validates.
func (c *Config) complete() error {
	least := max(MinFrame, c.headers()+1)
	if c.FrameLength == 0 {
		c.FrameLength = least
	}
	if c.Pulse == 0 {
		c.Pulse = time.Millisecond
	}
	if c.Connections == 0 {
		c.Connections = MaxConnections
	}
	if len(c.Destination) == 0 {
		c.Destination = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x02} // locally administered
	}
	switch {
	case c.Interface == "":
		return errors.New("no interface to generate on")
	case c.Window < 1 || c.Window > MaxWindow:
		return fmt.Errorf("%d connections at once: choose 1 to %d", c.Window, MaxWindow)
	case c.Connections < c.Window || c.Connections > MaxConnections:
		return fmt.Errorf("%d connections in all: choose %d, which are open at once, to %d", c.Connections, c.Window, MaxConnections)
	case c.DataSegments < 0 || c.DataSegments > math.MaxInt32:
		return fmt.Errorf("%d data segments for each connection: choose 0 to %d", c.DataSegments, math.MaxInt32)
	case c.FrameLength < least || c.FrameLength > MaxFrame:
		return fmt.Errorf("frames of %d octets: choose %d to %d", c.FrameLength, least, MaxFrame)
	case c.Pulse < 0 || c.Pulse > longestPulse:
		return fmt.Errorf("a pulse of %v: choose up to %v", c.Pulse, longestPulse)
	case len(c.Destination) != 6:
		return fmt.Errorf("destination address %q: an Ethernet address of 6 octets is needed", c.Destination)
	case c.Closer > ClosedInTurn:
		return fmt.Errorf("closer %d: choose client, server or in turn", c.Closer)
	}
	return nil
}
