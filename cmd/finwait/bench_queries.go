package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/api/server"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/capacity"
)

type queriesOptions struct {
	bench  benchOptions
	recent string
	flows  string
	rounds int
	turn   time.Duration
	rate   int
	least  int      // answers of each question
	asked  []string // names of questions
}

// question is one that is asked while a worker is under load.
type question struct {
	name string
	path string // of the API; "" for the census, which /metrics keeps for a second
	live bool   // of the connections that are followed
}

var questions = []question{
	{"flows", "/v1/flows?server=198.18.0.0/25&close_kind=four_way&min_bytes=100&sort=-published_at", false},
	{"flows-rare", "/v1/flows?client=10.0.1.0/30&limit=100", false},
	{"flows-sorted", "/v1/flows?server=198.18.0.7&sort=-close_wait", false},
	{"teardown", "/v1/teardown?group_by=server", false},
	{"top", "/v1/top?by=close_wait&group_by=server,server_port", false},
	{"series", "/v1/series?since=-1m&interval=1s&close_kind=four_way", false},
	{"connections", "/v1/connections", true},
	{"connections-close-wait", "/v1/connections?state=CLOSE-WAIT&sort=-close_wait", true},
	{"connections-close-wait-age", "/v1/connections?state=CLOSE-WAIT&sort=-age", true},
	{"connections-server", "/v1/connections?server=198.18.0.0/29", true},
	{"connections-servers", "/v1/connections?server=198.18.0.0/15&server_port=443", true},
	{"census", "", true},
}

func newBenchQueriesCommand() *cobra.Command {
	var o queriesOptions
	cmd := &cobra.Command{
		Use:   "queries",
		Short: "Measure the API's answers beside a worker under load",
		Long: `Queries asks the HTTP API over the loopback interface while a worker, pinned to
a CPU of its own, follows connections as fast as it can, and gives how long the
answers take and how much slower the worker is. Short turns without questions
and with them alternate; the worker's loss is told from all of them, with its
standard error. A turn that is shorter than the time between two questions has
one, at its beginning, and its loss counts for all that time. Where the rounds gave too few answers for a 99th percentile,
more are asked for afterwards. Questions about records are asked of as many as
--recent says, with whole connections as load; those about connections of as
many as --flows says, all of them open, with data segments as load. Nothing else
should run meanwhile.`,
		Example: `  finwait bench queries
  finwait bench queries --recent 1M --flows 1M --rate 50 --report queries`,
		Args: noArguments,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.recent, "recent", "1M", "records to ask about, with k or M for thousands or millions")
	flags.StringVar(&o.flows, "flows", "1M", "connections to ask about")
	flags.IntVar(&o.rounds, "rounds", 100, "rounds, each with a turn without and one with each question")
	flags.DurationVar(&o.turn, "turn", 100*time.Millisecond, "how long a turn is")
	flags.IntVar(&o.rate, "rate", 5, "questions a second about records; about connections it is 50")
	flags.IntVar(&o.least, "answers", 150, "answers of each question at least, for the percentiles")
	flags.StringSliceVar(&o.asked, "questions", questionNames(), "which to ask")
	o.bench.addFlags(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		recent, flows, err := o.validated()
		if err != nil {
			return err
		}
		return runBench(cmd, o.bench, "The API of finwait beside a worker under load", func(ctx context.Context, p *benchProgress) (*report.Report, error) {
			var all queriesReport
			var err error
			if len(o.questions(false)) > 0 {
				err = o.measureRecords(ctx, p, recent, &all)
			}
			if err == nil && len(o.questions(true)) > 0 {
				err = o.measureConnections(ctx, p, flows, &all)
			}
			return &report.Report{Results: all, Notes: queriesNotes}, err
		})
	}
	return cmd
}

func questionNames() (names []string) {
	for _, q := range questions {
		names = append(names, q.name)
	}
	return names
}

// questions are those that are to be asked, of connections or of records.
func (o *queriesOptions) questions(live bool) (of []question) {
	for _, q := range questions {
		if q.live == live && slices.Contains(o.asked, q.name) {
			of = append(of, q)
		}
	}
	return of
}

func (o *queriesOptions) validated() (recent, flows uint64, err error) {
	recent, err = parseCount(o.recent)
	if err != nil || recent < 1 || recent > 1e9 {
		return 0, 0, usageError{fmt.Errorf("--recent %q: a number such as 100k or 1M is needed", o.recent)}
	}
	if flows, err = parseCount(o.flows); err != nil || flows < capacity.MinFlows || flows > flowtable.MaxMaxFlows {
		return 0, 0, usageError{fmt.Errorf("--flows %q: a number from %d to %s is needed", o.flows, capacity.MinFlows, countLabel(flowtable.MaxMaxFlows))}
	}
	for _, name := range o.asked {
		if !slices.Contains(questionNames(), name) {
			return 0, 0, usageError{fmt.Errorf("--questions %q: choose from %s", name, strings.Join(questionNames(), ", "))}
		}
	}
	switch {
	case len(o.asked) == 0:
		return 0, 0, usageError{errors.New("--questions: nothing is left to ask; name one")}
	case o.rounds < 1 || o.rounds > maxRepeats:
		return 0, 0, usageError{fmt.Errorf("--rounds %d: choose 1 to %d", o.rounds, maxRepeats)}
	case o.turn < 10*time.Millisecond || o.turn > time.Minute:
		return 0, 0, usageError{fmt.Errorf("--turn %v: choose 10ms to 1m", o.turn)}
	case o.least < 1 || o.least > 1e6:
		return 0, 0, usageError{fmt.Errorf("--answers %d: choose 1 to 1M", o.least)}
	case o.rate < 1 || o.rate > 1000:
		return 0, 0, usageError{fmt.Errorf("--rate %d: choose 1 to 1000", o.rate)}
	}
	return recent, flows, checkRecent(int(recent))
}

