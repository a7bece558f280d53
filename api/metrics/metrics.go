package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "finwait"

const (
	// maxScrapes is how many may be under way: two Prometheus servers that ask
	// at once are usual.
	maxScrapes = 4
	// scrapeTimeout is what Prometheus waits by default.
	scrapeTimeout = 10 * time.Second
)

// Metrics is the registry of one appliance.
type Metrics struct {
	// Connections takes every record.
	Connections *Connections

	registry *prometheus.Registry
	requests *requests
}

// New makes the metrics of an appliance that Config describes.
func New(config Config) *Metrics {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "The build; the value is always 1."},
		[]string{"version", "goversion"})
	build.WithLabelValues(config.Version, runtime.Version()).Set(1)
	connections := newConnections()
	registry.MustRegister(
		build,
		connections,
		newAppliance(config),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC, collectors.MetricsScheduler)),
	)
	return &Metrics{Connections: connections, registry: registry, requests: newRequests(registry)}
}

// Handler answers scrapes in Prometheus's text, OpenMetrics and protobuf forms;
// the last has the native histograms.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:            m.registry,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
}

// Answered counts one request to the HTTP API: the pattern of its route, empty
// where it reached none, the status of its answer, and how long that took.
func (m *Metrics) Answered(route string, status int, took time.Duration) {
	m.requests.answered(route, status, took)
}
