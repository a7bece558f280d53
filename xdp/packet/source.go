// Package packet is a passive source of segments: it sees what passes an
// ordinary interface, in both directions, and leaves the traffic alone. It is
// for the box that generates load, where a tap (package xdp), which consumes
// what arrives, cannot be.
//
// # Terms
//
// The ring is memory that the kernel fills with frames and we read (packet(7),
// Documentation/networking/packet_mmap.rst, TPACKET_V3). It is cut into
// blocks; a block is retired to us when it is full, or after retireAfter with
// what it has. The filter is classic BPF that runs in the kernel in front of
// the ring, so that only the headers of the connections asked for are copied.
// The target is the end of these connections that is fixed.
//
// What is delivered is what this box hands to its interface and gets from it.
// That can be super-packets (GSO, GRO) of up to 64 KiB and more, which are one
// segment here and several on the wire. Checksums are not judged: those of
// outgoing frames are completed behind us.
//
// # Ownership
//
// Open and Close are called once. Receive belongs to one goroutine; Lost and
// Stats may be called from any.
package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// batchMax is the most segments that one Receive delivers.
const batchMax = 64

// Config is what to see, and where.
type Config struct {
	// Interface is the name of the interface in the network namespace of the
	// thread that calls Open.
	Interface string
	// Target is the address and port of one end.
	Target netip.AddrPort
	// LowPort and HighPort bound the ports of the other end, both included.
	// Both 0: every port.
	LowPort, HighPort uint16
	// RingOctets is the size of the ring, a multiple of 128 KiB; 0 means 32
	// MiB, which holds about 150,000 headers.
	RingOctets int
}

// Stats counts what became of the frames that passed the filter.
type Stats struct {
	Segments    uint64 // delivered
	Undecodable uint64 // not a TCP segment after all, or cut short
	Lost        uint64 // found the ring full
}

// Source is the frames of one interface as segments. At is CLOCK_MONOTONIC.
type Source struct {
	config      Config
	ifindex     int
	fd          int
	ring        *ring
	clock       clock
	segments    [batchMax]segment.Segment
	poll        [1]unix.PollFd
	timeout     unix.Timespec
	delivered   atomic.Uint64
	undecodable atomic.Uint64
	lost        atomic.Uint64
}

// Open begins to see an interface. It needs CAP_NET_RAW.
func Open(c Config) (*Source, error) {
	if !c.Target.IsValid() || c.Target.Port() == 0 {
		return nil, fmt.Errorf("target %q: an address and a port are needed", c.Target)
	}
	if c.LowPort == 0 && c.HighPort == 0 {
		c.HighPort = 65535
	}
	if c.LowPort > c.HighPort {
		return nil, fmt.Errorf("ports %d to %d: the first must not be the larger one", c.LowPort, c.HighPort)
	}
	if c.RingOctets == 0 {
		c.RingOctets = defaultRing
	}
	ifi, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w; see 'ip link' for those that are there", c.Interface, err)
	}
	s := &Source{config: c, ifindex: ifi.Index, fd: -1}
	if err := s.open(ifi.Flags&net.FlagLoopback != 0); err != nil {
		return nil, fmt.Errorf("interface %q: %w", c.Interface, errors.Join(err, s.Close()))
	}
	return s, nil
}

// open makes the socket. Its protocol is 0 until the filter and the ring
// stand, so that no frame comes before them.
func (s *Source) open(loopback bool) (err error) {
	// Cooked frames begin with the IP header, whatever the link.
	if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("missing capability CAP_NET_RAW: run as root, or grant it to the binary with setcap: %w", err)
		}
		return fmt.Errorf("open packet socket: %w", err)
	}
	if err := attachFilter(s.fd, s.config); err != nil {
		return err
	}
	if loopback {
		// Whatever goes out there comes in again.
		if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("ignore outgoing frames (needs Linux 4.20): %w", err)
		}
	}
	// Without it a frame has no stamp until it comes to this socket.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("stamp frames as they pass the interface: %w", err)
	}
	if s.ring, err = newRing(s.fd, s.config.RingOctets); err != nil {
		return err
	}
	s.clock.refresh()
	const allProtocols = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	address := &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: s.ifindex}
	if err := unix.Bind(s.fd, address); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	s.poll[0] = unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN}
	return nil
}

