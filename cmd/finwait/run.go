package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/xdp"
)

const defaultListen = "127.0.0.1:8480"

type runOptions struct {
	interfaces []string
	mode       string
	listen     string
	maxFlows   uint32
	recent     int
	force      bool
	generic    bool
	timeouts   flowtable.Timeouts
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run --interface IF[,IF...]",
		Short: "Follow the connections on an interface",
		Long: `Run measures on a tap: an interface to which a switch mirrors traffic, or one
port per direction of an optical tap. It consumes every frame that arrives
there, so an interface with an address of this machine is refused.

Records are asked for over HTTP:
  curl 'http://127.0.0.1:8480/v1/flows?close_kind=reset'
  curl 'http://127.0.0.1:8480/v1/teardown?group_by=server'
An interrupt (Ctrl-C) or SIGTERM writes out open connections and leaves the
machine as it was.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("argument %q is not understood; interfaces are named by --interface", args[0])}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.interfaces, "interface", nil, "interfaces to measure on, by commas")
	flags.StringVar(&o.mode, "mode", "tap", "how to measure: tap")
	flags.StringVar(&o.listen, "listen", defaultListen, "address and port of the HTTP API")
	flags.Uint32Var(&o.maxFlows, "max-flows", 1<<18, "connections that can be followed at once")
	flags.IntVar(&o.recent, "recent", 1<<17, "finished connections kept for the API")
	flags.BoolVar(&o.force, "force", false, "take an interface with an address of this machine, which is then not reached through it")
	flags.BoolVar(&o.generic, "generic", false, "use generic XDP even where the driver has native XDP")
	timeouts := addTimeoutFlags(flags, flowtable.LiveTimeouts())
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o.timeouts, err = timeouts.validated(); err != nil {
			return err
		}
		if err := o.validate(); err != nil {
			return err
		}
		return run(cmd.Context(), o, cmd.ErrOrStderr())
	}
	return cmd
}

func (o *runOptions) validate() error {
	switch {
	case len(o.interfaces) == 0:
		return usageError{errors.New("no interface was named; use --interface IF, or 'finwait lab' where there is none to measure on")}
	case o.mode == "gateway":
		return usageError{errors.New("--mode gateway: this version measures on a tap only; mirror the gateway's port to an interface without an address")}
	case o.mode != "tap":
		return usageError{fmt.Errorf("--mode %q: choose tap", o.mode)}
	case o.maxFlows == 0:
		return usageError{errors.New("--max-flows 0: at least one connection must have room")}
	case o.recent <= 0:
		return usageError{fmt.Errorf("--recent %d: at least one record must have room", o.recent)}
	}
	return nil
}

// run is the appliance in the foreground.
func run(ctx context.Context, o runOptions, stderr io.Writer) (err error) {
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen %q: %w; choose another address or port", o.listen, err)
	}
	a, err := startAppliance(ctx, applianceConfig{
		tap:      xdp.Config{Interfaces: o.interfaces, MaxFlows: o.maxFlows, Force: o.force, Generic: o.generic},
		maxFlows: o.maxFlows,
		recent:   o.recent,
		timeouts: o.timeouts,
		listener: listener,
		report:   func(line string) { fmt.Fprintln(stderr, line) },
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	a.announce(stderr)
	if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		fmt.Fprintf(stderr, "warning: the API answers anybody who reaches %s, without a password\n", listener.Addr())
	}
	a.wait(ctx)
	fmt.Fprintln(stderr, "stopping: writing out open connections")
	return errors.Join(a.stop(), a.close())
}

// announce says what was found and done, one line per fact.
func (a *appliance) announce(w io.Writer) {
	fmt.Fprintf(w, "finwait %s on %d CPUs\n", version(), runtime.NumCPU())
	for _, fact := range a.tap.Facts() {
		fmt.Fprintln(w, fact)
	}
	for _, warning := range a.tap.Warnings() {
		fmt.Fprintln(w, "warning:", warning)
	}
	for _, fact := range a.facts() {
		fmt.Fprintln(w, fact)
	}
}
