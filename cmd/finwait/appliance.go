package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/access"
	"github.com/finwait/finwait/api/export"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/api/metrics"
	"github.com/finwait/finwait/api/server"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp"
	"github.com/finwait/finwait/xdp/gateway"
)

const (
	// recordRing is the records of one worker that may wait for the publisher.
	recordRing = 1 << 14
	// clockInterval is how often the wall clock is looked at for a step.
	clockInterval = 5 * time.Second
	// roomInterval is how often the kernel is asked whether its flow table had
	// no room: well below the linger after which records are written.
	roomInterval = 500 * time.Millisecond
	// sweepInterval is how often kernel entries without an owner are looked
	// for, and sweepMargin how much longer than any timeout they are idle.
	sweepInterval = time.Minute
	sweepMargin   = time.Minute
)

type applianceConfig struct {
	tap      xdp.Config
	gateway  *gateway.Config // in place of a tap; nil for that
	blindNAT bool            // a gateway's connection tracking is not asked
	maxFlows uint32
	recent   int
	timeouts flowtable.Timeouts
	polling  worker.Polling
	listener net.Listener
	access   *access.Access    // who may ask at the listener; nil for everybody on this machine
	records  io.Writer         // takes every record as NDJSON; nil for nothing that does
	sinks    []export.Branch   // take every record besides
	apart    bool              // the rest of the process keeps off the workers' CPUs, where there are others
	patience time.Duration     // how long the end waits for sinks to take the last records
	report   func(line string) // what the operator should know, when it happens
}

// appliance is capture, workers, publisher and API in one process.
type appliance struct {
	config    applianceConfig
	source    capture
	queues    []queue
	tables    []*flowtable.Table
	rings     []*flowtable.Ring // of the tables
	team      *worker.Team
	recent    *history.Recent
	fanout    *export.Fanout
	pairs     *pairing // between the publisher and the fan-out; nil on a tap
	owners    *owners  // nil where nobody asks for them
	clock     api.Clock
	names     *api.Names
	metrics   *metrics.Metrics
	server    *server.Server
	startedAt time.Time
	uncounted uint64 // segments without room in the kernel's flow table, at the last look

	capture   *errgroup.Group // workers
	stopWork  context.CancelFunc
	published chan struct{}
	lastUntil atomic.Int64    // see outlet
	service   *errgroup.Group // HTTP, clock, sweeper
	stopServe context.CancelFunc
	failed    context.Context // done when a part has stopped by itself
	once      sync.Once
	stopErr   error
	rejoin    func() error // gives back what apart took
}

// startAppliance opens the capture in the calling thread's network namespace and
// starts everything. After an error nothing is left running or changed; the
// listener stays the caller's then.
func startAppliance(ctx context.Context, c applianceConfig) (*appliance, error) {
	a, err := openAppliance(c)
	if err != nil {
		return nil, err
	}
	a.start(ctx)
	return a, nil
}

