package flowtable

import (
	"sync"
	"testing"
	"time"
)

// TestViewsWhileUpdated reads live connections while the worker changes them.
// Every client sends as many segments as the last one's time says, all of one
// size, and its port is in its address: a torn read would break one of these.
func TestViewsWhileUpdated(t *testing.T) {
	const flows = 40
	b := newBench(t, Config{MaxFlows: flows, Timeouts: Timeouts{Linger: time.Millisecond}})
	b.lax = true
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var mu sync.Mutex
	views := 0
	for range 2 {
		readers.Go(func() {
			for n := 0; ; {
				select {
				case <-stop:
					mu.Lock()
					views += n
					mu.Unlock()
					return
				default:
				}
				if err := b.Connections(func(r *Record) bool {
					n++
					return whole(t, r)
				}); err != nil {
					t.Error(err)
				}
				if b.Stats().Connections.Load() > flows {
					t.Error("more connections than room")
				}
			}
		})
	}
	// Connections come, talk, close and give way.
	until := time.Now().Add(time.Second)
	for round := uint32(0); time.Now().Before(until); round++ {
		v := between(uint16(round%(2*flows)), 443)
		v.client = address(byte(v.clientPort>>8), byte(v.clientPort), 7)
		v.clientISN = round
		for i := range uint32(10) {
			g := v.segment(step{0, c, fPA, i * 100, 1, 100})
			if i == 0 {
				g = v.segment(step{0, c, fS, 0, 0, 0})
			}
			g.At = int64(round)*1000 + int64(i)
			g.Octets = 160
			b.feed(g)
		}
		if round%3 == 0 {
			g := v.segment(step{0, s, fR, 1, 0, 0})
			g.At = int64(round)*1000 + 9
			b.feed(g)
		}
	}
	close(stop)
	readers.Wait()
	b.lax = false
	b.check()
	if views == 0 {
		t.Error("nothing was seen")
	}
	t.Logf("%d views", views)
}

// whole tells whether the fields of a view belong together.
func whole(t *testing.T, r *Record) bool {
	sent := uint64(r.EndAt-r.StartAt) + 1
	switch {
	case r.Client.Packets != sent:
		t.Errorf("%d segments within %d ns", r.Client.Packets, sent)
	case r.Client.Octets != 160*r.Client.Packets:
		t.Errorf("%d octets in %d segments", r.Client.Octets, r.Client.Packets)
	case r.Client.Address != address(byte(r.Client.Port>>8), byte(r.Client.Port), 7):
		t.Errorf("port %d of address %x", r.Client.Port, r.Client.Address)
	case r.EndReason != EndNone:
		t.Errorf("a live connection ended: %v", r.EndReason)
	case (r.RSTBy == Server) != (r.Server.Packets == 1), (r.CloseKind == Reset || r.CloseKind == Refused) != (r.RSTBy == Server):
		t.Errorf("%v by %v, %d segments of the server", r.CloseKind, r.RSTBy, r.Server.Packets)
	default:
		return true
	}
	return false
}

// TestViewsOfAll yields each connection once, over several batches, until told
// to stop.
func TestViewsOfAll(t *testing.T) {
	k := newKernel(1000)
	b := newBench(t, Config{MaxFlows: 300, Accounts: k})
	for port := range uint16(300) {
		v := between(1000+port, 443)
		for _, st := range opened {
			if g := v.segment(st); k.see(g) {
				b.feed(g)
			}
		}
	}
	seen := map[uint16]bool{}
	if err := b.Connections(func(r *Record) bool {
		seen[r.Client.Port] = true
		b.same("counts", counts(r), "3/10/0/0 2/20/0/0")
		return true
	}); err != nil || len(seen) != 300 {
		t.Fatalf("%d connections, error %v", len(seen), err)
	}
	n := 0
	if err := b.Connections(func(*Record) bool { n++; return n < 100 }); err != nil || n != 100 {
		t.Errorf("told to stop after 100, it yielded %d, error %v", n, err)
	}
	b.Flush(EndShutdown)
	if err := b.Connections(func(*Record) bool { t.Error("a view of an empty table"); return false }); err != nil {
		t.Error(err)
	}
}

