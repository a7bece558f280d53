package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// maxNative is how many native buckets a histogram has at most. Where durations spread
// further, two and two of them become one.
const maxNative = 200

// histogram counts durations, without locks and with no more than one addition for each of
// what is exposed: the buckets are made when it is read. The histograms of client_golang are
// for any number of writers, and take ten times as long.
type histogram struct {
	scale  *scale
	counts []uint64 // by cell
	sum    float64  // seconds
	since  time.Time
}

func newHistogram(s *scale) *histogram {
	return &histogram{scale: s, counts: make([]uint64, len(s.cells)), since: time.Now()}
}

// observe counts a duration of ns, at least 0.
func (h *histogram) observe(ns int64) {
	h.counts[h.scale.find(ns)]++
	h.sum += seconds(ns)
}

func (h *histogram) clone() *histogram {
	if h == nil {
		return nil
	}
	clone := *h
	clone.counts = slices.Clone(h.counts)
	return &clone
}

// metric is the histogram in both of Prometheus's forms.
func (h *histogram) metric(desc *prometheus.Desc, labels ...string) prometheus.Metric {
	native, classic := map[int]int64{}, make([]uint64, len(h.scale.classic)+1)
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		c := &h.scale.cells[i]
		classic[c.classic] += n
		if i > 0 { // what took no time is in no bucket of a power
			native[c.native] += int64(n)
		}
	}
	schema := int32(nativeSchema)
	for ; len(native) > maxNative; schema-- {
		native = halve(native)
	}
	buckets := make([]*dto.Bucket, len(h.scale.classic))
	var total uint64
	for i := range buckets {
		total += classic[i]
		buckets[i] = &dto.Bucket{CumulativeCount: new(total), UpperBound: new(h.scale.classic[i])}
	}
	total += classic[len(buckets)]
	m, err := prometheus.NewConstNativeHistogram(desc, total, h.sum, native, nil, h.counts[0], schema, prometheus.DefNativeHistogramZeroThreshold, h.since, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return twofold{m, buckets}
}

// halve makes one bucket of two, which is of the next coarser schema.
func halve(native map[int]int64) map[int]int64 {
	halves := make(map[int]int64, len(native)/2+1)
	for key, n := range native {
		halves[(key+1)>>1] += n
	}
	return halves
}

// twofold is a native histogram with classic buckets beside it.
type twofold struct {
	prometheus.Metric
	buckets []*dto.Bucket
}

// Write implements prometheus.Metric.
func (t twofold) Write(out *dto.Metric) error {
	if err := t.Metric.Write(out); err != nil {
		return err
	}
	out.Histogram.Bucket = t.buckets
	return nil
}
