// Package apitest has records of known connections for the tests of the api's
// packages.
package apitest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// Names has a fixed run, so that flow_id is known.
func Names() *api.Names { return NamesAt(nil) }

// NamesAt is Names by another clock than that of a replay.
func NamesAt(clock *api.Clock) *api.Names {
	names := api.NamesOf([8]byte{0, 1, 2, 3, 4, 5, 6, 7}, clock, func(number uint32) string {
		return map[uint32]string{1: "eth1", 2: "a \"quoted\" <name>\xff\u2028.pcap"}[number]
	})
	names.TellOwners(func(owner uint64) string {
		return [...]string{"", "/a.slice", "/a.slice/b", "/a.slice/b/\"c\"", "/a.slice/bc", "cgroup:5"}[owner]
	})
	return names
}

// Address is an address of a record.
func Address(text string) [16]byte { return netip.MustParseAddr(text).As16() }

// At sets a moment, in ns since the epoch.
func At(r *flowtable.Record, m flowtable.Moment, ns int64) {
	r.At[m] = ns
	r.Seen |= 1 << m
}

// Epoch is when the records begin, in ns.
const Epoch = 1_700_000_000_000_000_000 // 2023-11-14T22:13:20Z

// FourWay is a connection over IPv6 that its server closed.
func FourWay() flowtable.Record {
	r := flowtable.Record{
		Serial: 1, StartAt: Epoch, EndAt: Epoch + 9_000_000,
		Client: flowtable.Side{
			Address: Address("2001:db8:1::6"), Port: 40000, Packets: 7, Octets: 1570, Payload: 1234,
			SYNRetransmits: 1, TCPFlags: segment.SYN | segment.ACK | segment.FIN | segment.PSH, State: flowtable.StateClosed,
		},
		Server: flowtable.Side{
			Address: Address("2001:db8:ffff::1"), Port: 443, Packets: 5, Octets: 5_000_000_000, Payload: 4_999_999_000,
			SYNRetransmits: 2, FINRetransmits: 3, TCPFlags: segment.SYN | segment.ACK | segment.FIN, State: flowtable.StateTimeWait,
		},
		HalfClosePayload: 17, ReuseAfter: 59_000_000_000, Reused: true, Interface: 1, VLAN: 100,
		Encapsulation: segment.Encapsulation{Layers: [4]segment.Layer{segment.LayerQinQ, segment.LayerMPLS}},
		OrientedBy:    flowtable.BySYN, Evidence: flowtable.Full, CloseKind: flowtable.FourWay,
		Initiator: flowtable.Server, EndReason: flowtable.EndClosed, Complete: true,
	}
	At(&r, flowtable.SYNAt, Epoch)
	At(&r, flowtable.SYNACKAt, Epoch+1_000_001)
	At(&r, flowtable.EstablishedAt, Epoch+1_500_001)
	At(&r, flowtable.FIN1At, Epoch+5_000_000)
	At(&r, flowtable.ACK1At, Epoch+6_000_000)
	At(&r, flowtable.FIN2At, Epoch+8_000_000)
	At(&r, flowtable.ACK2At, Epoch+9_000_000)
	return r
}

// Refused is a SYN to a port that nobody listens on, in a capture that begins
// at the epoch.
func Refused() flowtable.Record {
	r := flowtable.Record{
		Serial: 2, StartAt: 0, EndAt: 40_000,
		Client:     flowtable.Side{Address: Address("10.0.0.1"), Port: 33036, Packets: 1, Octets: 60, TCPFlags: segment.SYN},
		Server:     flowtable.Side{Address: Address("192.0.2.9"), Port: 5672, Packets: 1, Octets: 40, TCPFlags: segment.RST | segment.ACK},
		Interface:  7,
		OrientedBy: flowtable.BySYN, Evidence: flowtable.Full, CloseKind: flowtable.Refused,
		Initiator: flowtable.Server, RSTBy: flowtable.Server, EndReason: flowtable.EndClosed, Complete: true,
	}
	At(&r, flowtable.SYNAt, 0)
	At(&r, flowtable.RSTAt, 40_000)
	return r
}

