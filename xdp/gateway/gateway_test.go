package gateway

import (
	"errors"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/gateway/gatewaytest"
)

const etherHeader = 14

// TestCounts: what the programs count is what the interfaces count themselves, with
// super-packets and without, in both ways to attach.
func TestCounts(t *testing.T) {
	for _, test := range []struct {
		name     string
		wire     bool // no super-packets
		wantMode string
		config   Config
	}{
		{"super-packets", false, modeTCX, Config{}},
		{"wire", true, modeTCX, Config{}},
		{"tc", false, modeClassic, Config{classic: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			if test.wire {
				s.WireLike()
			} else {
				// Segmented behind the program, so that the interface counts what is on
				// the wire.
				s.In(s.Box, func() error { return errors.Join(gatewaytest.SegmentLate(lan), gatewaytest.SegmentLate(wan)) })
			}
			at := s.Serve(300_000)
			g := s.open(test.config)
			if mode := g.Interfaces()[0].Mode; mode != test.wantMode {
				t.Errorf("attached by %q, not %q", mode, test.wantMode)
			}
			r := s.read(g)
			before := s.counters()
			for range 3 {
				for _, to := range at {
					s.In(s.Client, func() error { return gatewaytest.Exchange(to, 200_000, 300_000) })
				}
			}
			time.Sleep(100 * time.Millisecond) // for the last acknowledgements
			after := s.counters()
			r.end()
			s.compare(g, before, after, test.wire)
			s.segmentsOf(g, r, 6)
			s.balanced(g, r)
		})
	}
}

// counters are those of both interfaces of the box.
func (s *site) counters() map[string]netlink.LinkStatistics {
	s.tb.Helper()
	all := make(map[string]netlink.LinkStatistics)
	for _, name := range []string{lan, wan} {
		s.In(s.Box, func() (err error) {
			all[name], err = gatewaytest.Statistics(name)
			return err
		})
	}
	return all
}

// compare holds the octets of the ledger against those of the interfaces. What arrives
// in super-packets has only been counted as such by them.
func (s *site) compare(g *Gateway, before, after map[string]netlink.LinkStatistics, wire bool) {
	s.tb.Helper()
	counts := ledger(g)
	for _, name := range []string{lan, wan} {
		if got, want := counts["egress "+name+" octets"], after[name].TxBytes-before[name].TxBytes; got != want {
			s.tb.Errorf("%s: %d octets left, the interface counts %d", name, got, want)
		}
		got, want := counts["ingress "+name+" octets"], after[name].RxBytes-before[name].RxBytes
		if wire && got != want {
			s.tb.Errorf("%s: %d octets arrived, the interface counts %d", name, got, want)
		}
	}
	if counts["ingress lan octets"] != counts["egress wan octets"] || counts["ingress wan octets"] != counts["egress lan octets"] {
		s.tb.Errorf("what arrived is not what left: %v", counts)
	}
}

// segmentsOf holds the flow tables against the sum of the ledger, and looks at what
// user space saw of each connection.
func (s *site) segmentsOf(g *Gateway, r *reader, connections int) {
	s.tb.Helper()
	type flow struct {
		opened, finished int
		octets           uint64
	}
	flows := make(map[segment.Key]*flow)
	for i := range r.segments {
		one := &r.segments[i]
		key, _ := segment.KeyOf(one)
		f := flows[key]
		if f == nil {
			f = new(flow)
			flows[key] = f
		}
		if one.Marks&segment.Counted == 0 {
			f.opened++
			f.octets += uint64(one.Octets)
		}
		if one.Is(segment.FIN) {
			f.finished++
		}
	}
	if len(flows) != 2*connections {
		s.tb.Fatalf("%d connections were seen, not %d on each of two interfaces", len(flows), connections)
	}
	var octets, packets uint64
	for key, f := range flows {
		if f.opened != 2 || f.finished < 2 {
			s.tb.Errorf("%v to %v on %s: %d segments opened it, %d FINs", netip.AddrFrom16(key.Low), netip.AddrFrom16(key.High), g.InterfaceName(key.Scope), f.opened, f.finished)
		}
		octets += f.octets
		packets += uint64(f.opened)
	}
	for counters := range s.takeAll(g, slices.Collect(maps.Keys(flows))) {
		octets += counters[0].Octets + counters[1].Octets
		packets += counters[0].Packets + counters[1].Packets
	}
	counts := ledger(g)
	// What is no TCP, such as neighbours' questions, is in the ledger alone.
	others := counts["ingress not_tcp"] + counts["egress not_tcp"] + counts["ingress not_ip"] + counts["egress not_ip"]
	rest := counts["ingress octets"] + counts["egress octets"] - octets - packets*etherHeader
	if rest < others*60 || rest > others*200 {
		s.tb.Errorf("%d octets of %d packets in the flow tables, %d more in the ledger for %d other frames", octets, packets, int64(rest), others)
	}
}

