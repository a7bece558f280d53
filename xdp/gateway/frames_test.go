package gateway

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
)

// replayPort is where nobody listens.
const replayPort = 4000

// TestFramesIdentical: the same frames leave the box, octet by octet, as without a
// gateway.
func TestFramesIdentical(t *testing.T) {
	s := newSite(t)
	stream := s.stream()
	without := s.forward(stream)
	g := s.open(Config{})
	r := s.read(g)
	with := s.forward(stream)
	r.end()
	if len(without) != len(stream) {
		t.Fatalf("%d frames of %d were forwarded", len(without), len(stream))
	}
	if len(with) != len(without) {
		t.Fatalf("%d frames left, %d without a gateway", len(with), len(without))
	}
	for i := range with {
		if !bytes.Equal(with[i], without[i]) {
			t.Errorf("frame %d:\n   with % x\nwithout % x", i, with[i], without[i])
		}
	}
	if c := ledger(g); c["ingress passed"] == 0 || c["ingress lan frames"] < uint64(len(stream)) {
		t.Errorf("the gateway saw nothing: %v", c)
	}
}

// stream is segments of every kind from the client to the server, as they stand on
// the wire.
func (s *site) stream() (frames [][]byte) {
	s.tb.Helper()
	var to, from net.HardwareAddr
	s.In(s.Box, func() error { return gatewaytest.Hardware(lan, func(a net.HardwareAddr) { to = a }) })
	s.In(s.Client, func() error { return gatewaytest.Hardware(gatewaytest.End, func(a net.HardwareAddr) { from = a }) })
	for _, f := range gatewaytest.Families {
		for i, flags := range []byte{segment.SYN, segment.ACK, segment.PSH | segment.ACK, segment.FIN | segment.ACK, segment.FIN | segment.PSH | segment.ACK, segment.RST, segment.RST | segment.ACK} {
			for _, payload := range []int{0, 1, 100, 1400} {
				frames = append(frames, tcpFrame(s.tb, to, from, f, layers.TCP{SrcPort: layers.TCPPort(20000 + i), DstPort: replayPort, Seq: 1000, Ack: 2000, Window: 500,
					SYN: flags&segment.SYN != 0, ACK: flags&segment.ACK != 0, FIN: flags&segment.FIN != 0, RST: flags&segment.RST != 0, PSH: flags&segment.PSH != 0}, payload))
			}
		}
	}
	return frames
}

// forward sends frames at the client and returns what of TCP arrives at the server.
func (s *site) forward(frames [][]byte) (arrived [][]byte) {
	s.tb.Helper()
	var fd int
	s.In(s.Server, func() (err error) {
		fd, err = listen(gatewaytest.End)
		return err
	})
	defer unix.Close(fd)
	send := s.injector(s.Client, gatewaytest.End)
	buffer := make([]byte, 1<<16)
	for _, frame := range frames {
		send(frame)
		for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
			n, err := unix.Read(fd, buffer)
			var got segment.Segment
			if err != nil || segment.Decode(segment.LinkEthernet, buffer[:n], &got) != segment.TCP || got.DstPort != replayPort {
				continue
			}
			arrived = append(arrived, bytes.Clone(buffer[:n]))
			break
		}
	}
	return arrived
}

// tcpFrame is a whole frame from the client to the server, its checksums computed.
func tcpFrame(tb testing.TB, to, from net.HardwareAddr, f gatewaytest.Family, tcp layers.TCP, payload int) []byte {
	tb.Helper()
	ethernet := &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: layers.EthernetTypeIPv4}
	var ip gopacket.SerializableLayer
	if f.Client.Is4() {
		ip4 := &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: layers.IPProtocolTCP, SrcIP: f.Client.AsSlice(), DstIP: f.Server.AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(ip4)
		ip = ip4
	} else {
		ethernet.EthernetType = layers.EthernetTypeIPv6
		ip6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: f.Client.AsSlice(), DstIP: f.Server.AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(ip6)
		ip = ip6
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, ethernet, ip, &tcp, gopacket.Payload(bytes.Repeat([]byte{0xa5}, payload))); err != nil {
		tb.Fatal(err)
	}
	return buffer.Bytes()
}

// listen opens a packet socket for what arrives at an interface of the calling
// thread's namespace; a read of it waits a tenth of a second.
func listen(name string) (int, error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: gatewaytest.IndexOf(name)})
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	}
	return fd, err
}
