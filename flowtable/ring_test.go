package flowtable

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// TestRing hands records over between two goroutines: each arrives once, in
// order, whole.
func TestRing(t *testing.T) {
	for _, wait := range []bool{true, false} {
		for _, capacity := range []int{1, 2, 3, 64} {
			ring := NewRing(capacity, wait)
			const records = 50000
			lost := 0
			var producer sync.WaitGroup
			producer.Go(func() {
				defer ring.Close()
				for i := range uint64(records) {
					r := ring.Next()
					if r == nil {
						lost++
						runtime.Gosched()
						continue
					}
					*r = Record{Serial: i, StartAt: int64(i), HalfClosePayload: i * 3, Reused: true}
					ring.Commit()
				}
			})
			f := rand.New(rand.NewPCG(1, uint64(capacity)))
			got, next := 0, uint64(0)
			for {
				batch, done := ring.Read()
				if done {
					break
				}
				n := len(batch)
				if n > 1 {
					n = 1 + f.IntN(n)
				}
				for i := range batch[:n] {
					r := &batch[i]
					if r.Serial < next || wait && r.Serial != next {
						t.Fatalf("record %d after %d", r.Serial, next)
					}
					if r.StartAt != int64(r.Serial) || r.HalfClosePayload != r.Serial*3 || !r.Reused {
						t.Fatalf("record %d is torn: %+v", r.Serial, r)
					}
					next = r.Serial + 1
				}
				got += n
				ring.Release(n)
				if n == 0 {
					runtime.Gosched()
				}
			}
			producer.Wait()
			if got+lost != records || wait && lost != 0 {
				t.Errorf("capacity %d, wait %v: %d arrived, %d were lost", capacity, wait, got, lost)
			}
		}
	}
}

func TestRingIsFull(t *testing.T) {
	ring := NewRing(3, false)
	for i := range uint64(4) {
		r := ring.Next()
		if r == nil {
			t.Fatalf("no place for record %d", i)
		}
		r.Serial = i
		if again := ring.Next(); again != r {
			t.Fatal("a place that was not handed over is not given again")
		}
		ring.Commit()
	}
	if ring.Next() != nil {
		t.Fatal("a fifth record in a ring of four")
	}
	batch, done := ring.Read()
	if len(batch) != 4 || done {
		t.Fatalf("%d records, done %v", len(batch), done)
	}
	ring.Release(3)
	if ring.Next() == nil {
		t.Fatal("no place after a release")
	}
	ring.Commit()
	ring.Close()
	if batch, _ = ring.Read(); len(batch) != 1 || batch[0].Serial != 3 {
		t.Fatalf("%d records up to the ring's end", len(batch))
	}
	ring.Release(1)
	if batch, done = ring.Read(); len(batch) != 1 || done {
		t.Fatal("closing a ring takes a record away")
	}
	ring.Release(1)
	if _, done = ring.Read(); !done {
		t.Error("an empty, closed ring is not done")
	}
}

// A consumer is woken by what is announced, by each half of the ring, by a ring that is
// full and by its end, and once for all that was there before it came.
func TestBell(t *testing.T) {
	ring, bell := NewRing(8, false), NewBell()
	write := func(n int) {
		for range n {
			if ring.Next() != nil {
				ring.Commit()
			}
		}
	}
	rung := func(why string, want bool) {
		t.Helper()
		select {
		case <-bell:
			if !want {
				t.Errorf("%s: it rang", why)
			}
		default:
			if want {
				t.Errorf("%s: it did not ring", why)
			}
		}
	}
	write(1)
	ring.Announce() // to nobody
	ring.Wake(bell)
	rung("there was something before", true)
	write(2)
	rung("few records", false)
	ring.Announce()
	ring.Announce()
	rung("they are announced", true)
	rung("once", false)
	write(1)
	rung("half of the ring", true)
	write(4)
	rung("the other half", true)
	write(1)
	rung("no room", true)
	ring.Close()
	rung("the end", true)
}
