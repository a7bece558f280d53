package main

import (
	"bytes"
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
goes through the captures to count what they have, so that they are in memory
where that has room for them.`,
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
		var load replayLoad
		return runBench(cmd, bench, "Replaying captures with finwait on this machine", func(ctx context.Context, p *benchProgress) (*report.Report, error) {
			repeat, _ := p.Repeat()
			if repeat == 1 {
				var err error
				p.Stage("counting", int64(2*len(args)))
				if load, err = countReplay(ctx, o, args, p); err != nil {
					return nil, err
				}
			}
			p.Stage("replaying", 1)
			times, err := timeReplay(ctx, o, args)
			if err != nil {
				return nil, err
			}
			return replayReport(load, times, args, repeat), nil
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

// replayLoad is what the captures have.
type replayLoad struct {
	packets, octets, connections uint64
}

// countReplay goes through the captures once to count their packets, and once
// more to count the records that a replay makes of them.
func countReplay(ctx context.Context, o replayOptions, paths []string, p *benchProgress) (load replayLoad, err error) {
	sources, err := openAll(paths)
	if err != nil {
		return load, err
	}
	defer func() {
		for _, s := range sources {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, s := range sources {
		if err := drain(ctx, s); err != nil {
			return load, err
		}
		load.packets += s.Counts().Packets
		load.octets += s.Counts().Octets
		p.Add(1)
	}
	if load.packets == 0 {
		return load, fmt.Errorf("%q: there are no packets to replay; name a capture that has some", paths)
	}
	var records lineCounter
	o.format = "ndjson"
	err = replay(ctx, o, paths, &records, io.Discard)
	load.connections = uint64(records)
	p.Add(int64(len(paths)))
	return load, err
}

// drain receives all segments of a source.
func drain(ctx context.Context, source worker.Source) error {
	batch := make([]*segment.Segment, 256)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := source.Receive(batch, 0); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// lineCounter counts the lines that are written to it.
type lineCounter uint64

func (c *lineCounter) Write(b []byte) (int, error) {
	*c += lineCounter(bytes.Count(b, []byte{'\n'}))
	return len(b), nil
}

// replayTimes is how long one replay took.
type replayTimes struct{ wall, cpu time.Duration }

// timeReplay replays as the command does, the opening of the files, the making
// of the table and the text of the summary included.
func timeReplay(ctx context.Context, o replayOptions, paths []string) (replayTimes, error) {
	cpu, start := processTime(), time.Now()
	err := replay(ctx, o, paths, io.Discard, io.Discard)
	return replayTimes{time.Since(start), processTime() - cpu}, err
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

func replayReport(load replayLoad, times replayTimes, paths []string, repeat int) *report.Report {
	name := "files=" + strconv.Itoa(len(paths))
	if len(paths) == 1 {
		name = "file=" + unusualInName.ReplaceAllString(filepath.Base(paths[0]), "_")
	}
	wall, cpu := times.wall.Seconds(), times.cpu.Seconds()
	per := func(n uint64, seconds float64) float64 { return float64(n) / seconds }
	return &report.Report{
		Results: []report.Result{{Name: "Replay/" + name, Runs: 1, Metrics: []report.Metric{
			{Value: per(load.packets, wall), Unit: "packets/s"},
			{Value: per(load.packets, cpu), Unit: "packets/cpu-s"},
			{Value: per(load.connections, wall), Unit: "connections/s"},
			{Value: per(load.connections, cpu), Unit: "connections/cpu-s"},
			{Value: per(load.octets, wall), Unit: "octets/s"},
			{Value: per(load.octets, cpu), Unit: "octets/cpu-s"},
			{Value: wall * 1e9, Unit: "ns/op"},
			{Value: cpu * 1e9, Unit: "cpu-ns/op"},
			{Value: cpu / wall, Unit: "cpu/wall"},
		}}},
		Charts: []report.Chart{{
			Name: "replay", Title: "Packets per second, round by round", XLabel: "round", YLabel: "packets/s",
			Legend: []string{"of the clock", "of processor time"},
			Bars:   []report.Bar{{Label: strconv.Itoa(repeat), Values: []float64{per(load.packets, wall), per(load.packets, cpu)}}},
		}},
		Notes: []string{
			fmt.Sprintf("The captures have %d packets of %d octets on the wire, and %d connections.", load.packets, load.octets, load.connections),
			"One operation is what 'finwait replay --format summary' does, but for the start of the process; the captures were read before.",
			"Processor time is user and system time of all threads (getrusage); cpu/wall above 1 means that two cores worked at the same time.",
		},
	}
}
