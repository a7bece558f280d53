package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
)

// Bounds of a Series.
const (
	MaxPoints     = 2000
	defaultPoints = 120
	defaultSince  = 15 * time.Minute
	maxWindow     = 100 * 365 * 24 * time.Hour // what can be cut without leaving 64 bits
)

// steps are the intervals that are chosen where none is asked for.
var steps = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// Window is the time that a Series shows, cut into intervals, in ns since the
// epoch. Intervals begin at multiples of their length.
type Window struct{ Since, Until, Interval int64 }

// NewWindow is the time between the filter's since and until: the last 15
// minutes without them, never more than up to now. An interval of 0 is chosen.
func NewWindow(f *Filter, interval time.Duration, now int64) (Window, error) {
	w := Window{Since: now - int64(defaultSince), Until: now, Interval: int64(interval)}
	if f.HasUntil {
		w.Until = min(f.Until, now)
		w.Since = w.Until - int64(defaultSince)
	}
	if f.HasSince {
		w.Since = f.Since
	}
	if w.Since >= w.Until {
		return w, errors.New("since is not before until, or not before now")
	}
	if uint64(w.Until)-uint64(w.Since) > uint64(maxWindow) {
		return w, errors.New("since is more than a century before until")
	}
	if w.Interval == 0 {
		for _, step := range steps {
			if w.Interval = int64(step); w.points() <= defaultPoints {
				return w, nil
			}
		}
		day := w.Interval // the longest step
		w.Interval = (w.points()/(defaultPoints-1) + 1) * day
	}
	if n := w.points(); n > MaxPoints {
		return w, fmt.Errorf("%d intervals of %v; choose a longer interval or a shorter time: at most %d", n, time.Duration(w.Interval), MaxPoints)
	}
	return w, nil
}

// first is where the interval begins that since is in.
func (w *Window) first() int64 { return floor(w.Since, w.Interval) * w.Interval }

func (w *Window) points() int64 { return (w.Until - w.first() + w.Interval - 1) / w.Interval }

func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// tally counts what happened in each interval.
type tally struct {
	window    Window
	origin    int64 // of the first interval
	opens     []int64
	closes    []int64
	kinds     [][flowtable.CloseKinds]uint64
	before    int64 // connections that were open when the window began
	durations *durations
	places    [history.Rows]uint32
	closed    selection
}

// add takes connections that fit. Those that are followed are open, unless
// they have closed.
func (t *tally) add(f *frame, rows []uint16) error {
	origin := f.names.At(t.origin) // the clock may be set at any time: it is read once
	since, until := origin+t.window.Since-t.origin, origin+t.window.Until-t.origin
	closed := t.closed[:0]
	opened, ended := point{interval: t.window.Interval}, point{interval: t.window.Interval}
	for _, row := range rows {
		start, end, over := f.block.StartAt[row], f.closeAt(int(row)), true
		if f.block.EndReason[row] == flowtable.EndNone {
			over = f.block.Complete[row]
		}
		if start >= until || over && end < since {
			continue
		}
		if start < since {
			t.before++
		} else {
			t.opens[opened.of(start-origin)]++
		}
		if over && end < until {
			at := ended.of(end - origin)
			t.closes[at]++
			t.kinds[at][f.block.CloseKind[row]]++
			t.places[len(closed)] = uint32(at)
			closed = append(closed, row)
		}
	}
	return t.durations.add(f, closed, t.places[:], len(t.opens))
}

// point is the interval of the time that was asked for last: divisions take long,
// and records stand about in the order of their times.
type point struct{ interval, number, from int64 }

// of is the number of the interval that a time since the first is in.
func (p *point) of(since int64) int64 {
	if uint64(since-p.from) >= uint64(p.interval) {
		p.number = since / p.interval
		p.from = p.number * p.interval
	}
	return p.number
}

// closeAt is when a connection that is over ended: by the last ACK or a RST,
// else by its last segment.
func (f *frame) closeAt(i int) int64 {
	b := f.block
	switch {
	case !b.Complete[i]:
	case b.CloseKind[i] <= flowtable.Reset && b.SawMoment(i, flowtable.RSTAt):
		return b.At[flowtable.RSTAt][i]
	case b.SawMoment(i, flowtable.ACK2At):
		return b.At[flowtable.ACK2At][i]
	}
	return b.EndAt[i]
}

