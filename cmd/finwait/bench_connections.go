package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/xdp/load"
	"github.com/finwait/finwait/xdp/packet"
)

const (
	// usualConcurrent is the default of --max-concurrent, where the process
	// may open so many files.
	usualConcurrent = 10000
	// filesKept are left to the rest of the process.
	filesKept = 1024
	// maxSend bounds what --send reads from a file.
	maxSend = 64 << 10
)

type connectionsOptions struct {
	benchOptions
	target, rate, close, send, ports, netInterface string
	sources, limits                                []string
	stepDuration, warmUp, hold, timeout, maxLag    time.Duration
	expect, maxConcurrent, threads                 int
}

func newBenchConnectionsCommand() *cobra.Command {
	var o connectionsOptions
	cmd := &cobra.Command{
		Use:   "connections --target ADDR:PORT [flags]",
		Short: "Measure how many connections a second a server or gateway bears",
		Long: `Connections opens and closes real TCP connections to a target, at one rate
after the other, and watches them where they leave this machine, until a stated
limit is passed. The highest rate that held is the result.

  Point it only at what you own or may load: it is meant to bring its target to
  its limit, and every device on the way with it.

A connection is opened when it is due, however slow the target is. A step in
which this machine was too slow, or ran out of ports, is called generator-bound
and says nothing about the target. A step in which every connection fails is
ended at once.

--close says who closes first: client, server (which must close by itself or
after what --send sends), or reset for a RST in place of a FIN.

--send takes text, or @FILE for a file's octets. In text, \r \n \t \0 \\ \@ and
\xHH stand for octets.

--limit takes failures=PERCENT, rate=PERCENT (of the offered rate, established
in time), and [WAVE.]pNN=DURATION or [WAVE.]max=DURATION, where WAVE is connect,
client_handshake, fin_wait_1, close_wait, last_ack, or teardown if it is left
out. Limits that are given take the place of the usual ones.

It needs CAP_NET_RAW. See docs/benchmarking.md for what RFC 3511 and RFC 9411
call this.`,
		Example: `  finwait bench connections --target 192.0.2.10:80 --rate 500:5000:500
  finwait bench connections --target 192.0.2.10:80 --rate 1k..10k --close server \
    --send 'GET / HTTP/1.0\r\n\r\n' --limit p99=50ms --limit failures=0.1%
  finwait bench connections --target [2001:db8::10]:443 --rate 200 --hold 30s --report out`,
		Args: noArguments,
	}
	o.addFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		bench, err := o.validated(cmd.Flags())
		if err != nil {
			return err
		}
		for _, line := range bench.warnings() {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", line)
		}
		return runBench(cmd, o.benchOptions, "Connections to "+bench.config.Target.String(), bench.measure)
	}
	return cmd
}

func (o *connectionsOptions) addFlags(flags *pflag.FlagSet) {
	o.benchOptions.addFlags(flags)
	flags.StringVar(&o.target, "target", "", "address and port to connect to; there is no default")
	flags.StringVar(&o.rate, "rate", "100..1000", "connections per second of each step: FROM:TO:STEP, FROM..TO in ten steps, or a list")
	flags.DurationVar(&o.stepDuration, "step-duration", 10*time.Second, "how long each rate is measured")
	flags.DurationVar(&o.warmUp, "warm-up", 2*time.Second, "how long each rate is kept up before it is measured")
	flags.StringVar(&o.close, "close", "client", "who closes first: client, server, or reset")
	flags.DurationVar(&o.hold, "hold", 0, "how long each connection stays open; with --close server, how long before --send")
	flags.StringVar(&o.send, "send", "", "text, or @FILE, to send on every connection")
	flags.IntVar(&o.expect, "expect", 1, "octets of answer to wait for after --send; 0 for none")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Second, "how long to wait for SYN-ACK, answer and FIN, each")
	flags.StringSliceVar(&o.limits, "limit", []string{"failures=0.1%", "rate=95%"}, "what each step must keep to; may be repeated")
	flags.DurationVar(&o.maxLag, "max-lag", load.UsualLag, "99th percentile of this machine's own lateness, above which a step says nothing")
	flags.StringSliceVar(&o.sources, "source", nil, "local addresses to connect from (default: that of the route)")
	flags.StringVar(&o.ports, "ports", "", "local ports to connect from, FIRST-LAST (default: net.ipv4.ip_local_port_range)")
	flags.StringVar(&o.netInterface, "interface", "", "where to watch (default: the interface of the route)")
	flags.IntVar(&o.maxConcurrent, "max-concurrent", defaultConcurrent(), "connections that may be open at once")
	flags.IntVar(&o.threads, "threads", max(1, min(4, runtime.NumCPU()/2)), "threads that open connections")
}

