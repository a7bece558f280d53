package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/export"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp/pcap"
)

// replayGCPercent lets most replays end before the first collection, which would
// find next to nothing: what a start allocates stays, and following allocates
// nothing.
const replayGCPercent = 400

type replayOptions struct {
	format   string
	maxFlows uint32
	timeouts flowtable.Timeouts
}

func newReplayCommand() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay [flags] FILE...",
		Short: "Follow the connections in captures",
		Long: `Replay reads captures, one after the other, and writes a record for every TCP
connection on standard output and a summary on standard error. It needs no
privilege.

It reads pcap and pcapng, compressed by gzip or not, of Ethernet, Linux cooked,
raw IP, loopback and PPP; "-" is standard input. Files that were cut from one
capture are followed across the cuts. A file has the size that it has when it
is opened: what is appended to it later is not read.`,
		Example: `  finwait replay capture.pcap
  finwait replay --format ndjson capture.pcapng | jq 'select(.close_wait_ns > 5e9)'
  tcpdump -i eth0 -w - tcp | finwait replay --format ndjson -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("no capture was named; see 'finwait replay --help'")}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.format, "format", "table", "records on standard output: table, ndjson, json, or summary for none")
	flags.Uint32Var(&o.maxFlows, "max-flows", 1<<20, "connections that can be followed at once")
	timeouts := addTimeoutFlags(flags, flowtable.ReplayTimeouts())
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if o.timeouts, err = timeouts.validated(); err != nil {
			return err
		}
		defer debug.SetGCPercent(debug.SetGCPercent(replayGCPercent))
		return replay(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// newOutput returns the sink of a --format, nil for none.
func newOutput(format string, w io.Writer, names *api.Names) (export.Sink, error) {
	switch format {
	case "table":
		return export.NewTable(w), nil
	case "ndjson":
		return export.NewNDJSON(w, names), nil
	case "json":
		return export.NewJSON(w, names), nil
	case "summary":
		return nil, nil
	default:
		return nil, usageError{fmt.Errorf("--format %q: choose table, ndjson, json or summary", format)}
	}
}

// replay follows captures and writes their records and a summary. A capture
// that is damaged is followed up to the damage, then the next one; the error
// tells of all of them.
func replay(ctx context.Context, o replayOptions, paths []string, stdout, stderr io.Writer) (err error) {
	names := api.NewNames(nil, func(i uint32) string { return pathName(paths, i) })
	output, err := newOutput(o.format, stdout, names)
	if err != nil {
		return err
	}
	sources, err := openAll(paths)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range sources {
			err = errors.Join(err, s.Close())
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	summary := export.NewSummary()
	writer := newRecordWriter(summary, output, cancel)
	hasher := segment.NewHasher()
	table, err := flowtable.New(flowtable.Config{MaxFlows: o.maxFlows, Timeouts: o.timeouts, Records: writer.records, Unasked: true}, hasher)
	if err != nil {
		return fmt.Errorf("--max-flows: %w", err)
	}
	defer func() { err = errors.Join(err, table.Close()) }()

	writer.start()
	bar := newProgress(stderr, sources)
	replayer := worker.NewReplayer(table, hasher)
	replayer.WhenQuiet(writer.flush)
	damage := follow(ctx, replayer, sources)
	writeErr := writer.finish()
	bar.done()
	if writeErr != nil {
		return fmt.Errorf("writing records: %w", writeErr)
	}
	return errors.Join(damage, summary.Render(stderr, replayTraffic(sources, table)))
}

func pathName(paths []string, i uint32) string {
	if p := paths[i]; p != pcap.StandardInput {
		return p
	}
	return "standard input"
}

// openAll opens every capture before the first is followed, so that a wrong
// name costs no time and leaves no records.
func openAll(paths []string) ([]*pcap.Source, error) {
	var (
		sources []*pcap.Source
		wrong   error
		stdin   bool
	)
	for i, path := range paths {
		if path == pcap.StandardInput && stdin {
			wrong = errors.Join(wrong, usageError{errors.New("standard input (-) was named twice; it can be read once")})
			continue
		}
		stdin = stdin || path == pcap.StandardInput
		s, err := pcap.Open(path, uint32(i))
		if err != nil {
			wrong = errors.Join(wrong, err)
			continue
		}
		sources = append(sources, s)
	}
	if wrong == nil {
		return sources, nil
	}
	for _, s := range sources {
		wrong = errors.Join(wrong, s.Close())
	}
	return nil, wrong
}

// follow replays all sources; the error tells which of them were damaged, or
// that ctx ended.
func follow(ctx context.Context, r *worker.Replayer, sources []*pcap.Source) error {
	var damage error
	for _, s := range sources {
		err := r.Run(ctx, s)
		if ctx.Err() != nil {
			damage = errors.Join(damage, fmt.Errorf("interrupted in %q: the records cover what was read until then", s.Name()))
			break
		}
		damage = errors.Join(damage, err)
	}
	r.Close()
	return damage
}

// replayTraffic says what was read and what of it belongs to no connection.
func replayTraffic(sources []*pcap.Source, table *flowtable.Table) export.Traffic {
	var (
		t        export.Traffic
		outcomes [segment.Outcomes]uint64
		link     uint64
	)
	for _, s := range sources {
		c := s.Counts()
		t.Packets += c.Packets
		t.Octets += c.Octets
		link += c.UnsupportedLink
		for o, n := range c.Outcomes {
			outcomes[o] += n
		}
	}
	skip := func(reason string, n uint64) {
		if n > 0 {
			t.Skipped = append(t.Skipped, export.Skipped{Reason: reason, Count: n})
		}
	}
	for o, n := range outcomes {
		if o := segment.Outcome(o); o != segment.TCP {
			skip(o.String(), n)
		}
	}
	skip("unsupported_link_type", link)
	skip("late", table.Stats().Late.Load())
	return t
}