// openAppliance opens the capture and makes everything that startAppliance starts.
func openAppliance(c applianceConfig) (*appliance, error) {
	if c.access == nil {
		var err error
		if c.access, err = access.New(access.Config{}); err != nil {
			return nil, err
		}
	}
	source, queues, err := openCapture(&c)
	if err != nil {
		return nil, err
	}
	a := &appliance{config: c, source: source, queues: queues, startedAt: time.Now(), published: make(chan struct{})}
	if err := a.build(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.server, err = server.New(server.Config{Version: version(), History: a.recent, Live: a, Names: a.names, Status: a.status, Health: a.health, Mount: a.mount})
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	c.access.Observe(a.metrics.Answered)
	return a, nil
}

// mount registers what is answered besides the API.
func (a *appliance) mount(mux *http.ServeMux) { mux.Handle("GET /metrics", a.metrics.Handler()) }

// build makes the tables, one per queue, and what they feed.
func (a *appliance) build() (err error) {
	hasher := segment.NewHasher()
	a.setWallClock()
	a.names = api.NewNames(&a.clock, a.source.InterfaceName)
	if c := a.config.gateway; c != nil && c.Owners {
		a.owners = openOwners(a.names)
	}
	if a.recent, err = history.NewRecent(a.config.recent, a.names); err != nil {
		return fmt.Errorf("--recent: %w", err)
	}
	a.metrics = a.newMetrics()
	branches := []export.Branch{{Name: "recent", Sink: a.recent}, {Name: "metrics", Sink: a.metrics.Connections}}
	if a.config.records != nil {
		branches = append(branches, export.Branch{Name: "records", Sink: export.NewNDJSON(a.config.records, a.names)})
	}
	branches = append(branches, a.config.sinks...)
	a.fanout = export.NewFanout(func(name string, err error) {
		a.config.report(fmt.Sprintf("warning: %s does not take records: %v", name, err))
	}, branches...)
	if a.config.gateway != nil {
		if a.pairs, err = openPairing(&a.config, a.deliver); err != nil {
			return err
		}
	}
	var members []worker.Member
	for i, q := range a.queues {
		ring := flowtable.NewRing(recordRing, false)
		table, err := flowtable.New(flowtable.Config{
			MaxFlows:    share(a.config.maxFlows, len(a.queues)),
			Timeouts:    a.config.timeouts,
			Accounts:    a.accounts(),
			Accounting:  a.accounting(),
			Owners:      a.owners.sighted(),
			Records:     outlet{ring, &a.lastUntil},
			FirstSerial: firstSerial(i),
		}, hasher)
		if err != nil {
			return fmt.Errorf("--max-flows: %w", err)
		}
		a.tables, a.rings = append(a.tables, table), append(a.rings, ring)
		members = append(members, worker.Member{Source: q, Table: table, Ring: ring, CPU: cpuOf(i)})
	}
	if a.team, err = worker.NewTeam(members, hasher, monotonic); err != nil {
		return err
	}
	a.team.Poll(a.config.polling)
	if a.config.gateway != nil {
		a.team.Whole()
	}
	return nil
}

// accounts is where the kernel counts; nil by sequence.
func (a *appliance) accounts() flowtable.Accounts {
	if accounts := a.source.Accounts(); accounts != nil {
		return accounts
	}
	return nil
}

// accounting is how octets are known.
func (a *appliance) accounting() flowtable.Accounting {
	if a.config.tap.Sequence {
		return flowtable.AccountingSequence
	}
	return flowtable.AccountingCounted
}

// share is one table's part of all connections: the hash deals them out
// evenly but for a few per cent.
func share(maxFlows uint32, tables int) uint32 {
	if tables == 1 {
		return maxFlows
	}
	part := (uint64(maxFlows) + uint64(tables) - 1) / uint64(tables)
	return uint32(part + part/16 + 64)
}

// cpuOf is where to pin a worker: workers go round the CPUs that this process
// may use.
func cpuOf(i int) int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil || set.Count() == 0 {
		return -1
	}
	nth := i % set.Count()
	for cpu := 0; ; cpu++ {
		if set.IsSet(cpu) {
			if nth == 0 {
				return cpu
			}
			nth--
		}
	}
}