// defaultConcurrent is what the process's file descriptors leave room for.
func defaultConcurrent() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= usualConcurrent+filesKept {
		return usualConcurrent
	}
	return max(1, int(limit.Cur)-filesKept)
}

// connectionsBench is a benchmark that can be carried out.
type connectionsBench struct {
	config    load.Config
	plan      load.Plan
	netDevice string
}

// validated reads the options. Every error is the user's to mend.
func (o *connectionsOptions) validated(flags *pflag.FlagSet) (*connectionsBench, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	b, err := o.read(flags)
	if err != nil {
		return nil, usageError{err}
	}
	return b, nil
}

func (o *connectionsOptions) read(flags *pflag.FlagSet) (*connectionsBench, error) {
	b := &connectionsBench{
		config: load.Config{Hold: o.hold, Timeout: o.timeout, MaxConcurrent: o.maxConcurrent, Threads: o.threads},
		plan:   load.Plan{WarmUp: o.warmUp, Duration: o.stepDuration, MaxLag: o.maxLag},
	}
	if o.target == "" {
		return nil, errors.New("--target: name the address and port to connect to; it must be yours to load")
	}
	var err error
	if b.config.Target, err = netip.ParseAddrPort(o.target); err != nil {
		return nil, fmt.Errorf("--target %q: an address and a port are needed, such as 192.0.2.10:80 or [2001:db8::10]:80", o.target)
	}
	if err := load.CheckTarget(b.config.Target); err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	if b.plan.Rates, err = load.ParseRates(o.rate); err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	if o.warmUp < 0 || o.stepDuration <= 0 {
		return nil, fmt.Errorf("--warm-up %v, --step-duration %v: the first cannot be negative, the second must be more than 0", o.warmUp, o.stepDuration)
	}
	for _, text := range o.limits {
		limit, err := load.ParseLimit(text)
		if err != nil {
			return nil, fmt.Errorf("--%w", err)
		}
		b.plan.Limits = append(b.plan.Limits, limit)
	}
	if b.config.Close, err = load.ParseClose(o.close); err != nil {
		return nil, fmt.Errorf("--%w", err)
	}
	if b.config.Send, err = readSend(o.send); err != nil {
		return nil, err
	}
	if b.config.Expect = o.expect; len(b.config.Send) == 0 && !flags.Changed("expect") {
		b.config.Expect = 0
	}
	if b.config.LowPort, b.config.HighPort, err = localPorts(o.ports); err != nil {
		return nil, err
	}
	if b.netDevice, b.config.Sources, err = findRoute(b.config.Target.Addr(), o.netInterface, o.sources); err != nil {
		return nil, err
	}
	if _, err := load.New(b.config); err != nil {
		return nil, err
	}
	return b, b.plan.Validate(&b.config)
}

// readSend reads --send.
func readSend(text string) ([]byte, error) {
	path, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return unescape(text)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--send: %w", err)
	}
	if len(content) == 0 || len(content) > maxSend {
		return nil, fmt.Errorf("--send %q: the file has %d octets; 1 to %d can be sent", text, len(content), maxSend)
	}
	return content, nil
}

var escapes = map[byte]byte{'r': '\r', 'n': '\n', 't': '\t', '0': 0, '\\': '\\', '@': '@'}

