package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/xdp/load"
)

// quantiles are what is reported of every wave.
var quantiles = []struct {
	name       string
	percentile float64
}{{"p50", 50}, {"p95", 95}, {"p99", 99}, {"max", 100}}

// stepLine says in one line how a step went.
func stepLine(s *load.Step) string {
	c := &s.Counts
	line := fmt.Sprintf("%.6g/s: %v; established %.6g/s, torn down %.6g/s, open %.4g (at most %d), failed %.3g%%%s",
		s.Rate, strings.ReplaceAll(s.Verdict.String(), "_", "-"), c.EstablishmentRate(), c.TearDownRate(), c.Mean, c.Peak, 100*c.FailureRatio(), failureList(c))
	for _, wave := range []load.Wave{load.ServerHandshake, load.Teardown} {
		if h := s.Wire.Times[wave]; h.TotalCount() > 0 {
			line += fmt.Sprintf(", %v p50 %v p99 %v", wave, at(h, 50), at(h, 99))
		}
	}
	for _, reason := range s.Reasons {
		line += "\n  " + reason
	}
	return line
}

func at(h *hdrhistogram.Histogram, percentile float64) time.Duration {
	d := time.Duration(h.ValueAtQuantile(percentile))
	if d < time.Millisecond {
		return d.Round(100 * time.Nanosecond)
	}
	return d.Round(10 * time.Microsecond)
}

// failureList names the reasons in parentheses, nothing where there are none.
func failureList(c *load.Counts) string {
	var reasons []string
	for f, n := range counted(c) {
		if n > 0 {
			reasons = append(reasons, fmt.Sprintf("%v %d", load.Failure(f), n))
		}
	}
	if c.OtherError != nil {
		reasons = append(reasons, fmt.Sprintf("the first other one: %v", c.OtherError))
	}
	if len(reasons) == 0 {
		return ""
	}
	return " (" + strings.Join(reasons, ", ") + ")"
}

// conclusion says in a sentence what was found.
func conclusion(steps []load.Step) string {
	highest, last := load.Highest(steps), &steps[len(steps)-1]
	found := "no rate held"
	if highest != nil {
		found = fmt.Sprintf("highest rate that held: %.6g connections/s", highest.Rate)
	}
	switch last.Verdict {
	case load.Held:
		return found + ", which is the highest that was tried: the target may bear more"
	case load.GeneratorBound:
		return fmt.Sprintf("%s; at %.6g/s this machine was the limit, not the target: %s", found, last.Rate, strings.Join(last.Reasons, "; "))
	default:
		return fmt.Sprintf("%s; at %.6g/s the target passed a limit: %s", found, last.Rate, strings.Join(last.Reasons, "; "))
	}
}

// report brings steps into the form of all benchmarks.
func (b *connectionsBench) report(steps []load.Step) *report.Report {
	r := &report.Report{Notes: b.notes(steps)}
	for i := range steps {
		r.Results = append(r.Results, b.stepResults(&steps[i])...)
	}
	result := report.Result{Name: fmt.Sprintf("Connections/close=%v/highest", b.config.Close), Runs: len(steps), Metrics: []report.Metric{{Unit: "connections/s"}}}
	if highest := load.Highest(steps); highest != nil {
		result.Metrics[0].Value = highest.Rate
	}
	r.Results = append(r.Results, result)
	r.Charts = connectionCharts(steps)
	return r
}

// stepResults are a step's rates, what was seen of it, its failures where there
// are any, and each wave.
func (b *connectionsBench) stepResults(s *load.Step) []report.Result {
	c := &s.Counts
	name := fmt.Sprintf("Connections/close=%v/rate=%.6g", b.config.Close, s.Rate)
	held := 0.0
	if s.Verdict == load.Held {
		held = 1
	}
	results := []report.Result{{Name: name, Runs: max(1, int(c.Offered)), Metrics: []report.Metric{
		{Value: c.OfferedRate(), Unit: "offered/s"},
		{Value: c.EstablishmentRate(), Unit: "established/s"},
		{Value: c.TearDownRate(), Unit: "torn-down/s"},
		{Value: c.Mean, Unit: "open-mean"},
		{Value: float64(c.Peak), Unit: "open-peak"},
		{Value: 100 * c.FailureRatio(), Unit: "%failed"},
		{Value: float64(c.Lag.ValueAtQuantile(99)), Unit: "ns/lag-p99"},
		{Value: held, Unit: "held"},
	}}, wireResult(name, s)}
	failures := report.Result{Name: name + "/failures", Runs: max(1, int(c.Offered))}
	for f, n := range counted(c) {
		if n > 0 {
			failures.Metrics = append(failures.Metrics, report.Metric{Value: float64(n), Unit: load.Failure(f).String()})
		}
	}
	if len(failures.Metrics) > 0 {
		results = append(results, failures)
	}
	for wave, times := range s.Wire.Times {
		if times.TotalCount() == 0 {
			continue
		}
		r := report.Result{Name: fmt.Sprintf("%s/wave=%v", name, load.Wave(wave)), Runs: int(times.TotalCount())}
		for _, q := range quantiles {
			r.Metrics = append(r.Metrics, report.Metric{Value: float64(times.ValueAtQuantile(q.percentile)), Unit: "ns/" + q.name})
		}
		results = append(results, r)
	}
	return results
}

