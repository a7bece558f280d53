package main

import (
	"github.com/finwait/finwait/api/metrics"
	"github.com/finwait/finwait/flowtable"
)

// newMetrics makes what Prometheus reads of the appliance. It is asked for
// nothing before the appliance is built.
func (a *appliance) newMetrics() *metrics.Metrics {
	return metrics.New(metrics.Config{Version: version(), Appliance: a.figures, Census: a.census, HTTP: func() metrics.HTTP {
		now, limit := a.config.access.Connections()
		return metrics.HTTP{Connections: now, Limit: limit}
	}})
}

// figures are those of this moment.
func (a *appliance) figures() metrics.Appliance {
	status := a.status()
	f := metrics.Appliance{
		Totals: status.Totals, Table: status.Table, Ledger: status.Ledger, Sinks: a.fanout.Failures(),
		Recent: status.Recent,
	}
	for _, t := range a.tables {
		f.Opened += t.Stats().Opened.Load()
	}
	for i, w := range a.team.Workers() {
		q, s := a.queues[i], w.Stats()
		f.Workers = append(f.Workers, metrics.Worker{Interface: q.Interface(), Queue: q.Index(),
			Polls: s.Polls.Load(), Batches: s.Batches.Load(), Segments: s.Received.Load()})
	}
	return f
}

// census counts the connections of all tables by state.
func (a *appliance) census() (c flowtable.Census) {
	for _, t := range a.tables {
		t.Census(&c)
	}
	return c
}