// unescape replaces \r \n \t \0 \\ \@ and \xHH.
func unescape(text string) ([]byte, error) {
	var out []byte
	for rest := text; rest != ""; {
		plain, escape, found := strings.Cut(rest, `\`)
		out = append(out, plain...)
		if !found {
			break
		}
		if len(escape) >= 3 && escape[0] == 'x' {
			octet, err := strconv.ParseUint(escape[1:3], 16, 8)
			if err != nil {
				return nil, fmt.Errorf(`--send %q: \%s: two hexadecimal digits are needed`, text, escape[:3])
			}
			out, rest = append(out, byte(octet)), escape[3:]
			continue
		}
		if escape == "" {
			return nil, fmt.Errorf(`--send %q: it ends in \; write \\ for one`, text)
		}
		octet, known := escapes[escape[0]]
		if !known {
			return nil, fmt.Errorf(`--send %q: \%c is not known; choose \r \n \t \0 \\ \@ or \xHH`, text, escape[0])
		}
		out, rest = append(out, octet), escape[1:]
	}
	return out, nil
}

// localPorts reads --ports, or what the kernel takes ports from.
func localPorts(text string) (low, high uint16, err error) {
	const path = "/proc/sys/net/ipv4/ip_local_port_range"
	name, separator := "--ports", "-"
	if text == "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return 0, 0, fmt.Errorf("%w; choose --ports", err)
		}
		name, text, separator = path, strings.Join(strings.Fields(string(content)), " "), " "
	}
	first, last, found := strings.Cut(text, separator)
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if !found || err1 != nil || err2 != nil || from == 0 || from > to {
		return 0, 0, fmt.Errorf("%s %q: two ports are needed, the first not above the last, such as 20000-59999", name, text)
	}
	return uint16(from), uint16(to), nil
}

// warnings are what may surprise the user later.
func (b *connectionsBench) warnings() []string {
	highest := b.plan.Rates[len(b.plan.Rates)-1]
	returns := time.Duration(float64(b.config.Tuples()) / highest * float64(time.Second))
	all := 0.0
	for _, r := range b.plan.Rates {
		all += r * (b.plan.WarmUp + b.plan.Duration).Seconds()
	}
	if b.config.Close != load.ByClient || returns >= timeWait || all <= float64(b.config.Tuples()) {
		return nil
	}
	return []string{fmt.Sprintf("at %.0f/s each local port returns after %v, while TIME-WAIT lasts %v: that works only where both ends use TCP time stamps; "+
		"otherwise add addresses with --source or ports with --ports", highest, returns.Round(time.Millisecond), timeWait)}
}

// timeWait is what Linux keeps (TCP_TIMEWAIT_LEN in include/net/tcp.h).
const timeWait = time.Minute

// measure is one whole search.
func (b *connectionsBench) measure(ctx context.Context, p *benchProgress) (*report.Report, error) {
	g, err := load.New(b.config)
	if err != nil {
		return nil, err
	}
	second := int64((b.plan.WarmUp + b.plan.Duration + time.Second - 1) / time.Second)
	p.Stage("connections", int64(len(b.plan.Rates))*second)
	ticking, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ticking.Done():
				return
			case <-tick.C:
				p.Add(1)
			}
		}
	}()
	steps, err := load.Search(ctx, g, b.plan, b.observer(), func(s *load.Step) { p.Say(stepLine(s)) })
	if err != nil {
		return nil, err
	}
	p.Say(conclusion(steps))
	return b.report(steps), nil
}

func (b *connectionsBench) observer() *wireObserver {
	highest := b.plan.Rates[len(b.plan.Rates)-1]
	sources := make([]netip.Addr, len(b.config.Sources))
	for i, s := range b.config.Sources {
		sources[i] = s.Unmap().WithZone("")
	}
	return &wireObserver{
		sources: sources,
		packets: packet.Config{
			Interface: b.netDevice, Target: b.config.Target,
			LowPort: b.config.LowPort, HighPort: b.config.HighPort,
		},
		maxFlows: min(wireFlows, uint32(b.config.MaxConcurrent)+uint32(highest*wireRoom.Seconds())+1024),
	}
}
