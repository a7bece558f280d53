package main

import (
	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/worker"
	"github.com/finwait/finwait/xdp"
)

// Stages of the ledger behind those of xdp, in the order in which a segment
// and its record meet them; the last is of those who ask.
const (
	stageWorker = "worker"
	stageTable  = "table"
	stageSink   = "sink"
	stageHTTP   = "http"
)

// status describes the appliance for the API.
func (a *appliance) status() api.Status {
	s := api.Status{Version: version(), StartedAt: a.startedAt, Workers: len(a.tables),
		Accounting: a.accounting().String()}
	for _, i := range a.source.Interfaces() {
		s.Interfaces = append(s.Interfaces, api.InterfaceStatus{Name: i.Name, Driver: i.Driver, Mode: i.Mode, Queues: i.Queues})
	}
	s.Table.Capacity = uint64(a.capacity())
	for _, t := range a.tables {
		s.Table.Connections += uint64(max(t.Stats().Connections.Load(), 0))
		s.Table.MemoryOctets += t.Memory()
		s.Totals.Records += t.Stats().Records.Load()
	}
	span := a.recent.Span()
	s.Recent = api.RecentStatus{Records: span.End - span.First, Capacity: uint64(a.recent.Cap()), MemoryOctets: a.recent.Memory(),
		FromAt: api.WallTime(span.FromAt), Overwritten: span.First}
	for _, c := range a.source.Ledger() {
		s.Ledger = append(s.Ledger, captureEntry(c))
		switch c.Stage {
		case xdp.StageProgram, xdp.StageIngress, xdp.StageEgress:
			addTotals(&s.Totals, c)
		}
	}
	for i, w := range a.team.Workers() {
		s.Totals.Segments += w.Stats().Received.Load()
		s.Ledger = append(s.Ledger, workerEntries(a.queues[i], w)...)
	}
	if a.pairs != nil {
		s.Ledger = append(s.Ledger, a.pairs.ledger()...)
	}
	if a.owners != nil {
		s.Ledger = append(s.Ledger, a.owners.ledger()...)
	}
	for _, f := range a.fanout.Failures() {
		s.Ledger = append(s.Ledger, api.LedgerEntry{Stage: stageSink, Reason: f.Name, Count: f.Records, Loss: true})
	}
	for _, r := range a.config.access.Refusals() {
		s.Ledger = append(s.Ledger, api.LedgerEntry{Stage: stageHTTP, Reason: r.Reason, Count: r.Count})
	}
	return s
}

// addTotals sums the program's ledger: what it counted or passed was TCP.
func addTotals(t *api.Totals, c xdp.Count) {
	switch c.Reason {
	case "counted", "passed":
		t.Packets += c.Value
	case "octets":
		t.Octets += c.Value
	}
}

func captureEntry(c xdp.Count) api.LedgerEntry {
	e := api.LedgerEntry{Stage: c.Stage, Interface: c.Interface, Reason: c.Reason, Count: c.Value, Loss: c.Loss()}
	if c.Queue >= 0 {
		e.Queue = &c.Queue
	}
	return e
}

// workerEntries are the lines of one worker and its table, which bear the name
// of its queue.
func workerEntries(q queue, w *worker.Worker) []api.LedgerEntry {
	queue := q.Index()
	var entries []api.LedgerEntry
	add := func(stage, reason string, n uint64, loss bool) {
		entries = append(entries, api.LedgerEntry{Stage: stage, Interface: q.Interface(), Queue: &queue, Reason: reason, Count: n, Loss: loss})
	}
	s := w.Stats()
	add(stageWorker, "received", s.Received.Load(), false)
	add(stageWorker, "handed_over", s.HandedOver.Load(), false)
	add(stageWorker, "taken_over", s.TakenOver.Load(), false)
	add(stageWorker, "handover_ring_full", s.HandoverLost.Load(), true)
	t := w.Table().Stats()
	add(stageTable, "late", t.Late.Load(), false)
	add(stageTable, "record_ring_full", t.RecordsLost.Load(), true)
	add(stageTable, "tuple_forgotten", t.TuplesForgotten.Load(), false)
	add(stageTable, "kernel_counters_missing", t.AccountsFailed.Load(), true)
	for class := range t.Evicted {
		add(stageTable, "evicted_"+flowtable.EvictedNames[class], t.Evicted[class].Load(), false)
	}
	return entries
}
