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

// injector sends crafted frames out of the client's interface. Their
// addresses are nobody's, so that nobody answers.
type injector struct {
	mu     sync.Mutex
	socket int
	index  int
	frame  []byte
}

// newInjector opens a packet socket that sends and never receives.
func (n *Network) newInjector() (*injector, error) {
	i := &injector{socket: -1}
	err := n.Do(Client, func() error {
		device, err := net.InterfaceByName(clientInterface)
		if err != nil {
			return err
		}
		i.index = device.Index
		i.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %q (needs CAP_NET_RAW; run as root): %w", clientInterface, err)
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
	next   uint32 // sequence number of its next segment
	last   crafted
	counts struct{ packets, octets, payload, finRepeats uint64 }
}

// conversation is a connection between two stations that no kernel knows.
type conversation struct {
	attempt
	injector       *injector
	client, server voice
	vlans          []int
}

// converse begins a conversation with the two initial sequence numbers.
func (s *stage) converse(clientISN, serverISN uint32, vlans ...int) *conversation {
	t := Tuple{ClientIP: s.phantomClient, ClientPort: s.network.port(), ServerIP: s.phantom, ServerPort: listenPort}
	return &conversation{
		attempt: newAttempt(t), injector: s.injector, vlans: vlans,
		client: voice{station: station{phantomClientMAC, netip.AddrPortFrom(t.ClientIP, t.ClientPort)}, next: clientISN},
		server: voice{station: station{phantomMAC, netip.AddrPortFrom(t.ServerIP, t.ServerPort)}, next: serverISN},
	}
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
		if err := v.injector.send(v.compose(line)); err != nil {
			return err
		}
		if err := sleep(ctx, craftedGap); err != nil {
			return err
		}
	}
	return nil
}

func (v *conversation) compose(line say) *crafted {
	own, other := &v.client, &v.server
	if line.by == ServerParty {
		own, other = other, own
	}
	c := crafted{
		from: own.station, to: other.station, seq: own.next,
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
