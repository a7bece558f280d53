package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/finwait/finwait/flowtable"
)

// phaseBuckets reach from a switch's delay to a forgotten close(2), in seconds.
// The native histogram beside them is exact to a tenth.
var phaseBuckets = []float64{
	1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5,
	1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800,
}

// handshakeBuckets reach from one rack to a third retransmission, in seconds.
var handshakeBuckets = []float64{
	1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01, .025, .05, .1, .25, .5, 1, 3, 7, 15,
}

// phaseHelp says what each phase is.
var phaseHelp = [flowtable.Phases]string{
	flowtable.FINWait1:  "From the first FIN to its ACK: the network and the other host's kernel.",
	flowtable.CloseWait: "From the ACK of the first FIN to the second FIN: the other side's application.",
	flowtable.LastACK:   "From the second FIN to its ACK: the network and the initiator's kernel.",
	flowtable.Teardown:  "From the first FIN to the ACK of the second, or to a RST after the first.",
}

// Connections counts published records: a sink, and a collector of what it counted.
type Connections struct {
	mu    sync.Mutex // of a batch of records, or of a scrape's copy
	tally *tally

	phases                                    [flowtable.Phases]*prometheus.Desc
	handshakes                                *prometheus.Desc
	closed, graded, repeated, octets, payload figure
	slices, reuses                            figure
}

func newConnections() *Connections {
	const counter = prometheus.CounterValue
	c := &Connections{
		tally:      newTally(),
		handshakes: newDesc("handshake_seconds", "Legs of the handshake: server, from the SYN to the SYN-ACK; client, from the SYN-ACK to its ACK.", "leg"),
		closed: newFigure("connections_closed_total", "Connections that are over. Slices of connections that went on are not among them.", counter,
			"close_kind", "close_initiator", "end_reason"),
		graded:   newFigure("connections_by_evidence_total", "Connections that are over, by how much of them was seen.", counter, "evidence"),
		repeated: newFigure("retransmits_total", "Segments of connections that are over that were sent again, by what they carry.", counter, "sender", "segment"),
		octets:   newFigure("connection_bytes_total", "IP octets of records, slices included; none where accounting is by sequence.", counter, "sender"),
		payload:  newFigure("connection_payload_bytes_total", "Octets of TCP payload of records, slices included; a retransmission counts once.", counter, "sender"),
		slices:   newFigure("connection_slices_total", "Records of connections that went on (end_reason active_timeout).", counter),
		reuses:   newFigure("time_wait_reuses_total", "Connections whose tuple had closed less than 2 MSL (60 s) before.", counter),
	}
	for p := range c.phases {
		c.phases[p] = newDesc(flowtable.Phase(p).String()+"_seconds", phaseHelp[p], "close_initiator", "close_kind")
	}
	return c
}

// Write counts records. It never returns an error, and allocates only where a
// kind of close is met for the first time.
func (c *Connections) Write(records []flowtable.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range records {
		c.tally.take(&records[i])
	}
	return nil
}

// Close does nothing: what was counted can still be read.
func (c *Connections) Close() error { return nil }

// Describe implements prometheus.Collector.
func (c *Connections) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range c.phases {
		descs <- d
	}
	descs <- c.handshakes
	for _, f := range []figure{c.closed, c.graded, c.repeated, c.octets, c.payload, c.slices, c.reuses} {
		descs <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Connections) Collect(metrics chan<- prometheus.Metric) {
	c.mu.Lock()
	now := c.tally.clone()
	c.mu.Unlock()
	c.collectPhases(now, metrics)
	c.collectClosed(now, metrics)
	add := func(f figure, t *total, labels ...string) { metrics <- f.since(t, labels...) }
	for i, p := range []flowtable.Party{flowtable.Client, flowtable.Server} {
		sender := p.String()
		add(c.octets, &now.octets[i], sender)
		add(c.payload, &now.payload[i], sender)
		add(c.repeated, &now.opening[i], sender, [...]string{"syn", "syn_ack"}[i])
		add(c.repeated, &now.closing[i], sender, "fin")
	}
	for g := range now.graded {
		add(c.graded, &now.graded[g], flowtable.Evidence(g).String())
	}
	add(c.slices, &now.slices)
	add(c.reuses, &now.reuses)
}

func (c *Connections) collectPhases(now *tally, metrics chan<- prometheus.Metric) {
	for i, leg := range []flowtable.Party{flowtable.Server, flowtable.Client} {
		metrics <- now.handshakes[i].metric(c.handshakes, leg.String())
	}
	for p := range now.phases {
		for initiator := range now.phases[p] {
			for kind, h := range now.phases[p][initiator] {
				if h != nil {
					metrics <- h.metric(c.phases[p], flowtable.Party(initiator).String(), flowtable.CloseKind(kind).String())
				}
			}
		}
	}
}

func (c *Connections) collectClosed(now *tally, metrics chan<- prometheus.Metric) {
	for kind := range now.closed {
		for initiator := range now.closed[kind] {
			for reason := range now.closed[kind][initiator] {
				if t := &now.closed[kind][initiator][reason]; t.met() {
					metrics <- c.closed.since(t, flowtable.CloseKind(kind).String(), flowtable.Party(initiator).String(), flowtable.EndReason(reason).String())
				}
			}
		}
	}
}
