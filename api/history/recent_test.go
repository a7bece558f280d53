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
	t.Cleanup(func() {
		if err := h.Free(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func write(t testing.TB, h *Recent, records ...flowtable.Record) {
	t.Helper()
	if err := h.Write(records); err != nil {
		t.Fatal(err)
	}
}

// serials are those of a range, in its order.
func serials(t *testing.T, h *Recent, r Range) (list []uint64) {
	t.Helper()
	_, err := h.Scan(t.Context(), r, func(run Run) bool {
		of := slices.Clone(run.Block.Serial[run.From:run.To])
		if !r.Ascending {
			slices.Reverse(of)
		}
		list = append(list, of...)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// kept is the range of all that is kept.
func (h *Recent) kept(ascending bool) Range {
	s := h.Span()
	return Range{First: s.First, End: s.End, Ascending: ascending}
}

func TestBlockKeepsRecords(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	b := new(Block)
	records := make([]flowtable.Record, Rows)
	for i := range records {
		records[i] = apitest.RandomRecord(rng)
		b.Set(i, &records[i], int64(i))
	}
	for i := range records {
		r := &records[i]
		if got := b.Record(i); got != *r {
			t.Fatalf("row %d\n got %+v\nwant %+v", i, got, *r)
		}
		for p := range flowtable.Phase(flowtable.Phases) {
			got, known := b.Phase(i, p)
			want, wanted := r.Phase(p)
			if got != want || known != wanted {
				t.Fatalf("row %d: %v %d %v, want %d %v", i, p, got, known, want, wanted)
			}
			if c := b.Phases[p][i]; (c != Unknown) != wanted || wanted && c != Encode(want) {
				t.Fatalf("row %d: %v has code %d, want that of %d %v", i, p, c, want, wanted)
			}
		}
	}
}

// The ring keeps what a slice of its last capacity records would.
func TestRecentAgainstASlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, capacity := range []int{1, 2, Rows - 1, Rows, Rows + 1, 3*Rows + 7} {
		h := newRecent(t, capacity)
		var model []uint64 // oldest first
		next := 0
		for range 50 {
			n := rng.IntN(2*capacity + 2)
			write(t, h, apitest.Numbered(next, n)...)
			for range n {
				model = append(model, uint64(next))
				next++
			}
			model = model[max(0, len(model)-capacity):]
			if got := serials(t, h, h.kept(true)); !slices.Equal(got, model) {
				t.Fatalf("capacity %d after %d records: %v, want %v", capacity, next, got, model)
			}
			got := serials(t, h, h.kept(false))
			slices.Reverse(got)
			if !slices.Equal(got, model) {
				t.Fatalf("capacity %d after %d records, newest first: %v, want %v", capacity, next, got, model)
			}
			if s := h.Span(); h.Len() != len(model) || h.Cap() != capacity || s.End != uint64(next) || s.First != uint64(next-len(model)) {
				t.Fatalf("length %d capacity %d span %+v, want %d %d", h.Len(), h.Cap(), s, len(model), capacity)
			}
		}
	}
	if _, err := NewRecent(0, apitest.Names()); err == nil {
		t.Error("a ring of no records was made")
	}
}

// A full block has a summary, which says of its rows what looking at each does, also
// where the block was another's before.
func TestSummaryAgainstRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	h := newRecent(t, 2*Rows)
	summaries, told := 0, make(map[Summary]bool)
	for n := 0; n < 14*Rows; {
		more := 1 + rng.IntN(Rows)
		if left := Rows - n%Rows; left > 1 && rng.IntN(2) == 0 { // up to the edge of the block, or one less
			more = left - rng.IntN(2)
		}
		records := make([]flowtable.Record, more)
		for i := range records {
			records[i] = apitest.RandomRecord(rng)
			// Of some blocks much holds, or would but for the last row.
			switch kind, row := (n+i)/Rows%7, (n+i)%Rows; {
			case row < Rows-1 || kind < 4:
				uniform(&records[i], kind)
			case kind == 4: // all but an IPv4 address
				records[i].Client.Address, records[i].Server.Address = apitest.Address("2001:db8::ffff:a01:203"), apitest.Address("10.1.2.3")
			case kind == 6:
				records[i].Client.Address, records[i].Server.Address = apitest.Address("10.1.2.3"), apitest.Address("::a01:203")
			}
		}
		write(t, h, records...)
		n += len(records)
		if _, err := h.Scan(t.Context(), h.kept(rng.IntN(2) == 0), func(run Run) bool {
			full := run.Position+Rows <= uint64(n)
			if (run.Summary != nil) != full {
				t.Fatalf("block at %d of %d records has a summary: %v", run.Position, n, run.Summary != nil)
			}
			if full {
				summaries++
				told[*run.Summary] = true
				if want := summaryOf(run.Block); *run.Summary != want {
					t.Fatalf("block at %d: %+v, want %+v", run.Position, *run.Summary, want)
				}
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	if summaries < 14 || len(told) < 10 {
		t.Errorf("only %d summaries, %d of them different", summaries, len(told))
	}
}

func uniform(r *flowtable.Record, kind int) {
	version4 := apitest.Address("10.1.2.3")
	switch kind {
	case 0, 4, 6:
		r.Client.Address, r.Server.Address = version4, version4
	case 1:
		r.Client.Address = version4
	case 2, 5:
		r.Seen = 0
		r.Server.Address = version4
	case 3:
		r.EndReason = flowtable.EndClosed
	}
}

// summaryOf looks at every row.
func summaryOf(b *Block) Summary {
	s := Summary{ClientIPv4: true, ServerIPv4: true}
	for p := range s.Phases {
		s.Phases[p].Least = Unknown
	}
	for i := range Rows {
		r := b.Record(i)
		client, server := api.Address(&r.Client.Address), api.Address(&r.Server.Address)
		s.ClientIPv4, s.ServerIPv4 = s.ClientIPv4 && client.Is4(), s.ServerIPv4 && server.Is4()
		s.EndReasons |= 1 << r.EndReason
		for p := range s.Phases {
			if ns, known := r.Phase(flowtable.Phase(p)); known {
				s.Phases[p].Least = min(s.Phases[p].Least, Encode(ns))
				s.Phases[p].End = max(s.Phases[p].End, Encode(ns)+1)
			}
		}
	}
	return s
}

// Bounds meet what has a code of theirs in it.
func TestBoundsMeet(t *testing.T) {
	none := Bounds{Least: Unknown}
	var some Bounds
	some.Least = Unknown
	for _, code := range []Code{30, 20, Unknown, 25} {
		some.Add(code)
	}
	for _, c := range []struct {
		least, greatest Code
		meet            bool
	}{{0, 19, false}, {0, 20, true}, {22, 23, true}, {30, Unknown, true}, {31, Unknown, false}, {0, Unknown, true}} {
		if some.Meet(c.least, c.greatest) != c.meet || none.Meet(c.least, c.greatest) {
			t.Errorf("codes from %d to %d: %v of 20 to 30, %v of none", c.least, c.greatest, some.Meet(c.least, c.greatest), none.Meet(c.least, c.greatest))
		}
	}
}

func TestRecentSeeks(t *testing.T) {
	h := newRecent(t, 3)
	clock := time.Unix(1000, 0)
	h.now = func() time.Time { return clock }
	h.began = clock.UnixNano()
	h.newest.Store(h.began)
	seek := func(seconds int64) uint64 {
		t.Helper()
		at, err := h.Seek(t.Context(), time.Unix(seconds, 0).UnixNano())
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if at := seek(1000); at != 0 {
		t.Errorf("position %d in nothing", at)
	}
	for i := range 3 {
		write(t, h, apitest.Numbered(i, 1)...)
		clock = clock.Add(time.Second)
	}
	if s := h.Span(); s.FromAt != h.began || s.NewestAt != time.Unix(1002, 0).UnixNano() {
		t.Errorf("span %+v before anything was overwritten", s)
	}
	clock = time.Unix(900, 0) // the system's clock is stepped back
	write(t, h, apitest.Numbered(3, 1)...)
	if s := h.Span(); s.FromAt != time.Unix(1001, 0).UnixNano() || s.NewestAt != time.Unix(1002, 0).UnixNano() {
		t.Errorf("span %+v after the first was overwritten", s)
	}
	for seconds, want := range map[int64]uint64{0: 1, 1001: 1, 1002: 2, 1003: 4} {
		if at := seek(seconds); at != want {
			t.Errorf("since %d: position %d, want %d", seconds, at, want)
		}
	}
}

func TestScanEndsEarly(t *testing.T) {
	h := newRecent(t, 3*Rows)
	write(t, h, apitest.Numbered(0, 3*Rows)...)
	runs := 0
	if _, err := h.Scan(t.Context(), h.kept(false), func(Run) bool { runs++; return runs < 2 }); err != nil || runs != 2 {
		t.Errorf("%d runs, want 2; error %v", runs, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	runs = 0
	_, err := h.Scan(ctx, h.kept(false), func(Run) bool { runs++; cancel(); return true })
	if !errors.Is(err, context.Canceled) || runs != 1 {
		t.Errorf("%d runs, want 1; error %v", runs, err)
	}
}

// A scan that is lapped by the writer tells how much it missed, and shows
// nothing twice.
func TestScanIsLapped(t *testing.T) {
	for _, ascending := range []bool{false, true} {
		h := newRecent(t, 4*Rows)
		write(t, h, apitest.Numbered(0, 4*Rows)...)
		var seen []uint64
		missed, err := h.Scan(t.Context(), h.kept(ascending), func(run Run) bool {
			seen = append(seen, run.Block.Serial[run.From:run.To]...)
			if len(seen) == Rows {
				write(t, h, apitest.Numbered(4*Rows, 3*Rows)...) // the first two or three blocks are taken
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if total := uint64(len(seen)) + missed; total != 4*Rows || missed < Rows {
			t.Errorf("ascending %v: saw %d, missed %d, want %d together", ascending, len(seen), missed, 4*Rows)
		}
		slices.Sort(seen)
		if len(slices.Compact(seen)) != len(seen) || seen[len(seen)-1] >= 4*Rows {
			t.Errorf("ascending %v: shown twice, or newer than the scan", ascending)
		}
	}
	h := newRecent(t, 10)
	write(t, h, apitest.Numbered(0, 30)...)
	if missed, err := h.Scan(t.Context(), Range{First: 5, End: 15}, func(Run) bool { t.Error("what was overwritten is shown"); return true }); missed != 10 || err != nil {
		t.Errorf("missed %d, want 10; error %v", missed, err)
	}
}

// The writer waits for no reader, not even for one that holds a block.
func TestWriterPassesHeldBlocks(t *testing.T) {
	h := newRecent(t, Rows)
	write(t, h, apitest.Numbered(0, Rows)...)
	var held []Run
	var hold func(n int)
	hold = func(n int) {
		if n == 0 {
			write(t, h, apitest.Numbered(Rows, 20*Rows)...)
			for _, run := range held {
				for i := run.From; i < run.To; i++ {
					if run.Block.Serial[i] != uint64(i) {
						t.Fatalf("row %d of a held block became record %d", i, run.Block.Serial[i])
					}
				}
			}
			return
		}
		if _, err := h.Scan(t.Context(), Range{End: Rows}, func(run Run) bool {
			held = append(held, run)
			hold(n - 1)
			return false
		}); err != nil {
			t.Error(err)
		}
	}
	hold(readers)
	if len(held) != readers {
		t.Errorf("%d blocks were held, want %d", len(held), readers)
	}
	if got := serials(t, h, h.kept(true)); len(got) != Rows || got[0] != 20*Rows {
		t.Errorf("%d records from %d", len(got), got[0])
	}
}

func TestRecentConcurrently(t *testing.T) {
	h := newRecent(t, 3*Rows)
	const records = 300_000
	stop := make(chan struct{})
	var all sync.WaitGroup
	for reader := range 2 * readers {
		all.Go(func() {
			for {
				last := uint64(1 << 63)
				r := h.kept(reader%2 == 0)
				_, err := h.Scan(context.Background(), r, func(run Run) bool {
					for i := run.From; i < run.To; i++ {
						serial := run.Block.Serial[i]
						if serial != run.Position+uint64(i) || run.Block.Client.Packets[i] != serial || run.Block.Server.Packets[i] != ^serial {
							t.Errorf("position %d: record %d is torn: %d, %d", run.Position+uint64(i), serial, run.Block.Client.Packets[i], run.Block.Server.Packets[i])
						}
					}
					if first := run.Position; !r.Ascending && first >= last {
						t.Errorf("block at %d after %d", first, last)
					}
					last = run.Position
					return true
				})
				if err != nil {
					t.Error(err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for first := 0; first < records; first += 150 {
		batch := apitest.Numbered(first, 150)
		for i := range batch {
			batch[i].Client.Packets, batch[i].Server.Packets = batch[i].Serial, ^batch[i].Serial
		}
		write(t, h, batch...)
	}
	close(stop)
	all.Wait()
	if got := serials(t, h, h.kept(false)); len(got) != 3*Rows || got[0] != records-1 {
		t.Errorf("%d records from %d", len(got), got[0])
	}
}

func TestFreeWaitsForReaders(t *testing.T) {
	h, err := NewRecent(Rows, apitest.Names())
	if err != nil {
		t.Fatal(err)
	}
	write(t, h, apitest.Numbered(0, 10)...)
	freed := make(chan error)
	if _, err := h.Scan(t.Context(), h.kept(true), func(run Run) bool {
		go func() { freed <- h.Free() }()
		select {
		case <-freed:
			t.Error("the memory went while it was read")
		case <-time.After(20 * time.Millisecond):
		}
		return run.Block.Serial[run.From] == 0
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-freed; err != nil {
		t.Fatal(err)
	}
	missed, err := h.Scan(t.Context(), Range{End: 10}, func(Run) bool { t.Error("what is gone is shown"); return true })
	if missed != 10 || err != nil {
		t.Errorf("missed %d, want 10; error %v", missed, err)
	}
	_ = h.Span()
}

func TestWriteAllocatesNothing(t *testing.T) {
	h := newRecent(t, 1000)
	batch := apitest.Numbered(0, 150)
	if n := testing.AllocsPerRun(100, func() { _ = h.Write(batch) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
