package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/client"
	"github.com/finwait/finwait/api/console"
)

const streamPath = "/v1/stream"

func newStreamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Write connections as they end",
		Long: `Write connections as they end, until interrupted. It asks a running appliance
over HTTP; a reader that is too slow is told how many records it missed.`,
		Example: `  finwait stream --close-kind reset,refused
  finwait stream --format ndjson | jq -c '[.server_ip, .close_wait_ns]'`,
		Args: noArguments,
	}
	parameters := addParameterFlags(cmd, streamPath, nil, everyParameter)
	remote := addRemoteFlags(cmd)
	format := cmd.Flags().String("format", "table", "table, ndjson or csv")
	complete(cmd, "format", []string{"table", "ndjson", "csv"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := remote.client()
		if err != nil {
			return err
		}
		a := &asking{&inquiry{name: cmd.Name(), path: streamPath, answer: &console.Flows}, c, parameters.query(), *format, cmd.OutOrStdout(), cmd.ErrOrStderr()}
		var out lineWriter
		switch *format {
		case "table":
			out = a.tableWriter()
		case "ndjson", "csv":
			if out, err = a.lineWriter(nil); err != nil {
				return err
			}
		default:
			return usageError{fmt.Errorf("--format %q: choose table, ndjson or csv", *format)}
		}
		err = a.follow(cmd.Context(), a.query, out)
		if cmd.Context().Err() != nil {
			return nil // interrupted, as it is meant to be
		}
		return explain(err)
	}
	return cmd
}

// follow writes events until the stream ends.
func (a *asking) follow(ctx context.Context, query url.Values, out lineWriter) error {
	err := a.client.Events(ctx, a.path, query, func(e client.Event) error {
		switch e.Name {
		case "flow":
			return errors.Join(out.write(e.Data), out.flush())
		case "lost":
			var lost api.StreamLost
			if err := json.Unmarshal(e.Data, &lost); err != nil {
				return fmt.Errorf("reading the stream: %w", err)
			}
			fmt.Fprintf(a.stderr, "finwait: %d records were overwritten before they were read\n", lost.Records)
		}
		return nil
	})
	if err == nil {
		err = errors.New("the appliance ended the stream")
	}
	return err
}

// tableWriter writes rows at fixed places, since they are not known beforehand.
func (a *asking) tableWriter() lineWriter {
	t, width := console.NewFlowTable(), terminalWidth(a.stdout)
	return lineWriter{func(element []byte) error {
		var flow api.Flow
		if err := json.Unmarshal(element, &flow); err != nil {
			return fmt.Errorf("reading the stream: %w", err)
		}
		t.Rows = t.Rows[:0]
		t.Add(console.FlowCells(&flow)...)
		err := t.Write(a.stdout, width)
		t.GoesOn = true
		return err
	}, func() error { return nil }}
}
