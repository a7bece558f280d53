package query

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// followed has connections of which the worker does not know what only the
// kernel does.
func followed(records []flowtable.Record) *apitest.Live {
	return &apitest.Live{Records: records, Worker: func(r *flowtable.Record) {
		r.Client.Octets, r.Server.Packets, r.EndAt, r.Evidence = 1<<50, 1<<50, r.StartAt, flowtable.OneSided
		if _, closing := r.Time(flowtable.FIN1At); closing && !r.Complete {
			r.Client.State, r.Server.State, r.CloseKind = flowtable.StateClosing, flowtable.StateClosing, flowtable.Simultaneous
		}
	}}
}

// span makes a record that was open from start to end.
func span(serial uint64, start, end int64, kind flowtable.CloseKind) (r flowtable.Record) {
	r.Serial, r.StartAt, r.EndAt, r.CloseKind = serial, start, end+5, kind // a late segment
	closing := flowtable.ACK2At
	if kind <= flowtable.Reset {
		closing = flowtable.RSTAt
	}
	r.Complete = true
	r.At[closing], r.Seen = end, 1<<closing
	if kind > flowtable.FourWay {
		r.Complete, r.Seen, r.EndAt = false, 0, end
	}
	return r
}

func closeOf(r *flowtable.Record) int64 {
	switch {
	case r.Seen&(1<<flowtable.RSTAt) != 0:
		return r.At[flowtable.RSTAt]
	case r.Seen&(1<<flowtable.ACK2At) != 0:
		return r.At[flowtable.ACK2At]
	}
	return r.EndAt
}

// A series counts what looking at every connection in every interval counts.
func TestSeriesAgainstCounting(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	now := time.Now().UnixNano()
	var records, live []flowtable.Record
	for i := range 2000 {
		start := now - rng.Int64N(int64(10*time.Minute))
		end := start + rng.Int64N(int64(3*time.Minute))
		r := span(uint64(i), start, end, flowtable.CloseKind(rng.IntN(flowtable.CloseKinds)))
		switch {
		case end < now-int64(time.Second):
			records = append(records, r)
		case end < now: // it lingers
			r.EndReason = flowtable.EndNone
			live = append(live, r)
		default:
			r.EndReason, r.CloseKind, r.Complete, r.Seen, r.EndAt = flowtable.EndNone, flowtable.Open, false, 0, now-1
			live = append(live, r)
		}
	}
	sliced := span(5000, now-int64(9*time.Minute), now-int64(5*time.Minute), flowtable.Open)
	sliced.EndReason = flowtable.EndActiveTimeout // what it was then does not count
	records = append(records, sliced)
	slices.SortFunc(records, func(a, b flowtable.Record) int { return int(a.EndAt - b.EndAt) })
	h := publish(t, records)
	// One begins a ns before the window, another when it ends.
	edges := "since=" + api.WallTime(records[300].StartAt+1) + "&until=" + api.WallTime(records[len(records)-1].StartAt)
	for _, c := range []struct {
		query    string
		interval time.Duration
	}{{"since=5m", 20 * time.Second}, {"since=5m&until=2m", 7 * time.Second}, {"since=9m", 0}, {"", 0}, {"since=30s", time.Second}, {edges, 20 * time.Second}} {
		f := parse(t, c.query, Records)
		w, err := NewWindow(f, c.interval, now)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := Series(t.Context(), h, followed(live), testNames, f, w, now)
		if err != nil {
			t.Fatal(err)
		}
		checkSeries(t, c.query, answer, w, append(slices.Clone(records), live...))
	}
}

// publish has records published when they ended.
func publish(t *testing.T, records []flowtable.Record) *history.Recent {
	t.Helper()
	h, err := history.NewRecent(len(records), testNames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Free() })
	var clock time.Time
	h.SetClock(func() time.Time { return clock })
	for i := range records {
		clock = time.Unix(0, records[i].EndAt)
		write(t, h, records[i:i+1])
	}
	return h
}

