package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

var durations = newDesc("durations_seconds", "For tests.")

func written(t *testing.T, m prometheus.Metric) *dto.Histogram {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	out.Histogram.CreatedTimestamp = nil
	return out.Histogram
}

// spread gives durations of up to so many octaves from 1 us on, and those at the bounds
// of the classic buckets; 0 is one of them.
func spread(octaves float64, buckets []float64) (ns []int64) {
	rng := rand.New(rand.NewPCG(1, 2))
	ns = append(ns, 0)
	for range 20000 {
		ns = append(ns, int64(1000*math.Exp2(rng.Float64()*octaves)))
	}
	for _, b := range buckets {
		at := int64(math.Round(b * 1e9))
		ns = append(ns, at-1, at, at+1)
	}
	return ns
}

// What is read is what client_golang's histogram has of the same durations, to the last
// bucket, and coarser where they spread over more than maxNative of them.
func TestHistogramIsPrometheus(t *testing.T) {
	for name, test := range map[string]struct {
		buckets []float64
		octaves float64
		schema  int32
	}{
		"nothing":    {phaseBuckets, 0, nativeSchema},
		"phases":     {phaseBuckets, 22, nativeSchema},
		"handshakes": {handshakeBuckets, 22, nativeSchema},
		"far apart":  {phaseBuckets, 45, nativeSchema - 1},
	} {
		t.Run(name, func(t *testing.T) {
			theirs := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "durations_seconds", Help: "For tests.", Buckets: test.buckets,
				NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: maxNative})
			ours := newHistogram(newScale(test.buckets))
			if test.octaves > 0 {
				for _, ns := range spread(test.octaves, test.buckets) {
					ours.observe(ns)
					theirs.Observe(seconds(ns))
				}
			}
			got, want := written(t, ours.metric(durations)), written(t, theirs)
			if !proto.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			if got.GetSchema() != test.schema {
				t.Errorf("schema %d, want %d", got.GetSchema(), test.schema)
			}
		})
	}
}

// The cells are in order and every duration is in the right one, the shortest and the
// longest too.
func TestScaleHasEveryDuration(t *testing.T) {
	s := newScale(phaseBuckets)
	check := func(ns int64) {
		t.Helper()
		at := s.find(ns)
		if s.most[at] < ns || at > 0 && s.most[at-1] >= ns {
			t.Fatalf("%d ns is in cell %d, which ends with %d", ns, at, s.most[at])
		}
		if s.cells[at].native != nativeKey(ns) {
			t.Fatalf("%d ns is in native bucket %d, want %d", ns, s.cells[at].native, nativeKey(ns))
		}
	}
	for _, most := range s.most {
		check(most)
		if most > 0 {
			check(most - 1)
		}
		if most < math.MaxInt64 {
			check(most + 1)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100000 {
		check(rng.Int64() >> rng.IntN(63))
	}
	t.Logf("%d cells", len(s.cells))
}
