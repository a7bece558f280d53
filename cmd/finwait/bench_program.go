package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/xdp/programcost"
)

type programOptions struct {
	bench  benchOptions
	flows  string
	frames string
	rounds int
}

func newBenchProgramCommand() *cobra.Command {
	var o programOptions
	cmd := &cobra.Command{
		Use:   "program",
		Short: "Measure the kernel programs beside programs that do less",
		Long: `Program times the tap's kernel programs on data segments, and beside them an
empty program, one that only reads the headers in the tap's own way, and a
minimal one that counts: plain IPv4 and TCP, one look-up of the 5-tuple, two
additions. The kernel runs them on a frame in memory (BPF_PROG_RUN), each behind
a front program that makes the frame the next segment of one flow (hot) or of
any of --flows (random); what the front costs is measured and taken off. All
programs take turns, round by round: results are medians of the rounds, ratios
medians of the ratios within a round. It needs root, and no interface. Nothing
else should run meanwhile:

  chrt -f 10 taskset -c 1 finwait bench program`,
		Args: noArguments,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.flows, "flows", "1M", "flows among which random keys are drawn, the next power of two")
	flags.StringVar(&o.frames, "frames", "256k", "frames of each turn")
	flags.IntVar(&o.rounds, "rounds", programcost.DefaultRounds, "rounds in which every program takes its turn")
	o.bench.addFlags(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		config, err := o.validated()
		if err != nil {
			return err
		}
		return runBench(cmd, o.bench, "The kernel programs of finwait on this machine", func(ctx context.Context, p *benchProgress) (*report.Report, error) {
			p.Stage("programs", int64(config.Timings()))
			config.Timed = func() { p.Add(1) }
			result, err := programcost.Measure(ctx, config)
			if err != nil {
				return nil, err
			}
			return programReport(result), nil
		})
	}
	return cmd
}

// validated returns what is to be measured.
func (o *programOptions) validated() (programcost.Config, error) {
	config := programcost.Config{Flows: 1, Rounds: o.rounds}
	flows, err := parseCount(o.flows)
	if err != nil || flows < 1 || flows > programcost.MaxFlows {
		return config, usageError{fmt.Errorf("--flows %q: a number from 1 to %d is needed, such as 1M", o.flows, programcost.MaxFlows)}
	}
	for uint64(config.Flows) < flows {
		config.Flows *= 2
	}
	frames, err := parseCount(o.frames)
	if err != nil || frames < 2 || frames > 1<<30 {
		return config, usageError{fmt.Errorf("--frames %q: a number from 2 to %d is needed, such as 256k", o.frames, 1<<30)}
	}
	config.Frames = int(frames)
	if o.rounds < 1 || o.rounds > maxRepeats {
		return config, usageError{fmt.Errorf("--rounds %d: choose 1 to %d", o.rounds, maxRepeats)}
	}
	return config, nil
}

func programReport(result *programcost.Result) *report.Report {
	r := &report.Report{Notes: []string{
		"ns/segment-low and -high are the quartiles of the rounds. The time includes what BPF_PROG_RUN takes to run a program, as that of the empty program shows, and not the front program before each",
		"counted is finwait_tap, sequence is finwait_sequence, as a tap loads them; over-minimal is (counted - empty) / (minimal - empty), over-parse is sequence / parse",
	}}
	chart := report.Chart{Name: "program", Title: "A data segment in the kernel", XLabel: "keys", YLabel: "ns/segment"}
	for _, p := range programcost.Programs() {
		chart.Legend = append(chart.Legend, p.String())
	}
	for _, k := range []programcost.Keys{programcost.Hot, programcost.Random} {
		keys := k.String()
		if k == programcost.Random {
			keys = fmt.Sprintf("%v-%d", k, result.Flows)
		}
		bar := report.Bar{Label: keys}
		for _, p := range programcost.Programs() {
			sample := result.Cost(p, k).NS
			r.Results = append(r.Results, sampleResult("Program/keys="+keys+"/"+p.String(), "ns/segment", sample))
			bar.Values = append(bar.Values, sample.Median())
		}
		chart.Bars = append(chart.Bars, bar)
		r.Results = append(r.Results,
			sampleResult("Program/keys="+keys+"/front", "ns/segment", result.Fronts[k]),
			sampleResult("Program/keys="+keys+"/counted-over-minimal", "ratio",
				result.Ratio(programcost.Counted, programcost.Minimal, programcost.Empty, k)),
			sampleResult("Program/keys="+keys+"/sequence-over-parse", "ratio",
				result.Times(programcost.Sequence, programcost.Parse, k)))
	}
	r.Charts = []report.Chart{chart}
	return r
}

// sampleResult is one figure with its spread.
func sampleResult(name, unit string, s programcost.Sample) report.Result {
	low, high := s.Quartiles()
	return report.Result{Name: name, Runs: len(s), Metrics: []report.Metric{
		{Value: s.Median(), Unit: unit}, {Value: low, Unit: unit + "-low"}, {Value: high, Unit: unit + "-high"},
	}}
}
