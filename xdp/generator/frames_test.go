package generator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// capture collects the frames that arrive at the wire's other end.
type capture struct {
	tb     testing.TB
	socket int
}

func newCapture(tb testing.TB, wire *Wire) *capture {
	tb.Helper()
	c := &capture{tb: tb, socket: -1}
	err := wire.AtReceiver(func() error {
		device, err := net.InterfaceByName(ReceiveInterface)
		if err != nil {
			return err
		}
		const everything = unix.ETH_P_ALL
		if c.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(c.socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20); err != nil {
			return err
		}
		return unix.Bind(c.socket, &unix.SockaddrLinklayer{
			Protocol: binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, everything)), Ifindex: device.Index,
		})
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Close(c.socket) })
	return c
}

// frames hands over what arrived so far, in order.
func (c *capture) frames(each func(frame []byte)) {
	c.tb.Helper()
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(c.socket, buffer, 0)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			c.tb.Fatal(err)
		}
		each(buffer[:n])
	}
	stats, err := unix.GetsockoptTpacketStats(c.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		c.tb.Fatal(err)
	}
	if stats.Drops != 0 {
		c.tb.Fatalf("the capture lost %d frames", stats.Drops)
	}
}

// side is what one end of a connection sent.
type side struct {
	isn, next uint32
	segments  uint64
	octets    uint64
	payload   uint64
	fins      int
}

// seen is one connection as it was captured.
type seen struct {
	number         uint32
	client, server side
	steps          []string // flags and sender of what is no data
	data           int
}

// witness follows captured segments as a strict receiver would.
type witness struct {
	tb     testing.TB
	g      *Generator
	of     map[uint32]*seen
	last   uint32 // connection of the last frame
	repeat int    // frames whose predecessor was of the same connection
	octets uint64
}

func (w *witness) take(frame []byte) {
	w.tb.Helper()
	var s segment.Segment
	if outcome := segment.Decode(segment.LinkEthernet, frame, &s); outcome != segment.TCP {
		w.tb.Fatalf("a frame of %d octets: outcome %v", len(frame), outcome)
	}
	w.octets += uint64(len(frame))
	w.checkHeader(frame)
	byServer := s.SrcPort == serverPort
	client, port := s.Src, s.SrcPort
	if byServer {
		client, port = s.Dst, s.DstPort
	}
	number, known := w.g.Number(client, port)
	if !known {
		w.tb.Fatalf("a segment of client %v port %d, which nobody sent", client, port)
	}
	if number == w.last {
		w.repeat++
	}
	w.last = number
	c := w.of[number]
	if c == nil {
		c = &seen{number: number}
		w.of[number] = c
	}
	w.follow(c, &s, byServer)
}

