package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/gateway"
	"github.com/finwait/finwait/xdp/lab"
)

const (
	// labFlows and labRecent are far above what a laboratory opens.
	labFlows  = 1 << 16
	labRecent = 1 << 17
	// labPage is the most flows that one answer of the API has.
	labPage = 10000
	// labRequest bounds one request to the laboratory's own API.
	labRequest = 30 * time.Second
)

type labOptions struct {
	mode     string
	nat      bool
	duration time.Duration
	format   string
	listen   string
	queues   int
	records  string
	sequence bool
}

func newLabCommand() *cobra.Command {
	var o labOptions
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Measure real connections in a laboratory of namespaces",
		Long: `Lab needs root and no network card. It builds a hub, a client, a server and a
tap out of network namespaces of its own, opens real TCP connections that end
in every way, measures them at the tap with the very code of 'finwait run', and
asks its HTTP API what it saw. It prints what was seen beside what was done and
exits with 0 only if they agree in every connection and nothing was lost.

With --mode gateway there is a gateway between the client and the server in
place of the hub. It masquerades the client, and is measured on both of its
interfaces: every connection is two records, which must know of each other, and
as many octets must be on record as the interfaces have counted themselves.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("argument %q is not understood; see 'finwait lab --help'", args[0])}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.mode, "mode", modeTap, "where to measure: tap or gateway")
	flags.BoolVar(&o.nat, "nat", true, "have the gateway masquerade the client, by nftables")
	flags.DurationVar(&o.duration, "for", 20*time.Second, "how long to open connections; every kind is played once in any case")
	flags.StringVar(&o.format, "format", "table", "result on standard output: table or json")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "address and port of the HTTP API; port 0 takes a free one")
	flags.StringVar(&o.records, "records", "", "file to append every record to, one JSON object a line")
	flags.IntVar(&o.queues, "queues", 2, "receive queues of the tap, with a worker each; by sequence 1, where it is not given")
	accounting := addAccountingFlag(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o.sequence, err = isSequence(*accounting); err != nil {
			return err
		}
		if o.sequence && !flags.Changed("queues") {
			o.queues = 1 // an answer that overtakes its FIN on another queue is not known
		}
		switch {
		case o.mode != modeTap && o.mode != modeGateway:
			return usageError{fmt.Errorf("--mode %q: choose %s or %s", o.mode, modeTap, modeGateway)}
		case o.mode == modeGateway && (o.sequence || flags.Changed("queues")):
			return usageError{errors.New("--mode gateway: --accounting sequence and --queues are for a tap; leave them out")}
		case o.mode == modeTap && flags.Changed("nat"):
			return usageError{errors.New("--nat: a tap has none; leave it out, or choose --mode gateway")}
		case o.format != "table" && o.format != "json":
			return usageError{fmt.Errorf("--format %q: choose table or json", o.format)}
		case o.duration < 0:
			return usageError{fmt.Errorf("--for %v: a duration of 0 or more is needed", o.duration)}
		case o.queues < 1 || o.queues > 16:
			return usageError{fmt.Errorf("--queues %d: choose 1 to 16", o.queues)}
		}
		return runLab(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// labResult is what the laboratory prints as JSON.
type labResult struct {
	OK     bool              `json:"ok"`
	Report lab.Report        `json:"report"`
	Losses []json.RawMessage `json:"losses"` // ledger entries of losses that are not 0
	Frames uint64            `json:"frames"` // that reached the tap's or the gateway's programs
	// Interfaces are those of a gateway.
	Interfaces []labInterface `json:"interfaces,omitempty"`
	// HubDropped are frames that the laboratory itself lost on their way to
	// the tap. A connection that misses one cannot agree.
	HubDropped uint64 `json:"hub_dropped"`
}

func runLab(ctx context.Context, o labOptions, stdout, stderr io.Writer) (err error) {
	network, err := o.build()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, network.Close()) }()
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen %q: %w; choose another address or port", o.listen, err)
	}
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return errors.Join(usageError{fmt.Errorf("--listen %q: others reach this address; a laboratory listens on loopback, such as %s", o.listen, defaultListen)}, listener.Close())
	}
	records, err := openRecords(o.records, stdout)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if records != nil {
		defer func() { err = errors.Join(err, records.Close()) }()
	}
	a, err := startInLab(ctx, network, o.capture(), listener, records, stderr)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, a.close()) }()
	a.announce(stderr)
	count, err := o.watch(network)
	if err != nil {
		return errors.Join(err, a.stop())
	}

	expected, err := network.Traffic(ctx, o.duration, labProgress(stderr, o.duration))
	if err != nil {
		return errors.Join(fmt.Errorf("opening connections: %w", err), a.stop())
	}
	if err := settle(ctx, a); err != nil {
		return errors.Join(err, a.stop())
	}
	if err := a.stop(); err != nil {
		return err
	}
	if o.sequence {
		expected = lab.BySequence(expected)
	}
	if o.mode == modeGateway {
		expected = lab.OnBothSides(expected)
	}
	result, err := judge(ctx, listener.Addr(), expected, count)
	if err != nil {
		return err
	}
	if result.HubDropped, err = network.Dropped(); err != nil {
		return err
	}
	return result.print(o.format, stdout)
}

// build makes the network in which to measure.
func (o *labOptions) build() (*lab.Network, error) {
	switch {
	case o.mode == modeTap:
		return lab.Build(lab.Config{TapQueues: o.queues})
	case o.nat:
		return lab.BuildGateway(lab.Masquerade)
	default:
		return lab.BuildGateway(lab.Routed)
	}
}

// labCapture is where in a laboratory to measure, and how.
type labCapture struct {
	in      lab.Namespace
	tap     xdp.Config
	gateway *gateway.Config
	blind   bool // does not ask the gateway's connection tracking
}

func (o *labOptions) capture() labCapture {
	if o.mode == modeGateway {
		return labCapture{in: lab.Gateway, gateway: &gateway.Config{Interfaces: []string{lab.LANInterface, lab.WANInterface}, MaxFlows: labFlows}}
	}
	return labTap(o.sequence)
}

func labTap(sequence bool) labCapture {
	return labCapture{in: lab.Tap, tap: xdp.Config{Interfaces: []string{lab.TapInterface}, MaxFlows: labFlows, Sequence: sequence}}
}

// startInLab starts the appliance in the network; its API listens where the
// process itself lives, so that anybody can ask it. records may be nil.
func startInLab(ctx context.Context, network *lab.Network, at labCapture, listener net.Listener, records io.WriteCloser, stderr io.Writer) (a *appliance, err error) {
	c := applianceConfig{
		tap:      at.tap,
		gateway:  at.gateway,
		blindNAT: at.blind,
		maxFlows: labFlows,
		recent:   labRecent,
		timeouts: flowtable.LiveTimeouts(),
		polling:  presetPolling(at.gateway != nil, false),
		listener: listener,
		patience: lastRecords,
		report:   func(line string) { fmt.Fprintln(stderr, line) },
	}
	if records != nil {
		c.records = records
	}
	err = network.Do(at.in, func() error {
		a, err = startAppliance(ctx, c)
		return err
	})
	return a, err
}

// settle waits until closed connections have lingered and are on record.
func settle(ctx context.Context, a *appliance) error {
	select {
	case <-time.After(a.config.timeouts.Linger + 200*time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func labProgress(stderr io.Writer, duration time.Duration) func(lab.Progress) {
	if !isTerminal(stderr) {
		return nil
	}
	return func(p lab.Progress) {
		fmt.Fprintf(stderr, "\r%d connections closed, %v of %v ", p.Connections, p.Elapsed.Round(time.Second), duration)
	}
}

// judge asks the API what was seen and holds it against what was done.
func judge(ctx context.Context, api net.Addr, expected []lab.Expectation, count labCount) (*labResult, error) {
	flows, err := fetchFlows(ctx, api)
	if err != nil {
		return nil, err
	}
	result := &labResult{Report: lab.Compare(expected, flows), Losses: []json.RawMessage{}}
	if result.Interfaces, err = count(flows); err != nil {
		return nil, err
	}
	body, err := get(ctx, api, "/v1/status")
	if err != nil {
		return nil, err
	}
	var status struct {
		Ledger []json.RawMessage `json:"ledger"`
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return nil, fmt.Errorf("reading /v1/status: %w", err)
	}
	for _, line := range status.Ledger {
		var entry struct {
			Stage, Reason string
			Count         uint64
			Loss          bool
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, fmt.Errorf("reading the ledger of /v1/status: %w", err)
		}
		if entry.Loss && entry.Count > 0 {
			result.Losses = append(result.Losses, line)
		}
		switch entry.Stage {
		case xdp.StageProgram, xdp.StageIngress, xdp.StageEgress:
			if entry.Reason == "frames" {
				result.Frames += entry.Count
			}
		}
	}
	result.OK = result.Report.OK() && len(result.Losses) == 0 && result.octetsAgree()
	return result, nil
}

// fetchFlows asks for all flows, by kind of close since an answer is bounded.
func fetchFlows(ctx context.Context, api net.Addr) ([]lab.Flow, error) {
	var all []lab.Flow
	for kind := range flowtable.CloseKind(flowtable.CloseKinds) {
		body, err := get(ctx, api, fmt.Sprintf("/v1/flows?close_kind=%v&limit=%d", kind, labPage))
		if err != nil {
			return nil, err
		}
		flows, err := lab.ParseFlows(body)
		if err != nil {
			return nil, err
		}
		if len(flows) == labPage {
			return nil, fmt.Errorf("more than %d connections were %v, which is more than can be compared; choose a shorter --for", labPage, kind)
		}
		all = append(all, flows...)
	}
	return all, nil
}

func get(ctx context.Context, api net.Addr, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, labRequest)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+api.String()+path, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", path, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end below
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s: %s: %s", path, answer.Status, body)
	}
	return body, nil
}

// print writes the result; the error says that what was seen is not what was
// done.
func (r *labResult) print(format string, w io.Writer) error {
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
	} else {
		if err := r.Report.WriteTable(w); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
		fmt.Fprintf(w, "\n%d frames at the programs, %d of %d connections agree\n", r.Frames, r.Report.Agreed, r.Report.Connections)
		for _, i := range r.Interfaces {
			fmt.Fprintln(w, i)
		}
		for _, loss := range r.Losses {
			fmt.Fprintf(w, "lost: %s\n", loss)
		}
	}
	if !r.OK && r.HubDropped > 0 {
		return fmt.Errorf("%d of %d connections agree; the laboratory lost %d frames on their way to the tap, because this machine stalled: run it again with less beside it",
			r.Report.Agreed, r.Report.Connections, r.HubDropped)
	}
	if !r.OK {
		return fmt.Errorf("%d of %d connections agree, %d were seen that nobody opened, %d ledger entries say that something was lost",
			r.Report.Agreed, r.Report.Connections, len(r.Report.Extra), len(r.Losses))
	}
	return nil
}
