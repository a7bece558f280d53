package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/flowtable"
)

// livePercentiles of the phases.
var livePercentiles = []float64{50, 99, 99.9}

// name is that of the results.
func (o *liveOptions) name() string {
	receiver := string(o.receiver)
	switch {
	case o.receiver == receiverFinwait && o.sequence:
		receiver = accountingSequence
	case o.receiver == receiverFinwait:
		receiver = accountingCounted
	case o.exec != "":
		receiver = "exec"
	}
	rate := "search"
	switch o.rate {
	case rateFull:
		rate = "full"
	case rateSearch:
	default:
		rate = fmt.Sprintf("%.0f", o.rate)
	}
	version := "IPv4"
	if o.ipv6 {
		version = "IPv6"
	}
	return fmt.Sprintf("Live/control=%.4g%%/connections=%d/%s/rate=%s/%s", 100*o.control, o.connections, version, rate, receiver)
}

// report is the finding in the form in which it leaves finwait. It is an error
// where records do not agree with what was sent, since then no rate is certified.
func (f *liveFinding) report(o *liveOptions) (*report.Report, error) {
	r := &report.Report{Notes: f.notes(o)}
	measured := f.Best
	if measured == nil {
		measured = f.Trials[len(f.Trials)-1]
	}
	result := report.Result{Name: o.name(), Runs: int(measured.Run.Counts.Sent), Metrics: trialMetrics(measured, o)}
	if f.Full != nil {
		result.Metrics = append(result.Metrics,
			report.Metric{Value: f.Full.Run.Rate(), Unit: "full-rate-frames/s"},
			report.Metric{Value: float64(f.Full.lost()) / float64(max(f.Full.Run.Counts.Made, 1)), Unit: "full-rate-lost/frame"})
	}
	if f.Check != nil {
		result.Metrics = append(result.Metrics, f.phaseMetrics()...)
		r.Charts = append(r.Charts, f.phaseChart())
	}
	r.Results = append(r.Results, result)
	r.Charts = append(r.Charts, f.trialChart())
	if f.Verdict != nil && !f.Verdict.ok() {
		return nil, fmt.Errorf("no segment was lost, but %v: %s", f.Verdict, strings.Join(f.Verdict.Examples, "; "))
	}
	if f.Best == nil && o.receiver == receiverFinwait && o.rate != rateFull {
		return r, errors.New(measured.String())
	}
	return r, nil
}

func trialMetrics(t *liveTrial, o *liveOptions) []report.Metric {
	c := t.Run.Counts
	metrics := []report.Metric{
		{Value: t.Run.Rate(), Unit: "frames/s"},
		{Value: t.perSecond(c.Closed), Unit: "connections/s"},
		{Value: t.perSecond(c.Control()), Unit: "control-segments/s"},
		{Value: float64(c.Control()) / float64(max(c.Made, 1)), Unit: "control-segments/frame"},
		{Value: float64(t.lost()) / float64(max(c.Made, 1)), Unit: "lost/frame"},
		{Value: t.perMillion(t.CPU.Busy), Unit: "system-cpu-s/Mframes"},
		{Value: t.perMillion(t.CPU.Ticks), Unit: "sampled-cpu-s/Mframes"},
		{Value: t.perMillion(t.CPU.Process + t.Program), Unit: "process-cpu-s/Mframes"},
		{Value: t.perMillion(t.Run.CPU), Unit: "generator-cpu-s/Mframes"},
	}
	if o.receiver == receiverFinwait {
		metrics = append(metrics, report.Metric{Value: t.perMillion(t.CPU.Process - t.Run.CPU), Unit: "worker-cpu-s/Mframes"})
	}
	if o.exec != "" {
		metrics = append(metrics, report.Metric{Value: t.perMillion(t.Program), Unit: "exec-cpu-s/Mframes"})
	}
	return metrics
}

func (f *liveFinding) phaseMetrics() []report.Metric {
	var metrics []report.Metric
	for i, h := range f.Check.phases {
		for _, p := range livePercentiles {
			metrics = append(metrics, report.Metric{
				Value: float64(h.ValueAtPercentile(p)), Unit: fmt.Sprintf("%v-p%g-ns", flowtable.Phase(i), p),
			})
		}
	}
	return metrics
}

func (f *liveFinding) phaseChart() report.Chart {
	c := report.Chart{Name: "live-phases", Title: "Phases of a teardown as measured", XLabel: "phase", YLabel: "ms"}
	for _, p := range livePercentiles {
		c.Legend = append(c.Legend, fmt.Sprintf("p%g", p))
	}
	for i, h := range f.Check.phases {
		bar := report.Bar{Label: flowtable.Phase(i).String()}
		for _, p := range livePercentiles {
			bar.Values = append(bar.Values, float64(h.ValueAtPercentile(p))/1e6)
		}
		c.Bars = append(c.Bars, bar)
	}
	return c
}

func (f *liveFinding) trialChart() report.Chart {
	var rate, lost []float64
	for _, t := range f.Trials {
		rate = append(rate, t.Run.Rate()/1e3)
		lost = append(lost, 100*float64(t.lost())/float64(max(t.Run.Counts.Made, 1)))
	}
	return report.Chart{
		Name: "live-trials", Title: "Trials", XLabel: "thousand frames/s", YLabel: "lost, % of frames",
		Series: []report.Series{{Name: "trials", X: rate, Y: lost}},
	}
}

// notes are what a reader must know to judge the numbers.
func (f *liveFinding) notes(o *liveOptions) []string {
	notes := append([]string{}, f.Facts...)
	notes = append(notes,
		fmt.Sprintf("Trials of %v, resolution %.2g%% (RFC 2544 section 26.1).", o.trial, 100*o.resolution),
		"CPU is beyond what the machine does without load. system-cpu: all CPUs but for their idle time (/proc/stat). sampled-cpu: user, nice, system, irq and softirq there, as sampled at ticks. "+
			"process-cpu: what the scheduler gave to finwait's threads and to --exec's, softirqs on their time included; generator-cpu is part of it.")
	for _, t := range f.Trials {
		note := t.String()
		if t.CPU.Stolen > 0 {
			note += fmt.Sprintf("; the hypervisor took %v of CPU meanwhile", t.CPU.Stolen)
		}
		if t.Answer != "" {
			note += "; " + o.execAfter + ": " + strings.Join(strings.Fields(t.Answer), " ")
		}
		notes = append(notes, note)
	}
	if f.Full != nil && f.Full.lost() == 0 {
		notes = append(notes, "Nothing was lost at the generator's full rate: the rate found is the generator's limit, not the receiver's.")
	}
	if f.Verdict != nil {
		notes = append(notes, f.Verdict.String()+".")
	}
	return notes
}