// checkHeader verifies the checksum of an IPv4 header (RFC 1071).
func (w *witness) checkHeader(frame []byte) {
	w.tb.Helper()
	if binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		return
	}
	var sum uint32
	for at := etherHeader; at < etherHeader+ipv4Header; at += 2 {
		sum += uint32(binary.BigEndian.Uint16(frame[at:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	if sum != 0xffff {
		w.tb.Fatalf("IPv4 header % x: its sum is %#x", frame[etherHeader:etherHeader+ipv4Header], sum)
	}
}

func (w *witness) follow(c *seen, s *segment.Segment, byServer bool) {
	w.tb.Helper()
	own, other, name := &c.client, &c.server, "client"
	if byServer {
		own, other, name = &c.server, &c.client, "server"
	}
	if s.Is(segment.SYN) {
		own.isn, own.next = s.Seq, s.Seq
	}
	if s.Seq != own.next {
		w.tb.Fatalf("connection %d: the %s's sequence number is %d, its last ended at %d", c.number, name, s.Seq, own.next)
	}
	if s.Is(segment.ACK) && s.Ack != other.next {
		w.tb.Fatalf("connection %d: the %s acknowledges %d, the other side has sent up to %d", c.number, name, s.Ack, other.next)
	}
	own.segments++
	own.octets += uint64(s.Octets)
	own.payload += uint64(s.Payload)
	own.next = s.End()
	if s.Is(segment.FIN) {
		own.fins++
		own.next++
	}
	if s.Payload == 0 {
		c.steps = append(c.steps, fmt.Sprintf("%s %#x", name, s.TCPFlags))
		return
	}
	if len(c.steps) != 3 {
		w.tb.Fatalf("connection %d: data after %v", c.number, c.steps)
	}
	if byServer != (c.data%2 == 1) {
		w.tb.Fatalf("connection %d: data segment %d is the %s's", c.number, c.data, name)
	}
	c.data++
}

// steps are what is no data, in order.
func steps(serverCloses bool) []string {
	first, second := "client", "server"
	if serverCloses {
		first, second = second, first
	}
	return []string{"client 0x2", "server 0x12", "client 0x10", first + " 0x11", second + " 0x10", second + " 0x11", first + " 0x10"}
}

// TestFrames holds every frame at the other end of the wire against what the
// generator says it sent.
func TestFrames(t *testing.T) {
	for name, c := range map[string]Config{
		"least frames":     {Window: 100, DataSegments: 20, Closer: ClosedInTurn},
		"long frames":      {Window: 50, DataSegments: 11, FrameLength: 1514, Seed: 7},
		"longest frames":   {Window: 8, DataSegments: 5, FrameLength: MaxFrame, Closer: ClosedByServer},
		"IPv6":             {Window: 100, DataSegments: 21, IPv6: true, Closer: ClosedByServer, Seed: 1 << 31},
		"IPv6, long":       {Window: 64, DataSegments: 9, IPv6: true, FrameLength: 1000, Closer: ClosedInTurn},
		"no data":          {Window: 200, DataSegments: 0, Seed: 0xffffffff},
		"cut short":        {Window: 4000, DataSegments: 1, Closer: ClosedInTurn},
		"one at a time":    {Window: 1, DataSegments: 3, Closer: ClosedInTurn},
		"no more than 300": {Window: 100, DataSegments: 6, Connections: 300},
	} {
		t.Run(name, func(t *testing.T) {
			c.CPU = -1
			wire, g := open(t, c, Deliver)
			frames := newCapture(t, wire)
			ctx := context.Background()
			for _, run := range []func() (Run, error){
				func() (Run, error) { return g.Fill(ctx, 50_000) },
				func() (Run, error) { return g.Load(ctx, 50_000, 200*time.Millisecond) },
				func() (Run, error) { return g.Drain(ctx, 50_000) },
			} {
				if _, err := run(); err != nil {
					t.Fatal(err)
				}
			}
			w := &witness{tb: t, g: g, of: map[uint32]*seen{}, last: 1 << 31}
			frames.frames(w.take)
			w.compare()
			if c.Connections > 0 && g.Counts().Opened > uint64(c.Connections) {
				t.Errorf("%d connections were opened, at most %d were asked for", g.Counts().Opened, c.Connections)
			}
		})
	}
}

// compare holds what was seen against the generator's own count and plan.
func (w *witness) compare() {
	t := w.tb
	t.Helper()
	counts := w.g.Counts()
	if counts.Failed != 0 || counts.Refused != 0 || counts.Unsent() != 0 || counts.Opened != counts.Closed {
		t.Fatalf("the generator counted %+v", counts)
	}
	plan, err := w.g.Plan()
	if err != nil {
		t.Fatal(err)
	}
	var segments, payload uint64
	var data int
	for n := range plan.Opened() {
		got, want := w.of[uint32(n)], plan.Connection(uint32(n))
		if got == nil {
			got = new(seen)
			t.Errorf("connection %d, %v to %v, was not seen", n, want.Client, want.Server)
		}
		if fmt.Sprint(got.steps) != fmt.Sprint(steps(want.ServerCloses)) || got.client.fins != 1 || got.server.fins != 1 {
			t.Fatalf("connection %d sent %v, expected %v", n, got.steps, steps(want.ServerCloses))
		}
		for _, pair := range []struct {
			of         string
			seen, sent uint64
		}{
			{"data segments", uint64(got.data), uint64(want.DataSegments)},
			{"client's initial sequence number", uint64(got.client.isn), uint64(want.ClientISN)},
			{"server's initial sequence number", uint64(got.server.isn), uint64(want.ServerISN)},
			{"client's segments", got.client.segments, want.ClientSegments},
			{"server's segments", got.server.segments, want.ServerSegments},
			{"client's octets", got.client.octets, want.ClientOctets},
			{"server's octets", got.server.octets, want.ServerOctets},
			{"client's payload", got.client.payload, want.ClientPayload},
			{"server's payload", got.server.payload, want.ServerPayload},
		} {
			if pair.seen != pair.sent {
				t.Fatalf("connection %d: %s: saw %d, expected %d", n, pair.of, pair.seen, pair.sent)
			}
		}
		segments += got.client.segments + got.server.segments
		payload += got.client.payload + got.server.payload
		data += got.data
	}
	if uint64(len(w.of)) != plan.Opened() {
		t.Errorf("%d connections were seen, %d were opened", len(w.of), plan.Opened())
	}
	if segments != counts.Sent || payload != counts.Payload || w.octets != counts.Octets || uint64(data) != counts.Kinds[Data] {
		t.Errorf("saw %d segments, %d octets of payload, %d of frames, %d data segments; the generator counted %+v", segments, payload, w.octets, data, counts)
	}
	if control := counts.Control(); control != 4*plan.Opened() {
		t.Errorf("%d control segments for %d connections", control, plan.Opened())
	}
	if w.g.Config().Window > 10 && w.repeat > len(w.of) {
		t.Errorf("%d frames came right after one of the same connection", w.repeat)
	}
}
