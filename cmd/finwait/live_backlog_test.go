package main

import (
	"testing"

	"github.com/finwait/finwait/flowtable/worker"
)

// A generator waits while too much is under way, and not for what will never come.
func TestBacklogHolds(t *testing.T) {
	var sent uint64
	w := new(worker.Worker)
	b := backlog{sent: func() uint64 { return sent }, workers: []*worker.Worker{w}}
	expect := func(when string, held bool) {
		t.Helper()
		if got := b.hold(); got != held {
			t.Errorf("%s: held %v, expected %v", when, got, held)
		}
	}
	sent = 1000 * mostBehind // a load, of which the program kept most
	w.Stats().Received.Store(mostBehind)
	b.begin()
	expect("nothing under way", false)
	sent += mostBehind - 1
	expect("a little under way", false)
	sent++
	expect("too much under way", true)
	w.Stats().Received.Add(1)
	expect("one more came", false)
	sent++
	expect("too much again", true)
	b.movedAt = b.movedAt.Add(-stragglers)
	expect("nothing came for long", false)
	expect("and what was under way then is given up", false)
	sent += mostBehind
	expect("too much after that", true)
	w.Stats().Received.Add(2 * mostBehind)
	expect("what was given up came after all", false)
	none := backlog{sent: func() uint64 { return 1 << 40 }}
	if none.begin(); none.hold() {
		t.Error("held without a worker")
	}
}
