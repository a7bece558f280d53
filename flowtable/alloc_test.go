package flowtable

import (
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// hashed are segments with their hashes, as a worker has them.
func (b *bench) hashed(list []segment.Segment) (batch []*segment.Segment, hashes []uint64) {
	for i := range list {
		key, _ := segment.KeyOf(&list[i])
		batch = append(batch, &list[i])
		hashes = append(hashes, b.hasher.Hash(&key))
	}
	return batch, hashes
}

// TestNoAllocations: nothing on the way from a segment to its record
// allocates: beginning, following, closing, ending, slices, eviction.
func TestNoAllocations(t *testing.T) {
	ring := NewRing(1024, false)
	for _, test := range []struct {
		name     string
		timeouts Timeouts
		flows    uint32
		steps    []step
		wait     time.Duration
	}{
		{"closing", LiveTimeouts(), 1000, finished, 2 * time.Second},
		{"idle", LiveTimeouts(), 1000, opened, 6 * time.Minute},
		{"slices", Timeouts{Active: time.Second}, 1000, opened, 3 * time.Second},
		{"eviction", LiveTimeouts(), 10, finished, 0},
		{"late", LiveTimeouts(), 1000, after(finished, step{3000, s, fA, 22, 12, 0}), 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, Config{MaxFlows: test.flows, Timeouts: test.timeouts, Records: ring})
			var list []segment.Segment
			for port := range uint16(100) {
				v := between(1000+port, 443)
				for _, st := range test.steps {
					list = append(list, *v.segment(st))
				}
			}
			batch, hashes := b.hashed(list)
			run := func() {
				b.Update(batch, hashes)
				b.Advance(b.Now() + int64(test.wait))
				for i := range list {
					list[i].At += int64(test.wait) + int64(time.Second)
					list[i].Seq += 1 << 20
					list[i].Ack += 1 << 20
				}
				records, _ := ring.Read()
				ring.Release(len(records))
			}
			run()
			if n := testing.AllocsPerRun(20, run); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if b.Stats().Records.Load() == 0 {
				t.Error("no record was written")
			}
		})
	}
}

// fixedAccounts always have the same counters, and allocate nothing.
type fixedAccounts struct{ counters segment.Counters }

func (a *fixedAccounts) Peek(keys []segment.Key, counters []segment.Counters) error {
	for i := range keys {
		counters[i] = a.counters
	}
	return nil
}

func (a *fixedAccounts) Take(keys []segment.Key, counters []segment.Counters) error {
	return a.Peek(keys, counters)
}

func TestNoAllocationsWithAccounts(t *testing.T) {
	accounts := &fixedAccounts{}
	for i := range accounts.counters {
		accounts.counters[i] = segment.Direction{Packets: 5, Octets: 500, Payload: 100, Marks: segment.DirectionStarted}
	}
	ring := NewRing(1024, false)
	b := newBench(t, Config{MaxFlows: 1000, Timeouts: LiveTimeouts(), Records: ring, Accounts: accounts})
	var list []segment.Segment
	for port := range uint16(100) {
		v := between(1000+port, 443)
		for _, st := range after(finished, step{9, c, fA, 12, 22, 0}) {
			g := v.segment(st)
			if st.flags&fS == 0 {
				g.Marks, g.Own, g.Other = segment.HasEntry|segment.Counted, accounts.counters[0], accounts.counters[1]
			}
			list = append(list, *g)
		}
	}
	batch, hashes := b.hashed(list)
	run := func() {
		b.Update(batch, hashes)
		b.Advance(b.Now() + int64(2*time.Second))
		b.Flush(EndShutdown)
		for i := range list {
			list[i].At += int64(100 * time.Second)
		}
		records, _ := ring.Read()
		ring.Release(len(records))
	}
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if b.Stats().Records.Load() == 0 {
		t.Error("no record was written")
	}
}

func TestRingDoesNotAllocate(t *testing.T) {
	ring := NewRing(64, false)
	if n := testing.AllocsPerRun(100, func() {
		for ring.Next() != nil {
			ring.Commit()
		}
		for {
			records, _ := ring.Read()
			if len(records) == 0 {
				break
			}
			ring.Release(len(records))
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMemory: what a table takes for each connection, with all that grows with it.
func TestMemory(t *testing.T) {
	const flows, most = 10_000_000, 208
	b := newBench(t, Config{MaxFlows: flows})
	if got := b.Memory(); got > most*flows {
		t.Errorf("%.2f octets a connection, more than %d", float64(got)/flows, most)
	}
}
