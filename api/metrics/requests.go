package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requestBuckets reach from an answer out of memory to the longest that a
// browser waits, in seconds.
var requestBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// requests counts what was asked over HTTP.
type requests struct {
	count    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newRequests(registry prometheus.Registerer) *requests {
	r := &requests{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "http_requests_total",
			Help: "Requests answered, by the pattern of their route and the status."}, []string{"route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_seconds", Help: "How long answers took to be made and taken; streams until their end.", Buckets: requestBuckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: maxNative, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"route"}),
	}
	registry.MustRegister(r.count, r.duration)
	return r
}

func (r *requests) answered(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	r.count.WithLabelValues(route, strconv.Itoa(status)).Inc()
	r.duration.WithLabelValues(route).Observe(took.Seconds())
}
