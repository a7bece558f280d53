package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/api/export"
	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp/pcap"
)

// replayRepeats is how often captures are replayed unless asked otherwise.
const replayRepeats = 5

func newBenchReplayCommand() *cobra.Command {
	bench := benchOptions{count: replayRepeats}
	o := replayOptions{format: "summary", timeouts: flowtable.ReplayTimeouts()}
	cmd := &cobra.Command{
		Use:   "replay [flags] FILE...",
		Short: "Measure how fast captures are followed",
		Long: `Replay does what 'finwait replay --format summary' does with the same captures,
as often as --count says, and gives packets, connections and octets per second,
each by the clock and by the time of the processors. Before the first time it
goes through the captures once, so that they are in memory where that has room
for them.`,
		Example: `  finwait bench replay capture.pcap
  finwait bench replay --count 10 --report replay *.pcap`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{fmt.Errorf("no capture was named; see '%s --help'", cmd.CommandPath())}
			}
			return rereadable(args)
		},
	}
	flags := cmd.Flags()
	flags.Uint32Var(&o.maxFlows, "max-flows", 1<<20, "connections that can be followed at once")
	bench.addFlags(flags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runBench(cmd, bench, "Replaying captures with finwait on this machine", func(ctx context.Context, p *benchProgress) (*report.Report, error) {
			repeat, _ := p.Repeat()
			if repeat == 1 {
				if _, err := timeReplay(ctx, o, args, p.out); err != nil {
					return nil, err
				}
			}
			r, err := timeReplay(ctx, o, args, p.out)
			if err != nil {
				return nil, err
			}
			return replayReport(r, args, repeat), nil
		})
	}
	return cmd
}

// rereadable refuses what cannot be read again and again.
func rereadable(paths []string) error {
	var wrong error
	for _, path := range paths {
		if path == pcap.StandardInput {
			wrong = errors.Join(wrong, usageError{errors.New("standard input (-) can be read only once; name a file")})
			continue
		}
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() && !info.IsDir() { // pcap.Open tells of the others
			wrong = errors.Join(wrong, usageError{fmt.Errorf("%q can be read only once; name a file", path)})
		}
	}
	return wrong
}

// replayRound is one replay of all captures.
type replayRound struct {
	packets, octets, connections uint64
	wall, cpu                    time.Duration
}

// timeReplay does what replay does without records, the making of the table
// and the summary's text included, and takes the time.
func timeReplay(ctx context.Context, o replayOptions, paths []string, stderr io.Writer) (r replayRound, err error) {
	cpu, start := processTime(), time.Now()
	sources, err := openAll(paths)
	if err != nil {
		return r, err
	}
	defer func() {
		for _, s := range sources {
			err = errors.Join(err, s.Close())
		}
	}()
	hasher, ring := segment.NewHasher(), flowtable.NewRing(replayRing, true)
	table, err := flowtable.New(flowtable.Config{MaxFlows: o.maxFlows, Timeouts: o.timeouts, Records: ring}, hasher)
	if err != nil {
		return r, fmt.Errorf("--max-flows: %w", err)
	}
	defer func() { err = errors.Join(err, table.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	summary := export.NewSummary()
	published := make(chan error, 1)
	go func() { published <- publishReplay(ring, summary, nil, cancel) }()
	bar := newProgress(stderr, sources)
	damage := follow(ctx, worker.NewReplayer(table, hasher), sources)
	ring.Close()
	writeErr := <-published
	bar.done()
	traffic := replayTraffic(sources, table)
	err = errors.Join(damage, writeErr, summary.Render(io.Discard, traffic))
	r = replayRound{traffic.Packets, traffic.Octets, summary.Connections(), time.Since(start), processTime() - cpu}
	if err == nil && r.packets == 0 {
		err = fmt.Errorf("%q has no packets: there is nothing to measure", paths[0])
	}
	return r, err
}

// processTime is the time that all processors spent for this process, in user
// space and in the kernel.
func processTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil { // cannot be, with these arguments
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var unusualInName = regexp.MustCompile(`[^A-Za-z0-9._+=-]+`)

func replayReport(r replayRound, paths []string, repeat int) *report.Report {
	name := "files=" + strconv.Itoa(len(paths))
	if len(paths) == 1 {
		name = "file=" + unusualInName.ReplaceAllString(filepath.Base(paths[0]), "_")
	}
	wall, cpu := r.wall.Seconds(), r.cpu.Seconds()
	per := func(n uint64, seconds float64) float64 { return float64(n) / seconds }
	return &report.Report{
		Results: []report.Result{{Name: "Replay/" + name, Runs: 1, Metrics: []report.Metric{
			{Value: per(r.packets, wall), Unit: "packets/s"},
			{Value: per(r.packets, cpu), Unit: "packets/cpu-s"},
			{Value: per(r.connections, wall), Unit: "connections/s"},
			{Value: per(r.connections, cpu), Unit: "connections/cpu-s"},
			{Value: per(r.octets, wall), Unit: "octets/s"},
			{Value: per(r.octets, cpu), Unit: "octets/cpu-s"},
			{Value: wall * 1e9, Unit: "ns/op"},
			{Value: cpu * 1e9, Unit: "cpu-ns/op"},
			{Value: cpu / wall, Unit: "cpu/wall"},
		}}},
		Charts: []report.Chart{{
			Name: "replay", Title: "Packets per second, round by round", XLabel: "round", YLabel: "packets/s",
			Legend: []string{"of the clock", "of processor time"},
			Bars:   []report.Bar{{Label: strconv.Itoa(repeat), Values: []float64{per(r.packets, wall), per(r.packets, cpu)}}},
		}},
		Notes: []string{
			fmt.Sprintf("The captures have %d packets of %d octets on the wire, and %d connections.", r.packets, r.octets, r.connections),
			"One operation is what 'finwait replay --format summary' does, but for the start of the process; the captures were read once before.",
			"Processor time is user and system time of all threads (getrusage); cpu/wall above 1 means that two cores worked at the same time.",
		},
	}
}