func (a *appliance) start(ctx context.Context) {
	if a.config.apart {
		var err error
		if a.rejoin, err = keepOff(a.cpus()); err != nil {
			a.config.report(fmt.Sprintf("warning: queries may take time from the workers: %v", err))
		}
	}
	ready, err := a.team.MakeReady(ctx)
	a.noteUnready(err)
	ready = ready || err != nil // there is nothing to go on with
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	a.stopWork = stopWork
	a.capture, a.failed = errgroup.WithContext(work)
	for _, w := range a.team.Workers() {
		a.capture.Go(func() error { return w.Run(a.failed) })
	}
	go a.publish()
	serve, stopServe := context.WithCancel(context.WithoutCancel(ctx))
	a.stopServe = stopServe
	var serving context.Context
	a.service, serving = errgroup.WithContext(serve)
	a.service.Go(func() error {
		if err := a.config.access.Serve(serving, a.config.listener, a.server.Handler()); err != nil {
			stopWork() // an appliance that cannot be asked is of no use
			return fmt.Errorf("HTTP API on %s: %w", a.config.listener.Addr(), err)
		}
		return nil
	})
	if !ready {
		a.service.Go(func() error { a.noteUnready(a.team.KeepReady(serving)); return nil })
	}
	a.service.Go(func() error { a.every(serving, clockInterval, a.setWallClock); return nil })
	a.service.Go(func() error { a.every(serving, roomInterval, a.watchRoom); return nil })
	if a.pairs != nil {
		a.service.Go(func() error { a.every(serving, addressInterval, a.pairs.lookAround); return nil })
	}
	if a.owners != nil {
		a.service.Go(func() error { return a.owners.run(serving) })
	}
	if oldest, bounded := a.longestTimeout(); bounded {
		a.service.Go(func() error {
			a.every(serving, sweepInterval, func() { a.sweep(oldest + sweepMargin) })
			return nil
		})
	}
}

// noteUnready says what it means that memory could not be made ready.
func (a *appliance) noteUnready(err error) {
	if err != nil {
		a.config.report(fmt.Sprintf("warning: many new connections at once may cost segments: %v", err))
	}
}

// publish brings records to the sinks until the workers have ended, on a gateway by
// way of the stage that pairs them.
func (a *appliance) publish() {
	defer close(a.published)
	if a.pairs == nil {
		worker.Publish(a.rings, a.deliver, nil)
		return
	}
	worker.Publish(a.rings, a.pairs.take, a.pairs.idle)
	a.pairs.stage.Close()
}

// deliver gives records to the sinks.
func (a *appliance) deliver(records []flowtable.Record) { _ = a.fanout.Write(records) }

func (a *appliance) every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// longestTimeout is after how long an idle connection is over at the latest;
// false where it may stay for ever.
func (a *appliance) longestTimeout() (time.Duration, bool) {
	t := a.config.timeouts
	if t.Opening == 0 || t.Established == 0 || t.Closing == 0 {
		return 0, false
	}
	return max(t.Opening, t.Established, t.Closing, t.Linger), true
}

// watchRoom marks what may have gone uncounted.
func (a *appliance) watchRoom() {
	if n := a.source.Uncounted(); n > a.uncounted {
		a.uncounted = n
		a.team.Uncounted()
	}
}

func (a *appliance) sweep(olderThan time.Duration) {
	if _, err := a.source.Orphans(olderThan); err != nil {
		a.config.report(fmt.Sprintf("warning: looking for kernel entries without an owner: %v", err))
	}
}

// wait returns when ctx ends, or when a part stops by itself: stop and close
// then tell why.
func (a *appliance) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-a.failed.Done():
	}
}

// stop ends the capture: open connections are written out, and every record
// has reached the API, which goes on, and the other sinks. Sinks that take
// none any more are given up after a while.
func (a *appliance) stop() error {
	a.once.Do(func() {
		a.lastUntil.Store(monotonic() + int64(a.config.patience))
		a.stopWork()
		a.stopErr = a.capture.Wait()
		late := time.NewTimer(time.Duration(a.lastUntil.Load() - monotonic()))
		defer late.Stop()
		select {
		case <-a.published:
			a.stopErr = errors.Join(a.stopErr, a.fanout.Close())
		case <-late.C:
			a.stopErr = errors.Join(a.stopErr, fmt.Errorf("the last records were not taken within %v: "+
				"see what reads or stores the output of --records", a.config.patience))
		}
	})
	return a.stopErr
}

// outcome says what a stopped appliance wrote, and what it could not.
func (a *appliance) outcome() string {
	var records, open, lost uint64
	for _, t := range a.tables {
		s := t.Stats()
		records += s.Records.Load()
		open += s.ByReason[flowtable.EndShutdown].Load()
		lost += s.RecordsLost.Load()
	}
	line := fmt.Sprintf("stopped: %d records, %d of them of connections that were still open", records, open)
	if lost > 0 {
		line += fmt.Sprintf("; %d more were lost, since they were not taken in time", lost)
	}
	return line
}

