package query

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

func order(t testing.TB, text string, of Scope) Order {
	t.Helper()
	o, err := ParseOrder(text, of)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// pages asks page after page, and writes records in between.
func pages(t *testing.T, h history.History, f *Filter, o Order, limit int, between func()) (positions []uint64) {
	t.Helper()
	for cursor := ""; ; {
		p, err := Flows(t.Context(), h, f, o, limit, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Rows {
			positions = append(positions, p.Rows[i].Position)
		}
		if cursor = p.Next; cursor == "" {
			return positions
		}
		if len(p.Rows) != limit {
			t.Fatalf("%d rows on a page of %d that has a next", len(p.Rows), limit)
		}
		between()
	}
}

// Pages in any order show what sorting all records would, and stand still while
// records come in.
func TestPagesAgainstSorting(t *testing.T) {
	records := randomRecords(11, 4500)
	for i := range records {
		records[i].Client.Octets &= 7 // many are equal
	}
	f := parse(t, "close_kind=reset,four_way,open", Records)
	key := map[string]func(r *flowtable.Record) (int64, bool){
		"published_at": func(r *flowtable.Record) (int64, bool) { return int64(r.Serial), true },
		"start_at":     func(r *flowtable.Record) (int64, bool) { return r.StartAt, true },
		"end_at":       func(r *flowtable.Record) (int64, bool) { return r.EndAt, true },
		"close_wait":   func(r *flowtable.Record) (int64, bool) { return r.Phase(flowtable.CloseWait) },
		"client_bytes": func(r *flowtable.Record) (int64, bool) { return int64(r.Client.Octets), counted(r) },
	}
	for name, value := range key {
		for _, sign := range []string{"", "-"} {
			var want []uint64
			for i := range records {
				if k := records[i].CloseKind; k == flowtable.Reset || k == flowtable.FourWay || k == flowtable.Open {
					want = append(want, uint64(i))
				}
			}
			slices.SortFunc(want, func(a, b uint64) int {
				x, xKnown := value(&records[a])
				y, yKnown := value(&records[b])
				switch {
				case xKnown && !yKnown:
					return -1
				case yKnown && !xKnown:
					return 1
				case !xKnown:
					return cmp.Compare(b, a)
				case sign == "-":
					x, y = y, x
				}
				return cmp.Or(cmp.Compare(x, y), cmp.Compare(b, a))
			})
			h, err := history.NewRecent(10_000, nil)
			if err != nil {
				t.Fatal(err)
			}
			write(t, h, records)
			got := pages(t, h, f, order(t, sign+name, Records), 23, func() { write(t, h, records[:50]) })
			if !slices.Equal(got, want) {
				t.Errorf("%s%s: %d rows %v…, want %d %v…", sign, name, len(got), got[:5], len(want), want[:5])
			}
			if err := h.Free(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func write(t testing.TB, h *history.Recent, records []flowtable.Record) {
	t.Helper()
	if err := h.Write(records); err != nil {
		t.Fatal(err)
	}
}

func TestLastPageHasNoNext(t *testing.T) {
	h := historyOf(t, randomRecords(1, 20))
	for _, text := range []string{"-published_at", "published_at", "duration"} {
		if got := pages(t, h, new(Filter), order(t, text, Records), 10, func() {}); len(got) != 20 {
			t.Errorf("%s: %d rows in two full pages", text, len(got))
		}
	}
	for _, o := range Orders(Records) {
		if _, err := Flows(t.Context(), historyOf(t, nil), new(Filter), order(t, o, Records), 10, ""); err != nil {
			t.Errorf("%s of nothing: %v", o, err)
		}
	}
}

func TestCursorsThatCannotBe(t *testing.T) {
	h, err := history.NewRecent(1000, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Free() }()
	records := randomRecords(1, 1000)
	write(t, h, records)
	ask := func(h history.History, f *Filter, o, cursor string) (*Page, error) {
		return Flows(t.Context(), h, f, order(t, o, Records), 10, cursor)
	}
	all := parse(t, "", Records)
	next := make(map[string]string)
	for _, o := range []string{"-published_at", "published_at", "bytes"} {
		p, err := ask(h, all, o, "")
		if err != nil {
			t.Fatal(err)
		}
		next[o] = p.Next
	}
	newest := next["-published_at"]
	for cursor, of := range map[string]*Filter{
		newest: parse(t, "close_kind=reset", Records), "x": all, "!": all, newest[1:]: all, newest + "AAAA": all,
		strings.Repeat("A", len(newest)): all, next["bytes"]: all,
	} {
		if _, err := ask(h, of, "-published_at", cursor); !errors.Is(err, ErrCursor) {
			t.Errorf("cursor %q of another question: %v", cursor, err)
		}
	}
	if _, err := ask(historyOf(t, records), all, "-published_at", newest); !errors.Is(err, ErrGone) {
		t.Errorf("cursor of another history: %v", err)
	}
	for range 10 {
		write(t, h, records) // every block is taken
	}
	for o, cursor := range next {
		if _, err := ask(h, all, o, cursor); !errors.Is(err, ErrGone) {
			t.Errorf("%s: cursor of what was overwritten: %v", o, err)
		}
	}
}

func TestBatches(t *testing.T) {
	records := randomRecords(4, 3500)
	h := historyOf(t, records)
	f := parse(t, "close_kind=reset", Records)
	want := chosen(t, h, "close_kind=reset")
	for _, ascending := range []bool{true, false} {
		b, err := NewBatches(t.Context(), h, f, ascending)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for {
			rows, missed, err := b.Next(t.Context())
			if err != nil || missed != 0 {
				t.Fatal(missed, err)
			}
			if len(rows) == 0 {
				break
			}
			for i := range rows {
				got = append(got, rows[i].Position)
			}
		}
		if !ascending {
			slices.Reverse(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("ascending %v: %d rows, want %d", ascending, len(got), len(want))
		}
	}
}

// What follows the history sees everything once, and is told what it missed.
func TestBatchesFollow(t *testing.T) {
	h, err := history.NewRecent(2000, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Free() }()
	b, err := NewBatches(t.Context(), h, new(Filter), true)
	if err != nil {
		t.Fatal(err)
	}
	records := randomRecords(4, 1500)
	next, written := uint64(0), uint64(0)
	for round, n := range []int{1, 0, 700, 1500, 1500, 1500, 1500, 10} {
		write(t, h, records[:n])
		written += uint64(n)
		if round == 4 || round == 5 {
			continue // too slow
		}
		b.Extend()
		var overwritten uint64
		for {
			rows, missed, err := b.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			overwritten += missed
			next += missed
			for i := range rows {
				if rows[i].Position != next {
					t.Fatalf("round %d: position %d, want %d", round, rows[i].Position, next)
				}
				next++
			}
			if len(rows) == 0 {
				break
			}
		}
		if next != written || (overwritten > 0) != (round == 6) {
			t.Errorf("round %d: at %d of %d, %d overwritten", round, next, written, overwritten)
		}
	}
}

func TestFind(t *testing.T) {
	records := randomRecords(4, 1500)
	h := historyOf(t, records)
	for _, serial := range []uint64{0, 700, 1499} {
		id := testNames.FlowID(serial)
		row, found, err := Find(t.Context(), h, id)
		if err != nil || !found || row.Record != records[serial] {
			t.Errorf("serial %d: %v %v", serial, found, err)
		}
	}
	for _, id := range []string{"", "x", testNames.FlowID(1500), strings.Repeat("v", 26), testNames.FlowID(3) + "0", strings.ToUpper(testNames.FlowID(3))} {
		if _, found, err := Find(t.Context(), h, id); found || err != nil {
			t.Errorf("%q: %v %v", id, found, err)
		}
	}
}