// takeAll takes the entries of connections on any interfaces, many at once, and shows the
// counters of each.
func (s *site) takeAll(g *Gateway, keys []segment.Key) iter.Seq[*segment.Counters] {
	return func(yield func(*segment.Counters) bool) {
		s.tb.Helper()
		a := g.Accounts()
		for some := range slices.Chunk(keys, 64) {
			counters := make([]segment.Counters, len(some))
			if n := testing.AllocsPerRun(10, func() { _ = a.Peek(some, counters) }); n != 0 {
				s.tb.Errorf("reading %d entries allocates %v times", len(some), n)
			}
			before := slices.Clone(counters)
			if err := a.Take(some, counters); err != nil || !slices.Equal(before, counters) {
				s.tb.Errorf("what is taken is not what was there: %v", err)
			}
			for i := range counters {
				if !yield(&counters[i]) {
					return
				}
			}
			if err := a.Peek(some, counters); err != nil || slices.ContainsFunc(counters, func(c segment.Counters) bool { return c.Found() }) {
				s.tb.Errorf("an entry that was taken is still there: %v", err)
			}
		}
	}
}

// balanced: each segment that was passed was received.
func (s *site) balanced(g *Gateway, r *reader) {
	s.tb.Helper()
	c := ledger(g)
	if passed := c["ingress passed"] + c["egress passed"]; passed == 0 || passed != uint64(len(r.segments)) || c["ring malformed"] != 0 {
		s.tb.Errorf("%d segments were passed, %d received; %d were none", passed, len(r.segments), c["ring malformed"])
	}
}

// TestSegmentLimit: what the limit holds back is counted, and no connection suffers.
func TestSegmentLimit(t *testing.T) {
	s := newSite(t)
	at := s.Serve(1000)
	g := s.open(Config{SegmentLimit: 160})
	r := s.read(g)
	traffic := s.StartWitnessed(at, 100, 1000, pause)
	time.Sleep(time.Second)
	traffic.End(t)
	r.end()
	s.balanced(g, r)
	c := ledger(g)
	held := c["ingress held_back"] + c["egress held_back"]
	// Within the first windows and the last there may be as many again.
	if n := len(r.segments); held == 0 || n == 0 || n > 400 {
		t.Errorf("%d segments were received and %d held back, at 160 a second", n, held)
	}
	lost, err := g.Queues()[0].Lost()
	if err != nil || lost < held {
		t.Errorf("%d segments are said to be lost, of which %d were held back: %v", lost, held, err)
	}
	for _, line := range g.Ledger() {
		if line.Reason == "held_back" && !line.Loss() {
			t.Errorf("%+v is no loss", line)
		}
	}
}

// TestRefuses: what cannot be done is said, and nothing is left of the attempt.
func TestRefuses(t *testing.T) {
	s := newSite(t)
	g := s.open(Config{Interfaces: []string{lan}})
	many := make([]string, 256)
	for i := range many {
		many[i] = strings.Repeat("x", i)
	}
	for _, test := range []struct {
		interfaces []string
		want       string
	}{
		{nil, "no interface"},
		{[]string{lan, lan}, "named twice"},
		{[]string{lan, "nowhere"}, `"nowhere" does not exist`},
		{many, "at most 255"},
	} {
		s.In(s.Box, func() error {
			refused, err := Open(Config{Interfaces: test.interfaces, MaxFlows: 1 << 10})
			if err == nil {
				_ = refused.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%.20q: %v, want %q", test.interfaces, err, test.want)
			}
			return nil
		})
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	s.clean(2 * time.Second)
}

// TestTwo: two gateways on one box see the same and do not hinder each other.
func TestTwo(t *testing.T) {
	s := newSite(t)
	at := s.Serve(10_000)
	one, other := s.open(Config{}), s.open(Config{classic: true})
	first, second := s.read(one), s.read(other)
	s.In(s.Client, func() error { return gatewaytest.Exchange(at[0], 10_000, 10_000) })
	time.Sleep(100 * time.Millisecond)
	first.end()
	second.end()
	s.segmentsOf(one, first, 1)
	s.segmentsOf(other, second, 1)
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	s.clean(2 * time.Second)
}

// TestForeignFilters: filters and qdisc of others stay, and are run as before.
func TestForeignFilters(t *testing.T) {
	s := newSite(t)
	var qdisc *netlink.GenericQdisc
	s.In(s.Box, func() error {
		index := gatewaytest.IndexOf(lan)
		qdisc = clsactOf(index)
		if err := netlink.QdiscAdd(qdisc); err != nil {
			return err
		}
		// It matches nothing that is sent here.
		return netlink.FilterAdd(&netlink.U32{FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: ingress.parent(), Priority: 1, Protocol: 0x88b5}})
	})
	filters := func() (n int) {
		s.In(s.Box, func() error {
			list, err := netlink.FilterList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: qdisc.LinkIndex}}, ingress.parent())
			n = len(slices.DeleteFunc(list, func(f netlink.Filter) bool { return f.Type() != "u32" }))
			return err
		})
		return n
	}
	before := filters()
	g := s.open(Config{classic: true})
	at := s.Serve(10)
	r := s.read(g)
	s.In(s.Client, func() error { return gatewaytest.Exchange(at[0], 10, 10) })
	time.Sleep(50 * time.Millisecond)
	r.end()
	s.segmentsOf(g, r, 1)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if before == 0 || filters() != before {
		t.Errorf("%d filters of others before, %d after", before, filters())
	}
	s.In(s.Box, func() error { return netlink.QdiscDel(qdisc) })
	s.clean(time.Second)
}
