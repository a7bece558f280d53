package watch

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"time"

	"github.com/finwait/finwait/api"
)

const (
	// points is how many intervals a window has.
	points = 60
	// waiting is how many connections in CLOSE-WAIT are asked for: as many as a
	// tall terminal shows.
	waiting = 60
	// rateTime is over how long a rate is taken.
	rateTime = 10 * time.Second
)

// Appliance answers questions, as client.Client does.
type Appliance interface {
	Get(ctx context.Context, path string, query url.Values, v any) error
	Server() string
}

// snapshot is what an appliance said at one moment.
type snapshot struct {
	at        time.Time
	status    api.StatusAnswer
	series    api.Series
	teardown  api.Teardown
	closeWait api.Connections
}

// ask makes a snapshot. filters are parameters that records and connections
// both have.
func ask(ctx context.Context, a Appliance, filters url.Values, window time.Duration) (*snapshot, error) {
	s := &snapshot{at: time.Now()}
	since := url.Values{"since": {"-" + window.String()}}
	interval := url.Values{"interval": {(window / points).String()}}
	held := url.Values{"state": {"CLOSE-WAIT"}, "sort": {"-close_wait"}, "limit": {strconv.Itoa(waiting)}}
	for _, q := range []struct {
		path  string
		query url.Values
		v     any
	}{
		{"/v1/status", nil, &s.status},
		{"/v1/series", merge(filters, since, interval), &s.series},
		{"/v1/teardown", merge(filters, since), &s.teardown},
		{"/v1/connections", merge(filters, held), &s.closeWait},
	} {
		if err := a.Get(ctx, q.path, q.query, q.v); err != nil {
			return nil, err
		}
	}
	if len(s.series.Points) == 0 || s.series.IntervalNS <= 0 {
		return nil, fmt.Errorf("answer of %s/v1/series: it has no points", a.Server())
	}
	return s, nil
}

// merge is all values; of a parameter that several have, the last one's.
func merge(all ...url.Values) url.Values {
	merged := url.Values{}
	for _, values := range all {
		maps.Copy(merged, values)
	}
	return merged
}

// rate is what happened a second, over the last whole intervals.
func (s *snapshot) rate(of func(*api.SeriesPoint) uint64) float64 {
	var sum uint64
	n := 0
	interval := time.Duration(s.series.IntervalNS)
	for i := len(s.series.Points) - 1; i >= 0 && (n == 0 || time.Duration(n)*interval < rateTime); i-- {
		if p := &s.series.Points[i]; !p.Partial {
			sum += of(p)
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return float64(sum) / (time.Duration(n) * interval).Seconds()
}

// open is how many connections are open now.
func (s *snapshot) open() uint64 { return s.series.Points[len(s.series.Points)-1].Concurrency }

// kind is a kind of close and how many closed so within the window.
type kind struct {
	name  string
	count uint64
}

// kinds are those of the window, in the order of the record's contract.
func (s *snapshot) kinds() (all []kind, total uint64) {
	var sum api.KindCounts
	for i := range s.series.Points {
		k := &s.series.Points[i].Kinds
		sum.Refused += k.Refused
		sum.Reset += k.Reset
		sum.Simultaneous += k.Simultaneous
		sum.ThreeWay += k.ThreeWay
		sum.FourWay += k.FourWay
		sum.HalfClosed += k.HalfClosed
		sum.Unanswered += k.Unanswered
		sum.HalfOpen += k.HalfOpen
		sum.Open += k.Open
	}
	all = []kind{
		{"four_way", sum.FourWay}, {"three_way", sum.ThreeWay}, {"simultaneous", sum.Simultaneous}, {"reset", sum.Reset}, {"refused", sum.Refused},
		{"half_closed", sum.HalfClosed}, {"unanswered", sum.Unanswered}, {"half_open", sum.HalfOpen}, {"open", sum.Open},
	}
	for _, k := range all {
		total += k.count
	}
	return all, total
}

// losses are the ledger's entries that say that something was lost.
func (s *snapshot) losses() []api.LedgerEntry {
	var lost []api.LedgerEntry
	for _, e := range s.status.Ledger {
		if e.Loss && e.Count > 0 {
			lost = append(lost, e)
		}
	}
	return lost
}