// Close gives socket and ring back. Segments of the last Receive stay valid.
func (s *Source) Close() error {
	var err error
	if s.ring != nil {
		err = s.ring.close()
		s.ring = nil
	}
	if s.fd >= 0 {
		err = errors.Join(err, unix.Close(s.fd))
		s.fd = -1
	}
	return err
}

// Receive points batch at segments, at most 64, and returns how many. Where
// there are none it waits for a block, at most wait; 0 and no error say that
// none came. The segments are valid until the next call.
func (s *Source) Receive(batch []*segment.Segment, wait time.Duration) (int, error) {
	if n := s.take(batch); n > 0 || wait <= 0 {
		return n, nil
	}
	if err := s.await(wait); err != nil {
		return 0, err
	}
	return s.take(batch), nil
}

// Lost is how many frames found the ring full since Open.
func (s *Source) Lost() (uint64, error) {
	// The kernel sets its counters back as it tells them, so that two
	// readers never get the same loss.
	stats, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, fmt.Errorf("interface %q: read PACKET_STATISTICS: %w", s.config.Interface, err)
	}
	return s.lost.Add(uint64(stats.Drops)), nil
}

// Stats asks what was delivered and lost so far.
func (s *Source) Stats() (Stats, error) {
	lost, err := s.Lost()
	return Stats{Segments: s.delivered.Load(), Undecodable: s.undecodable.Load(), Lost: lost}, err
}

func (s *Source) take(batch []*segment.Segment) int {
	n, limit := 0, min(len(batch), len(s.segments))
	for n < limit {
		f, fresh, ok := s.ring.next()
		if !ok {
			break
		}
		if fresh {
			s.clock.refresh()
		}
		if !s.decode(&f, &s.segments[n]) {
			s.undecodable.Add(1)
			continue
		}
		batch[n] = &s.segments[n]
		n++
	}
	s.ring.release() // the segments are copies
	s.delivered.Add(uint64(n))
	return n
}

// decode fills a segment from one frame of the ring.
func (s *Source) decode(f *frame, to *segment.Segment) bool {
	*to = segment.Segment{}
	if segment.Decode(segment.LinkRaw, f.packet, to) != segment.TCP {
		return false
	}
	if beyond := f.length - len(f.packet); beyond > 0 && lengthless(f.packet) {
		// Decode takes such a packet for as long as what it is given.
		to.Octets += uint32(beyond)
		to.Payload += uint32(beyond)
	}
	to.At = s.clock.monotonic(f.at)
	to.WireLength = uint32(f.length)
	to.Interface = uint32(s.ifindex)
	if f.tagged {
		to.VLAN = f.vlan
		to.Encapsulation.Layers[0] = segment.LayerVLAN
	}
	return true
}

// lengthless tells whether an IP packet does not say its length, as
// super-packets of more than 65,535 octets do not (BIG TCP).
func lengthless(packet []byte) bool {
	if packet[0]>>4 == 4 {
		return binary.BigEndian.Uint16(packet[2:]) == 0
	}
	return binary.BigEndian.Uint16(packet[4:]) == 0
}

// await returns when a block is there or time is up.
func (s *Source) await(wait time.Duration) error {
	s.timeout = unix.NsecToTimespec(wait.Nanoseconds())
	s.poll[0].Revents = 0
	if _, err := unix.Ppoll(s.poll[:], &s.timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("interface %q: wait for frames: %w", s.config.Interface, err)
	}
	if s.poll[0].Revents&unix.POLLERR == 0 {
		return nil
	}
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil {
		return fmt.Errorf("interface %q: %w: it is down or gone", s.config.Interface, err)
	}
	return nil
}
