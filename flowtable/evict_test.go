package flowtable

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func openingSteps(at int64) []step { return []step{{at, c, fS, 0, 0, 0}} }

func shifted(steps []step, by int64) []step {
	moved := append([]step(nil), steps...)
	for i := range moved {
		moved[i].at += by
	}
	return moved
}

// TestOrderOfVictims: half-open connections give way, oldest first, then those
// that linger, then those that are closing, then established ones.
func TestOrderOfVictims(t *testing.T) {
	b := newBench(t, Config{MaxFlows: 8, Timeouts: ReplayTimeouts()})
	play := func(port uint16, steps []step) { b.play(between(port, 443), steps...) }
	// The oldest are those that are to go last.
	play(1, opened)
	play(2, shifted(opened, 1000))
	play(3, shifted(finished[:7], 2000)) // closing
	play(4, shifted(finished[:7], 3000))
	play(5, shifted(finished, 4000)) // lingering
	play(6, shifted(finished, 5000))
	play(7, openingSteps(6000))
	play(8, openingSteps(6001))
	if len(b.records) != 0 {
		t.Fatal("a full table has no room for its capacity")
	}
	var order []string
	for i := range uint16(8) {
		play(100+i, shifted(opened, 7000+int64(i)*10)) // established at once, and younger
		r := &b.records[len(b.records)-1]
		order = append(order, fmt.Sprint(r.Client.Port, " ", r.EndReason))
		if len(b.records) != int(i)+1 {
			t.Fatalf("%d records for %d evictions", len(b.records), i+1)
		}
	}
	b.same("victims", strings.Join(order, ", "),
		"7 evicted, 8 evicted, 5 evicted, 6 evicted, 3 evicted, 4 evicted, 1 evicted, 2 evicted")
	var evicted []string
	for i := range b.Stats().Evicted {
		evicted = append(evicted, fmt.Sprint(EvictedNames[i], " ", b.Stats().Evicted[i].Load()))
	}
	b.same("evicted", strings.Join(evicted, ", "), "opening 2, established 2, closing 2, lingering 2")
	if n := b.Stats().ByReason[EndEvicted].Load(); n != 8 {
		t.Errorf("%d records say evicted", n)
	}
	// A table that is full has no room for the tuples of those that lingered.
	if n := b.Stats().TuplesForgotten.Load(); n != 2 {
		t.Errorf("%d tuples were forgotten, not 2", n)
	}
}

// TestOldestOfATick: also within one tick of the wheel the oldest gives way.
func TestOldestOfATick(t *testing.T) {
	const flows = 50
	b := newBench(t, Config{MaxFlows: flows, Timeouts: ReplayTimeouts()})
	for i := range uint16(3 * flows) {
		b.play(between(1000+i, 443), step{0, c, fS, 0, 0, 0})
	}
	for i, r := range b.records {
		if r.Client.Port != 1000+uint16(i) {
			t.Fatalf("the %dth to give way is the connection from port %d", i, r.Client.Port)
		}
	}
	if len(b.records) != 2*flows {
		t.Errorf("%d records", len(b.records))
	}
}

func TestTableOfOne(t *testing.T) {
	b := newBench(t, Config{MaxFlows: 1, Timeouts: ReplayTimeouts()})
	for i := range uint16(20) {
		v := between(1000+i, 443)
		b.play(v, shifted(finished[:1+int(i)%8], int64(i)*100)...)
		if n := b.Stats().Connections.Load(); n != 1 || len(b.records) != int(i) {
			t.Fatalf("%d connections and %d records after %d", n, len(b.records), i+1)
		}
	}
	b.Flush(EndShutdown)
	b.check()
	if len(b.records) != 20 {
		t.Errorf("%d records", len(b.records))
	}
}

