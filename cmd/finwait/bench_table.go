package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/capacity"
)

// memoryShare is the part of the memory that is available which a benchmark
// takes without being told to.
const memoryShare = 0.9

type tableOptions struct {
	bench       benchOptions
	flows       string
	segments    string
	connections string
	memory      string
	rounds      int
}

func newBenchTableCommand() *cobra.Command {
	var o tableOptions
	cmd := &cobra.Command{
		Use:   "table",
		Short: "Measure the flow table beside a Go map and the machine's limit",
		Long: `Table follows data segments of random connections, all of them established, and
gives the time per segment beside that of a Go map which counts the same and
beside this machine's limit: random additions to two adjacent cache lines in
huge pages, many under way at once. Then it opens and closes whole connections.
Sizes and contenders take turns, round by round, so that noise strikes all of
them alike; results are medians of the rounds, ratios medians of the ratios
within a round. Nothing else should run meanwhile:

  chrt -f 10 taskset -c 1 finwait bench table`,
		Example: `  finwait bench table
  finwait bench table --flows 1M --count 10 >before; ...; benchstat before after
  finwait bench table --flows 100k,1M,10M --report capacity`,
		Args: noArguments,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.flows, "flows", "100k,1M,10M", "numbers of connections, with k or M for thousands or millions")
	flags.IntVar(&o.rounds, "rounds", 7, "rounds in which every size and contender takes its turn")
	flags.StringVar(&o.segments, "segments", "500k", "segments of each turn; 0 leaves Go map and limit out and measures whole connections alone")
	flags.StringVar(&o.connections, "connections", "128k", "whole connections of each turn; 0 leaves them out")
	flags.StringVar(&o.memory, "memory-limit", "", "octets that may be taken, with M or G for 2^20 or 2^30 (default 9/10 of what is available)")
	o.bench.addFlags(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		options, err := o.validated()
		if err != nil {
			return err
		}
		return runBench(cmd, o.bench, "The flow table of finwait on this machine", func(ctx context.Context, p *benchProgress) (*report.Report, error) {
			results, err := capacity.Measure(ctx, options, p)
			if err != nil {
				return nil, err
			}
			return tableReport(results), nil
		})
	}
	return cmd
}

// validated returns what is to be measured if this machine can hold it.
func (o *tableOptions) validated() (capacity.Options, error) {
	var out capacity.Options
	for _, word := range strings.Split(o.flows, ",") {
		n, err := parseCount(word)
		if err != nil || n < capacity.MinFlows || n > flowtable.MaxMaxFlows {
			return out, usageError{fmt.Errorf("--flows %q: %q is no number from %d to %s; give a list such as 100k,1M,10M",
				o.flows, word, capacity.MinFlows, countLabel(flowtable.MaxMaxFlows))}
		}
		out.Flows = append(out.Flows, uint32(n))
	}
	out.Rounds = o.rounds
	if o.rounds < 1 || o.rounds > maxRepeats {
		return out, usageError{fmt.Errorf("--rounds %d: choose 1 to %d", o.rounds, maxRepeats)}
	}
	for _, f := range []struct {
		name, word string
		to         *int
	}{{"segments", o.segments, &out.Segments}, {"connections", o.connections, &out.Connections}} {
		n, err := parseCount(f.word)
		if err != nil || n > math.MaxInt32 {
			return out, usageError{fmt.Errorf("--%s %q: a number such as 128k or 1M is needed, or 0", f.name, f.word)}
		}
		*f.to = int(n)
	}
	if out.Segments+out.Connections == 0 {
		return out, usageError{errors.New("--segments 0 --connections 0: nothing is left to measure; give one of them a number")}
	}
	return out, o.checkMemory(out.Flows)
}

// checkMemory refuses what would make this machine swap or kill.
func (o *tableOptions) checkMemory(flows []uint32) error {
	limit := uint64(memoryShare * float64(report.MemoryAvailable()))
	if o.memory != "" {
		var err error
		if limit, err = parseOctets(o.memory); err != nil {
			return usageError{fmt.Errorf("--memory-limit %q: a number of octets such as 512M or 8G is needed", o.memory)}
		}
	}
	need, err := capacity.Memory(flows)
	if err != nil {
		return usageError{fmt.Errorf("--flows %s: %w", o.flows, err)}
	}
	if limit > 0 && need > limit {
		return usageError{fmt.Errorf("--flows %s needs about %.1f GiB and %.1f GiB may be taken; choose fewer flows, or a higher --memory-limit if the machine has the memory",
			o.flows, float64(need)/(1<<30), float64(limit)/(1<<30))}
	}
	return nil
}

