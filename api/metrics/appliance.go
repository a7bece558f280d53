package metrics

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/export"
	"github.com/finwait/finwait/flowtable"
)

// censusInterval is how old a count of connections by state may be: it reads
// the whole flow table, which many scrapers together must not cause again and
// again.
const censusInterval = time.Second

// Config is where an appliance's figures are read, once per scrape. The
// functions are called from many goroutines.
type Config struct {
	Version   string
	Appliance func() Appliance
	// Census counts the connections that are followed now.
	Census func() flowtable.Census
	// HTTP is how the HTTP server is doing; nil for nothing to say.
	HTTP func() HTTP
}

// Appliance is what an appliance counted up to now.
type Appliance struct {
	Totals  api.Totals
	Table   api.TableStatus
	Ledger  []api.LedgerEntry
	Opened  uint64 // connections
	Workers []Worker
	Recent  api.RecentStatus
	Sinks   []export.Failures
}

// Worker is what one worker did.
type Worker struct {
	Interface string
	Queue     int
	Polls     uint64 // looks at its socket
	Batches   uint64 // of these, with segments
	Segments  uint64 // from its socket
}

// HTTP is how the HTTP server is doing.
type HTTP struct{ Connections, Limit int }

// appliance is a collector over a Config.
type appliance struct {
	config  Config
	figures figures

	mu      sync.Mutex
	census  flowtable.Census
	counted time.Time
}

// figure is the description of one metric.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newFigure(name, help string, kind prometheus.ValueType, labels ...string) figure {
	return figure{newDesc(name, help, labels...), kind}
}

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// since is the metric with what a total counted from its beginning on.
func (f figure) since(t *total, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetricWithCreatedTimestamp(f.desc, f.kind, float64(t.value), t.since, labels...)
}

// figures are all metrics that a scrape reads.
type figures struct {
	frameOctets, tcpSegments, records, opened       figure
	connections, tableConnections, capacity, memory figure
	ledger                                          figure
	polls, batches, segments                        figure
	recentRecords, recentCapacity, recentMemory     figure
	overwritten                                     figure
	sinkFailures, sinkRecords                       figure
	httpConnections, httpLimit                      figure
}

func newFigures() figures {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return figures{
		frameOctets: newFigure("received_bytes_total", "Octets of all frames that reached the program.", counter),
		tcpSegments: newFigure("tcp_segments_total", "TCP segments that were counted.", counter),
		records:     newFigure("records_total", "Records written, slices included.", counter),
		opened:      newFigure("connections_opened_total", "Connections of which a first segment was seen.", counter),

		connections:      newFigure("connections", "Ends of the connections that are followed now, by their RFC 9293 state. Each connection has two.", gauge, "end", "state"),
		tableConnections: newFigure("table_connections", "Connections that are followed now, those that linger after their close included.", gauge),
		capacity:         newFigure("table_capacity_connections", "Connections that have room.", gauge),
		memory:           newFigure("table_memory_bytes", "Memory reserved for the workers' flow tables.", gauge),

		ledger: newFigure("ledger_total", "What became of every frame, segment and record; loss says that it should have been accounted for and was not.",
			counter, "stage", "reason", "interface", "queue", "loss"),

		polls:    newFigure("worker_polls_total", "How often a worker looked at its socket.", counter, "interface", "queue"),
		batches:  newFigure("worker_batches_total", "How often it found segments there.", counter, "interface", "queue"),
		segments: newFigure("worker_segments_total", "Segments that it took.", counter, "interface", "queue"),

		recentRecords:  newFigure("recent_records", "Records kept in memory for the API.", gauge),
		recentCapacity: newFigure("recent_capacity_records", "Records that have room.", gauge),
		recentMemory:   newFigure("recent_memory_bytes", "Memory reserved for them.", gauge),
		overwritten:    newFigure("recent_overwritten_total", "Records that made room for newer ones there.", counter),

		sinkFailures: newFigure("sink_failures_total", "Batches of records that a sink did not take.", counter, "sink"),
		sinkRecords:  newFigure("sink_records_lost_total", "Records in those batches.", counter, "sink"),

		httpConnections: newFigure("http_connections", "Connections to the HTTP server.", gauge),
		httpLimit:       newFigure("http_connections_limit", "Connections that it keeps at most.", gauge),
	}
}

func newAppliance(config Config) *appliance {
	return &appliance{config: config, figures: newFigures()}
}

// Describe implements prometheus.Collector. What is described by nothing is not
// checked at registration: Collect makes the same metrics every time.
func (*appliance) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (a *appliance) Collect(metrics chan<- prometheus.Metric) {
	add := func(f figure, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
	}
	now, f := a.config.Appliance(), &a.figures
	add(f.frameOctets, float64(now.Totals.Octets))
	add(f.tcpSegments, float64(now.Totals.Packets))
	add(f.records, float64(now.Totals.Records))
	add(f.opened, float64(now.Opened))
	add(f.tableConnections, float64(now.Table.Connections))
	add(f.capacity, float64(now.Table.Capacity))
	add(f.memory, float64(now.Table.MemoryOctets))
	for key, count := range sumLedger(now.Ledger) {
		add(f.ledger, float64(count), key.stage, key.reason, key.iface, key.queue, strconv.FormatBool(key.loss))
	}
	for _, w := range now.Workers {
		labels := []string{valid(w.Interface), strconv.Itoa(w.Queue)}
		add(f.polls, float64(w.Polls), labels...)
		add(f.batches, float64(w.Batches), labels...)
		add(f.segments, float64(w.Segments), labels...)
	}
	add(f.recentRecords, float64(now.Recent.Records))
	add(f.recentCapacity, float64(now.Recent.Capacity))
	add(f.recentMemory, float64(now.Recent.MemoryOctets))
	add(f.overwritten, float64(now.Recent.Overwritten))
	for _, s := range now.Sinks {
		add(f.sinkFailures, float64(s.Batches), valid(s.Name))
		add(f.sinkRecords, float64(s.Records), valid(s.Name))
	}
	if a.config.HTTP != nil {
		http := a.config.HTTP()
		add(f.httpConnections, float64(http.Connections))
		add(f.httpLimit, float64(http.Limit))
	}
	census := a.countConnections()
	for end, states := range map[string]*[flowtable.States]uint64{"client": &census.Clients, "server": &census.Servers} {
		for state, n := range states {
			add(f.connections, float64(n), end, flowtable.State(state).String())
		}
	}
}

// countConnections is the last census, or a new one.
func (a *appliance) countConnections() flowtable.Census {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counted.IsZero() || time.Since(a.counted) >= censusInterval {
		a.census, a.counted = a.config.Census(), time.Now()
	}
	return a.census
}

// ledgerKey are the labels of an entry. A scrape with two equal ones would be
// refused as a whole, so that they are summed.
type ledgerKey struct {
	stage, reason, iface, queue string
	loss                        bool
}

func sumLedger(entries []api.LedgerEntry) map[ledgerKey]uint64 {
	sums := make(map[ledgerKey]uint64, len(entries))
	for _, e := range entries {
		key := ledgerKey{stage: e.Stage, reason: valid(e.Reason), iface: valid(e.Interface), loss: e.Loss}
		if e.Queue != nil {
			key.queue = strconv.Itoa(*e.Queue)
		}
		sums[key] += e.Count
	}
	return sums
}

// valid makes a name that others gave one that Prometheus takes.
func valid(name string) string { return strings.ToValidUTF8(name, "?") }
