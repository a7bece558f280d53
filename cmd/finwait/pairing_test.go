package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp/gateway"
	"github.com/finwait/finwait/xdp/lab"
)

// passage is an appliance on a gateway that masquerades.
type passage struct {
	*appliance
	t       *testing.T
	network *lab.Network
}

func newPassage(t *testing.T, blind bool) *passage {
	t.Helper()
	needRoot(t)
	network, err := lab.BuildGateway(lab.Masquerade)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := labCapture{in: lab.Gateway, blind: blind, gateway: &gateway.Config{Interfaces: []string{lab.LANInterface, lab.WANInterface}, MaxFlows: 10_000}}
	a, err := startInLab(t.Context(), network, at, listener, nil, io.Discard)
	if err != nil {
		t.Fatal(errors.Join(err, listener.Close()))
	}
	t.Cleanup(func() {
		if err := errors.Join(a.stop(), a.close()); err != nil {
			t.Error(err)
		}
	})
	return &passage{a, t, network}
}

// connect opens a connection to the server, and returns what closes it.
func (p *passage) connect(from lab.Namespace) (end func()) {
	p.t.Helper()
	var listener net.Listener
	do := func(in lab.Namespace, fn func() error) {
		p.t.Helper()
		if err := p.network.Do(in, fn); err != nil {
			p.t.Fatal(err)
		}
	}
	do(lab.Server, func() error {
		addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		for _, a := range addresses {
			if ip, _ := netip.AddrFromSlice(a.IP); !ip.IsLoopback() && err == nil {
				listener, err = net.Listen("tcp4", netip.AddrPortFrom(ip, 0).String())
			}
		}
		return err
	})
	var client net.Conn
	do(from, func() (err error) {
		client, err = net.Dial("tcp4", listener.Addr().String())
		return err
	})
	server, err := listener.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	return func() {
		if err := errors.Join(client.Close(), server.Close(), listener.Close()); err != nil {
			p.t.Error(err)
		}
	}
}

// records waits until there are so many, the oldest first.
func (p *passage) records(n int) (found []flowtable.Record) {
	p.t.Helper()
	eventually(p.t, "records", func() bool {
		found = p.onRecord(p.t)
		return len(found) == n
	})
	return found
}

// requirePair wants two records that know of each other, and of NAT.
func requirePair(t *testing.T, records []flowtable.Record) {
	t.Helper()
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	for i := range records {
		r, other := &records[i], &records[1-i]
		if !r.Peer.Found || r.Peer.Serial != other.Serial || r.Interface == other.Interface || !r.Peer.Translated || r.Peer.Client != other.Client.Address {
			t.Errorf("record of interface %d: %+v, the other one is %d", r.Interface, r.Peer, other.Serial)
		}
		if ns, known := r.Peer.Passed(flowtable.SYNAt); !known || ns == 0 {
			t.Errorf("record of interface %d: the SYN's transit is not known", r.Interface)
		}
	}
}

// Without connection tracking the initial sequence numbers tell, at once.
func TestPairsBlind(t *testing.T) {
	p := newPassage(t, true)
	p.connect(lab.Client)()
	requirePair(t, p.records(2))
	if s := p.pairs.stage.Stats(); s.BySequence.Load() != 1 || s.InVain.Load() != 0 {
		t.Errorf("%d pairs by sequence numbers, %d records waited in vain", s.BySequence.Load(), s.InVain.Load())
	}
}

// The gateway's own connection has no other side, and its record waits for none; that
// of one that is open at the end is found by both of its sides.
func TestPairsOwnAndLast(t *testing.T) {
	p := newPassage(t, false)
	p.connect(lab.Gateway)()
	if own := p.records(1)[0]; own.Peer.Found || own.Peer.Translated || p.pairs.stage.Stats().Lone.Load() != 1 {
		t.Errorf("the gateway's own connection: %+v", own.Peer)
	}
	end := p.connect(lab.Client)
	defer end()
	eventually(t, "connections", func() bool { return p.tables[0].Stats().Connections.Load() == 2 })
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	records := p.records(3)
	requirePair(t, records[1:])
	if n := p.pairs.stage.Stats().AtEnd.Load(); n != 0 {
		t.Errorf("%d records alone at the end", n)
	}
}