// close ends the API, puts the interfaces back as they were, and gives the
// memory back. A started appliance must have been stopped.
func (a *appliance) close() error {
	var err error
	if a.service != nil {
		a.stopServe()
		err = a.service.Wait()
	}
	if a.rejoin != nil {
		err = errors.Join(err, a.rejoin())
	}
	if a.pairs != nil {
		err = errors.Join(err, a.pairs.close())
	}
	if a.owners != nil {
		err = errors.Join(err, a.owners.names.Close())
	}
	err = errors.Join(err, a.source.Close())
	for _, t := range a.tables {
		err = errors.Join(err, t.Close())
	}
	if a.recent != nil {
		err = errors.Join(err, a.recent.Free())
	}
	return err
}

// Look implements history.Live over all tables.
func (a *appliance) Look(g *flowtable.Glance, yield func(flowtable.Place, *flowtable.Record) bool) {
	more := true
	for _, t := range a.tables {
		if t.Look(g, func(p flowtable.Place, r *flowtable.Record) bool { more = yield(p, r); return more }); !more {
			return
		}
	}
}

// Seek implements history.Live.
func (a *appliance) Seek(serial uint64) (p flowtable.Place, found bool) {
	if table := tableOf(serial); table < len(a.tables) {
		return a.tables[table].Seek(serial)
	}
	return p, false
}

// View implements history.Live over all tables, whose connections have serial
// numbers of their own.
func (a *appliance) View(places []flowtable.Place, yield func(i int, r *flowtable.Record) bool) error {
	if len(a.tables) == 1 {
		return a.tables[0].View(places, yield)
	}
	more := true
	of, numbers := make([]flowtable.Place, 0, len(places)), make([]int, 0, len(places))
	for i, t := range a.tables {
		of, numbers = of[:0], numbers[:0]
		for n, p := range places {
			if tableOf(p.Serial) == i {
				of, numbers = append(of, p), append(numbers, n)
			}
		}
		if err := t.View(of, func(n int, r *flowtable.Record) bool { more = yield(numbers[n], r); return more }); err != nil || !more {
			return err
		}
	}
	return nil
}

// firstSerial is that of the connections of a table; tableOf, the table of a
// serial number.
func firstSerial(table int) uint64 { return uint64(table) << 48 }
func tableOf(serial uint64) int    { return int(serial >> 48) }

// health says why the appliance does not measure, nil where it does.
func (a *appliance) health() error {
	select {
	case <-a.failed.Done():
		return errors.New("the capture has ended")
	default:
		return nil
	}
}

// facts say what was reserved and where to ask, one line each.
func (a *appliance) facts() []string {
	var memory uint64
	for _, t := range a.tables {
		memory += t.Memory()
	}
	scheme := "http"
	if a.config.access.Secure() {
		scheme = "https"
	}
	return []string{
		fmt.Sprintf("flow tables: %d for %d connections, %d MiB reserved, on CPUs %v of %d", len(a.tables), a.capacity(), memory>>20, a.cpus(), runtime.NumCPU()),
		fmt.Sprintf("recent records: %d, %d MiB reserved", a.recent.Cap(), a.recent.Memory()>>20),
		fmt.Sprintf("API: %s://%s/v1/status (process %d)", scheme, a.config.listener.Addr(), os.Getpid()),
		fmt.Sprintf("page: %s://%s/", scheme, a.config.listener.Addr()),
	}
}

// cpus are those that workers are pinned to.
func (a *appliance) cpus() []int {
	cpus := make([]int, 0, len(a.tables))
	for _, w := range a.team.Workers() {
		cpus = append(cpus, w.CPU())
	}
	return cpus
}

func (a *appliance) capacity() int {
	n := 0
	for _, t := range a.tables {
		n += t.Capacity()
	}
	return n
}