// measureRecords asks about records, which the load goes on to write.
func (o *queriesOptions) measureRecords(ctx context.Context, p *benchProgress, recent uint64, to *queriesReport) (err error) {
	clock := new(api.Clock)
	names := api.NewNames(clock, nil)
	kept, err := history.NewRecent(int(recent), names)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Free()) }()
	// The load's own table is small: what is measured is the records.
	w, err := startLoad(func(records flowtable.Records) (*capacity.Load, error) { return capacity.NewChurn(1<<17, records) }, kept)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	p.Stage("filling the recent records", -1)
	for kept.Len() < kept.Cap() {
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	// A second of the load takes less than one: that of its newest record is made
	// now for each question, so that a series has them in its window.
	w.ready = func() { clock.Set(time.Now().UnixNano() - w.newest.Load()) }
	return o.ask(ctx, p, false, o.rate, w, kept, names, to)
}

// connectionsRate is how often is asked about connections, a second.
const connectionsRate = 50

func (o *queriesOptions) measureConnections(ctx context.Context, p *benchProgress, flows uint64, to *queriesReport) (err error) {
	names := api.NewNames(nil, nil)
	kept, err := history.NewRecent(1, names)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Free()) }()
	p.Stage("opening connections", -1)
	w, err := startLoad(func(flowtable.Records) (*capacity.Load, error) { return capacity.NewEstablished(uint32(flows)) }, kept)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	return o.ask(ctx, p, true, connectionsRate, w, kept, names, to)
}

// ask takes turns of asking and of being quiet.
func (o *queriesOptions) ask(ctx context.Context, p *benchProgress, live bool, rate int, w *busyWorker, kept history.History, names *api.Names, to *queriesReport) (err error) {
	client, end, err := serveQuestions(w, kept, names)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	of := o.questions(live)
	turns := make([]turns, len(of))
	for _, q := range of { // memory that the first question takes is kept
		if err := client(ctx, q); err != nil {
			return err
		}
	}
	p.Stage("questions", int64(o.rounds*len(of)))
	for round := range o.rounds {
		for i, q := range of {
			ask := func(ctx context.Context) error { return client(ctx, q) }
			if err := turns[i].take(ctx, w, o.turn, round%2 == 1, ask, rate); err != nil {
				return err
			}
			p.Add(1)
		}
	}
	p.Stage("more answers", int64(len(of)))
	for i, q := range of {
		if err := turns[i].askMore(ctx, func(ctx context.Context) error { return client(ctx, q) }, o.least); err != nil {
			return err
		}
		p.Add(1)
	}
	for i, q := range of {
		*to = append(*to, turns[i].results(q.name, w.unit, rate)...)
	}
	return nil
}

// serveQuestions serves the API on the loopback interface.
func serveQuestions(w *busyWorker, kept history.History, names *api.Names) (ask func(context.Context, question) error, end func() error, err error) {
	s, err := server.New(server.Config{Version: version(), History: kept, Live: w, Names: names, Status: func() api.Status { return api.Status{} }})
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("a port for the questions: %w", err)
	}
	serving := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: time.Second}
	go func() { _ = serving.Serve(listener) }() // it ends by Close
	ask = func(ctx context.Context, q question) error {
		if w.ready != nil {
			w.ready()
		}
		if q.path == "" {
			w.Census(new(flowtable.Census))
			return nil
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listener.Addr().String()+q.path, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("asking %s: %s", q.path, answer.Status)
		}
		return nil
	}
	return ask, serving.Close, nil
}

// queriesReport collects results.
type queriesReport []report.Result

var queriesNotes = []string{
	"answer is from the request to the last octet of the answer, over HTTP on the loopback interface, one question at a time; each was asked once before. The census, which /metrics has taken at most once a second, is asked for without HTTP.",
	"loss is 1 - asked/quiet of the worker's speed over all turns, times the part of the time between questions that a turn is, where that is shorter; stderr is its standard error, by how much single rounds differ. Twice as much to either side holds what is true, nineteen times of twenty. cpu-loss is the same of the speed by the worker's own processor time, of which other programs on its CPU take none.",
	"the worker makes its segments itself, as fast as it can: a worker that waits for traffic has time to spare.",
}
