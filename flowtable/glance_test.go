package flowtable

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// inAllStates has n connections as far as some step of a conversation, some of
// them joined midway.
func inAllStates(t testing.TB, n uint16) *bench {
	b := newBench(t, Config{MaxFlows: uint32(n), Timeouts: LiveTimeouts()})
	b.lax = true
	rng := rand.New(rand.NewPCG(1, 7))
	closing := after(opened, step{20, c, fFA, 11, 21, 0}, step{21, s, fA, 21, 12, 0},
		step{22, s, fFA, 21, 12, 0}, step{23, c, fA, 12, 22, 0})
	// Some are over again, so that slots are free in between.
	for port := range n {
		v := between(1000+port, 443+port%3)
		v.client, v.server = address(10, byte(port%5), 0, byte(port)), address(9+byte(port%4), 0, 0, 1)
		from := rng.IntN(2) * rng.IntN(len(closing))
		for _, st := range closing[from : from+1+rng.IntN(len(closing)-from)] {
			g := v.segment(st)
			g.At += int64(rng.IntN(1000))
			b.feed(g)
		}
	}
	b.Advance(1400 * 1e6)
	b.lax = false
	b.check()
	return b
}

func addressOf(octets [16]byte) Address {
	return Address{binary.BigEndian.Uint64(octets[:]), binary.BigEndian.Uint64(octets[8:])}
}

// TestGlance holds what looks show and count against the same done by hand to
// all connections.
func TestGlance(t *testing.T) {
	b := inAllStates(t, 3000)
	all := map[uint64]Record{}
	slots := map[uint64]Outline{}
	b.Look(new(Glance), func(p Place, r *Record) bool {
		all[r.Serial], slots[r.Serial] = *r, b.outlines.load(p.slot)
		return true
	})
	if len(all) < 1000 || len(all) != int(b.Stats().Connections.Load()) {
		t.Fatalf("%d connections", len(all))
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		g := Glance{NotBefore: int64(rng.IntN(30e6)), NotAfter: int64(rng.IntN(30e6)), Bounded: rng.IntN(2) == 0}
		for o := range g.Sights {
			g.Sights[o] = Sight(rng.IntN(4))
		}
		port := uint16(443 + rng.IntN(3))
		if rng.IntN(2) == 0 {
			g.Fits = func(tuple *Tuple) bool { return tuple.ServerPort == port }
		}
		var counted [Outlines]uint64
		shown := map[uint64]bool{}
		for serial, r := range all {
			o := slots[serial]
			client, server := o.States()
			if client != r.Client.State || server != r.Server.State {
				t.Fatalf("%v/%v has the outline of %v/%v", r.Client.State, r.Server.State, client, server)
			}
			switch sight := g.Sights[o]; {
			case sight == Pass, g.Fits != nil && r.Server.Port != port:
			case sight == Insist, sight == Show && (!g.Bounded || r.StartAt >= g.NotBefore && r.StartAt <= g.NotAfter):
				shown[serial] = true
			default:
				counted[o]++
			}
		}
		b.Look(&g, func(_ Place, r *Record) bool {
			if *r != all[r.Serial] || !shown[r.Serial] {
				t.Errorf("%v/%v is shown once more, or should not be", r.Client.State, r.Server.State)
			}
			delete(shown, r.Serial)
			return true
		})
		if len(shown) != 0 || g.Counted != counted || g.Looked != uint64(len(all)) {
			t.Errorf("%d were not shown; counted %v, want %v; looked at %d of %d", len(shown), g.Counted, counted, g.Looked, len(all))
		}
	}
	b.Look(&Glance{Fits: func(tuple *Tuple) bool {
		for _, r := range all {
			if tuple.Client == addressOf(r.Client.Address) && tuple.Server == addressOf(r.Server.Address) &&
				tuple.ClientPort == r.Client.Port && tuple.ServerPort == r.Server.Port {
				return true
			}
		}
		t.Errorf("%+v is nobody's", *tuple)
		return false
	}}, func(Place, *Record) bool { return true })
}

// A look that is told to end does.
func TestGlanceEnds(t *testing.T) {
	b := inAllStates(t, 3000)
	done := make(chan struct{})
	close(done)
	g := Glance{Done: done}
	b.Look(&g, func(Place, *Record) bool { t.Error("it goes on"); return true })
	if g.Looked != 0 {
		t.Errorf("it looked at %d", g.Looked)
	}
}

// Every serial number leads to its connection, and none to one that is over.
func TestSeek(t *testing.T) {
	b := newBench(t, Config{MaxFlows: 300, Timeouts: LiveTimeouts(), FirstSerial: 5<<48 + 17})
	for port := range uint16(200) {
		v := between(1000+port, 443)
		b.feed(v.segment(opened[0]))
	}
	ports := map[uint64]uint16{}
	b.Look(new(Glance), func(_ Place, r *Record) bool { ports[r.Serial] = r.Client.Port; return true })
	for serial, port := range ports {
		p, found := b.Seek(serial)
		if err := b.View([]Place{p}, func(_ int, r *Record) bool {
			if r.Client.Port != port {
				t.Errorf("serial %d leads to port %d, not %d", serial, r.Client.Port, port)
			}
			delete(ports, serial)
			return true
		}); err != nil || !found {
			t.Error(found, err)
		}
	}
	if len(ports) != 0 {
		t.Errorf("%d were not seen", len(ports))
	}
	for _, serial := range []uint64{17, 6<<48 + 17, 5<<48 + 16, 5<<48 + 217} {
		if _, found := b.Seek(serial); found {
			t.Errorf("serial %#x is found", serial)
		}
	}
	b.Flush(EndShutdown)
	if _, found := b.Seek(5<<48 + 17); found {
		t.Error("a connection that is over is found")
	}
}
