package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
)

// craftedGap keeps crafted segments in order on their way to the tap, whose
// queues are chosen by hash and so differ for the two directions.
const craftedGap = time.Millisecond

// injectors are one for the client's end and one for the server's.
type injectors [namespaces]*injector

// injector sends crafted frames out of the interface of an end. Their addresses
// are nobody's, so that nobody answers.
type injector struct {
	mu     sync.Mutex
	socket int
	index  int
	frame  []byte
}

// newInjector opens a packet socket that sends and never receives.
func (n *Network) newInjector(in Namespace) (*injector, error) {
	i := &injector{socket: -1}
	name := map[Namespace]string{Client: clientInterface, Server: serverInterface}[in]
	err := n.Do(in, func() error {
		device, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		i.index = device.Index
		i.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %q (needs CAP_NET_RAW; run as root): %w", name, err)
	}
	return i, nil
}

// Close may be called once.
func (i *injector) Close() error { return unix.Close(i.socket) }

func (i *injector) send(c *crafted) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.frame = c.frame(i.frame[:0])
	if err := unix.Sendto(i.socket, i.frame, 0, &unix.SockaddrLinklayer{Ifindex: i.index}); err != nil {
		return fmt.Errorf("send crafted segment: %w", err)
	}
	return nil
}

// voice is one end of a conversation.
type voice struct {
	station
	to     station // whom it speaks to, and by which hop
	out    *injector
	next   uint32 // sequence number of its next segment
	last   crafted
	counts struct{ packets, octets, payload, finRepeats uint64 }
}

// conversation is a connection between two stations that no kernel knows.
type conversation struct {
	attempt
	client, server voice
	vlans          []int
}

// converse begins a conversation with the two initial sequence numbers.
func (s *stage) converse(clientISN, serverISN uint32, vlans ...int) *conversation {
	t := Tuple{ClientIP: s.phantomClient, ClientPort: s.network.port(), ServerIP: s.phantom, ServerPort: listenPort}
	client := station{phantomClientMAC, netip.AddrPortFrom(t.ClientIP, t.ClientPort)}
	server := station{phantomMAC, netip.AddrPortFrom(t.ServerIP, t.ServerPort)}
	v := &conversation{
		attempt: s.newAttempt(t), vlans: vlans,
		client: voice{station: client, to: server, out: s.injectors[Client], next: clientISN},
		server: voice{station: server, to: client, out: s.injectors[Client], next: serverISN},
	}
	switch {
	case !s.network.gateway:
	case len(vlans) > 0:
		v.outside = Tuple{} // a gateway without VLANs of its own goes no further
	default:
		v.client.to.mac, v.server.out = lanMAC, s.injectors[Server]
		v.server.to = station{wanMAC, netip.AddrPortFrom(v.outside.ClientIP, v.outside.ClientPort)}
	}
	return v
}

// say is one line of a conversation.
type say struct {
	by       Party
	tcpFlags uint8
	payload  int
	// again repeats the last line of the same party that moved its sequence
	// number, as a retransmission does.
	again bool
	// deaf acknowledges only what came before the other's last line: the two
	// cross.
	deaf bool
}

// speak sends the lines of all passages in order.
func (v *conversation) speak(ctx context.Context, passages ...[]say) error {
	for _, line := range slices.Concat(passages...) {
		own, _ := v.voices(line.by)
		if err := own.out.send(v.compose(line)); err != nil {
			return err
		}
		if err := sleep(ctx, craftedGap); err != nil {
			return err
		}
	}
	return nil
}

// voices are that of a party, and the other one.
func (v *conversation) voices(by Party) (own, other *voice) {
	if by == ServerParty {
		return &v.server, &v.client
	}
	return &v.client, &v.server
}

func (v *conversation) compose(line say) *crafted {
	own, other := v.voices(line.by)
	c := crafted{
		from: own.station, to: own.to, seq: own.next,
		tcpFlags: line.tcpFlags, payload: line.payload, vlans: v.vlans,
	}
	if line.again {
		c = own.last
		if c.tcpFlags&segment.FIN != 0 {
			own.counts.finRepeats++
		}
	} else {
		own.next += c.advance()
		own.counts.payload += uint64(c.payload)
	}
	if c.tcpFlags&segment.ACK != 0 {
		c.ack = other.next
		if line.deaf {
			c.ack = other.last.seq
		}
	}
	if c.advance() > 0 {
		own.last = c
	}
	own.counts.packets++
	own.counts.octets += uint64(c.octets())
	return &c
}

// expect is everything there is to know, since nobody else had a say.
func (v *conversation) expect(initiator Party, kind, encapsulation string) Expectation {
	e := v.attempt.expect(initiator, kind)
	e.Encapsulation = encapsulation
	e.Counts = Counts{
		ClientPayload: new(v.client.counts.payload), ServerPayload: new(v.server.counts.payload),
		ClientPackets: new(v.client.counts.packets), ServerPackets: new(v.server.counts.packets),
		ClientOctets: new(v.client.counts.octets), ServerOctets: new(v.server.counts.octets),
		ClientFINRepeats: new(v.client.counts.finRepeats), ServerFINRepeats: new(v.server.counts.finRepeats),
		ClientSYNRepeats: new(uint64(0)), ServerSYNACKRepeats: new(uint64(0)),
		HalfClosePayload: new(uint64(0)),
	}
	if len(v.vlans) > 0 {
		e.VLAN = uint16(v.vlans[0])
	}
	return e
}
