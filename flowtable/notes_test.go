package flowtable

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// notedNetworks are networks of the connections of changing, and others.
var notedNetworks = []string{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.7/32", "0.0.0.0/0", "192.0.2.0/24", "2001:db8::/32", "2001:db8:0:1::/64", "2001:db8:0:1::7/128", "2001:db8:0:1::/96", "2001:db8:0:2::/63", "::/0", "2001:db9::/48"}

// ofChanging is one of a few hundred conversations, one in three over IPv6. Either
// end of it may turn out to be the client.
func ofChanging(n int) conversation {
	v := between(uint16(1000+n), uint16(1000+(n*7)%500))
	v.client = netip.AddrFrom4([4]byte{10, byte(n % 3), 0, byte(n)}).As16()
	v.server = netip.AddrFrom4([4]byte{10, byte(n % 2), 1, byte(n / 2)}).As16()
	if n%3 == 0 {
		v.client = netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::%x", n%4, n%11)).As16()
		v.server = netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::%x", n%2, n)).As16()
	}
	return v
}

// askedFor is a question by address, by port or by both, told exactly and by notes.
func askedFor(rng *rand.Rand) (fits func(*Tuple) bool, among func(*Ends) Guess) {
	prefix := netip.MustParsePrefix(notedNetworks[rng.IntN(len(notedNetworks))])
	network := NewNetwork(prefix)
	var ports Ports
	for range 30_000 {
		port := rng.IntN(2000)
		ports[port/64] |= 1 << (port % 64) & rng.Uint64()
	}
	within := func(a Address) bool { return contains(prefix, a) }
	has := func(port uint16) bool { return ports[port/64]>>(port%64)&1 != 0 }
	switch rng.IntN(4) {
	case 0:
		return func(t *Tuple) bool { return within(t.Client) }, func(e *Ends) Guess { return e.Clients(&network) }
	case 1:
		return func(t *Tuple) bool { return within(t.Server) && has(t.ServerPort) },
			func(e *Ends) Guess { return e.Servers(&network).And(e.ServerPorts(&ports)) }
	case 2:
		return func(t *Tuple) bool { return within(t.Server) || within(t.Client) },
			func(e *Ends) Guess { return e.Servers(&network).Or(e.Clients(&network)) }
	default:
		return func(t *Tuple) bool { return has(t.ClientPort) }, func(e *Ends) Guess { return e.ClientPorts(&ports) }
	}
}

func contains(p netip.Prefix, a Address) bool { return p.Contains(a.netip()) }

func (a Address) netip() netip.Addr {
	var octets [16]byte
	for i := range 8 {
		octets[i], octets[8+i] = byte(a.High>>(56-8*i)), byte(a.Low>>(56-8*i))
	}
	return netip.AddrFrom16(octets).Unmap()
}

// TestNotes: whatever begins, ends, turns round or began earlier than was thought
// between two questions, notes make no difference.
func TestNotes(t *testing.T) {
	const flows = 300
	b := newBench(t, Config{MaxFlows: flows, Timeouts: Timeouts{Linger: time.Millisecond}})
	b.lax = true
	rng := rand.New(rand.NewPCG(5, 6))
	steps := []step{{0, c, fS, 0, 0, 0}, {0, s, fSA, 0, 1, 0}, {0, c, fA, 1, 1, 0}, {0, s, fA, 1, 1, 0}, {0, s, fR, 1, 1, 0},
		{0, c, fFA, 1, 1, 0}, {0, s, fFA, 1, 1, 0}, {0, s, fA, 1, 2, 0}, {0, c, fA, 1, 2, 0}, {0, s, fA, 1, 2, 0}}
	shown, counted := 0, uint64(0)
	for now := int64(0); now < 4000*1e5; now += 1e5 {
		for range rng.IntN(20) {
			v := ofChanging(rng.IntN(2 * flows))
			g := v.segment(steps[rng.IntN(len(steps))])
			g.At = now - int64(rng.IntN(40))*1e5
			b.feed(g)
		}
		b.Advance(now)
		g := Glance{Bounded: rng.IntN(2) == 0, NewestFirst: rng.IntN(2) == 0, NotBefore: rng.Int64N(now + 1), NotAfter: rng.Int64N(now + 1)}
		if rng.IntN(2) == 0 {
			g.NotBefore = math.MinInt64
		}
		if rng.IntN(3) != 0 {
			g.Fits, g.Among = askedFor(rng)
		}
		if rng.IntN(2) == 0 {
			g.HalfClosed, g.HalfClosedBy = true, now-rng.Int64N(10*crossing)
		}
		for o := range g.Sights {
			g.Sights[o] = Sight(rng.IntN(4))
		}
		n, counts := b.compareGlance(t, g)
		shown, counted = shown+n, counted+counts
		if t.Failed() {
			t.Fatalf("at %v", time.Duration(now))
		}
	}
	b.lax = false
	b.check()
	if shown < 10_000 || counted < 10_000 {
		t.Errorf("%d were shown and %d counted; the test says little", shown, counted)
	}
}

// compareGlance holds a look against one at everything.
func (b *bench) compareGlance(t *testing.T, g Glance) (shows int, counts uint64) {
	want, shown := g, map[uint64]bool{}
	b.Look(new(Glance), func(p Place, r *Record) bool {
		tuple := Tuple{addressOf(r.Client.Address), addressOf(r.Server.Address), r.Client.Port, r.Server.Port}
		o := b.outlines.load(p.slot)
		sight := g.Sights[o]
		want.Looked++
		switch {
		case sight == Pass, g.Fits != nil && !g.Fits(&tuple):
		case sight == Insist, sight == Show && (!g.Bounded || r.StartAt >= g.NotBefore && r.StartAt <= g.NotAfter) && (!g.HalfClosed || !closesAfter(o, r, g.HalfClosedBy)):
			shown[r.Serial] = true
		default:
			want.Counted[o]++
			counts++
		}
		return true
	})
	shows = len(shown)
	b.Look(&g, func(_ Place, r *Record) bool {
		if !shown[r.Serial] {
			t.Errorf("%v to %v is shown once more, or should not be", addressOf(r.Client.Address).netip(), addressOf(r.Server.Address).netip())
		}
		delete(shown, r.Serial)
		return true
	})
	if len(shown) != 0 || g.Counted != want.Counted || g.Looked != want.Looked {
		t.Errorf("%d were not shown; counted %v, want %v; looked at %d of %d", len(shown), g.Counted, want.Counted, g.Looked, want.Looked)
	}
	return shows, counts
}

// closesAfter tells whether a connection is half closed since after a time, as far as
// queues do not put that in the wrong order.
func closesAfter(o Outline, r *Record, at int64) bool {
	const fin, ack = 1 << FIN1At, 1 << ACK1At
	since := r.At[FIN1At]
	if r.Seen&ack != 0 {
		since = min(since, r.At[ACK1At])
	}
	return o.halfClosed() && r.Seen&fin != 0 && since-crossing > at
}

// TestNotesWhileUpdated: while connections come and go in slots beside them, those
// that stay are counted, each once, and nothing else is.
func TestNotesWhileUpdated(t *testing.T) {
	const flows, staying = 300, 50
	b := newBench(t, Config{MaxFlows: flows, Timeouts: Timeouts{Linger: time.Millisecond}})
	b.lax = true
	open := func(n int, serverPort uint16, at int64) conversation {
		v := ofChanging(n)
		v.serverPort = serverPort
		g := v.segment(step{0, c, fS, 0, 0, 0})
		g.At = at
		b.feed(g)
		return v
	}
	for n := range flows - 50 {
		open(n, uint16(443+n%5), int64(n))
	}
	var ports Ports
	ports[443/64] = 1 << (443 % 64)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for looks := 0; ; looks++ {
				select {
				case <-stop:
					if looks == 0 {
						t.Error("nobody looked")
					}
					return
				default:
				}
				g := Glance{Bounded: true, NotBefore: math.MinInt64, NotAfter: flows, Among: func(e *Ends) Guess { return e.ServerPorts(&ports) }}
				g.Fits = func(t *Tuple) bool { return t.ServerPort == 443 }
				n := uint64(0)
				b.Look(&g, func(Place, *Record) bool { n++; return true })
				for _, counted := range g.Counted {
					n += counted
				}
				if n != staying {
					t.Errorf("%d are there, not %d", n, staying)
				}
			}
		})
	}
	until := time.Now().Add(500 * time.Millisecond)
	for n, at := flows, int64(1e6); time.Now().Before(until); n, at = n+1, at+1e6 {
		v := open(flows+n%90, uint16(444+n%7), at)
		g := v.segment(step{0, s, fR, 1, 1, 0})
		g.At = at + 1
		b.feed(g)
		b.Advance(at + 2)
	}
	close(stop)
	readers.Wait()
	b.lax = false
	b.check()
}