func checkSeries(t *testing.T, what string, answer *api.Series, w Window, all []flowtable.Record) {
	t.Helper()
	if answer.SinceAt != api.WallTime(w.Since) || answer.UntilAt != api.WallTime(w.Until) || int64(len(answer.Points)) != w.points() {
		t.Fatalf("%s: %s to %s in %d points, want %+v", what, answer.SinceAt, answer.UntilAt, len(answer.Points), w)
	}
	for i, p := range answer.Points {
		from := w.Since/w.Interval*w.Interval + int64(i)*w.Interval
		first, end := max(from, w.Since), min(from+w.Interval, w.Until)
		var opens, closes, open, resets uint64
		for k := range all {
			r := &all[k]
			if r.EndReason == flowtable.EndActiveTimeout {
				continue
			}
			over := r.EndReason != flowtable.EndNone || r.Complete
			if r.StartAt >= first && r.StartAt < end {
				opens++
			}
			if at := closeOf(r); over && at >= first && at < end {
				closes++
				if r.CloseKind == flowtable.Reset {
					resets++
				}
			}
			if r.StartAt < end && !(over && closeOf(r) < end) {
				open++
			}
		}
		if p.At != api.WallTime(from) || p.Partial != (first != from || end != from+w.Interval) {
			t.Errorf("%s: point %d at %s partial %v", what, i, p.At, p.Partial)
		}
		if p.Opens != opens || p.Closes != closes || p.Concurrency != open || p.Kinds.Reset != resets {
			t.Errorf("%s: point %d: %d opens %d closes %d open %d resets, want %d %d %d %d", what, i,
				p.Opens, p.Closes, p.Concurrency, p.Kinds.Reset, opens, closes, open, resets)
		}
	}
}

// A connection whose record comes while the table is looked at counts once.
func TestSeriesCountsOnce(t *testing.T) {
	now := time.Now().UnixNano()
	closing := span(7, now-int64(time.Minute), now-int64(2*time.Second), flowtable.FourWay)
	h := historyOf(t, make([]flowtable.Record, 10))
	followedNow := closing
	followedNow.EndReason = flowtable.EndNone
	for _, seen := range []bool{false, true} {
		// Its record comes either after it was looked at, or before that.
		live := followed(make([]flowtable.Record, 2))
		live.During = func() { write(t, h, []flowtable.Record{closing}) }
		for i := range live.Records {
			live.Records[i] = span(100+uint64(i), 1, 2, flowtable.Open)
		}
		if seen {
			live.Records[0] = followedNow
		}
		w, err := NewWindow(new(Filter), time.Minute, now)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := Series(t.Context(), h, live, testNames, new(Filter), w, now)
		if err != nil {
			t.Fatal(err)
		}
		var fourWay uint64
		for _, p := range answer.Points {
			fourWay += p.Kinds.FourWay
		}
		if fourWay != 1 {
			t.Errorf("seen by the table %v: it counts %d times", seen, fourWay)
		}
		h = historyOf(t, make([]flowtable.Record, 10))
	}
}

func TestSeriesTellsHowFarItReaches(t *testing.T) {
	now := time.Now().UnixNano()
	var records []flowtable.Record
	for i := range int64(3000) {
		end := now - int64(10*time.Minute) + i*int64(100*time.Millisecond)
		records = append(records, span(uint64(i), end-1, end, flowtable.FourWay))
	}
	h, err := history.NewRecent(1000, testNames)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Free() }()
	var clock time.Time
	h.SetClock(func() time.Time { return clock })
	for i := range records {
		clock = time.Unix(0, records[i].EndAt)
		write(t, h, records[i:i+1])
	}
	f := parse(t, "since=10m", Records)
	w, err := NewWindow(f, 10*time.Second, now)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := Series(t.Context(), h, followed(nil), testNames, f, w, now)
	if err != nil {
		t.Fatal(err)
	}
	from := h.Span().FromAt
	complete := 0
	for i, p := range answer.Points {
		at := w.first() + int64(i)*w.Interval
		if p.Complete != (max(at, w.Since) >= from) {
			t.Errorf("point %d at %s complete %v, history from %s", i, p.At, p.Complete, answer.History.FromAt)
		}
		if p.Complete && at < now-int64(5*time.Minute+10*time.Second) {
			complete++
			if p.Closes != 100 {
				t.Errorf("point %d at %s: %d closes, want 100", i, p.At, p.Closes)
			}
		}
	}
	if complete < 5 || answer.Points[0].Complete {
		t.Errorf("%d points are complete, the first %v", complete, answer.Points[0].Complete)
	}
}

func TestWindows(t *testing.T) {
	now := time.Now().UnixNano()
	for _, text := range []string{"", "since=1s", "since=24h", "since=720h", "since=1970-01-01T00:00:00Z", "until=1h"} {
		w, err := NewWindow(parse(t, text, Records), 0, now)
		if n := w.points(); err != nil || n < 1 || n > defaultPoints {
			t.Errorf("%q: %+v, %d points, %v", text, w, n, err)
		}
	}
	for _, c := range []struct {
		query    string
		interval time.Duration
	}{{"since=1h", time.Second}, {"since=1m&until=2m", 0}, {"since=2199-01-01T00:00:00Z", 0},
		{"since=1700-01-01T00:00:00Z", 0}, {"since=2562047h", 0}, {"since=2562047h", time.Hour}} {
		if w, err := NewWindow(parse(t, c.query, Records), c.interval, now); err == nil {
			t.Errorf("%q: %+v", c.query, w)
		}
	}
}
