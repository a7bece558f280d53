package packet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/lab"
)

const patience = 10 * time.Second

// The laboratory's hosts.
const (
	clientInterface = "client0"
	serverInterface = "server0"
	clientAddress   = "198.18.0.1"
	serverAddress   = "198.18.0.2"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

type site struct {
	*lab.Network
	t *testing.T
}

func newSite(t *testing.T) *site {
	t.Helper()
	needRoot(t)
	network, err := lab.Build(lab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{network, t}
}

func (s *site) do(in lab.Namespace, fn func() error) {
	s.t.Helper()
	if err := s.Do(in, fn); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) open(in lab.Namespace, c Config) *Source {
	s.t.Helper()
	var source *Source
	s.do(in, func() (err error) {
		source, err = Open(c)
		return err
	})
	s.t.Cleanup(func() {
		if err := source.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return source
}

// serve answers every connection with what it has received, and closes when
// its client has.
func (s *site) serve(in lab.Namespace, address string) netip.AddrPort {
	s.t.Helper()
	var listener net.Listener
	s.do(in, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	s.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// exchange opens a connection from the client, has so many octets echoed, and closes.
func (s *site) exchange(to netip.AddrPort, octets int) netip.AddrPort {
	s.t.Helper()
	var local netip.AddrPort
	s.do(lab.Client, func() error {
		c, err := net.Dial("tcp", to.String())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		local = c.LocalAddr().(*net.TCPAddr).AddrPort()
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(make([]byte, octets))
			sent <- err
		}()
		if n, err := io.CopyN(io.Discard, c, int64(octets)); err != nil {
			return fmt.Errorf("%d of %d octets: %w", n, octets, err)
		}
		if err := <-sent; err != nil {
			return err
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("expected the server's FIN, got %w", err)
		}
		return nil
	})
	return local
}

// receive takes segments until done says that they are all.
func receive(t *testing.T, source *Source, done func([]segment.Segment) bool) []segment.Segment {
	t.Helper()
	var all []segment.Segment
	var batch [100]*segment.Segment
	for end := time.Now().Add(patience); !done(all); {
		if time.Now().After(end) {
			t.Fatalf("after %v there were %d segments", patience, len(all))
		}
		n, err := source.Receive(batch[:], 10*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range batch[:n] {
			all = append(all, *s)
		}
	}
	return all
}

// flags counts the segments of a sender that have them all.
func flags(all []segment.Segment, port uint16, want uint8) int {
	n := 0
	for _, s := range all {
		if s.SrcPort == port && s.TCPFlags&want == want {
			n++
		}
	}
	return n
}

// closed tells whether both FINs and the acknowledgement of the second are
// there.
func closed(all []segment.Segment, client netip.AddrPort) bool {
	var end uint32
	for _, s := range all {
		if s.DstPort == client.Port() && s.Is(segment.FIN) {
			end = s.Seq + s.Payload + 1
		}
	}
	if end == 0 || flags(all, client.Port(), segment.FIN) == 0 {
		return false
	}
	for _, s := range all {
		if s.SrcPort == client.Port() && s.Is(segment.ACK) && segment.Covers(s.Ack, end) {
			return true
		}
	}
	return false
}

func monotonicNow() int64 { return read(unix.CLOCK_MONOTONIC) }

// A connection is seen in both directions with its lengths and times, and
// nothing beside it.
func TestBothDirections(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct{ family, address string }{{"IPv4", serverAddress}, {"IPv6", "2001:2::2"}} {
		t.Run(c.family, func(t *testing.T) {
			target := s.serve(lab.Server, net.JoinHostPort(c.address, "0"))
			other := s.serve(lab.Server, net.JoinHostPort(c.address, "0"))
			for in, name := range map[lab.Namespace]string{lab.Client: clientInterface, lab.Server: serverInterface} {
				source := s.open(in, Config{Interface: name, Target: target})
				before := monotonicNow()
				s.exchange(other, 1000)
				const octets = 300_000
				client := s.exchange(target, octets)
				all := receive(t, source, func(all []segment.Segment) bool { return closed(all, client) })
				after := monotonicNow()
				for _, port := range []uint16{client.Port(), target.Port()} {
					if n := flags(all, port, segment.SYN); n != 1 {
						t.Errorf("%s: %d SYNs from port %d", name, n, port)
					}
					var payload, first uint32
					for _, s := range all {
						if s.SrcPort == port && s.Is(segment.SYN) {
							first = s.Seq + 1
						}
						if s.SrcPort == port && s.Payload > 0 {
							payload = max(payload, s.Seq+s.Payload-first)
						}
					}
					if payload != octets {
						t.Errorf("%s: %d octets of payload from port %d", name, payload, port)
					}
				}
				check := func(s *segment.Segment) {
					if s.At < before || s.At > after {
						t.Errorf("%s: a time of %d, not within %d and %d", name, s.At, before, after)
					}
					ports := [2]uint16{s.SrcPort, s.DstPort}
					if ports != [2]uint16{client.Port(), target.Port()} && ports != [2]uint16{target.Port(), client.Port()} {
						t.Errorf("%s: a segment of ports %v", name, ports)
					}
					if s.WireLength != s.Octets || s.Octets < s.Payload+40 {
						t.Errorf("%s: %d octets in IP, %d cooked, %d of payload", name, s.Octets, s.WireLength, s.Payload)
					}
				}
				for i := range all {
					check(&all[i])
				}
				if stats, err := source.Stats(); err != nil || stats.Segments != uint64(len(all)) || stats.Undecodable != 0 || stats.Lost != 0 {
					t.Errorf("%s: %+v (%v) of %d segments", name, stats, err, len(all))
				}
			}
		})
	}
}

// On loopback a frame goes out and comes in; it is seen once.
func TestLoopback(t *testing.T) {
	s := newSite(t)
	s.do(lab.Client, func() error {
		loopback, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(loopback)
	})
	target := s.serve(lab.Client, "127.0.0.1:0")
	source := s.open(lab.Client, Config{Interface: "lo", Target: target})
	client := s.exchange(target, 200_000) // in segments of up to 64 KiB
	all := receive(t, source, func(all []segment.Segment) bool { return closed(all, client) })
	for _, port := range []uint16{client.Port(), target.Port()} {
		for _, flag := range []uint8{segment.SYN, segment.FIN} {
			if n := flags(all, port, flag); n != 1 {
				t.Errorf("%d segments with flag %d from port %d", n, flag, port)
			}
		}
	}
}

// A tag that the kernel has put beside the frame is told.
func TestVLAN(t *testing.T) {
	s := newSite(t)
	const vlan, port = 42, 8080
	target := netip.MustParseAddrPort(serverAddress + ":8080")
	source := s.open(lab.Client, Config{Interface: clientInterface, Target: target})
	packet := craft(t, end{serverAddress, port}, end{clientAddress, 40000}, nil)
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 2}, packet...)
	tagged := append(append([]byte{}, frame[:12]...), 0x81, 0, 0xa0, vlan, 8, 0)
	untagged := append(append([]byte{}, frame[:12]...), 8, 0)
	s.do(lab.Server, func() error {
		return errors.Join(send(serverInterface, append(tagged, packet...)), send(serverInterface, append(untagged, packet...)))
	})
	all := receive(t, source, func(all []segment.Segment) bool { return len(all) == 2 })
	for i, want := range []struct {
		vlan          uint16
		encapsulation string
	}{{vlan, "vlan"}, {0, ""}} {
		if got := all[i]; got.VLAN != want.vlan || got.Encapsulation.String() != want.encapsulation {
			t.Errorf("VLAN %d, encapsulation %q, expected %+v", got.VLAN, got.Encapsulation, want)
		}
	}
}

// send puts a frame on an interface as it is.
func send(name string, frame []byte) error {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index})
}

// A super-packet that is too long for its IP header to say is as long as the
// kernel says, though only its headers were copied.
func TestLengthless(t *testing.T) {
	var s Source
	for name, packet := range map[string][]byte{
		"IPv4": craft(t, end{"10.0.0.1", 1}, end{"10.0.0.2", 2}, nil),
		"IPv6": behindHopByHop(craft(t, end{"fd00::1", 1}, end{"fd00::2", 2}, nil), 6),
	} {
		const length = 150_000
		header := len(packet)
		if name == "IPv4" {
			packet[2], packet[3] = 0, 0
		}
		captured := append(packet, make([]byte, snapLength-header)...)
		var got segment.Segment
		if !s.decode(&frame{packet: captured, length: length}, &got) || got.Octets != length || got.Payload != uint32(length-header) {
			t.Errorf("%s: %d octets, %d of payload", name, got.Octets, got.Payload)
		}
	}
}

// A ring that nobody reads overflows: every frame is delivered or lost.
func TestLossIsCounted(t *testing.T) {
	s := newSite(t)
	target := s.serve(lab.Server, serverAddress+":0")
	small := s.open(lab.Client, Config{Interface: clientInterface, Target: target, RingOctets: 2 * blockOctets})
	large := s.open(lab.Client, Config{Interface: clientInterface, Target: target})
	var clients []netip.AddrPort
	for range 500 {
		clients = append(clients, s.exchange(target, 1))
	}
	all := receive(t, large, func(all []segment.Segment) bool { return closed(all, clients[len(clients)-1]) })
	lost, err := small.Lost()
	if err != nil || lost == 0 {
		t.Fatalf("%d segments of %d were lost (%v)", lost, len(all), err)
	}
	got := receive(t, small, func(got []segment.Segment) bool { return len(got)+int(lost) >= len(all) })
	if len(got)+int(lost) != len(all) {
		t.Errorf("%d delivered and %d lost of %d", len(got), lost, len(all))
	}
	if stats, err := small.Stats(); err != nil || stats.Lost != lost {
		t.Errorf("%+v (%v), %d were lost", stats, err, lost)
	}
	// The ring goes on once it is read. It is so small that a stalled machine
	// overruns it again.
	for end := time.Now().Add(patience); ; {
		client := s.exchange(target, 1)
		if closed(drain(t, small), client) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("after its overrun, the ring has no whole connection")
		}
	}
}

// drain takes segments until none has come for a while.
func drain(t *testing.T, source *Source) []segment.Segment {
	t.Helper()
	var all []segment.Segment
	var batch [batchMax]*segment.Segment
	for {
		n, err := source.Receive(batch[:], 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		for _, s := range batch[:n] {
			all = append(all, *s)
		}
	}
}

func TestReceiveDoesNotAllocate(t *testing.T) {
	s := newSite(t)
	target := s.serve(lab.Server, serverAddress+":0")
	source := s.open(lab.Client, Config{Interface: clientInterface, Target: target})
	for range 100 {
		s.exchange(target, 1)
	}
	var batch [8]*segment.Segment
	received := 0
	allocated := testing.AllocsPerRun(50, func() {
		n, err := source.Receive(batch[:], patience)
		if err != nil {
			t.Fatal(err)
		}
		received += n
	})
	if allocated != 0 || received != 51*len(batch) {
		t.Errorf("%v allocations, %d segments", allocated, received)
	}
}

// A wait for nothing ends, and one on an interface that goes away tells.
func TestWait(t *testing.T) {
	s := newSite(t)
	target := netip.MustParseAddrPort(serverAddress + ":9")
	source := s.open(lab.Client, Config{Interface: clientInterface, Target: target})
	var batch [1]*segment.Segment
	if n, err := source.Receive(batch[:], time.Millisecond); n != 0 || err != nil {
		t.Errorf("%d segments (%v) where nothing was sent", n, err)
	}
	s.do(lab.Client, func() error {
		link, err := netlink.LinkByName(clientInterface)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	if _, err := source.Receive(batch[:], patience); err == nil || !strings.Contains(err.Error(), clientInterface) {
		t.Errorf("on an interface that is gone: %v", err)
	}
}

func TestOpenRejects(t *testing.T) {
	target := netip.MustParseAddrPort("198.18.0.2:80")
	for want, c := range map[string]Config{
		"finwait-none":                {Interface: "finwait-none", Target: target},
		"an address and a port":       {Interface: "lo"},
		"198.18.0.2:0":                {Interface: "lo", Target: netip.AddrPortFrom(target.Addr(), 0)},
		"ports 2 to 1":                {Interface: "lo", Target: target, LowPort: 2, HighPort: 1},
		"choose a multiple of 131072": {Interface: "lo", Target: target, RingOctets: 1000},
	} {
		if strings.Contains(want, "multiple") {
			needRoot(t)
		}
		source, err := Open(c)
		if err == nil {
			_ = source.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, expected %q", c, err, want)
		}
	}
}
