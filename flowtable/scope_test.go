package flowtable

import (
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// on is a step of the conversation as an interface of a gateway sees it.
func (v *conversation) on(number uint32, st step) *segment.Segment {
	g := v.segment(st)
	g.Interface, g.Marks = number, g.Marks|segment.PerInterface
	return g
}

// TestScopes: on a gateway, what passes two interfaces is two connections, with
// the lives of both apart; on a tap it is one.
func TestScopes(t *testing.T) {
	v := between(40000, 443)
	steps := after(opened, step{10, c, fFA, 11, 1, 0}, step{11, s, fA, 1, 12, 0}, step{12, s, fFA, 1, 12, 0}, step{13, c, fA, 12, 2, 0})
	numbers := []uint32{1, 2, segment.MaxScope}

	b := newBench(t, Config{Timeouts: LiveTimeouts()})
	for _, st := range steps {
		for _, number := range numbers {
			b.feed(v.on(number, st))
		}
	}
	seen := make(map[uint32]bool)
	if err := b.Connections(func(r *Record) bool { seen[r.Interface] = true; return true }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(numbers) {
		t.Errorf("connections of interfaces %v are followed, not of %v", seen, numbers)
	}
	b.advance(10 * time.Second)
	if len(b.records) != len(numbers) {
		t.Fatalf("%d records, not %d", len(b.records), len(numbers))
	}
	first := story(&b.records[0])
	for i := range b.records {
		r := &b.records[i]
		b.same("on the first and on another interface", story(r), first)
		if r.Interface != numbers[i] || r.Client.Packets != 5 || r.Client.Payload != 10 {
			t.Errorf("record %d: interface %d, %d packets, %d octets of payload", i, r.Interface, r.Client.Packets, r.Client.Payload)
		}
	}
	// A tuple that closed on one interface is reused on that one alone.
	b.feed(v.on(2, step{20_000, c, fS, 100, 0, 0}), v.on(3, step{20_000, c, fS, 100, 0, 0}))
	b.Flush(EndShutdown)
	for _, r := range b.records[len(numbers):] {
		if r.Reused != (r.Interface == 2) {
			t.Errorf("interface %d: reuse is %v", r.Interface, r.Reused)
		}
	}

	b = newBench(t, Config{Timeouts: LiveTimeouts()})
	for i, st := range steps {
		g := v.segment(st)
		g.Interface = numbers[i%2]
		b.feed(g)
	}
	b.Flush(EndShutdown)
	b.same("on a tap of two interfaces", story(b.one()), first)
}