// A connection that began earlier than was thought is looked at again.
func TestNotesOfEarlierStart(t *testing.T) {
	b := newBench(t, Config{})
	v := between(40000, 443)
	b.feed(v.segment(step{20, s, fSA, 0, 1, 0}))
	for _, want := range []int{0, 1} {
		n := 0
		b.Look(&Glance{Bounded: true, NotBefore: math.MinInt64, NotAfter: 15 * ms}, func(Place, *Record) bool { n++; return true })
		if n != want {
			t.Errorf("%d began by then, not %d", n, want)
		}
		b.feed(v.segment(step{10, c, fS, 0, 0, 0}))
	}
}

// What is noted and decides a question is not read again.
func TestNotesAreRead(t *testing.T) {
	b := newBench(t, Config{MaxFlows: 300})
	for n := range 200 {
		v := between(uint16(1000+n), 443)
		b.feed(v.segment(step{0, c, fS, 0, 0, 0}))
	}
	var ports Ports
	ports[1100/64] = 1 << (1100 % 64)
	for range 2 {
		read, shown := 0, 0
		b.Look(&Glance{Fits: func(*Tuple) bool { read++; return true }, Among: func(e *Ends) Guess { return e.ClientPorts(&ports) }},
			func(Place, *Record) bool { shown++; return true })
		if read != 0 || shown != 1 {
			t.Errorf("%d were read, %d shown", read, shown)
		}
	}
}