// TestViewChangesNothing: looking at a connection leaves it as it is.
func TestViewChangesNothing(t *testing.T) {
	k := newKernel(10)
	b := newBench(t, Config{Accounts: k, Timeouts: LiveTimeouts()})
	v := between(40000, 443)
	for _, st := range finished {
		if g := v.segment(st); k.see(g) {
			b.feed(g)
		}
		first := b.live()
		if second := b.live(); first != second {
			t.Fatalf("two looks differ:\n%+v\n%+v", first, second)
		}
	}
	b.Flush(EndShutdown)
	b.same("counts", counts(b.one()), "5/10/0/0 3/20/0/0")
}

// TestLookAsksNobody: Look sees every connection, or those with a FIN alone,
// without the kernel, and View adds its part to those that are still there.
func TestLookAsksNobody(t *testing.T) {
	k := newKernel(200)
	b := newBench(t, Config{MaxFlows: 200, Timeouts: LiveTimeouts(), Accounts: k})
	half := after(opened, step{20, c, fFA, 11, 21, 0}, step{21, s, fA, 21, 12, 0})
	for port := range uint16(100) {
		steps := opened
		if port%4 == 0 {
			steps = half
		}
		v := between(1000+port, 443)
		for _, st := range steps {
			if g := v.segment(st); k.see(g) {
				b.feed(g)
			}
		}
	}
	k.deaf = true
	look := func(closing bool) (places []Place) {
		var g Glance
		for o := None + 1; closing && o < Outlines; o++ {
			if !o.MayHaveFIN() {
				g.Sights[o] = Pass
			}
		}
		defer func() {
			if g.Looked != 100 {
				t.Errorf("looked at %d", g.Looked)
			}
		}()
		b.Look(&g, func(p Place, r *Record) bool {
			if _, fin := r.Time(FIN1At); fin != (r.Client.Port%4 == 0) || r.EndReason != EndNone || p.Serial != r.Serial {
				t.Errorf("port %d: FIN %v, %v, place of %d", r.Client.Port, fin, r.EndReason, p.Serial)
			}
			places = append(places, p)
			return true
		})
		return places
	}
	all, closing := look(false), look(true)
	if len(all) != 100 || len(closing) != 25 {
		t.Fatalf("%d connections, %d with a FIN; want 100 and 25", len(all), len(closing))
	}
	n := 0
	b.Look(new(Glance), func(Place, *Record) bool { n++; return n < 7 })
	if n != 7 {
		t.Errorf("told to stop after 7, it yielded %d", n)
	}
	if err := b.View(all, func(int, *Record) bool { return true }); err == nil {
		t.Error("a view without counters is no error")
	}
	k.deaf = false
	want := make(map[uint64]Record)
	if err := b.Connections(func(r *Record) bool { want[r.Serial] = *r; return true }); err != nil {
		t.Fatal(err)
	}
	gone := Place{Serial: 1 << 40, slot: all[0].slot}
	next := -1
	if err := b.View(append([]Place{gone}, all...), func(i int, r *Record) bool {
		if i <= next || i == 0 || all[i-1].Serial != r.Serial || *r != want[r.Serial] {
			t.Errorf("place %d after %d: %+v", i, next, r)
		}
		next = i
		return true
	}); err != nil || next != len(all) {
		t.Errorf("the last place is %d of %d, error %v", next, len(all), err)
	}
	if n := testing.AllocsPerRun(20, func() { _ = b.View(all, func(int, *Record) bool { return true }) }); n != 0 {
		t.Errorf("%v allocations for a view of %d connections", n, len(all))
	}
	b.Flush(EndShutdown)
	if err := b.View(all, func(int, *Record) bool { t.Error("a connection that is over"); return true }); err != nil {
		t.Error(err)
	}
}
