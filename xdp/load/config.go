// Package load opens and closes real TCP connections towards a target that the
// user names, at a rate that does not depend on how the target does, and
// searches the highest rate that the target bears.
//
// # Terms
//
// The schedule says when each connection is due: the n-th at n / rate. It is
// open loop, so that a slow target does not slow the load down and hide its
// own slowness. Lag is how much later than due a connection was opened: it is
// the generator's fault, never the target's. A step is one rate for some time:
// a warm-up, a measured time, and a drain, in which no connection is opened
// and those that are open come to their end. A connection counts if it is due
// within the measured time. The wire is what an Observer saw of the step.
//
// # Ownership
//
// A Generator is used by one goroutine. Its threads, each with sockets, epoll
// instance, source ports and slots of its own, share nothing but a few
// counters. Opening and closing a connection allocates nothing.
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Close is who closes a connection, and how (RFC 3511 section 5.4.2: close
// method and close direction).
type Close uint8

// The ways to close.
const (
	// ByClient: we send the first FIN and wait for the target's.
	ByClient Close = iota
	// ByServer: we wait for the target's FIN and answer it.
	ByServer
	// ByReset: we send a RST.
	ByReset
)

var closeNames = [...]string{"client", "server", "reset"}

func (c Close) String() string { return closeNames[c] }

// ParseClose reads what String writes.
func ParseClose(name string) (Close, error) {
	for c, n := range closeNames {
		if n == name {
			return Close(c), nil
		}
	}
	return 0, fmt.Errorf("close %q: choose client, server or reset", name)
}

// Bounds of a Config.
const (
	maxThreads    = 64
	maxConcurrent = 1 << 20
	maxRequest    = 64 << 10
	// otherDescriptors is what a process has open beside its connections.
	otherDescriptors = 256
)

// Config is how connections are opened and closed.
type Config struct {
	Target  netip.AddrPort
	Sources []netip.Addr // local addresses, at least one
	// LowPort and HighPort bound the local ports, both included.
	LowPort, HighPort uint16
	Close             Close
	// Send is written to every connection: as soon as it is established, or
	// where the server closes, after Hold.
	Send []byte
	// Expect is the octets of answer that are waited for before Hold begins.
	Expect int
	// Hold is how long a connection stays open with nothing to wait for.
	Hold time.Duration
	// Timeout bounds each wait for the target: for its SYN-ACK, its answer,
	// and its FIN.
	Timeout time.Duration
	// MaxConcurrent bounds the connections that are open at once.
	MaxConcurrent int
	Threads       int
	// Within runs each thread's work, for example inside of a network
	// namespace; nil where it runs as it is. It must return run's error.
	Within func(run func() error) error
}

// Tuples is how many connections can be told apart by their source.
func (c *Config) Tuples() int { return len(c.Sources) * (int(c.HighPort) - int(c.LowPort) + 1) }

func (c *Config) validate() error {
	if err := CheckTarget(c.Target); err != nil {
		return err
	}
	if len(c.Sources) == 0 {
		return errors.New("at least one source address is needed")
	}
	for _, s := range c.Sources {
		if s.Unmap().Is4() != c.Target.Addr().Unmap().Is4() {
			return fmt.Errorf("source %q: it is not of the IP version of the target %q", s, c.Target.Addr())
		}
	}
	switch {
	case c.LowPort == 0 || c.LowPort > c.HighPort:
		return fmt.Errorf("source ports %d to %d: choose the first from 1 on, and the last not below it", c.LowPort, c.HighPort)
	case c.Close > ByReset:
		return fmt.Errorf("close %d: there is no such way", c.Close)
	case len(c.Send) > maxRequest:
		return fmt.Errorf("request of %d octets: at most %d are sent", len(c.Send), maxRequest)
	case c.Expect < 0 || c.Expect > 0 && len(c.Send) == 0:
		return fmt.Errorf("expected answer of %d octets: choose 0 or more, and something to send", c.Expect)
	case c.Hold < 0:
		return fmt.Errorf("hold %v: it cannot be negative", c.Hold)
	case c.Hold > 0 && c.Close == ByServer && len(c.Send) == 0:
		return fmt.Errorf("hold %v: where the server closes, only a request can be held back, and there is none", c.Hold)
	case c.Timeout < time.Millisecond:
		return fmt.Errorf("timeout %v: choose 1ms or more", c.Timeout)
	case c.Threads < 1 || c.Threads > maxThreads:
		return fmt.Errorf("threads %d: choose 1 to %d", c.Threads, maxThreads)
	case c.MaxConcurrent < c.Threads || c.MaxConcurrent > maxConcurrent:
		return fmt.Errorf("max concurrent connections %d: choose %d to %d", c.MaxConcurrent, c.Threads, maxConcurrent)
	case c.Tuples() < c.Threads:
		return fmt.Errorf("%d source ports for %d threads: choose a port for each at least", c.Tuples(), c.Threads)
	}
	return c.checkDescriptors()
}

func (c *Config) checkDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	if need := uint64(c.MaxConcurrent) + otherDescriptors; need > limit.Cur {
		return fmt.Errorf("max concurrent connections %d: this process may open %d files, %d are needed; raise it with 'ulimit -n' or choose at most %d connections",
			c.MaxConcurrent, limit.Cur, need, max(int64(limit.Cur)-otherDescriptors, 0))
	}
	return nil
}

// CheckTarget refuses what nobody can have a connection with. A directed
// broadcast can only be told with the interface's prefix.
func CheckTarget(target netip.AddrPort) error {
	a := target.Addr().Unmap()
	switch {
	case !target.IsValid():
		return errors.New("no target was named")
	case target.Port() == 0:
		return fmt.Errorf("target %q: port 0 cannot be connected to", target)
	case a.IsUnspecified():
		return fmt.Errorf("target %q: the unspecified address is nobody's; name the target's own", target)
	case a.IsMulticast():
		return fmt.Errorf("target %q: a multicast address has no connections; name one host", target)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("target %q: the broadcast address has no connections; name one host", target)
	}
	return nil
}
