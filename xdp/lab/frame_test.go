package lab

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/finwait/finwait/flowtable/segment"
)

// TestFrame holds crafted frames against another library's.
func TestFrame(t *testing.T) {
	for _, f := range families {
		for _, vlans := range [][]int{nil, {100}, {200, 300}} {
			for _, payload := range []int{0, 1, 1200} {
				c := crafted{
					from: station{phantomClientMAC, netip.AddrPortFrom(f.phantomClient, 12345)},
					to:   station{phantomMAC, netip.AddrPortFrom(f.phantom, 443)},
					seq:  0xfffffffe, ack: 0x80000001, tcpFlags: segment.FIN | segment.ACK, payload: payload, vlans: vlans,
				}
				if got, want := c.frame(nil), serialize(t, &c); !bytes.Equal(got, want) {
					t.Errorf("%s, tags %v, payload %d:\n%x, expected\n%x", f.name, vlans, payload, got, want)
				}
			}
		}
	}
}

func serialize(t *testing.T, c *crafted) []byte {
	t.Helper()
	ethernet := &layers.Ethernet{SrcMAC: c.from.mac, DstMAC: c.to.mac}
	stack := []gopacket.SerializableLayer{ethernet}
	next := &ethernet.EthernetType
	for i, id := range c.vlans {
		*next = layers.EthernetTypeDot1Q
		if i+1 < len(c.vlans) {
			*next = layers.EthernetTypeQinQ
		}
		tag := &layers.Dot1Q{VLANIdentifier: uint16(id)}
		stack = append(stack, tag)
		next = &tag.Type
	}
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(c.from.address.Port()), DstPort: layers.TCPPort(c.to.address.Port()),
		Seq: c.seq, Ack: c.ack, FIN: true, ACK: true, Window: craftedWindow,
	}
	var network gopacket.NetworkLayer
	if c.from.address.Addr().Is4() {
		*next = layers.EthernetTypeIPv4
		ip := &layers.IPv4{
			Version: 4, TTL: hopLimit, Protocol: layers.IPProtocolTCP, Flags: layers.IPv4DontFragment,
			SrcIP: c.from.address.Addr().AsSlice(), DstIP: c.to.address.Addr().AsSlice(),
		}
		network, stack = ip, append(stack, ip)
	} else {
		*next = layers.EthernetTypeIPv6
		ip := &layers.IPv6{
			Version: 6, HopLimit: hopLimit, NextHeader: layers.IPProtocolTCP,
			SrcIP: c.from.address.Addr().AsSlice(), DstIP: c.to.address.Addr().AsSlice(),
		}
		network, stack = ip, append(stack, ip)
	}
	if err := tcp.SetNetworkLayerForChecksum(network); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, c.payload)
	if _, err := (filler{}).Read(text); err != nil {
		t.Fatal(err)
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, append(stack, tcp, gopacket.Payload(text))...); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()[:len(c.frame(nil))] // without the padding to 60 octets
}
