package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/finwait/finwait/api/client"
	"github.com/finwait/finwait/api/console"
)

// maxLine bounds one line of an answer of lines.
const maxLine = 1 << 20

// inquiry is a command that asks a running appliance.
type inquiry struct {
	name, path     string
	short, example string
	answer         *console.Answer
	// lines says that the API gives the elements a line each, without a limit.
	lines bool
	// one is the path of a single element, to which an argument is added; empty
	// where there is none.
	one string
	// preset are parameters that the shell gives where nobody does.
	preset map[string]string
}

// inquiries are all of them but the stream, which has no end.
var inquiries = []inquiry{
	{
		name: "flows", path: "/v1/flows", short: "List connections that ended", answer: &console.Flows, lines: true, one: "/v1/flows/",
		example: `  finwait flows --close-kind reset --since -15m
  finwait flows --server-ip 10.0.0.7 --min-close-wait 5s --sort -close_wait
  finwait flows --format ndjson | jq .server_ip`,
	},
	{
		name: "connections", path: "/v1/connections", short: "List connections that are followed now", answer: &console.Connections,
		example: `  finwait connections --server-state CLOSE-WAIT --min-close-wait 30s
  finwait connections --sort -bytes --limit 20`,
	},
	{
		name: "teardown", path: "/v1/teardown", short: "Show how long connections took to close", answer: &console.Teardown,
		example: `  finwait teardown --group-by server,server_port --sort -close_wait`,
	},
	{
		name: "top", path: "/v1/top", short: "Show who has most of something", answer: &console.Top, preset: map[string]string{"by": "connections"},
		example: `  finwait top --by close_wait --group-by server,server_port
  finwait top --by resets --group-by client`,
	},
	{
		name: "series", path: "/v1/series", short: "Show what happened in each interval of a time", answer: &console.Series,
		example: `  finwait series --since -5m --interval 10s`,
	},
	{
		name: "status", path: "/v1/status", short: "Show how the appliance is doing, and its ledger", answer: &console.Status,
	},
}

// newAskingCommands are the commands that ask a running appliance.
func newAskingCommands() []*cobra.Command {
	var all []*cobra.Command
	for i := range inquiries {
		all = append(all, inquiries[i].command())
	}
	return append(all, newStreamCommand(), newWatchCommand())
}

// asking is one run of an inquiry.
type asking struct {
	*inquiry
	client         *client.Client
	query          url.Values
	format         string
	stdout, stderr io.Writer
}

func (q *inquiry) command() *cobra.Command {
	cmd := &cobra.Command{Use: q.name, Short: q.short, Example: q.example, Args: noArguments,
		Long: q.short + `.

It asks a running appliance over HTTP. Filters are those of the API, and all that
are given must fit; a list has values separated by commas, of which any fits.
docs/api.md says what each of them means.`}
	if q.one != "" {
		cmd.Use += " [FLOW_ID]"
		cmd.Args = atMostOneArgument
	}
	parameters := addParameterFlags(cmd, q.path, q.preset, everyParameter)
	remote := addRemoteFlags(cmd)
	format := cmd.Flags().String("format", "table", "table, json (the answer as it comes), ndjson (an element a line) or csv")
	complete(cmd, "format", console.Formats)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !console.IsFormat(*format) {
			return usageError{fmt.Errorf("--format %q: choose table, json, ndjson or csv", *format)}
		}
		c, err := remote.client()
		if err != nil {
			return err
		}
		a := &asking{q, c, parameters.query(), *format, cmd.OutOrStdout(), cmd.ErrOrStderr()}
		if len(args) == 1 {
			return explain(a.single(cmd.Context(), args[0]))
		}
		return explain(a.run(cmd.Context()))
	}
	return cmd
}

func (a *asking) run(ctx context.Context) error {
	if a.lines && a.format != "table" && a.format != "json" && !a.query.Has("cursor") && sortedByPublication(a.query) {
		return a.stream(ctx)
	}
	body, err := a.client.Body(ctx, a.path, a.query)
	if err != nil {
		return err
	}
	switch a.format {
	case "table":
		return a.table(body)
	case "json":
		return writeJSON(a.stdout, body)
	}
	elements, groupBy, err := a.answer.Elements(body)
	if err != nil {
		return err
	}
	leftOut, err := a.answer.LeftOut(body)
	if err != nil {
		return err
	}
	out, err := a.lineWriter(groupBy)
	if err != nil {
		return err
	}
	for _, e := range elements {
		if err := out.write(e); err != nil {
			return err
		}
	}
	if err := out.flush(); err != nil || leftOut == "" {
		return err
	}
	return say(a.stderr, []string{leftOut})
}