// TestFlood: SYNs of ten times the capacity take nothing from an established
// connection, nor from a client whose handshake is under way.
func TestFlood(t *testing.T) {
	const flows = 1000
	b := newBench(t, Config{MaxFlows: flows, Timeouts: LiveTimeouts()})
	b.lax = true
	kept := between(40000, 443)
	b.play(kept, opened...)
	fresh := between(40001, 443)
	for i := range 10 * flows {
		if i == 5*flows {
			b.play(fresh, step{60, c, fS, 0, 0, 0}, step{60, s, fSA, 0, 1, 0})
		}
		if i == 5*flows+flows/2 {
			b.play(fresh, step{60, c, fA, 1, 1, 0})
		}
		v := between(uint16(i), 80)
		v.client = address(byte(i>>16), byte(i>>8), 99)
		b.play(v, step{int64(10 + i/100), c, fS, 0, 0, 0})
	}
	if err := b.invariants(); err != nil {
		t.Fatal(err)
	}
	b.play(kept, step{200, c, fFA, 11, 21, 0}, step{201, s, fFA, 21, 12, 0}, step{202, c, fA, 12, 22, 0})
	if n := b.Stats().Evicted[opening].Load(); n != 9*flows+2 {
		t.Errorf("%d half-open connections gave way, not %d", n, 9*flows+2)
	}
	if n := b.Stats().Evicted[established].Load(); n != 0 {
		t.Errorf("%d established connections gave way", n)
	}
	b.advance(5 * time.Second)
	closed := 0
	for i := range b.records {
		if r := &b.records[i]; r.Client.Port == 40000 && r.Server.Port == 443 {
			closed++
			b.same("the one kept", story(r), "three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:200 ack1:201 fin2:201 ack2:202")
		}
	}
	if closed != 1 {
		t.Errorf("%d records of the connection to keep", closed)
	}
	found := false
	_ = b.Connections(func(r *Record) bool {
		found = found || r.Client.Port == 40001 && r.Seen == 1<<SYNAt|1<<SYNACKAt|1<<EstablishedAt
		return true
	})
	if !found {
		t.Error("a handshake during the flood was lost")
	}
}

func TestRecordsLost(t *testing.T) {
	ring := NewRing(2, false)
	b := newBench(t, Config{Timeouts: LiveTimeouts(), Records: ring})
	for i := range uint16(5) {
		b.play(between(1000+i, 443), openingSteps(0)...)
	}
	b.Flush(EndShutdown)
	records, _ := ring.Read()
	if lost, written := b.Stats().RecordsLost.Load(), b.Stats().Records.Load(); lost != 3 || written != 2 || len(records) != 2 {
		t.Errorf("%d lost, %d written, %d in the ring", lost, written, len(records))
	}
}

func TestTuplesForgotten(t *testing.T) {
	const flows = 5
	b := newBench(t, Config{MaxFlows: flows, Timeouts: LiveTimeouts()})
	for i := range uint16(2 * flows) {
		v := between(1000+i, 443)
		b.play(v, shifted([]step{{0, c, fS, 0, 0, 0}, {1, s, fRA, 0, 1, 0}}, int64(i)*2000)...)
	}
	b.advance(40 * time.Second)
	if n := b.Stats().TuplesForgotten.Load(); n != flows {
		t.Errorf("%d tuples were forgotten early, not %d", n, flows)
	}
	for i := range uint16(flows) {
		b.play(between(1000+flows+i, 443), step{40000, c, fA, 1, 1, 0})
	}
	if n := b.Stats().Late.Load(); n != flows {
		t.Errorf("%d tuples are remembered, not the last %d", n, flows)
	}
	b.play(between(1000, 443), step{40000, c, fA, 1, 1, 0})
	if n := b.Stats().TuplesForgotten.Load(); n != flows+1 {
		t.Errorf("%d tuples were forgotten for another connection, not %d", n, flows+1)
	}
	// The others make room in their own time, uncounted.
	b.advance(3 * time.Minute)
	if n := b.Stats().TuplesForgotten.Load(); n != flows+1 || b.free == 0 {
		t.Errorf("%d tuples were forgotten early, not %d; the first free slot is %d", n, flows+1, b.free)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, config := range map[string]Config{
		"no room":          {Records: &pile{}},
		"too much room":    {MaxFlows: MaxMaxFlows + 1, Records: &pile{}},
		"no records":       {MaxFlows: 1},
		"negative timeout": {MaxFlows: 1, Records: &pile{}, Timeouts: Timeouts{Linger: -1}},
	} {
		b := &pile{}
		if table, err := New(config, newBench(t, Config{Records: b}).hasher); err == nil {
			t.Errorf("%s: no error", name)
			_ = table.Close()
		}
	}
}