// parseCount reads a number with k or M for thousands or millions.
func parseCount(word string) (uint64, error) {
	return parseScaled(word, map[string]uint64{"k": 1e3, "M": 1e6})
}

// parseOctets reads a number with k, M or G for 2^10, 2^20 or 2^30.
func parseOctets(word string) (uint64, error) {
	return parseScaled(word, map[string]uint64{"k": 1 << 10, "M": 1 << 20, "G": 1 << 30})
}

func parseScaled(word string, scales map[string]uint64) (uint64, error) {
	word = strings.TrimSpace(word)
	scale := uint64(1)
	if digits := len(word) - 1; digits >= 0 && scales[word[digits:]] != 0 {
		scale, word = scales[word[digits:]], word[:digits]
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return 0, err
	}
	if n > math.MaxUint64/scale {
		return 0, errors.New("the number is too large")
	}
	return n * scale, nil
}

// countLabel is the short form of a number that parseCount reads.
func countLabel(n uint64) string {
	switch {
	case n > 0 && n%1e6 == 0:
		return strconv.FormatUint(n/1e6, 10) + "M"
	case n > 0 && n%1e3 == 0:
		return strconv.FormatUint(n/1e3, 10) + "k"
	}
	return strconv.FormatUint(n, 10)
}

// tableReport turns what was measured into results, and charts of the times.
func tableReport(results []capacity.Result) *report.Report {
	r := &report.Report{Notes: tableNotes}
	segments, connections := len(results[0].Finwait) > 0, len(results[0].Connections) > 0
	for i := range results {
		if segments {
			r.Results = append(r.Results, segmentResults(&results[i], &results[0])...)
		}
		if connections {
			r.Results = append(r.Results, connectionsResult(&results[i]))
		}
	}
	if segments {
		r.Charts = append(r.Charts, segmentsChart(results))
	}
	if connections {
		r.Charts = append(r.Charts, connectionsChart(results))
	}
	return r
}

func segmentsChart(results []capacity.Result) report.Chart {
	c := report.Chart{
		Name: "table", Title: "Time per segment of random connections",
		XLabel: "connections in the table", YLabel: "ns/segment", LogX: true, LogY: true,
	}
	for _, contender := range []struct {
		name string
		of   func(*capacity.Result) capacity.Times
	}{
		{"Go map", func(r *capacity.Result) capacity.Times { return r.GoMap }},
		{"finwait", func(r *capacity.Result) capacity.Times { return r.Finwait }},
		{"the machine's limit", func(r *capacity.Result) capacity.Times { return r.Limit }},
	} {
		line := report.Series{Name: contender.name}
		for i := range results {
			line.X = append(line.X, float64(results[i].Flows))
			line.Y = append(line.Y, report.Median(contender.of(&results[i])))
		}
		c.Series = append(c.Series, line)
	}
	return c
}

func connectionsChart(results []capacity.Result) report.Chart {
	c := report.Chart{
		Name: "connections", Title: "Whole connections, from SYN to record",
		XLabel: "connections that the table has room for", YLabel: "connections/s", Legend: []string{"finwait"},
	}
	for i := range results {
		c.Bars = append(c.Bars, report.Bar{
			Label: countLabel(uint64(results[i].Flows)), Values: []float64{1e9 / report.Median(results[i].Connections)},
		})
	}
	return c
}

// tableResult is one result at a number of flows.
func tableResult(s *capacity.Result, what string, rounds int, metrics ...report.Metric) report.Result {
	return report.Result{Name: "Table/flows=" + countLabel(uint64(s.Flows)) + "/" + what, Runs: rounds, Metrics: metrics}
}

