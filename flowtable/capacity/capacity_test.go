package capacity

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// Every pass visits each number once, and hardly ever a neighbour after its
// neighbour.
func TestOrder(t *testing.T) {
	for _, n := range []uint32{1, 2, 3, 1000, 1024, 1025, 99_999} {
		o := newOrder(n)
		out := make([]uint32, batchSize)
		for pass := range uint64(3) {
			seen, neighbours, before := make([]bool, n), 0, uint32(math.MaxUint32)
			for visited := uint32(0); visited < n; {
				k := o.fill(out)
				if o.pass != pass {
					t.Fatalf("%d numbers: pass %d began after %d numbers of pass %d", n, o.pass, visited, pass)
				}
				for _, x := range out[:k] {
					if x >= n || seen[x] {
						t.Fatalf("%d numbers: %d came twice or is too large", n, x)
					}
					seen[x] = true
					if x-before == 1 || before-x == 1 {
						neighbours++
					}
					before = x
				}
				visited += uint32(k)
			}
			if n >= 1000 && neighbours > int(n)/50 {
				t.Errorf("%d numbers: %d times a neighbour followed its neighbour", n, neighbours)
			}
		}
	}
}

// Connections have tuples of their own, and their data continues the sequence
// numbers of both ends without a gap.
func TestTraffic(t *testing.T) {
	const flows = 1000
	traffic := newTraffic(flows)
	type end struct{ next uint32 }
	ends := map[segment.Key]*[2]end{}
	tuples := map[uint32]segment.Key{}
	for first := uint32(0); first < flows; first += 50 {
		traffic.handshakes(first, 50, func(batch []*segment.Segment) {
			for i, s := range batch {
				key, side := segment.KeyOf(s)
				if s.TCPFlags == flagsSYN {
					if ends[key] != nil {
						t.Fatalf("connection %d has the tuple of another one", first+uint32(i))
					}
					ends[key], tuples[first+uint32(i)] = &[2]end{}, key
				}
				if s.Is(segment.ACK) && s.Ack != ends[key][1-side].next {
					t.Fatalf("connection %d: flags %#x acknowledge %d in place of %d", first+uint32(i), s.TCPFlags, s.Ack, ends[key][1-side].next)
				}
				ends[key][side].next = s.End()
			}
		})
	}
	sides := [2]int{}
	for sent := 0; sent < 7*flows; {
		batch := traffic.data()
		for i, s := range batch {
			key, side := segment.KeyOf(s)
			e := ends[key]
			if e == nil || key != tuples[traffic.numbers[i]] {
				t.Fatal("data of a connection that was not established")
			}
			if s.Seq != e[side].next || s.Ack != e[1-side].next || s.Octets != payload+headers {
				t.Fatalf("segment %d: seq %d, ack %d; want %d, %d", sent+i, s.Seq, s.Ack, e[side].next, e[1-side].next)
			}
			e[side].next = s.End()
			sides[side]++
		}
		sent += len(batch)
	}
	if sides[0] < 3*flows || sides[1] < 3*flows {
		t.Errorf("the ends sent %d and %d segments", sides[0], sides[1])
	}
}

type silent struct{ stages, steps int64 }

func (s *silent) Stage(_ string, steps int64) { s.stages, s.steps = s.stages+1, s.steps+steps }
func (s *silent) Add(n int64)                 { s.steps -= n }

// Every contender does its work at every size: Measure holds that against
// what was sent, and fails otherwise.
func TestMeasure(t *testing.T) {
	p := &silent{}
	results, err := Measure(context.Background(), Options{Flows: []uint32{20_000, 1000, 1000}, Rounds: 3, Segments: 30_000, Connections: 5000}, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].Flows != 1000 || results[1].Flows != 20_000 {
		t.Fatalf("sizes %+v", results)
	}
	for _, r := range results {
		for name, times := range map[string]Times{"finwait": r.Finwait, "Go map": r.GoMap, "limit": r.Limit, "generation": r.Generation, "connections": r.Connections} {
			if len(times) != 3 || slices.Min(times) <= 0 {
				t.Errorf("%d flows, %s: times %v", r.Flows, name, times)
			}
		}
		if r.Allocations > 1e-3 || r.GCCycles != 0 {
			t.Errorf("%d flows: %v allocations a segment, %d collections", r.Flows, r.Allocations, r.GCCycles)
		}
		if r.TableOctets < 64 || r.GoMapOctets < 64 || r.Heap == 0 || r.GC <= 0 || r.GoMapGC <= 0 {
			t.Errorf("%d flows: %+v", r.Flows, r)
		}
	}
	if p.stages != 5 || p.steps != 0 {
		t.Errorf("%d stages, %d steps were announced but not done", p.stages, p.steps)
	}
}

