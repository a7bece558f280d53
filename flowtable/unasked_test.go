package flowtable

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A table that nobody asks writes the records of one that is, and shows nothing.
func TestUnasked(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	written := 0
	for range 200 {
		script := make([]byte, 60*scriptStep)
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		asked := newBench(t, Config{MaxFlows: 16, Timeouts: ReplayTimeouts()})
		unasked := newBench(t, Config{MaxFlows: 16, Timeouts: ReplayTimeouts(), Unasked: true})
		unasked.lax = true // part of what is not kept
		for _, s := range segments(script) {
			asked.feed(&s)
			unasked.feed(&s)
		}
		if a, b := asked.Stats().Connections.Load(), unasked.Stats().Connections.Load(); a != b || a == 0 {
			t.Fatalf("%d connections, and %d", a, b)
		}
		unasked.Look(new(Glance), func(_ Place, r *Record) bool { t.Errorf("it shows %+v", r); return false })
		if _, found := unasked.Seek(0); found {
			t.Error("it finds a connection")
		}
		if unasked.Memory() >= asked.Memory() {
			t.Errorf("it takes %d octets, the other %d", unasked.Memory(), asked.Memory())
		}
		asked.Flush(EndCaptureEnd)
		unasked.Flush(EndCaptureEnd)
		if !slices.Equal(asked.records, unasked.records) {
			t.Fatalf("records differ:\n%+v\n%+v", asked.records, unasked.records)
		}
		written += len(asked.records)
	}
	if written < 1000 {
		t.Errorf("only %d records", written)
	}
}
