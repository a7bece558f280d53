package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/finwait/finwait/api/report"
)

// maxRepeats bounds --count.
const maxRepeats = 1000

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what this machine can do",
		Long: `Bench certifies the capacity of this very machine. Each benchmark writes its
results on standard output in the form that benchstat reads, or as JSON, and
with --report a directory with a web page and charts. Times mean something only
beside other times of the same run: compare the ratios.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown benchmark %q; see '%s --help'", args[0], cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newBenchConnectionsCommand(),
		newBenchLiveCommand(),
		newBenchProgramCommand(),
		newBenchQueriesCommand(),
		newBenchReplayCommand(),
		newBenchTableCommand(),
	)
	return cmd
}

// noArguments is cobra.NoArgs with finwait's words.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("argument %q is not understood; see '%s --help'", args[0], cmd.CommandPath())}
	}
	return nil
}

// benchOptions are those of every benchmark.
type benchOptions struct {
	format string
	report string
	count  int
}

// addFlags takes a count that is set for the default of --count.
func (o *benchOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.format, "format", "bench", "results on standard output: bench, as benchstat reads them, or json")
	flags.StringVar(&o.report, "report", "", "directory to write a web page with charts to; new, empty, or with an earlier report")
	flags.IntVar(&o.count, "count", max(o.count, 1), "how often to repeat the whole measurement, for benchstat")
}

func (o *benchOptions) validate() error {
	switch {
	case o.format != "bench" && o.format != "json":
		return usageError{fmt.Errorf("--format %q: choose bench or json", o.format)}
	case o.count < 1 || o.count > maxRepeats:
		return usageError{fmt.Errorf("--count %d: choose 1 to %d", o.count, maxRepeats)}
	}
	if o.report == "" {
		return nil
	}
	if err := report.PrepareDir(o.report); err != nil {
		return usageError{fmt.Errorf("--report: %w", err)}
	}
	return nil
}

// runBench measures as often as asked and writes the results in every form
// asked for. measure returns results, charts and notes; the rest of the report
// is filled in here. Where a repeat fails or is interrupted, the whole ones
// before it are written with what measure returned beside its error, and that
// is returned.
func runBench(cmd *cobra.Command, o benchOptions, title string, measure func(ctx context.Context, p *benchProgress) (*report.Report, error)) error {
	if err := o.validate(); err != nil {
		return err
	}
	all := &report.Report{Title: title, Command: commandLine(cmd), StartedAt: time.Now(), Machine: report.ThisMachine()}
	all.Machine.Version = version()
	p := &benchProgress{out: cmd.ErrOrStderr(), repeats: o.count}
	var failed error
	for p.repeat = 1; p.repeat <= o.count; p.repeat++ {
		found, err := measure(cmd.Context(), p)
		p.finish()
		if found != nil {
			all.Add(found)
		}
		if err != nil {
			failed = err
			switch {
			case errors.Is(err, context.Canceled):
				failed = fmt.Errorf("interrupted in repeat %d of %d; there are %d results", p.repeat, o.count, len(all.Results))
			case cmd.Context().Err() != nil:
				failed = fmt.Errorf("interrupted in repeat %d of %d: %w", p.repeat, o.count, err)
			}
			break
		}
	}
	if failed != nil && len(all.Results) == 0 {
		return failed
	}
	return errors.Join(failed, o.write(cmd.OutOrStdout(), all))
}

func (o *benchOptions) write(stdout io.Writer, all *report.Report) error {
	write := all.WriteBench
	if o.format == "json" {
		write = all.WriteJSON
	}
	err := write(stdout)
	if o.report != "" {
		err = errors.Join(err, all.WriteDir(o.report))
	}
	return err
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// commandLine is the command as a shell would take it: flags that were set,
// then arguments.
func commandLine(cmd *cobra.Command) string {
	words := []string{cmd.CommandPath()}
	quoted := func(word string) string {
		if plainWord.MatchString(word) {
			return word
		}
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		words = append(words, quoted("--"+f.Name+"="+value))
	})
	for _, argument := range cmd.Flags().Args() {
		words = append(words, quoted(argument))
	}
	return strings.Join(words, " ")
}

// benchProgress tells on standard error how far a benchmark is: with a bar on
// a terminal, and lines anywhere. Any goroutine may call its methods.
type benchProgress struct {
	out             io.Writer
	repeat, repeats int // counted from 1

	mu  sync.Mutex
	bar *progressbar.ProgressBar
}

// Repeat is which of how many repeats is being measured, from 1.
func (p *benchProgress) Repeat() (this, of int) { return p.repeat, p.repeats }

// Stage begins a stage of so many steps, -1 where their number is not known.
func (p *benchProgress) Stage(what string, steps int64) {
	p.finish()
	if !isTerminal(p.out) {
		return
	}
	if p.repeats > 1 {
		what += " (" + strconv.Itoa(p.repeat) + "/" + strconv.Itoa(p.repeats) + ")"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar = progressbar.NewOptions64(steps, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(what),
		progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(progressInterval),
		progressbar.OptionShowCount())
}

// Add does n steps.
func (p *benchProgress) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Add64(n) // a bar that cannot be drawn harms nothing
	}
}

// Say writes a line above the bar.
func (p *benchProgress) Say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintln(p.out, line)
}

// finish takes the bar away.
func (p *benchProgress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