// Series returns what happened in each interval of a window to connections that
// fit: those on record, and those that are followed.
func Series(ctx context.Context, h history.History, live history.Live, names *api.Names, f *Filter, w Window, now int64) (*api.Series, error) {
	n := int(w.points())
	t := &tally{window: w, origin: w.first(), opens: make([]int64, n), closes: make([]int64, n),
		kinds: make([][flowtable.CloseKinds]uint64, n)}
	before := h.Span()
	first, err := h.Seek(ctx, w.Since) // what ended in the window or was open in it was published since
	if err != nil {
		return nil, err
	}
	if t.durations, err = newDurations(before.End - min(first, before.End)); err != nil {
		return nil, err
	}
	defer t.durations.release()
	both := newTwice()
	defer both.release()
	l := newLook(live, names, f, closed, names.At(now))
	defer l.release()
	if err := l.walk(ctx, func(rows []uint16) error {
		for _, row := range rows {
			both.followed = append(both.followed, l.frame.block.Serial[row])
		}
		return t.add(&l.frame, rows)
	}); err != nil {
		return nil, err
	}
	span := h.Span()
	if err := t.addRecords(ctx, h, f, history.Range{First: first, End: span.End}, before.End, both); err != nil {
		return nil, err
	}
	return t.answer(span), nil
}

// addRecords takes what is on record. Connections that were followed a moment
// ago and have come on record since a position are there already.
func (t *tally) addRecords(ctx context.Context, h history.History, f *Filter, r history.Range, fresh uint64, both *twice) error {
	since := history.Range{First: min(fresh, r.End), End: r.End}
	both.expect(since.End - since.First)
	if _, err := h.Scan(ctx, since, func(run history.Run) bool {
		for i := run.From; i < run.To; i++ {
			both.record(run.Block.Serial[i])
		}
		return true
	}); err != nil {
		return err
	}
	both.compare()
	var s selection
	var failed error
	_, err := h.Scan(ctx, r, func(run history.Run) bool {
		in := frameOf(&run)
		rows := final(&in, f.choose(&s, &in, run.From, run.To))
		if run.Position+uint64(run.To) > fresh {
			rows = keep(rows, func(row uint16) bool {
				return run.Position+uint64(row) < fresh || !both.met(run.Block.Serial[row])
			})
		}
		failed = t.add(&in, rows)
		return failed == nil
	})
	return errors.Join(err, failed)
}

func (t *tally) answer(span history.Span) *api.Series {
	w := &t.window
	answer := &api.Series{SinceAt: api.WallTime(w.Since), UntilAt: api.WallTime(w.Until), IntervalNS: w.Interval,
		Points: make([]api.SeriesPoint, len(t.opens)), History: SpanAnswer(span)}
	open := t.before
	for i := range t.opens {
		from := t.origin + int64(i)*w.Interval
		open += t.opens[i] - t.closes[i]
		answer.Points[i] = api.SeriesPoint{
			At:       api.WallTime(from),
			Partial:  from < w.Since || from+w.Interval > w.Until,
			Complete: max(from, w.Since) >= span.FromAt,
			Opens:    uint64(t.opens[i]), Closes: uint64(t.closes[i]), Concurrency: uint64(max(open, 0)),
			Kinds: kindCounts(&t.kinds[i]), PhasesStats: t.durations.stats(uint32(i)),
		}
	}
	return answer
}

func kindCounts(n *[flowtable.CloseKinds]uint64) api.KindCounts {
	return api.KindCounts{
		Refused: n[flowtable.Refused], Reset: n[flowtable.Reset], Simultaneous: n[flowtable.Simultaneous],
		ThreeWay: n[flowtable.ThreeWay], FourWay: n[flowtable.FourWay], HalfClosed: n[flowtable.HalfClosed],
		Unanswered: n[flowtable.Unanswered], HalfOpen: n[flowtable.HalfOpen], Open: n[flowtable.Open],
	}
}
