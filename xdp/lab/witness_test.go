package lab

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// sighting is one TCP segment as a packet socket on the tap sees it.
type sighting struct {
	at       time.Time
	from, to netip.AddrPort
	tcp      layers.TCP
	payload  int
	octets   int
	vlans    []int
}

// witness captures on the tap without anything of finwait's.
type witness struct {
	socket    int
	stopping  chan struct{}
	stopped   sync.WaitGroup
	sightings []sighting
	problems  []error
}

// newWitness begins to capture. Its test fails where a frame was lost.
func newWitness(t *testing.T, n *Network) *witness {
	t.Helper()
	return newWitnessAt(t, n, Tap, TapInterface)
}

// newWitnessAt is newWitness on any interface; there, also of what it sends.
func newWitnessAt(t *testing.T, n *Network, in Namespace, name string) *witness {
	t.Helper()
	w := &witness{stopping: make(chan struct{})}
	err := n.Do(in, func() error {
		device, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		w.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		everything := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		return errors.Join(
			unix.SetsockoptInt(w.socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20),
			unix.SetsockoptInt(w.socket, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(w.socket, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
			unix.SetsockoptTimeval(w.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
			unix.Bind(w.socket, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: device.Index}),
		)
	})
	if err != nil {
		t.Fatalf("witness: %v", err)
	}
	w.stopped.Go(w.watch)
	return w
}

// stop returns what was seen.
func (w *witness) stop(t *testing.T) []sighting {
	t.Helper()
	close(w.stopping)
	w.stopped.Wait()
	defer unix.Close(w.socket)
	if err := errors.Join(w.problems...); err != nil {
		t.Errorf("witness: %v", err)
	}
	statistics, err := unix.GetsockoptTpacketStats(w.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || statistics.Drops > 0 {
		t.Errorf("witness lost %d frames (%v)", statistics.Drops, err)
	}
	return w.sightings
}

// watch reads until it is told to stop and then nothing has come for as long
// as the socket waits.
func (w *witness) watch() {
	frame, control := make([]byte, 4096), make([]byte, 512)
	stopping := false
	for {
		n, controlled, _, _, err := unix.Recvmsg(w.socket, frame, control, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if stopping {
				return
			}
			select {
			case <-w.stopping:
				stopping = true
			default:
			}
		case errors.Is(err, unix.EINTR):
		case err != nil:
			w.problems = append(w.problems, err)
			return
		default:
			w.see(frame[:n], control[:controlled])
		}
	}
}

func (w *witness) see(frame, control []byte) {
	var s sighting
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		w.problems = append(w.problems, err)
		return
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS:
			s.at = time.Unix((*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Unix())
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA:
			// The stack has taken the outermost tag out of the frame.
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
			if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 {
				s.vlans = append(s.vlans, int(aux.Vlan_tci&0xfff))
			}
		}
	}
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	for _, layer := range packet.Layers() {
		switch l := layer.(type) {
		case *layers.Dot1Q:
			s.vlans = append(s.vlans, int(l.VLANIdentifier))
		case *layers.IPv4:
			s.octets = int(l.Length)
			s.payload = s.octets - 4*int(l.IHL)
			s.from, s.to = address(l.SrcIP), address(l.DstIP)
		case *layers.IPv6:
			s.octets = 40 + int(l.Length)
			s.payload = int(l.Length)
			s.from, s.to = address(l.SrcIP), address(l.DstIP)
		case *layers.TCP:
			s.tcp = *l
			s.tcp.Payload, s.tcp.Contents, s.tcp.Options = nil, nil, nil
			s.payload -= 4 * int(l.DataOffset)
			s.from = netip.AddrPortFrom(s.from.Addr(), uint16(l.SrcPort))
			s.to = netip.AddrPortFrom(s.to.Addr(), uint16(l.DstPort))
			w.sightings = append(w.sightings, s)
		}
	}
}

func address(ip net.IP) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), 0)
}