// HalfClosed is one slice of a connection joined midway and accounted by
// sequence numbers, reset after its FIN, with a SYN-ACK that overtook its SYN.
func HalfClosed() flowtable.Record {
	r := flowtable.Record{
		Serial: 1 << 63, StartAt: Epoch, EndAt: Epoch + 3,
		Client:     flowtable.Side{Address: Address("10.0.0.2"), Port: 1000, Payload: 10, State: flowtable.StateFINWait2},
		Server:     flowtable.Side{Address: Address("10.0.0.3"), Port: 2000, Payload: 20, State: flowtable.StateCloseWait},
		Interface:  2,
		Slice:      3,
		OrientedBy: flowtable.ByFirst, Evidence: flowtable.Lossy, Accounting: flowtable.AccountingSequence,
		CloseKind: flowtable.Reset, Initiator: flowtable.Client, RSTBy: flowtable.Client,
		EndReason: flowtable.EndActiveTimeout, Complete: true,
	}
	At(&r, flowtable.SYNAt, Epoch+1)
	At(&r, flowtable.SYNACKAt, Epoch)
	At(&r, flowtable.FIN1At, Epoch+1)
	At(&r, flowtable.RSTAt, Epoch+3)
	return r
}

// RandomRecord has every field drawn over all of its values, those that no
// connection combines included.
func RandomRecord(rng *rand.Rand) flowtable.Record {
	side := func() flowtable.Side {
		s := flowtable.Side{
			Packets: rng.Uint64() >> rng.UintN(64), Octets: rng.Uint64() >> rng.UintN(64), Payload: rng.Uint64() >> rng.UintN(64),
			Port: uint16(rng.Uint32()), SYNRetransmits: uint16(rng.Uint32()), FINRetransmits: uint16(rng.Uint32()),
			TCPFlags: uint8(rng.Uint32()), State: flowtable.State(rng.IntN(flowtable.States)), Owner: rng.Uint64N(6),
		}
		if rng.IntN(2) == 0 {
			s.Address = netip.AddrFrom4([4]byte{10, 0, byte(rng.Uint32()), byte(rng.Uint32())}).As16()
		} else {
			s.Address = [16]byte{0x20, 1, 0x0d, 0xb8, 15: byte(rng.Uint32())}
		}
		return s
	}
	r := flowtable.Record{
		Serial: rng.Uint64(), StartAt: rng.Int64(), EndAt: rng.Int64(), Client: side(), Server: side(),
		HalfClosePayload: rng.Uint64() >> rng.UintN(64), ReuseAfter: rng.Int64(), Interface: rng.Uint32N(4), Slice: rng.Uint32N(3),
		VLAN: uint16(rng.UintN(4096)), Seen: uint8(rng.Uint32()),
		OrientedBy: flowtable.OrientedBy(rng.IntN(4)), Evidence: flowtable.Evidence(rng.IntN(4)),
		Accounting: flowtable.Accounting(rng.IntN(2)), CloseKind: flowtable.CloseKind(rng.IntN(flowtable.CloseKinds)),
		Initiator: flowtable.Party(rng.IntN(3)), RSTBy: flowtable.Party(rng.IntN(3)),
		EndReason: flowtable.EndReason(rng.IntN(flowtable.EndReasons)), Complete: rng.IntN(2) == 0, Reused: rng.IntN(2) == 0,
	}
	r.Encapsulation.Identifier = rng.Uint32() >> rng.UintN(32)
	for i := range r.Encapsulation.Layers[:rng.IntN(5)] {
		r.Encapsulation.Layers[i] = segment.Layer(1 + rng.IntN(segment.Layers-1))
	}
	moment := rng.Int64N(4e18)
	for m := range r.At {
		r.At[m] = moment + rng.Int64N(1e12)
		r.Peer.Transit[m] = rng.Uint32()
	}
	r.ClientISN, r.ServerISN, r.Opened = rng.Uint32(), rng.Uint32(), uint8(rng.IntN(4)<<1)
	r.Peer.Serial, r.Peer.Known, r.Peer.Faces = rng.Uint64(), uint8(rng.Uint32()), flowtable.Party(rng.IntN(3))
	r.Peer.Found, r.Peer.Translated = rng.IntN(2) == 0, rng.IntN(2) == 0
	other := side()
	r.Peer.Client, r.Peer.ClientPort, r.Peer.ServerPort = other.Address, other.Port, uint16(rng.Uint32())
	return r
}

// Numbered are records of nothing, with serial numbers from first on.
func Numbered(first, n int) []flowtable.Record {
	records := make([]flowtable.Record, n)
	for i := range records {
		records[i].Serial = uint64(first + i)
	}
	return records
}

// Encode is the JSON of v, without escaping for HTML.
func Encode(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ContractFile returns the path of a file that the team shares beside the
// repository; without it the test is skipped, or fails where CI is set.
func ContractFile(t *testing.T, name string) string {
	t.Helper()
	directory, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(directory, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			t.Fatal("no go.mod above the test's directory")
		}
		directory = parent
	}
	path := filepath.Join(directory, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}