// What is sure of an address is so, and what is impossible is not; and where it can
// be told, little is left open.
func TestNetwork(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	open, all := 0, 0
	for range 3000 {
		var s strideEnds
		var addresses [groupOutlines]Address
		for i := range addresses {
			a := Address{0x20010db8<<32 | uint64(rng.IntN(3)), uint64(rng.IntN(5))}
			if rng.IntN(2) == 0 {
				a = Address{0, mapped<<32 | 10<<24 | uint64(rng.IntN(3))<<16 | uint64(rng.IntN(9))}
			}
			if addresses[i] = a; !a.isIPv4() {
				s.serverIPv6[0] |= 1 << i
			}
			s.servers[0][i] = a.noted()
		}
		of := addresses[rng.IntN(len(addresses))].netip()
		prefix, err := of.Prefix(rng.IntN(of.BitLen() + 1))
		if err != nil {
			t.Fatal(err)
		}
		n := NewNetwork(prefix)
		guess := (&Ends{servers: &s.servers[0], serverIPv6: s.serverIPv6[0]}).Servers(&n)
		for i, a := range addresses {
			is, sure, possible := contains(prefix, a), guess.Sure>>i&1 != 0, guess.Possible>>i&1 != 0
			if sure && !is || is && !possible || sure && !possible {
				t.Fatalf("%v in %v: %v; sure %v, possible %v", a.netip(), prefix, is, sure, possible)
			}
			if of.Is4() && sure != possible {
				t.Fatalf("%v in %v is open", a.netip(), prefix)
			}
			if length := prefix.Bits(); !of.Is4() && (length == 128 || length == 64) && possible {
				all++
				if !is {
					open++
				}
			}
		}
	}
	if all < 100 || open > all/100 {
		t.Errorf("%d of %d IPv6 addresses that are possible are others", open, all)
	}
}

func TestUsedOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 1000 {
		var word outlineWord
		var want uint8
		for i := range wordOutlines {
			if o := []uint8{0, 0, 1, 127, 128, 242}[rng.IntN(6)]; o != 0 {
				spread(&word)[i], want = Outline(o), want|1<<i
			}
		}
		if got := usedOf(word); got != want {
			t.Fatalf("%x has %b in use, not %b", word, got, want)
		}
	}
}
