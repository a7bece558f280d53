package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/finwait/finwait/flowtable"
)

// timeWait is 2 MSL as Linux keeps it (TCP_TIMEWAIT_LEN in net/tcp.h): a tuple
// that is opened anew sooner met a TIME-WAIT.
const timeWait = int64(60 * time.Second)

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

const (
	parties  = int(flowtable.Server) + 1
	gradesOf = int(flowtable.Lossy) + 1 // of evidence
)

// phaseHelp says what each phase is.
var phaseHelp = [flowtable.Phases]string{
	flowtable.FINWait1:  "From the first FIN to its ACK: the network and the other host's kernel.",
	flowtable.CloseWait: "From the ACK of the first FIN to the second FIN: the other side's application.",
	flowtable.LastACK:   "From the second FIN to its ACK: the network and the initiator's kernel.",
	flowtable.Teardown:  "From the first FIN to the ACK of the second, or to a RST after the first.",
}

// Connections counts published records. It is a sink; its zero value is not
// ready for use.
type Connections struct {
	phases     [flowtable.Phases]*prometheus.HistogramVec
	handshakes *prometheus.HistogramVec
	closed     *prometheus.CounterVec
	graded     *prometheus.CounterVec
	repeated   *prometheus.CounterVec
	octets     *prometheus.CounterVec
	payload    *prometheus.CounterVec
	slices     prometheus.Counter
	reuses     prometheus.Counter

	// The members of the above that were met, so that none is looked up by its
	// labels for each record. They are the publisher's own.
	phase      [flowtable.Phases][parties][flowtable.CloseKinds]prometheus.Observer
	close      [flowtable.CloseKinds][parties][flowtable.EndReasons]prometheus.Counter
	grade      [gradesOf]prometheus.Counter
	handshake  [2]prometheus.Observer // the server's leg, the client's
	repeat     [4]prometheus.Counter  // SYN, SYN-ACK, FIN of the client, of the server
	sent       [2]prometheus.Counter  // by the client, by the server
	sentAsData [2]prometheus.Counter
}

// newConnections registers its metrics.
func newConnections(registry prometheus.Registerer) *Connections {
	c := &Connections{
		handshakes: newHistogram("handshake_seconds", "Legs of the handshake: server, from the SYN to the SYN-ACK; client, from the SYN-ACK to its ACK.",
			handshakeBuckets, "leg"),
		closed: newCounters("connections_closed_total", "Connections that are over. Slices of connections that went on are not among them.",
			"close_kind", "close_initiator", "end_reason"),
		graded:   newCounters("connections_by_evidence_total", "Connections that are over, by how much of them was seen.", "evidence"),
		repeated: newCounters("retransmits_total", "Segments of connections that are over that were sent again, by what they carry.", "sender", "segment"),
		octets:   newCounters("connection_bytes_total", "IP octets of records, slices included; none where accounting is by sequence.", "sender"),
		payload:  newCounters("connection_payload_bytes_total", "Octets of TCP payload of records, slices included; a retransmission counts once.", "sender"),
		slices:   prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "connection_slices_total", Help: "Records of connections that went on (end_reason active_timeout)."}),
		reuses: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "time_wait_reuses_total",
			Help: "Connections whose tuple had closed less than 2 MSL (60 s) before."}),
	}
	for p := range c.phases {
		c.phases[p] = newHistogram(flowtable.Phase(p).String()+"_seconds", phaseHelp[p], phaseBuckets, "close_initiator", "close_kind")
		registry.MustRegister(c.phases[p])
	}
	registry.MustRegister(c.handshakes, c.closed, c.graded, c.repeated, c.octets, c.payload, c.slices, c.reuses)
	c.begin()
	return c
}

func newHistogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 200, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