// Figures of a contender that did not do its work are no figures.
func TestVerify(t *testing.T) {
	table, err := newTable(1000, flowtable.LiveTimeouts())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = table.Close() }()
	traffic, flows := newTraffic(1000), goMap{}
	traffic.handshakes(0, batchSize, func(batch []*segment.Segment) {
		table.follow(batch)
		flows.follow(batch)
	})
	if got := flows.sums(); got != expected(batchSize, 0) {
		t.Errorf("the Go map has %+v", got)
	}
	err = table.verify(expected(batchSize, 1))
	if err == nil || !strings.Contains(err.Error(), "figures") {
		t.Errorf("a data segment that nobody sent is not missed: %v", err)
	}
	small, err := newTable(100, flowtable.LiveTimeouts())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = small.Close() }()
	for first := uint32(0); first < 200; first += 50 {
		traffic.handshakes(first, 50, small.follow)
	}
	if err := small.verify(expected(200, 0)); err == nil || !strings.Contains(err.Error(), "the table evicted") {
		t.Errorf("evictions are not missed: %v", err)
	}
	l, err := newLimit(1000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.close() }()
	l.visit(2500)
	if err := l.verify(); err != nil {
		t.Error(err)
	}
	l.items[5][8]--
	if l.verify() == nil {
		t.Error("an addition that is missing is not missed")
	}
}

// Whole connections end as they are meant to, all of them with a record.
func TestChurn(t *testing.T) {
	for _, flows := range []uint32{MinFlows, 5000, 1 << 14} {
		c, err := newChurn(flows)
		if err != nil {
			t.Fatal(err)
		}
		c.open(int(3 * lags * c.lag))
		stats := c.table.Stats()
		if alive := stats.Connections.Load(); alive < int64(flows)/5 || alive > int64(flows) {
			t.Errorf("%d flows: %d are alive", flows, alive)
		}
		if err := c.verify(); err != nil {
			t.Errorf("%d flows: %v", flows, err)
		}
		four, idle, opened := stats.ByKind[flowtable.FourWay].Load(), stats.ByReason[flowtable.EndIdleTimeout].Load(), stats.Opened.Load()
		if opened != c.started || four < opened/2 || idle < opened/abandoned/2 || idle > opened/abandoned {
			t.Errorf("%d flows: of %d connections %d closed in four waves, %d were ended by their idle timeout", flows, opened, four, idle)
		}
		if err := c.table.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{Rounds: 1, Segments: 1},
		{Flows: []uint32{MinFlows}, Rounds: 1, Segments: -1, Connections: 1},
		{Flows: []uint32{MinFlows - 1}, Rounds: 1, Segments: 1},
		{Flows: []uint32{flowtable.MaxMaxFlows + 1}, Rounds: 1, Segments: 1},
		{Flows: []uint32{MinFlows}, Segments: 1},
		{Flows: []uint32{MinFlows}, Rounds: 1},
		{Flows: []uint32{MinFlows}, Rounds: 1, Segments: 1, Connections: -1},
	} {
		if _, err := Measure(context.Background(), o, &silent{}); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// Either half can be left out.
func TestHalves(t *testing.T) {
	for _, o := range []Options{{Segments: 1000}, {Connections: 1000}} {
		o.Flows, o.Rounds = []uint32{MinFlows}, 2
		results, err := Measure(context.Background(), o, &silent{})
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; len(r.Finwait) != 2*min(o.Segments, 1) || len(r.Connections) != 2*min(o.Connections, 1) || r.TableOctets == 0 {
			t.Errorf("%+v: %+v", o, r)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := Measure(ctx, Options{Flows: []uint32{MinFlows}, Rounds: 1 << 20, Segments: 1000}, &silent{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestMemory(t *testing.T) {
	one, err := Memory([]uint32{1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	two, err := Memory([]uint32{1 << 20, 1 << 20})
	if err != nil || two != 2*one || one < 1<<20*(128+itemSize) {
		t.Errorf("%d and %d octets, error %v", one, two, err)
	}
	if _, err := Memory([]uint32{0}); err == nil {
		t.Error("a table without flows was taken")
	}
}