// sortedByPublication tells whether the answer can be given line by line.
func sortedByPublication(query url.Values) bool {
	return !query.Has("sort") || strings.TrimPrefix(query.Get("sort"), "-") == "published_at"
}

// stream writes elements as they come.
func (a *asking) stream(ctx context.Context) error {
	answer, err := a.client.Open(ctx, a.path, a.query, "application/x-ndjson")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	out, err := a.lineWriter(nil)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if err := out.write(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := errors.Join(out.flush(), lines.Err()); err != nil {
		return fmt.Errorf("the answer ended early: %w", err)
	}
	if lost := answer.Trailer.Get("Finwait-Overwritten"); lost != "" && lost != "0" {
		fmt.Fprintf(a.stderr, "finwait: %s records were overwritten before they were read\n", lost)
	}
	return nil
}

// lineWriter writes elements a line each.
type lineWriter struct {
	write func(element []byte) error
	flush func() error
}

func (a *asking) lineWriter(groupBy []string) (lineWriter, error) {
	out := bufio.NewWriter(a.stdout)
	if a.format == "csv" {
		csv, err := a.answer.CSV(out, groupBy)
		return lineWriter{csv.Write, func() error { return errors.Join(csv.Flush(), out.Flush()) }}, err
	}
	return lineWriter{func(element []byte) error {
		_, err := out.Write(append(bytes.TrimSpace(element), '\n'))
		return err
	}, out.Flush}, nil
}

// single asks for one element.
func (a *asking) single(ctx context.Context, id string) error {
	if len(a.query) > 0 {
		return usageError{fmt.Errorf("%s %s: one is asked for, so that there is nothing to choose from; leave out the filters", a.name, id)}
	}
	body, err := a.client.Body(ctx, a.one+url.PathEscape(id), nil)
	if err != nil {
		return err
	}
	switch a.format {
	case "table":
		t, err := console.Fields(body)
		if err != nil {
			return err
		}
		return t.Write(a.stdout, 0)
	case "json":
		return writeJSON(a.stdout, body)
	}
	out, err := a.lineWriter(nil)
	if err != nil {
		return err
	}
	return errors.Join(out.write(body), out.flush())
}

// table writes an answer for people; what is said beside it does not go where
// a program would read it.
func (a *asking) table(body []byte) error {
	t, notes, err := a.answer.Table(body)
	if err != nil {
		return err
	}
	width := terminalWidth(a.stdout)
	if a.answer == &console.Status { // they are what was asked for
		return errors.Join(say(a.stdout, notes), t.Write(a.stdout, width))
	}
	return errors.Join(t.Write(a.stdout, width), say(a.stderr, notes))
}

func say(w io.Writer, notes []string) error {
	if len(notes) == 0 {
		return nil
	}
	_, err := io.WriteString(w, strings.Join(notes, "\n")+"\n")
	return err
}

// terminalWidth is 0 for what is no terminal.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

func writeJSON(w io.Writer, body []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(body), "", "  "); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}

// parameterNames finds what a problem's detail says of the API's parameters.
var parameterNames = regexp.MustCompile(`parameter "([a-z0-9_]+)"`)

// explain says of an error what can be done about it from the shell.
func explain(err error) error {
	var (
		problem     *client.Problem
		unreachable *client.UnreachableError
	)
	switch {
	case errors.As(err, &problem) && problem.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w; --token-file FILE or FINWAIT_TOKEN_FILE names the file that has it", err)
	case errors.As(err, &problem) && problem.Status == http.StatusBadRequest:
		return usageError{errors.New(parameterNames.ReplaceAllStringFunc(problem.Error(), func(text string) string {
			return flagOf(parameterNames.FindStringSubmatch(text)[1])
		}))}
	case !errors.As(err, &unreachable):
		return err
	case strings.Contains(err.Error(), "signed by unknown authority"):
		return fmt.Errorf("%w; --ca-file FILE names the certificates to trust", err)
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return fmt.Errorf("%w; it speaks http://", err)
	}
	return fmt.Errorf("%w; is one running? 'finwait run --interface IF' starts one, --server URL or FINWAIT_SERVER names another", err)
}

func atMostOneArgument(cmd *cobra.Command, args []string) error {
	return noArguments(cmd, args[min(len(args), 1):])
}

// complete offers values for a flag; after a comma, those of a list.
func complete(cmd *cobra.Command, flag string, values []string) {
	// The flag is there, so that there is no error.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndex(typed, ",")+1]
		given := strings.Split(before, ",")
		var offered []string
		for _, v := range values {
			if !slices.Contains(given, v) {
				offered = append(offered, before+v)
			}
		}
		return offered, cobra.ShellCompDirectiveNoFileComp
	})
}
