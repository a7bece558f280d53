package main

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/finwait/finwait/api/report"
)

// turns are what was measured of one question. Turns without questions and with
// them are short and alternate, so that a machine that is slow for a while is slow
// for both.
type turns struct {
	took         []float64     // ns of each answer
	asking       time.Duration // that questions were asked for, at their rate
	within       time.Duration // what of it was in turns
	answers      int           // in turns
	early        time.Duration // how far into the next turn its first question comes
	quiet, asked []speed       // the worker's in each turn
}

// take has a turn without questions and one with them, the latter first where the
// last round had it last.
func (t *turns) take(ctx context.Context, w *busyWorker, length time.Duration, askFirst bool, ask func(context.Context) error, rate int) error {
	for _, asking := range []bool{askFirst, !askFirst} {
		do, to := func(context.Context) error { return nil }, &t.quiet
		if asking {
			do, to = func(ctx context.Context) error { return t.askAt(ctx, ask, rate, length) }, &t.asked
		}
		speed, err := w.turn(ctx, length, do)
		if err != nil {
			return err
		}
		*to = append(*to, speed)
	}
	return nil
}

// askAt asks so often a second until ctx ends, which it does after length. Where
// an answer comes late, the next question is asked at once, until none is late any
// more. A turn that is shorter than the time between two questions has one, and
// stands for all that time.
func (t *turns) askAt(ctx context.Context, ask func(context.Context) error, rate int, length time.Duration) error {
	began, due, between := time.Now(), t.early, time.Second/time.Duration(rate)
	for due < length && ctx.Err() == nil {
		_ = sleep(ctx, due-time.Since(began))
		// What was asked is answered, also where the turn ends meanwhile.
		if err := t.time(context.WithoutCancel(ctx), ask); err != nil {
			return err
		}
		t.answers++
		due += between
	}
	t.early = max(due-max(length, between), 0)
	took := max(time.Since(began), length)
	t.within += took
	t.asking += max(took, between)
	return nil
}

func (t *turns) time(ctx context.Context, ask func(context.Context) error) error {
	began := time.Now()
	err := ask(ctx)
	t.took = append(t.took, float64(time.Since(began)))
	return err
}

// pace is the time from one question to the next where answers alone count.
const pace = 50 * time.Millisecond

// askMore asks until there are so many answers.
func (t *turns) askMore(ctx context.Context, ask func(context.Context) error, answers int) error {
	for len(t.took) < answers {
		began := time.Now()
		if err := t.time(ctx, ask); err != nil {
			return err
		}
		if err := sleep(ctx, pace-time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}

// part is how much of the time that questions were asked for was in turns: between
// these, where they are short, the worker loses nothing.
func (t *turns) part() float64 {
	if t.asking == 0 {
		return 1
	}
	return float64(t.within) / float64(t.asking)
}

// lossOf is what part of the worker's speed questions took, by the sums of all
// turns, with its standard error: that of a ratio of paired values (Cochran,
// Sampling Techniques, section 6.4), which one pair does not have.
func (t *turns) lossOf(v func(speed) float64) (loss, standardError float64) {
	var quiet, asked, squares float64
	for i := range t.quiet {
		quiet, asked = quiet+v(t.quiet[i]), asked+v(t.asked[i])
	}
	ratio, n := asked/quiet, float64(len(t.quiet))
	for i := range t.quiet {
		off := v(t.asked[i]) - ratio*v(t.quiet[i])
		squares += off * off
	}
	return t.part() * (1 - ratio), t.part() * math.Sqrt(squares*n/(n-1)) / quiet
}

func elapsedOf(v speed) float64 { return v.elapsed }
func ownOf(v speed) float64     { return v.own }

func (t *turns) results(name, unit string, rate int) []report.Result {
	slices.Sort(t.took)
	at := func(percent int) float64 { return t.took[(len(t.took)*percent+99)/100-1] }
	metrics := []report.Metric{
		{Value: medianSpeed(t.quiet), Unit: "quiet-" + unit + "/s"}, {Value: medianSpeed(t.asked), Unit: "asked-" + unit + "/s"}}
	for _, of := range []struct {
		prefix string
		value  func(speed) float64
	}{{"", elapsedOf}, {"cpu-", ownOf}} {
		loss, standardError := t.lossOf(of.value)
		metrics = append(metrics, report.Metric{Value: loss, Unit: of.prefix + "loss"})
		if len(t.quiet) > 1 {
			metrics = append(metrics, report.Metric{Value: standardError, Unit: of.prefix + "stderr"})
		}
	}
	return []report.Result{
		{Name: "Queries/question=" + name + "/answer", Runs: len(t.took), Metrics: []report.Metric{
			{Value: at(50), Unit: "p50-ns"}, {Value: at(99), Unit: "p99-ns"}, {Value: at(100), Unit: "max-ns"},
			{Value: float64(rate), Unit: "offered/s"}, {Value: float64(t.answers) / t.asking.Seconds(), Unit: "answered/s"}}},
		{Name: "Queries/question=" + name + "/worker", Runs: len(t.quiet), Metrics: metrics},
	}
}

func medianSpeed(of []speed) float64 {
	values := make([]float64, len(of))
	for i, v := range of {
		values[i] = v.elapsed
	}
	return report.Median(values)
}