func newCounters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// begin makes what is sure to come, at 0: a rate has no beginning where its
// counter appears with a value.
func (c *Connections) begin() {
	for _, p := range []flowtable.Party{flowtable.Client, flowtable.Server} {
		for _, k := range []flowtable.CloseKind{flowtable.Reset, flowtable.Simultaneous, flowtable.ThreeWay, flowtable.FourWay} {
			c.closedBy(k, p, flowtable.EndClosed)
			for phase := range c.phase {
				c.observer(flowtable.Phase(phase), p, k)
			}
		}
		c.closedBy(flowtable.HalfClosed, p, flowtable.EndIdleTimeout)
	}
	c.closedBy(flowtable.Refused, flowtable.Server, flowtable.EndClosed)
	c.closedBy(flowtable.Unanswered, flowtable.Nobody, flowtable.EndIdleTimeout)
	c.closedBy(flowtable.HalfOpen, flowtable.Nobody, flowtable.EndIdleTimeout)
	for g := range c.grade {
		c.grade[g] = c.graded.WithLabelValues(flowtable.Evidence(g).String())
	}
	for i, sender := range []string{flowtable.Client.String(), flowtable.Server.String()} {
		c.sent[i], c.sentAsData[i] = c.octets.WithLabelValues(sender), c.payload.WithLabelValues(sender)
		c.repeat[i] = c.repeated.WithLabelValues(sender, []string{"syn", "syn_ack"}[i])
		c.repeat[2+i] = c.repeated.WithLabelValues(sender, "fin")
	}
	c.handshake = [2]prometheus.Observer{c.handshakes.WithLabelValues("server"), c.handshakes.WithLabelValues("client")}
}

// Write counts records. It never returns an error, and allocates only where a
// kind of close is met for the first time.
func (c *Connections) Write(records []flowtable.Record) error {
	for i := range records {
		r := &records[i]
		c.countOctets(r)
		if r.EndReason == flowtable.EndActiveTimeout {
			c.slices.Inc() // all else is said by the record that ends it
			continue
		}
		c.count(r)
	}
	return nil
}

// Close does nothing: what was counted can still be read.
func (c *Connections) Close() error { return nil }

func (c *Connections) countOctets(r *flowtable.Record) {
	for i, s := range [...]*flowtable.Side{&r.Client, &r.Server} {
		if r.Accounting == flowtable.AccountingCounted {
			c.sent[i].Add(float64(s.Octets))
		}
		c.sentAsData[i].Add(float64(s.Payload))
	}
}

func (c *Connections) count(r *flowtable.Record) {
	c.closedBy(r.CloseKind, r.Initiator, r.EndReason).Inc()
	c.grade[r.Evidence].Inc()
	for p := range flowtable.Phase(flowtable.Phases) {
		if ns, ok := r.Phase(p); ok {
			c.observer(p, r.Initiator, r.CloseKind).Observe(seconds(ns))
		}
	}
	if ns, ok := r.Between(flowtable.SYNAt, flowtable.SYNACKAt); ok {
		c.handshake[0].Observe(seconds(ns))
	}
	if ns, ok := r.Between(flowtable.SYNACKAt, flowtable.EstablishedAt); ok {
		c.handshake[1].Observe(seconds(ns))
	}
	for i, n := range [...]uint16{r.Client.SYNRetransmits, r.Server.SYNRetransmits, r.Client.FINRetransmits, r.Server.FINRetransmits} {
		if n > 0 {
			c.repeat[i].Add(float64(n))
		}
	}
	if r.Reused && r.ReuseAfter < timeWait {
		c.reuses.Inc()
	}
}

func (c *Connections) observer(p flowtable.Phase, initiator flowtable.Party, kind flowtable.CloseKind) prometheus.Observer {
	o := &c.phase[p][initiator][kind]
	if *o == nil {
		*o = c.phases[p].WithLabelValues(initiator.String(), kind.String())
	}
	return *o
}

func (c *Connections) closedBy(kind flowtable.CloseKind, initiator flowtable.Party, reason flowtable.EndReason) prometheus.Counter {
	n := &c.close[kind][initiator][reason]
	if *n == nil {
		*n = c.closed.WithLabelValues(kind.String(), initiator.String(), reason.String())
	}
	return *n
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }
