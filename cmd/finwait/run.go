package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/api/access"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/gateway"
)

const (
	defaultListen = "127.0.0.1:8480"
	defaultRecent = 1_000_000
	// lastRecords is how long the records of connections that are still open
	// at the end may take to be written.
	lastRecords = 30 * time.Second
)

type runOptions struct {
	interfaces   []string
	segmentLimit uint64
	conntrack    bool
	owners       bool
	mode         string
	listen       string
	access       *accessFlags
	maxFlows     uint32
	recent       int
	records      string
	force        bool
	generic      bool
	sequence     bool
	timeouts     flowtable.Timeouts
	polling      worker.Polling
	busyPoll     bool
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run --interface IF[,IF...]",
		Short: "Follow the connections on an interface",
		Long: `Run measures on a tap: an interface to which a switch mirrors traffic, or one
port per direction of an optical tap. It consumes every frame that arrives
there, so an interface with an address of this machine is refused.

With --mode gateway it measures what passes this machine's own interfaces, on a
router, a load balancer or a server, and leaves the traffic as it is. A
connection that passes two of them has a record of each.

Records are asked for over HTTP, by finwait's own commands or by any client:
  finwait watch
  finwait flows --close-kind reset
  curl 'http://127.0.0.1:8480/v1/teardown?group_by=server'
Others than this machine need a token, which --token-file has.
An interrupt (Ctrl-C) or SIGTERM writes out open connections and leaves the
machine as it was. The API ends with the process: --records keeps all records,
those of the connections that were open at the end too.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("argument %q is not understood; interfaces are named by --interface", args[0])}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.interfaces, "interface", nil, "interfaces to measure on, by commas")
	flags.StringVar(&o.mode, "mode", modeTap, "how to measure: tap or gateway")
	flags.Uint64Var(&o.segmentLimit, "segment-limit", gateway.DefaultSegmentLimit, "gateway: control segments that are looked at in a second at most; more are held back, and counted")
	flags.BoolVar(&o.conntrack, "conntrack", true, "gateway: have the kernel's connection tracking tell what NAT does; without it initial sequence numbers do")
	flags.BoolVar(&o.owners, "owners", false, "gateway: tell of this machine's own connections whose they are, by control groups (cgroup v2)")
	flags.StringVar(&o.listen, "listen", defaultListen, "address and port of the HTTP API")
	flags.Uint32Var(&o.maxFlows, "max-flows", 1<<18, "connections that can be followed at once")
	flags.IntVar(&o.recent, "recent", defaultRecent, fmt.Sprintf("finished connections kept for the API, %d octets each", history.RecordSize))
	flags.StringVar(&o.records, "records", "", "file to append every record to, one JSON object a line; - is standard output")
	flags.BoolVar(&o.force, "force", false, "take an interface with an address of this machine, which is then not reached through it")
	flags.BoolVar(&o.generic, "generic", false, "use generic XDP even where the driver has native XDP")
	o.access = addAccessFlags(flags)
	accounting := addAccountingFlag(flags)
	polling := addPollingFlags(flags)
	timeouts := addTimeoutFlags(flags, flowtable.LiveTimeouts())
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o.timeouts, err = timeouts.validated(); err != nil {
			return err
		}
		if o.sequence, err = isSequence(*accounting); err != nil {
			return err
		}
		if o.polling, err = polling.validated(o.mode == modeGateway, o.owners); err != nil {
			return err
		}
		o.busyPoll = polling.busy
		if o.sequence {
			o.timeouts = timeouts.forSequence(o.timeouts)
		}
		if err := o.validate(); err != nil {
			return err
		}
		return run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func (o *runOptions) validate() error {
	switch {
	case len(o.interfaces) == 0:
		return usageError{errors.New("no interface was named; use --interface IF, or 'finwait lab' where there is none to measure on")}
	case slices.Contains(o.interfaces, ""):
		return usageError{fmt.Errorf("--interface %q: an interface without a name; ip link lists those that there are", o.interfaces)}
	case o.mode != modeTap && o.mode != modeGateway:
		return usageError{fmt.Errorf("--mode %q: choose %s or %s", o.mode, modeTap, modeGateway)}
	case o.mode == modeGateway && (o.sequence || o.force || o.generic || o.busyPoll):
		return usageError{errors.New("--mode gateway: --accounting sequence, --force, --generic and --busy-poll are for a tap; leave them out")}
	case o.mode == modeTap && !o.conntrack:
		return usageError{errors.New("--conntrack: a tap asks nobody about NAT; leave it out, or choose --mode gateway")}
	case o.mode == modeTap && o.owners:
		return usageError{errors.New("--owners: a tap sees packets without their sockets; leave it out, or choose --mode gateway")}
	case o.segmentLimit == 0:
		return usageError{errors.New("--segment-limit 0: nothing would be seen of any connection; choose a rate, or leave it out")}
	case o.maxFlows == 0:
		return usageError{errors.New("--max-flows 0: at least one connection must have room")}
	case o.recent <= 0:
		return usageError{fmt.Errorf("--recent %d: at least one record must have room", o.recent)}
	}
	if err := checkListen(o.listen); err != nil {
		return err
	}
	return checkRecent(o.recent)
}

// checkListen tells an address that cannot be one from one that is taken.
func checkListen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return usageError{fmt.Errorf("--listen %q: %w; write ADDRESS:PORT, such as %s", address, err, defaultListen)}
	}
	return nil
}

// checkRecent refuses what the machine's memory cannot hold, for which Go
// would end the process.
func checkRecent(records int) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("read the size of the memory: %w", err)
	}
	memory := info.Totalram * uint64(info.Unit)
	if most := memory / uint64(history.RecordSize); uint64(records) > most {
		return usageError{fmt.Errorf("--recent %d: at %d octets each, this machine's memory holds %d; keep fewer", records, history.RecordSize, most)}
	}
	return nil
}

// run is the appliance in the foreground.
func run(ctx context.Context, o runOptions, stdout, stderr io.Writer) (err error) {
	// Whoever reads the output may be gone first, as after Ctrl-C in a
	// pipeline: that is no reason to leave the interfaces as they are.
	signal.Ignore(syscall.SIGPIPE)
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen %q: %w; choose another address or port", o.listen, err)
	}
	report := func(line string) { fmt.Fprintln(stderr, line) }
	gate, err := o.access.open(o.listen, listener, access.Config{Report: report})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	records, err := openRecords(o.records, stdout)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	c := applianceConfig{
		tap:      xdp.Config{Interfaces: o.interfaces, MaxFlows: o.maxFlows, Force: o.force, Generic: o.generic, BusyPoll: o.busyPoll, Sequence: o.sequence},
		maxFlows: o.maxFlows,
		recent:   o.recent,
		timeouts: o.timeouts,
		polling:  o.polling,
		listener: listener,
		access:   gate,
		apart:    true,
		patience: lastRecords,
		report:   report,
	}
	if o.mode == modeGateway {
		c.blindNAT = !o.conntrack
		c.gateway = &gateway.Config{Interfaces: o.interfaces, MaxFlows: o.maxFlows, SegmentLimit: o.segmentLimit, Owners: o.owners}
	}
	if records != nil {
		defer func() { err = errors.Join(err, records.Close()) }()
		c.records = records
	}
	a, err := startAppliance(ctx, c)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	a.announce(stderr)
	if o.records != "" {
		fmt.Fprintf(stderr, "records: appended to %q\n", o.records)
	}
	warnOfAccess(gate, listener.Addr(), stderr)
	a.wait(ctx)
	fmt.Fprintln(stderr, "stopping: writing out open connections")
	err = a.stop()
	fmt.Fprintln(stderr, a.outcome())
	return errors.Join(err, a.close())
}

// announce says what was found and done, one line per fact.
func (a *appliance) announce(w io.Writer) {
	fmt.Fprintf(w, "finwait %s on %d CPUs\n", version(), runtime.NumCPU())
	for _, fact := range a.source.Facts() {
		fmt.Fprintln(w, fact)
	}
	warnings := a.source.Warnings()
	if a.pairs != nil {
		warnings = append(warnings, a.pairs.warnings...)
	}
	if a.owners != nil {
		warnings = append(warnings, a.owners.names.Warnings()...)
	}
	for _, warning := range warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	if a.pairs != nil {
		fmt.Fprintln(w, a.pairs.fact(&a.config))
	}
	if a.owners != nil {
		fmt.Fprintln(w, a.owners.fact())
	}
	for _, fact := range a.facts() {
		fmt.Fprintln(w, fact)
	}
}
