package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/finwait/finwait/api/watch"
)

// minRefresh keeps a view from taking the CPUs that measure.
const minRefresh = 500 * time.Millisecond

func newWatchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show rates, phases and CLOSE-WAIT live in the terminal",
		Long: `Show live, in the terminal, what a running appliance sees: how many connections
open and close, how long each phase of their closing takes, how they close, who
waits in CLOSE-WAIT, and, loudly, what was lost. q quits.`,
		Example: `  finwait watch
  finwait watch --server-ip 10.0.0.0/8 --server https://tap.example.org:8480 --token-file token`,
		Args: noArguments,
	}
	// What both of records and of connections can be asked; the view itself says
	// since when, in what order, and how many.
	filters := addParameterFlags(cmd, "/v1/series", nil, func(name string) bool {
		return !slices.Contains([]string{"sort", "limit", "interval"}, name) && hasParameter("/v1/connections", name)
	})
	remote := addRemoteFlags(cmd)
	refresh := cmd.Flags().Duration("refresh", 2*time.Second, "how often to ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *refresh < minRefresh {
			return usageError{fmt.Errorf("--refresh %v: choose %v or more", *refresh, minRefresh)}
		}
		input, output := cmd.InOrStdin(), cmd.OutOrStdout()
		if !isTerminal(output) || !isTerminalInput(input) {
			return usageError{errors.New("watch needs a terminal; 'finwait series' and 'finwait status' with --format say the same to programs")}
		}
		c, err := remote.client()
		if err != nil {
			return err
		}
		return watch.Run(cmd.Context(), watch.Config{Appliance: c, Filters: filters.query(), Interval: *refresh, Explain: explain, Input: input, Output: output})
	}
	return cmd
}

func isTerminalInput(r io.Reader) bool {
	file, ok := r.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
