package conntrack

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/lab"
	"github.com/finwait/finwait/xdp/netns"
)

const patience = 10 * time.Second

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root: namespaces and conntrack")
}

// listen follows the namespace of a gateway.
func listen(t *testing.T, network *lab.Network, c Config) (l *Listener) {
	t.Helper()
	c.Report = func(err error) { t.Error(err) }
	err := network.Do(lab.Gateway, func() (err error) {
		l, err = Open(c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func gateway(t *testing.T) *lab.Network {
	t.Helper()
	requireRoot(t)
	network, err := lab.BuildGateway(lab.Masquerade)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	return network
}

// translated are n connections from a client behind the gateway as conntrack has
// them, put into its table by hand, with ports from a number on.
func translated(t *testing.T, network *lab.Network, from, n int) []entry {
	t.Helper()
	var entries []entry
	err := network.Do(lab.Gateway, func() error {
		for i := range n {
			e := entry{tupleOf("10.0.0.7:1", "192.0.2.80:443"), tupleOf("198.51.100.1:1", "192.0.2.80:443")}
			e.inner.ClientPort, e.outer.ClientPort = uint16(1000+from+i), uint16(20000+from+i)
			direction := func(source, destination [16]byte, sourcePort, destinationPort uint16) netlink.IPTuple {
				return netlink.IPTuple{
					SrcIP: net.IP(source[12:]), DstIP: net.IP(destination[12:]), SrcPort: sourcePort, DstPort: destinationPort, Protocol: unix.IPPROTO_TCP,
				}
			}
			err := netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, &netlink.ConntrackFlow{
				FamilyType: unix.AF_INET, TimeOut: 100,
				Forward:   direction(e.inner.Client, e.inner.Server, e.inner.ClientPort, e.inner.ServerPort),
				Reverse:   direction(e.outer.Server, e.outer.Client, e.outer.ServerPort, e.outer.ClientPort),
				ProtoInfo: &netlink.ProtoInfoTCP{State: 3},
			})
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func (l *Listener) knowsAll(entries []entry) bool {
	for _, e := range entries {
		if other, ok := l.Other(e.inner); !ok || other != e.outer {
			return false
		}
		if other, ok := l.Other(e.outer); !ok || other != e.inner {
			return false
		}
	}
	return true
}

// Every connection of the laboratory is known by both of its tuples, also one that
// was refused and is gone at once.
func TestMasquerade(t *testing.T) {
	network := gateway(t)
	l := listen(t, network, Config{Room: 10_000})
	done, err := network.Traffic(t.Context(), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, e := range done {
		if e.Outside == (lab.Tuple{}) {
			continue
		}
		compared++
		inner, outer := tuples(e.Tuple), tuples(e.Outside)
		eventually(t, e.Scenario, func() bool { return l.knowsAll([]entry{{inner, outer}}) })
	}
	if compared < 30 {
		t.Errorf("%d connections went through the gateway", compared)
	}
	if l.Stats().Overruns.Load() != 0 || l.Stats().Forgotten.Load() != 0 {
		t.Errorf("%d overruns, %d forgotten", l.Stats().Overruns.Load(), l.Stats().Forgotten.Load())
	}
}

func tuples(t lab.Tuple) segment.Tuple {
	return segment.Tuple{Client: t.ClientIP.As16(), Server: t.ServerIP.As16(), ClientPort: t.ClientPort, ServerPort: t.ServerPort}
}

// What is there before is read from the table; what goes is still known.
func TestTableAndEnds(t *testing.T) {
	network := gateway(t)
	before := translated(t, network, 0, 300)
	l := listen(t, network, Config{Room: 1000})
	eventually(t, "reading of the table", func() bool { return l.knowsAll(before) })
	after := translated(t, network, len(before), 200)
	eventually(t, "reports of new ones", func() bool { return l.knowsAll(after) && l.stats.Known.Load() == int64(len(before)+len(after)) })
	if err := network.Do(lab.Gateway, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }); err != nil {
		t.Fatal(err)
	}
	// Of those that were there before anybody listened the kernel may not report.
	eventually(t, "reports of ends", func() bool { return l.stats.Known.Load() <= int64(len(before)) })
	if !l.knowsAll(before) || !l.knowsAll(after) {
		t.Error("what is over is not known any more")
	}
	l.reread()
	eventually(t, "another reading", func() bool { return l.stats.Known.Load() == 0 })
}

// Reports that find no room are counted, and the table is read instead.
func TestOverrun(t *testing.T) {
	network := gateway(t)
	l := listen(t, network, Config{Room: 10_000, ReceiveBuffer: 1})
	l.known.mu.Lock() // the listener does not get on
	entries := translated(t, network, 0, 2000)
	l.known.mu.Unlock()
	eventually(t, "overrun", func() bool { return l.Stats().Overruns.Load() > 0 })
	eventually(t, "reading of the table", func() bool { return l.knowsAll(entries) })
}

// A kernel that tracks nothing in a namespace tells nothing of it, and that is no
// error.
func TestUntracked(t *testing.T) {
	requireRoot(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var l *Listener
	if err := netns.Do(ns, func() (err error) {
		l, err = Open(Config{Room: 1})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reading of the table", func() bool { return l.Stats().Readings.Load() > 0 })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if l.Stats().Reports.Load() != 0 {
		t.Error("reports of nothing")
	}
	for _, room := range []int{0, maxRoom + 1} {
		if l, err := Open(Config{Room: room}); err == nil {
			t.Errorf("room for %d is taken", room)
			_ = l.Close()
		}
	}
}

// Events that are switched off are a warning.
func TestEventsOff(t *testing.T) {
	network := gateway(t)
	err := network.Do(lab.Gateway, func() error {
		return netns.Sysctl(map[string]string{"netfilter/nf_conntrack_events": "0"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if l := listen(t, network, Config{Room: 1}); len(l.Warnings()) != 1 {
		t.Errorf("warnings %q", l.Warnings())
	}
}

// Of what is not TCP the kernel reports nothing, and of TCP each beginning and each end.
func TestOnlyTCP(t *testing.T) {
	network := gateway(t)
	l := listen(t, network, Config{Room: 16})
	err := network.Do(lab.Gateway, func() error {
		for port := range uint16(5) {
			ends := netlink.IPTuple{SrcIP: net.IP{10, 0, 0, 7}, DstIP: net.IP{192, 0, 2, 80}, SrcPort: 1000 + port, DstPort: 53, Protocol: unix.IPPROTO_UDP}
			back := ends
			back.SrcIP, back.DstIP, back.SrcPort, back.DstPort = ends.DstIP, ends.SrcIP, ends.DstPort, ends.SrcPort
			err := netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, &netlink.ConntrackFlow{FamilyType: unix.AF_INET, TimeOut: 100, Forward: ends, Reverse: back})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	entries := translated(t, network, 0, 3)
	eventually(t, "translations", func() bool { return l.knowsAll(entries) })
	eventually(t, "reports", func() bool { return l.Stats().Reports.Load() == 3 })
	if err := network.Do(lab.Gateway, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ends", func() bool { return l.Stats().Known.Load() == 0 })
	if n := l.Stats().Reports.Load(); n != 6 {
		t.Errorf("%d reports, of 3 TCP connections that began and ended", n)
	}
}
