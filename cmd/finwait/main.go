// Command finwait measures how TCP connections end: from an interface, from
// captures, or from a laboratory of its own. This package parses, wires and
// runs; what it wires is in xdp, flowtable and api.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup(1) has it
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	status := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// Groups of commands, by what they are for.
const (
	measuring   = "measuring"
	askingGroup = "asking"
)

// usageError is a command line that cannot be carried out.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// execute runs one command line and returns the exit status.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(args)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	for _, line := range lines(err) {
		fmt.Fprintf(stderr, "finwait: %v\n", line)
	}
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// lines takes joined errors apart, so that each gets a line of its own; one
// that wraps a join is a sentence of its own.
func lines(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, lines(e)...)
	}
	return all
}

// newRoot has all commands, or those that measure where args begin with one of
// them: the flags of the others come from the document of the API, which takes as
// long to make as a small capture to follow.
func newRoot(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "finwait",
		Short: "Measure how TCP connections end",
		Long: `finwait follows both ends of every TCP connection through the four waves of
its teardown (FIN, ACK, FIN, ACK) and says who closed, how long each wave took,
and whether the network, the application or a kernel was to blame.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q; see '%s --help'", args[0], cmd.CommandPath())}
			}
			return nil
		},
		// Without something to run, cobra would not look at the arguments.
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
	root.AddGroup(&cobra.Group{ID: measuring, Title: "Measuring:"}, &cobra.Group{ID: askingGroup, Title: "Asking a running appliance:"})
	for _, cmd := range []*cobra.Command{newRunCommand(), newReplayCommand(), newLabCommand(), newBenchCommand()} {
		cmd.GroupID = measuring
		root.AddCommand(cmd)
		if len(args) > 0 && args[0] == cmd.Name() {
			return root
		}
	}
	for _, cmd := range newAskingCommands() {
		cmd.GroupID = askingGroup
		root.AddCommand(cmd)
	}
	return root
}

// version is what the build knows of the source it was made from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			v = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			v += "-modified"
		}
	}
	return v
}
