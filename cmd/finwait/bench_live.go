package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/xdp/generator"
)

// Rates that are no number of frames a second.
const (
	rateFull   = 0.0
	rateSearch = -1.0
)

// The ways of accounting, as RECORD has them.
const (
	accountingCounted  = "counted"
	accountingSequence = "sequence"
)

// maxLiveConnections bounds --connections to what the tables' indices hold.
const maxLiveConnections = 1 << 26

// liveOptions are what bench live was asked for, validated.
type liveOptions struct {
	bench       benchOptions
	control     float64 // share of SYN, FIN and RST segments
	connections int     // open at once
	frame       int     // octets of a data segment's frame
	ipv6        bool
	closer      generator.Closer
	seed        uint32
	rate        float64
	trial       time.Duration
	least, most float64 // frames a second, of the search
	resolution  float64
	pulse       time.Duration
	transmit    string
	receive     string
	force       bool
	receiver    receiverKind
	sequence    bool
	exec        string
	execAfter   string

	dataSegments int
	cpu          int // the generator's
}

// liveFlags are the flags that need more than to be parsed.
type liveFlags struct {
	control, connections, rate, receiver, closer, resolution string
}

func newBenchLiveCommand() *cobra.Command {
	var (
		o liveOptions
		f liveFlags
	)
	cmd := &cobra.Command{
		Use:   "live",
		Short: "Find the highest rate at which an interface is followed without loss",
		Long: `Live makes the traffic of many TCP connections in the kernel, each whole from
SYN to the last acknowledgement, and measures it with the very code of 'finwait
run': over a veth pair between two namespaces of its own, or from one interface
of this machine to another (--transmit, --receive) that a cable joins.

It looks for the highest rate without loss as RFC 2544 section 26.1 does. A trial
is without loss if every frame that was sent is in the ledger and every control
segment reached the worker. At the end every connection is closed, and must have
its record, right in every field.

Share of control segments: SYN, SYN-ACK and two FINs of each connection; the
number of data segments follows from it. The window's connections take turns
frame by frame, so that no two frames in a row belong to the same one. A trial
begins when the share is reached, at the latest after twice its own duration;
the share that it had is among the results.

For comparisons, --receiver drop puts a program that drops everything where
frames arrive, and --receiver none leaves them to the kernel and to a program
that is started there by --exec. A real interface is no place for that: the
frames' addresses are those set aside for benchmarks (RFC 2544, RFC 5180).`,
		Example: `  finwait bench live --control 2% --connections 1M
  finwait bench live --rate 500000 --receiver none --exec 'softflowd -d -i {interface} -n 127.0.0.1:9995'`,
		Args: noArguments,
	}
	o.addFlags(cmd, &f)
	accounting := addAccountingFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o.sequence, err = isSequence(*accounting); err != nil {
			return err
		}
		if err := o.complete(&f); err != nil {
			return usageError{err}
		}
		return runBench(cmd, o.bench, "The highest rate without loss", func(ctx context.Context, p *benchProgress) (*report.Report, error) {
			found, err := measureLive(ctx, &o, p)
			if err != nil {
				return nil, err
			}
			return found.report(&o)
		})
	}
	return cmd
}

func (o *liveOptions) addFlags(cmd *cobra.Command, f *liveFlags) {
	flags := cmd.Flags()
	o.bench.addFlags(flags)
	flags.StringVar(&f.control, "control", "2%", "share of control segments, SYN and FIN, among all")
	flags.StringVar(&f.connections, "connections", "10k", "connections open at once, with k or M for thousands or millions")
	flags.IntVar(&o.frame, "frame-length", 0, "octets of a data segment's frame, without its check sequence; 0 for the least")
	flags.BoolVar(&o.ipv6, "ipv6", false, "connections over IPv6")
	flags.StringVar(&f.closer, "closer", "both", "who sends the first FIN: client, server, or both in turn")
	flags.Uint32Var(&o.seed, "seed", 1, "changes addresses, ports and sequence numbers")
	flags.StringVar(&f.rate, "rate", "search", "frames a second: search, full, or a number for one trial at that rate")
	flags.DurationVar(&o.trial, "trial", 5*time.Second, "duration of one trial (RFC 2544 section 24 has 60 s)")
	flags.DurationVar(&o.pulse, "pulse", time.Millisecond, "how often to send what a rate has fallen due; longer costs the generator less and comes in larger bursts")
	flags.Float64Var(&o.least, "least", 10_000, "lowest rate of the search, frames a second")
	flags.Float64Var(&o.most, "most", math.MaxFloat64, "highest rate of the search, frames a second")
	flags.StringVar(&f.resolution, "resolution", "2%", "how near to each other a rate with loss and one without must be")
	flags.StringVar(&o.transmit, "transmit", "", "interface to send from, with --receive; a veth pair is made where there is none")
	flags.StringVar(&o.receive, "receive", "", "interface where frames arrive")
	flags.BoolVar(&o.force, "force", false, "take interfaces with an address of this machine too")
	flags.StringVar(&f.receiver, "receiver", string(receiverFinwait), "what stands where frames arrive: finwait, drop, or none")
	flags.StringVar(&o.exec, "exec", "", "command to run where frames arrive; {interface} stands for the interface's name")
	flags.StringVar(&o.execAfter, "exec-after", "", "command to run there after a trial, of which the output is noted")
}

