package pair

import (
	"net/netip"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

const (
	lan = 1
	wan = 2

	wait = 2 * time.Second
)

var (
	inner = tuple("10.0.0.7:40000", "192.0.2.80:443")
	outer = tuple("198.51.100.1:61000", "192.0.2.80:443")
)

func tuple(client, server string) segment.Tuple {
	c, s := netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)
	return segment.Tuple{Client: c.Addr().As16(), Server: s.Addr().As16(), ClientPort: c.Port(), ServerPort: s.Port()}
}

// nat is a Translator that knows what it was told.
type nat map[segment.Tuple]segment.Tuple

func (n nat) Other(t segment.Tuple) (segment.Tuple, bool) {
	other, ok := n[t]
	return other, ok
}

func (n nat) add(a, b segment.Tuple) nat {
	n[a], n[b] = b, a
	return n
}

// closed is a connection that closed in order, the client first, whose segments
// were seen a millisecond after one another from at on; each of them later by late
// where it was sent by the server.
func closed(serial uint64, on uint32, t segment.Tuple, at int64) flowtable.Record {
	r := flowtable.Record{
		Serial: serial, Interface: on, StartAt: at, EndAt: at + 9e6,
		ClientISN: 1000, ServerISN: 2000, Opened: clientOpened | serverOpened,
		Initiator: flowtable.Client, CloseKind: flowtable.FourWay, Complete: true, Seen: 1<<flowtable.RSTAt - 1,
	}
	r.Client.Address, r.Client.Port, r.Server.Address, r.Server.Port = t.Client, t.ClientPort, t.Server, t.ServerPort
	for m := range r.At[:flowtable.RSTAt] {
		r.At[m] = at + int64(m)*1e6
	}
	return r
}

// behind is a record of the server's side of a box that takes 500 ns.
func behind(r flowtable.Record) flowtable.Record {
	const ns = 500
	for _, m := range []flowtable.Moment{flowtable.SYNAt, flowtable.EstablishedAt, flowtable.FIN1At, flowtable.ACK2At} {
		r.At[m] += ns
	}
	for _, m := range []flowtable.Moment{flowtable.SYNACKAt, flowtable.ACK1At, flowtable.FIN2At} {
		r.At[m] -= ns
	}
	r.StartAt += ns
	return r
}

// collected is a stage and what has come out of it.
type collected struct {
	*Stage
	t   *testing.T
	out []flowtable.Record
}

func newStage(t *testing.T, change func(*Config)) *collected {
	t.Helper()
	c := Config{Wait: wait, Room: 100}
	if change != nil {
		change(&c)
	}
	got := &collected{t: t}
	stage, err := New(c, func(records []flowtable.Record) { got.out = append(got.out, records...) })
	if err != nil {
		t.Fatal(err)
	}
	got.Stage = stage
	return got
}

func (c *collected) write(now int64, records ...flowtable.Record) { c.Write(records, now) }

// peers are the serial numbers that came out, with those of their peers; -1 stands
// for none.
func (c *collected) peers() map[uint64]int64 {
	c.t.Helper()
	found := map[uint64]int64{}
	for i := range c.out {
		r := &c.out[i]
		if _, twice := found[r.Serial]; twice {
			c.t.Errorf("record %d came out twice", r.Serial)
		}
		found[r.Serial] = -1
		if r.Peer.Found {
			found[r.Serial] = int64(r.Peer.Serial)
		}
	}
	return found
}

func (c *collected) want(peers map[uint64]int64) {
	c.t.Helper()
	got := c.peers()
	if len(got) != len(peers) {
		c.t.Errorf("%d records came out, want %d", len(got), len(peers))
	}
	for serial, peer := range peers {
		if g, there := got[serial]; !there || g != peer {
			c.t.Errorf("record %d: out %v with peer %d, want %d", serial, there, g, peer)
		}
	}
}

func TestPairByTuple(t *testing.T) {
	s := newStage(t, nil)
	s.write(0, closed(1, lan, inner, 0))
	s.want(nil)
	s.write(1, behind(closed(2, wan, inner, 0)))
	s.want(map[uint64]int64{1: 2, 2: 1})
	if s.Stats().ByTuple.Load() != 1 || s.Stats().Waiting.Load() != 0 {
		t.Errorf("counted %d pairs, %d waiting", s.Stats().ByTuple.Load(), s.Stats().Waiting.Load())
	}
	for i, faces := range []flowtable.Party{flowtable.Client, flowtable.Server} {
		p := &s.out[i].Peer
		if p.Faces != faces || p.Translated {
			t.Errorf("record %d faces %v, translated %v", s.out[i].Serial, p.Faces, p.Translated)
		}
		for m := range flowtable.Moment(flowtable.Moments) {
			ns, known := p.Passed(m)
			if want := m != flowtable.EstablishedAt && m != flowtable.RSTAt; known != want || known && ns != 500 {
				t.Errorf("record %d, moment %d: transit %d ns, known %v", s.out[i].Serial, m, ns, known)
			}
		}
	}
}

