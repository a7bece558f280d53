package export

import (
	"fmt"
	"io"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// longestPhase is where the histograms end, in ns: ten years. Longer waits
// count as that long; the maximum is kept apart and exact.
const longestPhase = 10 * 365 * 24 * 3600 * 1e9

// significantDigits bounds the relative error of a percentile at 0.1%.
const significantDigits = 3

// Summary adds up records. Its memory does not grow with their number. A slice
// of a connection that went on counts as a record but not as a connection: the
// record that ends the connection has its closing in full.
type Summary struct {
	records           uint64
	connections       uint64
	kinds             [flowtable.CloseKinds]uint64
	initiators        [int(flowtable.Server) + 1]uint64
	evidence          [int(flowtable.Lossy) + 1]uint64
	reasons           [flowtable.EndReasons]uint64
	phases            [flowtable.Phases]phaseHistogram
	clientRetransmits uint64 // of FINs
	serverRetransmits uint64
}

type phaseHistogram struct {
	*hdrhistogram.Histogram
	max int64
}

// Traffic is what a summary cannot know from records.
type Traffic struct {
	Packets uint64 // frames read
	Octets  uint64 // of them on the wire
	// Skipped are the packets that belong to no connection, by reason.
	Skipped []Skipped
}

// Skipped is one reason why packets were not accounted.
type Skipped struct {
	Reason string
	Count  uint64
}

// Percentiles of one phase, in ns: those of a histogram with an error of at
// most 0.1%, and the exact maximum. All are 0 where Count is.
type Percentiles struct {
	Count              uint64
	P50, P90, P99, Max int64
}

// NewSummary makes an empty summary.
func NewSummary() *Summary {
	s := &Summary{}
	for p := range s.phases {
		s.phases[p].Histogram = hdrhistogram.New(1, longestPhase, significantDigits)
	}
	return s
}

// Write adds records. It never returns an error.
func (s *Summary) Write(records []flowtable.Record) error {
	s.records += uint64(len(records))
	for i := range records {
		if r := &records[i]; r.EndReason != flowtable.EndActiveTimeout {
			s.add(r)
		}
	}
	return nil
}

// Close does nothing: a summary may be rendered at any time.
func (s *Summary) Close() error { return nil }

// Connections is how many connections were added.
func (s *Summary) Connections() uint64 { return s.connections }

// Records is how many records were added, slices included.
func (s *Summary) Records() uint64 { return s.records }

// Phase returns the percentiles of one phase over the connections of which it
// is known.
func (s *Summary) Phase(p flowtable.Phase) Percentiles {
	h := &s.phases[p]
	at := func(percentile float64) int64 { return min(h.ValueAtPercentile(percentile), h.max) }
	return Percentiles{Count: uint64(h.TotalCount()), P50: at(50), P90: at(90), P99: at(99), Max: h.max}
}

// Render writes the summary as text, together with the traffic it was made
// from.
func (s *Summary) Render(w io.Writer, traffic Traffic) error {
	var b strings.Builder
	fmt.Fprintf(&b, "packets      %d, %d octets\n", traffic.Packets, traffic.Octets)
	fmt.Fprintf(&b, "connections  %d\n", s.connections)
	if s.records != s.connections {
		fmt.Fprintf(&b, "records      %d, with the slices of long connections\n", s.records)
	}
	s.counts(&b, "close kind", s.kinds[:], func(i int) string { return flowtable.CloseKind(i).String() })
	s.counts(&b, "closed by", s.initiators[:], func(i int) string { return flowtable.Party(i).String() })
	s.counts(&b, "evidence", s.evidence[:], func(i int) string { return flowtable.Evidence(i).String() })
	s.counts(&b, "record written", s.reasons[:], func(i int) string { return flowtable.EndReason(i).String() })
	s.percentiles(&b)
	fmt.Fprintf(&b, "\nretransmitted FINs  %d by clients, %d by servers\n", s.clientRetransmits, s.serverRetransmits)
	skipped(&b, traffic.Skipped)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func (s *Summary) add(r *flowtable.Record) {
	s.connections++
	s.kinds[r.CloseKind]++
	s.initiators[r.Initiator]++
	s.evidence[r.Evidence]++
	s.reasons[r.EndReason]++
	s.clientRetransmits += uint64(r.Client.FINRetransmits)
	s.serverRetransmits += uint64(r.Server.FINRetransmits)
	for p := range s.phases {
		if ns, ok := r.Phase(flowtable.Phase(p)); ok {
			s.phases[p].record(ns)
		}
	}
}

func (h *phaseHistogram) record(ns int64) {
	h.max = max(h.max, ns)
	// Values from 0 to longestPhase are always in range.
	_ = h.RecordValue(min(ns, longestPhase))
}

// counts leaves out what did not occur.
func (s *Summary) counts(b *strings.Builder, title string, counts []uint64, term func(int) string) {
	if s.connections == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for i, n := range counts {
		if n == 0 {
			continue
		}
		name := term(i)
		if name == "" {
			name = "nobody"
		}
		fmt.Fprintf(b, "  %-14s %10d %6.2f%%\n", name, n, 100*float64(n)/float64(s.connections))
	}
}

func (s *Summary) percentiles(b *strings.Builder) {
	fmt.Fprintf(b, "\n%-16s %10s %8s %8s %8s %8s\n", "phase", "count", "p50", "p90", "p99", "max")
	for p := range flowtable.Phase(flowtable.Phases) {
		v := s.Phase(p)
		if v.Count == 0 {
			fmt.Fprintf(b, "  %-14s %10d %8s %8s %8s %8s\n", p, 0, "-", "-", "-", "-")
			continue
		}
		fmt.Fprintf(b, "  %-14s %10d %8s %8s %8s %8s\n", p, v.Count,
			api.Duration(v.P50), api.Duration(v.P90), api.Duration(v.P99), api.Duration(v.Max))
	}
}

func skipped(b *strings.Builder, reasons []Skipped) {
	title := "\nskipped packets\n"
	for _, r := range reasons {
		if r.Count == 0 {
			continue
		}
		fmt.Fprintf(b, "%s  %-14s %10d\n", title, r.Reason, r.Count)
		title = ""
	}
}