// complete validates and fills in.
func (o *liveOptions) complete(f *liveFlags) error {
	if err := o.parse(f); err != nil {
		return err
	}
	switch {
	case o.connections < 1 || o.connections > maxLiveConnections:
		return fmt.Errorf("--connections %s: choose 1 to %d", f.connections, maxLiveConnections)
	case o.trial < 100*time.Millisecond || o.trial > time.Hour:
		return fmt.Errorf("--trial %v: choose 100ms to 1h", o.trial)
	case !(o.least >= 1) || !(o.most >= o.least):
		return fmt.Errorf("--least %g and --most %g: both are frames a second, at least 1, and the first is not above the second", o.least, o.most)
	case o.pulse < 100*time.Microsecond || o.pulse > 100*time.Millisecond:
		return fmt.Errorf("--pulse %v: choose 100µs to 100ms", o.pulse)
	case o.resolution < 0.001 || o.resolution > 0.5:
		return fmt.Errorf("--resolution %s: choose 0.1%% to 50%%", f.resolution)
	case (o.transmit == "") != (o.receive == ""):
		return errors.New("--transmit and --receive: name both interfaces, or neither")
	case o.transmit != "" && o.transmit == o.receive:
		return fmt.Errorf("--transmit and --receive %q: two interfaces are needed", o.transmit)
	case o.receiver != receiverFinwait && o.rate == rateSearch:
		return fmt.Errorf("--receiver %s: it tells no losses to search by; name a --rate, or full", o.receiver)
	case o.execAfter != "" && o.exec == "":
		return errors.New("--exec-after is for the command of --exec; name one")
	}
	c := o.generatorConfig()
	if o.frame = c.FrameLength; o.frame != 0 && (o.frame < generator.MinFrame || o.frame > generator.MaxFrame || c.Payload() < 1) {
		return fmt.Errorf("--frame-length %d: choose %d to %d, or 0 for the least", o.frame, max(generator.MinFrame, 1-(c.Payload()-o.frame)), generator.MaxFrame)
	}
	o.cpu = lastCPU()
	return nil
}

func (o *liveOptions) parse(f *liveFlags) (err error) {
	if o.control, err = parseShare(f.control); err != nil {
		return fmt.Errorf("--control %w", err)
	}
	if o.dataSegments, err = generator.DataSegments(o.control); err != nil {
		return fmt.Errorf("--control %q: %w", f.control, err)
	}
	if o.resolution, err = parseShare(f.resolution); err != nil {
		return fmt.Errorf("--resolution %w", err)
	}
	connections, err := parseNumber(f.connections)
	if err != nil {
		return fmt.Errorf("--connections %w", err)
	}
	o.connections = int(min(connections, math.MaxInt32))
	switch f.rate {
	case "search":
		o.rate = rateSearch
	case "full":
		o.rate = rateFull
	default:
		if o.rate, err = parseNumber(f.rate); err != nil || o.rate < 1 {
			return fmt.Errorf("--rate %q: choose search, full, or a number of frames a second such as 500000 or 1.5M", f.rate)
		}
	}
	closers := map[string]generator.Closer{"client": generator.ClosedByClient, "server": generator.ClosedByServer, "both": generator.ClosedInTurn}
	var known bool
	if o.closer, known = closers[f.closer]; !known {
		return fmt.Errorf("--closer %q: choose client, server or both", f.closer)
	}
	o.receiver = receiverKind(f.receiver)
	switch o.receiver {
	case receiverFinwait, receiverDrop, receiverNone:
		return nil
	}
	return fmt.Errorf("--receiver %q: choose finwait, drop or none", f.receiver)
}

// parseShare reads 2% or 0.02.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(share) || share < 0 {
		return 0, fmt.Errorf("%q: a share is needed, such as 2%% or 0.02", text)
	}
	if percent {
		share /= 100
	}
	return share, nil
}

// parseNumber reads 1M, 100k or 20000.
func parseNumber(text string) (float64, error) {
	number, factor := text, 1.0
	for suffix, of := range map[string]float64{"k": 1e3, "M": 1e6} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			number, factor = rest, of
		}
	}
	count, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(count) || count < 0 {
		return 0, fmt.Errorf("%q: a number is needed, such as 20000, 100k or 1M", text)
	}
	return count * factor, nil
}

func (o *liveOptions) generatorConfig() generator.Config {
	return generator.Config{
		Window: o.connections, DataSegments: o.dataSegments, FrameLength: o.frame, IPv6: o.ipv6,
		Closer: o.closer, Seed: o.seed, Pulse: o.pulse, CPU: o.cpu,
	}
}

// lastCPU is the last one that this process may use: workers go from the first on.
func lastCPU() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return -1
	}
	for cpu := len(set)*64 - 1; cpu >= 0; cpu-- {
		if set.IsSet(cpu) {
			return cpu
		}
	}
	return -1
}

// facts say what was measured where.
func (s *liveSession) facts() []string {
	c := s.generator.Config()
	facts := []string{fmt.Sprintf("%d connections open at once, %d data segments each, frames of %d octets, %d control segments for each connection; generator on CPU %d of %d, with what the kernel does for each frame at a veth's other end",
		c.Window, c.DataSegments, c.FrameLength, 4, s.options.cpu, runtime.NumCPU())}
	if s.appliance == nil {
		return facts
	}
	facts = append(facts, s.appliance.source.Facts()...)
	facts = append(facts, s.appliance.source.Warnings()...)
	return append(facts, s.appliance.facts()[:1]...)
}