func TestPairByTranslation(t *testing.T) {
	for _, order := range [][2]uint64{{1, 2}, {2, 1}} {
		s := newStage(t, func(c *Config) { c.Translator = nat{}.add(inner, outer) })
		for _, serial := range order {
			if serial == 1 {
				s.write(0, closed(1, lan, inner, 0))
			} else {
				s.write(0, behind(closed(2, wan, outer, 0)))
			}
		}
		s.want(map[uint64]int64{1: 2, 2: 1})
		if s.Stats().ByTranslation.Load() != 1 {
			t.Error("the pair is not counted")
		}
		for i := range s.out {
			want := outer
			if s.out[i].Serial == 2 {
				want = inner
			}
			p := &s.out[i].Peer
			if got := (segment.Tuple{Client: p.Client, Server: p.Server, ClientPort: p.ClientPort, ServerPort: p.ServerPort}); !p.Translated || got != want {
				t.Errorf("record %d: the other side's tuple is %v, translated %v", s.out[i].Serial, got, p.Translated)
			}
		}
	}
}

// Without conntrack, or where it does not know, initial sequence numbers tell; but
// not where two records have them.
func TestPairBySequence(t *testing.T) {
	s := newStage(t, nil)
	s.write(0, closed(1, lan, inner, 0), behind(closed(2, wan, outer, 0)))
	s.want(map[uint64]int64{1: 2, 2: 1})

	// Where conntrack might still know better, it is left to the last.
	s = newStage(t, func(c *Config) { c.Translator = nat{} })
	s.write(0, closed(1, lan, inner, 0), behind(closed(2, wan, outer, 0)))
	s.want(nil)
	s.Advance(int64(wait))
	s.want(map[uint64]int64{1: 2, 2: 1})
	if s.Stats().BySequence.Load() != 1 || !s.out[0].Peer.Translated {
		t.Error("a pair by sequence numbers is not counted, or has not the other tuple")
	}

	s = newStage(t, func(c *Config) { c.Translator = nat{} })
	third := closed(3, wan, tuple("198.51.100.1:61001", "192.0.2.80:443"), 0)
	s.write(0, closed(1, lan, inner, 0), closed(2, wan, outer, 0), third)
	s.Advance(int64(wait))
	s.want(map[uint64]int64{1: -1, 2: -1, 3: -1})
}

// What comes in and leaves by one interface is two records, where the box rewrites
// the tuple and says so.
func TestPairOnOneInterface(t *testing.T) {
	s := newStage(t, func(c *Config) {
		c.Translator = nat{}.add(inner, outer)
		c.Lone = func(*flowtable.Record) bool { return true }
	})
	s.write(0, closed(1, lan, inner, 0), behind(closed(2, lan, outer, 0)))
	s.want(map[uint64]int64{1: 2, 2: 1})
}

// A tuple whose next connection has begun before the records of the last are over
// pairs each with its own.
func TestPairReusedTuple(t *testing.T) {
	second := func(r flowtable.Record) flowtable.Record {
		r.ClientISN, r.ServerISN = 5000, 6000
		return r
	}
	s := newStage(t, nil)
	s.write(0, closed(1, lan, inner, 0), second(closed(2, lan, inner, 20e6)))
	s.write(0, second(closed(3, wan, inner, 20e6)), closed(4, wan, inner, 0))
	s.want(map[uint64]int64{1: 4, 4: 1, 2: 3, 3: 2})

	// The translation has changed meanwhile: the old one is known the other way
	// round only, and the sequence numbers find it.
	other := tuple("198.51.100.1:61002", "192.0.2.80:443")
	known := nat{}.add(inner, outer)
	known[inner], known[other] = other, inner
	s = newStage(t, func(c *Config) { c.Translator = known })
	s.write(0, second(closed(2, lan, inner, 20e6)), closed(4, wan, outer, 0), closed(1, lan, inner, 0), second(closed(3, wan, other, 20e6)))
	s.Advance(int64(wait))
	s.want(map[uint64]int64{1: 4, 4: 1, 2: 3, 3: 2})
}