// segmentResults are those of the contenders at one number of flows, and finwait's time
// beside that at the smallest.
func segmentResults(s, smallest *capacity.Result) []report.Result {
	one := func(what string, metrics ...report.Metric) report.Result {
		return tableResult(s, what, len(s.Finwait), metrics...)
	}
	all := []report.Result{
		one("finwait", append(spread(s.Finwait, "ns/segment"), report.Metric{Value: s.TableOctets, Unit: "octets/connection"},
			report.Metric{Value: s.AllocatedOctets, Unit: "B/op"}, report.Metric{Value: s.Allocations, Unit: "allocs/op"})...),
		one("gomap", append(spread(s.GoMap, "ns/segment"), report.Metric{Value: s.GoMapOctets, Unit: "octets/connection"})...),
		one("limit", spread(s.Limit, "ns/segment")...),
		one("generation", spread(s.Generation, "ns/segment")...),
		one("gomap-over-finwait", spread(ratios(s.GoMap, s.Finwait), "ratio")...),
		one("finwait-over-limit", spread(ratios(s.Finwait, s.Limit), "ratio")...),
		one("finwait-net-over-limit", spread(ratios(differences(s.Finwait, s.Generation), s.Limit), "ratio")...),
		one("finwait-heap", report.Metric{Value: float64(s.Heap), Unit: "octets"}, report.Metric{Value: s.GC, Unit: "ns/gc-cycle"},
			report.Metric{Value: float64(s.GCCycles), Unit: "gc-cycles"}),
		one("gomap-heap", report.Metric{Value: s.GoMapOctets * float64(s.Flows), Unit: "octets"}, report.Metric{Value: s.GoMapGC, Unit: "ns/gc-cycle"}),
	}
	if s != smallest {
		all = append(all, one("finwait-over-smallest", spread(ratios(s.Finwait, smallest.Finwait), "ratio")...))
	}
	return all
}

func connectionsResult(s *capacity.Result) report.Result {
	perSecond := ratios(slices.Repeat(capacity.Times{1e9}, len(s.Connections)), s.Connections)
	metrics := append(spread(perSecond, "connections/s"), report.Metric{Value: report.Median(s.Connections), Unit: "ns/connection"})
	return tableResult(s, "connections", len(s.Connections), metrics...)
}

// spread is the median of rounds, and the least and the greatest of them.
func spread(rounds capacity.Times, unit string) []report.Metric {
	return []report.Metric{
		{Value: report.Median(rounds), Unit: unit},
		{Value: slices.Min(rounds), Unit: "min-" + unit},
		{Value: slices.Max(rounds), Unit: "max-" + unit},
	}
}

// ratios are those within each round.
func ratios(a, b capacity.Times) capacity.Times {
	list := make(capacity.Times, len(a))
	for i := range a {
		list[i] = a[i] / b[i]
	}
	return list
}

// differences are those within each round.
func differences(a, b capacity.Times) capacity.Times {
	list := make(capacity.Times, len(a))
	for i := range a {
		list[i] = a[i] - b[i]
	}
	return list
}

var tableNotes = []string{
	"Times are processor time of the measuring thread: what other programs took of the processor does not count, what they did to caches and memory does.",
	"finwait and gomap each contain the whole of generation, the making of the segments, which is also given alone; limit contains only the computing of the random order.",
	"finwait-net-over-limit takes generation off finwait, as if the processor had not done both at the same time: the table's own share is between the two ratios to the limit.",
	"finwait-over-smallest is finwait's time beside that with the fewest connections.",
	"gomap looks keys up in a Go map of pointers and counts the same packets, octets, payload by sequence numbers, acknowledgements and times, without states and timers.",
	"limit is random additions to two adjacent cache lines of 128 octets per connection, eight independent ones at a time, in huge pages where the kernel gives them.",
	"octets/connection is what the table reserves in all, divided by the connections that it has room for; for gomap it is live heap.",
	"finwait-heap is the live Go heap and a whole garbage collection with the tables of this size and the smaller ones filled and no Go map made; gc-cycles were during finwait's rounds.",
	"gomap-heap is the live heap that the Go map of this size added, and a whole garbage collection with the maps of this size and the smaller ones.",
	"connections is whole ones, from SYN to record, in a table kept more than half full; one in eight ends by its idle timeout.",
}
