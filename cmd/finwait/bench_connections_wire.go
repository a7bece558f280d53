package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp/load"
	"github.com/finwait/finwait/xdp/packet"
)

const (
	// wireLinger is how long a closed connection is kept for late segments.
	wireLinger = 250 * time.Millisecond
	// wireRoom is how long the table has room for what closes in it.
	wireRoom = 2 * time.Second
	// wirePatience is how long, after the last connection of a step, its last
	// segments are waited for.
	wirePatience = wireLinger + 750*time.Millisecond
	// wirePause is between two looks at whether all connections are over.
	wirePause = 20 * time.Millisecond
	wireRing  = 1 << 14
	// wireFlows bounds the table: connections beyond it are lost and counted.
	wireFlows = 1 << 22
)

// wireObserver follows a step's connections by the flow table, from what
// passes the interface. Its zero times never end a connection: the end of the
// step does.
type wireObserver struct {
	packets  packet.Config
	sources  []netip.Addr // whose connections are ours
	maxFlows uint32

	source    *packet.Source
	table     *flowtable.Table
	stop      context.CancelFunc
	followed  chan error
	published chan struct{}
	window    atomic.Pointer[load.Window]
	wire      load.Wire // the publisher's until it has ended
}

// Start implements load.Observer.
func (w *wireObserver) Start() (err error) {
	hasher, ring := segment.NewHasher(), flowtable.NewRing(wireRing, true)
	w.table, err = flowtable.New(flowtable.Config{
		MaxFlows: w.maxFlows, Timeouts: flowtable.Timeouts{Linger: wireLinger}, Records: ring,
	}, hasher)
	if err != nil {
		return fmt.Errorf("--max-concurrent: %w", err)
	}
	if w.source, err = packet.Open(w.packets); err != nil {
		return errors.Join(err, w.table.Close())
	}
	team, err := worker.NewTeam([]worker.Member{{Source: w.source, Table: w.table, Ring: ring, CPU: -1}}, hasher, monotonic)
	if err != nil {
		return errors.Join(err, w.source.Close(), w.table.Close())
	}
	w.wire = load.NewWire()
	w.window.Store(&load.Window{})
	w.followed, w.published = make(chan error, 1), make(chan struct{})
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() { w.followed <- team.Workers()[0].Run(ctx) }()
	go func() {
		defer close(w.published)
		worker.Publish([]*flowtable.Ring{ring}, w.deliver, nil)
	}()
	return nil
}

// Measure implements load.Observer.
func (w *wireObserver) Measure(window load.Window) { w.window.Store(&window) }

// Finish implements load.Observer.
func (w *wireObserver) Finish() (load.Wire, error) {
	// The first pause is for the kernel to hand its last block over.
	for until := time.Now().Add(wirePatience); ; {
		time.Sleep(wirePause)
		if w.table.Stats().Connections.Load() == 0 || time.Now().After(until) {
			break
		}
	}
	w.stop()
	err := <-w.followed
	<-w.published
	stats, statsErr := w.source.Stats()
	w.wire.Lost = stats.Lost + stats.Undecodable + w.table.Stats().RecordsLost.Load() + evicted(w.table)
	err = errors.Join(err, statsErr, w.source.Close(), w.table.Close())
	return w.wire, err
}

func evicted(t *flowtable.Table) uint64 {
	var n uint64
	for i := range t.Stats().Evicted {
		n += t.Stats().Evicted[i].Load()
	}
	return n
}

// deliver takes records into the step's distributions.
func (w *wireObserver) deliver(records []flowtable.Record) {
	window := *w.window.Load()
	for i := range records {
		r := &records[i]
		syn, opened := r.Time(flowtable.SYNAt)
		if !opened || !slices.Contains(w.sources, netip.AddrFrom16(r.Client.Address).Unmap()) {
			continue // a late segment of an earlier step, or somebody else's
		}
		w.wire.Connections++
		if syn >= window.From && syn < window.To {
			w.measure(r)
		}
	}
}

var wavePhases = [...]struct {
	wave  load.Wave
	phase flowtable.Phase
}{
	{load.FINWait1, flowtable.FINWait1}, {load.CloseWait, flowtable.CloseWait},
	{load.LastACK, flowtable.LastACK}, {load.Teardown, flowtable.Teardown},
}

func (w *wireObserver) measure(r *flowtable.Record) {
	w.wire.Measured++
	w.wire.Kinds[r.CloseKind.String()]++
	if _, closed := r.Time(flowtable.FIN1At); closed && r.Initiator == flowtable.Server {
		w.wire.ByServer++
	}
	w.wire.Retransmits += uint64(r.Client.SYNRetransmits) + uint64(r.Server.SYNRetransmits) +
		uint64(r.Client.FINRetransmits) + uint64(r.Server.FINRetransmits)
	if ns, ok := r.Between(flowtable.SYNAt, flowtable.SYNACKAt); ok {
		w.wire.Record(load.ServerHandshake, ns)
	}
	if ns, ok := r.Between(flowtable.SYNACKAt, flowtable.EstablishedAt); ok {
		w.wire.Record(load.ClientHandshake, ns)
	}
	for _, p := range wavePhases {
		if ns, ok := r.Phase(p.phase); ok {
			w.wire.Record(p.wave, ns)
		}
	}
}