// What has no peer goes on by itself, after a time, for want of room, or at the
// end; with what conntrack knows.
func TestAlone(t *testing.T) {
	s := newStage(t, func(c *Config) {
		c.Room, c.Translator = 2, nat{}.add(inner, outer)
		c.Lone = func(r *flowtable.Record) bool { return r.Serial >= 10 }
	})
	s.write(0, closed(1, lan, inner, 0))
	s.Advance(int64(wait) - 1)
	s.want(nil)
	s.Advance(int64(wait))
	s.want(map[uint64]int64{1: -1})
	if p := &s.out[0].Peer; !p.Translated || p.Client != outer.Client || p.ClientPort != outer.ClientPort {
		t.Errorf("the translation is missing: %+v", p)
	}
	others := []segment.Tuple{tuple("10.0.0.1:1", "10.0.0.2:1"), tuple("10.0.0.1:2", "10.0.0.2:1"), tuple("10.0.0.1:3", "10.0.0.2:1")}
	for i, o := range others {
		r := closed(uint64(2+i), lan, o, 0)
		r.ClientISN = uint32(i)
		s.write(int64(wait), r)
	}
	s.want(map[uint64]int64{1: -1, 2: -1})
	s.write(int64(wait), closed(10, lan, others[2], 0))
	s.want(map[uint64]int64{1: -1, 2: -1, 10: -1})
	s.Close()
	s.want(map[uint64]int64{1: -1, 2: -1, 3: -1, 4: -1, 10: -1})
	stats := s.Stats()
	for name, got := range map[string]uint64{
		"in vain": stats.InVain.Load(), "no room": stats.NoRoom.Load(), "lone": stats.Lone.Load(),
	} {
		if got != 1 {
			t.Errorf("%s: %d records counted, want 1", name, got)
		}
	}
	if stats.AtEnd.Load() != 2 || stats.Waiting.Load() != 0 {
		t.Errorf("at the end: %d records counted, %d still waiting", stats.AtEnd.Load(), stats.Waiting.Load())
	}
}

// The other side has to be another interface, at the same time, with the same
// slice, and with the client's initial sequence number.
func TestNoPair(t *testing.T) {
	for name, change := range map[string]func(*flowtable.Record){
		"same interface":     func(r *flowtable.Record) { r.Interface = lan },
		"much later":         func(r *flowtable.Record) { r.StartAt, r.EndAt = 60e9, 61e9 },
		"another slice":      func(r *flowtable.Record) { r.Slice = 1 },
		"another SYN":        func(r *flowtable.Record) { r.ClientISN++ },
		"another connection": func(r *flowtable.Record) { r.Client.Port++; r.ServerISN++ },
	} {
		s := newStage(t, nil)
		r := closed(2, wan, inner, 0)
		change(&r)
		s.write(0, closed(1, lan, inner, 0), r)
		s.Advance(int64(wait))
		if got := s.peers(); got[1] != -1 || got[2] != -1 || len(got) != 2 {
			t.Errorf("%s: %v", name, got)
		}
	}
	// A proxy keeps the client's number alone; a connection that was joined midway
	// has none.
	for name, change := range map[string]func(*flowtable.Record){
		"SYN proxy": func(r *flowtable.Record) { r.ServerISN++ },
		"midway":    func(r *flowtable.Record) { r.ClientISN, r.ServerISN, r.Opened = 0, 0, 0 },
	} {
		s := newStage(t, nil)
		r := closed(2, wan, inner, 0)
		change(&r)
		s.write(0, closed(1, lan, inner, 0), r)
		s.want(map[uint64]int64{1: 2, 2: 1})
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	next := func([]flowtable.Record) {}
	for _, c := range []Config{{}, {Wait: -1, Room: 1}, {Wait: 1}, {Wait: 1, Room: maxRoom + 1}} {
		if _, err := New(c, next); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if _, err := New(Config{Wait: 1, Room: 1}, nil); err == nil {
		t.Error("a stage without a place for its records is made")
	}
}

func TestStageAllocatesNothing(t *testing.T) {
	s, err := New(Config{Wait: wait, Room: 1000, Translator: nat{}.add(inner, outer)}, func([]flowtable.Record) {})
	if err != nil {
		t.Fatal(err)
	}
	records := []flowtable.Record{closed(1, lan, inner, 0), closed(2, wan, outer, 0), closed(3, wan, tuple("10.0.0.1:1", "10.0.0.2:1"), 0)}
	now := int64(0)
	if n := testing.AllocsPerRun(100, func() {
		now += int64(wait)
		s.Write(records, now)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// BenchmarkPairs is one pair: two records taken, found, and handed on.
func BenchmarkPairs(b *testing.B) {
	s, err := New(Config{Wait: wait, Room: 1 << 15}, func([]flowtable.Record) {})
	if err != nil {
		b.Fatal(err)
	}
	var records [2 * 1024]flowtable.Record
	for i := range records {
		records[i] = closed(uint64(i), uint32(i/1024), tuple("10.0.0.7:1", "192.0.2.80:443"), 0)
		records[i].Client.Port, records[i].ClientISN = uint16(i%1024), uint32(i%1024)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i = (i + 1) % 1024 {
		s.Write(records[i:i+1], 0)
		s.Write(records[1024+i:1024+i+1], 0)
	}
	if s.Stats().ByTuple.Load() < uint64(b.N) {
		b.Errorf("%d pairs of %d", s.Stats().ByTuple.Load(), b.N)
	}
}
