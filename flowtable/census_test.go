package flowtable

import "testing"

// TestCensus agrees with the views of the same connections, in every state, and
// adds to what was counted before.
func TestCensus(t *testing.T) {
	b := newBench(t, Config{MaxFlows: 100, Timeouts: LiveTimeouts()})
	closing := after(opened, step{20, c, fFA, 11, 21, 0}, step{21, s, fA, 21, 12, 0},
		step{22, s, fFA, 21, 12, 0}, step{23, c, fA, 12, 22, 0})
	for n := range len(closing) + 1 {
		v := between(uint16(1000+n), 443)
		for _, st := range closing[:n] {
			b.feed(v.segment(st))
		}
	}
	var want Census
	if err := b.Connections(func(r *Record) bool {
		want.Clients[r.Client.State] += 2
		want.Servers[r.Server.State] += 2
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if want.Clients[StateFINWait2] == 0 || want.Servers[StateCloseWait] == 0 {
		t.Fatalf("the conversation does not have the states that are looked for: %+v", want)
	}
	var got Census
	b.Census(&got)
	b.Census(&got)
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	b.Flush(EndShutdown)
	var empty Census
	if b.Census(&empty); empty != (Census{}) {
		t.Errorf("an empty table has %+v", empty)
	}
}