func wireResult(name string, s *load.Step) report.Result {
	r := report.Result{Name: name + "/wire", Runs: max(1, int(s.Wire.Measured)), Metrics: []report.Metric{
		{Value: float64(s.Counts.Opened), Unit: "opened"},
		{Value: float64(s.Wire.Connections), Unit: "seen"},
		{Value: float64(s.Wire.Retransmits), Unit: "retransmits"},
		{Value: float64(s.Wire.Lost), Unit: "lost-on-this-machine"},
	}}
	for _, kind := range slices.Sorted(maps.Keys(s.Wire.Kinds)) {
		r.Metrics = append(r.Metrics, report.Metric{Value: float64(s.Wire.Kinds[kind]), Unit: "close-kind-" + kind})
	}
	return r
}

// counted are the failures that are told. A step that was ended early may have
// come to none in its measured time.
func counted(c *load.Counts) *[load.Failures]uint64 {
	if c.Abandoned {
		return &c.AllFailures
	}
	return &c.Failures
}

// notes say what a reader must know to judge the numbers.
func (b *connectionsBench) notes(steps []load.Step) []string {
	limits := make([]string, len(b.plan.Limits))
	for i, l := range b.plan.Limits {
		limits[i] = l.String()
	}
	notes := []string{
		conclusion(steps),
		fmt.Sprintf("target %v, from %v, ports %d-%d, seen on %s; each rate for %v after %v; limits: %s",
			b.config.Target, b.config.Sources, b.config.LowPort, b.config.HighPort, b.netDevice, b.plan.Duration, b.plan.WarmUp, strings.Join(limits, ", ")),
	}
	for i := range steps {
		s := &steps[i]
		if s.Wire.Connections != s.Counts.Opened {
			notes = append(notes, fmt.Sprintf("rate %.6g: %d connections were opened, %d were seen on %s", s.Rate, s.Counts.Opened, s.Wire.Connections, b.netDevice))
		}
		if n := s.Wire.ByServer; n > 0 && b.config.Close == load.ByClient {
			notes = append(notes, fmt.Sprintf("rate %.6g: the target closed %d of %d connections first, though --close is client", s.Rate, n, s.Wire.Measured))
		}
	}
	return notes
}

func connectionCharts(steps []load.Step) []report.Chart {
	rate := func(value func(*load.Step) float64, name string) report.Series { return seriesOf(steps, name, value) }
	charts := []report.Chart{
		{
			Name: "connections-rates", Title: "Rates", XLabel: "offered (connections/s)", YLabel: "achieved (connections/s)",
			Series: []report.Series{
				rate(func(s *load.Step) float64 { return s.Counts.EstablishmentRate() }, "established"),
				rate(func(s *load.Step) float64 { return s.Counts.TearDownRate() }, "torn down"),
			},
		},
		{
			Name: "connections-open", Title: "Concurrent connections", XLabel: "offered (connections/s)", YLabel: "connections",
			Series: []report.Series{
				rate(func(s *load.Step) float64 { return s.Counts.Mean }, "mean"),
				rate(func(s *load.Step) float64 { return float64(s.Counts.Peak) }, "peak"),
			},
		},
		{
			Name: "connections-failures", Title: "Failures", XLabel: "offered (connections/s)", YLabel: "failed (%)",
			Series: []report.Series{rate(func(s *load.Step) float64 { return 100 * s.Counts.FailureRatio() }, "failed")},
		},
	}
	for _, q := range quantiles[:3] {
		chart := report.Chart{
			Name: "connections-" + q.name, Title: "Waves, " + q.name, XLabel: "offered (connections/s)", YLabel: "time (ms)", LogY: true,
		}
		for wave := range load.Wave(load.Waves) {
			if series, any := waveSeries(steps, wave, q.percentile); any {
				chart.Series = append(chart.Series, series)
			}
		}
		if len(chart.Series) > 0 {
			charts = append(charts, chart)
		}
	}
	return charts
}

func seriesOf(steps []load.Step, name string, value func(*load.Step) float64) report.Series {
	series := report.Series{Name: name}
	for i := range steps {
		series.X = append(series.X, steps[i].Rate)
		series.Y = append(series.Y, value(&steps[i]))
	}
	return series
}

// waveSeries is a wave's percentile, in ms, of the steps in which it was seen.
// What is less than 1 µs is drawn as that: a close_wait that one segment begins
// and ends takes no time at all, and the axis is logarithmic.
func waveSeries(steps []load.Step, wave load.Wave, percentile float64) (report.Series, bool) {
	series := report.Series{Name: wave.String()}
	for i := range steps {
		if h := steps[i].Wire.Times[wave]; h.TotalCount() > 0 {
			series.X = append(series.X, steps[i].Rate)
			series.Y = append(series.Y, float64(max(h.ValueAtQuantile(percentile), 1000))/1e6)
		}
	}
	return series, len(series.X) > 0
}
