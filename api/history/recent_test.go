package history

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/flowtable"
)

func newRecent(t testing.TB, capacity int) *Recent {
	t.Helper()
	h, err := NewRecent(capacity, apitest.Names())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func write(t testing.TB, h *Recent, records ...flowtable.Record) {
	t.Helper()
	if err := h.Write(records); err != nil {
		t.Fatal(err)
	}
}

func numbered(first, n int) []flowtable.Record {
	records := make([]flowtable.Record, n)
	for i := range records {
		records[i].Serial = uint64(first + i)
	}
	return records
}

func scan(t *testing.T, h *Recent, since time.Time) []uint64 {
	t.Helper()
	var serials []uint64
	err := h.Scan(context.Background(), since, func(r *flowtable.Record, _ *api.Names) bool {
		serials = append(serials, r.Serial)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return serials
}

// The ring keeps what a slice of its last capacity records would.
func TestRecentAgainstASlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, capacity := range []int{1, 2, 63, 64, 65, 200} {
		h := newRecent(t, capacity)
		var model []uint64 // newest first
		next := 0
		for range 50 {
			n := rng.IntN(2*capacity + 2)
			write(t, h, numbered(next, n)...)
			for range n {
				model = slices.Insert(model, 0, uint64(next))
				next++
			}
			model = model[:min(len(model), capacity)]
			if got := scan(t, h, time.Time{}); !slices.Equal(got, model) {
				t.Fatalf("capacity %d after %d records: %v, want %v", capacity, next, got, model)
			}
			if h.Len() != len(model) || h.Cap() != capacity {
				t.Fatalf("length %d capacity %d, want %d %d", h.Len(), h.Cap(), len(model), capacity)
			}
		}
	}
	if _, err := NewRecent(0, apitest.Names()); err == nil {
		t.Error("a ring of no records was made")
	}
}

func TestRecentSince(t *testing.T) {
	h := newRecent(t, 100)
	clock := time.Unix(1000, 0)
	h.now = func() time.Time { return clock }
	for i := range 5 {
		write(t, h, numbered(i, 1)...)
		clock = clock.Add(time.Second)
	}
	clock = time.Unix(900, 0) // the system's clock is stepped back
	write(t, h, numbered(5, 1)...)
	for since, want := range map[int64][]uint64{
		0: {5, 4, 3, 2, 1, 0}, 1002: {5, 4, 3, 2}, 1004: {5, 4}, 1005: nil,
	} {
		if got := scan(t, h, time.Unix(since, 0)); !slices.Equal(got, want) {
			t.Errorf("since %d: %v, want %v", since, got, want)
		}
	}
}

func TestRecentScanEndsEarly(t *testing.T) {
	h := newRecent(t, 1000)
	write(t, h, numbered(0, 1000)...)
	seen := 0
	if err := h.Scan(context.Background(), time.Time{}, func(*flowtable.Record, *api.Names) bool { seen++; return seen < 70 }); err != nil || seen != 70 {
		t.Errorf("saw %d, want 70; error %v", seen, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	seen = 0
	err := h.Scan(ctx, time.Time{}, func(*flowtable.Record, *api.Names) bool { seen++; cancel(); return true })
	if !errors.Is(err, context.Canceled) || seen != recentChunk {
		t.Errorf("saw %d, want the chunk of %d; error %v", seen, recentChunk, err)
	}
}

// A scan in the middle of which the writer laps the ring ends where records are
// gone, and never shows one twice or torn.
func TestRecentIsLapped(t *testing.T) {
	h := newRecent(t, 256)
	write(t, h, numbered(0, 256)...)
	var seen []uint64
	err := h.Scan(context.Background(), time.Time{}, func(r *flowtable.Record, _ *api.Names) bool {
		seen = append(seen, r.Serial)
		if len(seen) == recentChunk {
			write(t, h, numbered(256, 128)...) // 0 to 127 are gone
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []uint64
	for s := 255; s >= 128; s-- {
		want = append(want, uint64(s))
	}
	if !slices.Equal(seen, want) {
		t.Errorf("saw %v, want 255 down to 128", seen)
	}
}

func TestRecentConcurrently(t *testing.T) {
	h := newRecent(t, 300)
	const records = 200_000
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				last := uint64(1 << 63)
				err := h.Scan(context.Background(), time.Time{}, func(r *flowtable.Record, _ *api.Names) bool {
					if r.Serial >= last {
						t.Errorf("record %d after %d", r.Serial, last)
					}
					if r.Client.Packets != r.Serial || r.Server.Packets != ^r.Serial {
						t.Errorf("record %d is torn: %d, %d", r.Serial, r.Client.Packets, r.Server.Packets)
					}
					last = r.Serial
					return true
				})
				if err != nil {
					t.Error(err)
				}
				if h.Len() > h.Cap() {
					t.Errorf("%d records in room for %d", h.Len(), h.Cap())
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for first := 0; first < records; first += 100 {
		batch := numbered(first, 100)
		for i := range batch {
			batch[i].Client.Packets, batch[i].Server.Packets = batch[i].Serial, ^batch[i].Serial
		}
		write(t, h, batch...)
	}
	close(stop)
	readers.Wait()
	if got := scan(t, h, time.Time{}); len(got) != 300 || got[0] != records-1 || got[299] != records-300 {
		t.Errorf("%d records from %d to %d", len(got), got[0], got[len(got)-1])
	}
}

func TestRecentWriteAllocatesNothing(t *testing.T) {
	h := newRecent(t, 1000)
	batch := numbered(0, 150)
	if n := testing.AllocsPerRun(100, func() { _ = h.Write(batch) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkRecentWrite(b *testing.B) {
	h := newRecent(b, 100_000)
	batch := numbered(0, recentChunk)
	b.ReportAllocs()
	for b.Loop() {
		write(b, h, batch...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/record")
}
