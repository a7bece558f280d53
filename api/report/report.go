// Package report is what a benchmark found, in every form in which it leaves
// finwait: the text that benchstat reads, JSON, and a directory with a web
// page and its charts.
//
// Terms. A metric is one number with its unit. A result is the metrics of one
// measurement; results of the same name are repeats of it. A chart shows
// either series over a common axis or groups of bars.
//
// A Report belongs to one goroutine. Only WriteDir touches files; nothing here
// reaches for the network, and what it writes does neither.
package report

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Metric is one number. Unit is written as benchstat reads it, without white
// space: "ns/segment", "octets/connection", "ratio", "connections/s".
type Metric struct {
	Value float64
	Unit  string
}

// Result is one measurement.
type Result struct {
	// Name says what was measured and how, as in "Table/flows=1M/finwait": it
	// begins with a capital and has no white space. The text format writes
	// "Benchmark" before it.
	Name string
	// Runs is the number of operations or rounds behind the metrics.
	Runs    int
	Metrics []Metric
}

// Metric returns the value with a unit, and whether there is one.
func (r *Result) Metric(unit string) (float64, bool) {
	for _, m := range r.Metrics {
		if m.Unit == unit {
			return m.Value, true
		}
	}
	return 0, false
}

// Series is a line of a chart: Y[i] stands over X[i].
type Series struct {
	Name string
	X, Y []float64
}

// Bar is a group of bars beside each other, one for each name in the chart's
// Legend.
type Bar struct {
	Label  string
	Values []float64
}

// Chart shows Series or Bars. Name is the name of its file without ".svg":
// lower-case letters, digits and hyphens.
type Chart struct {
	Name, Title    string
	XLabel, YLabel string // with the unit
	LogX, LogY     bool   // of the axes of Series; bars begin at 0
	Series         []Series
	Bars           []Bar
	Legend         []string // names of the values of each Bar
}

// Report is what one command found.
type Report struct {
	Title     string
	Command   string // as a shell would take it
	StartedAt time.Time
	Machine   Machine
	Results   []Result
	Charts    []Chart
	Notes     []string // what a reader must know to judge the numbers
}

// Add joins the results, charts and notes of another run of the same command.
// A chart of the same name is joined in its series and bars: what stands at
// the same X or has the same label becomes a repeat of which the chart shows
// the median.
func (r *Report) Add(other *Report) {
	r.Results = append(r.Results, other.Results...)
	r.Charts = append(r.Charts, other.Charts...)
	for _, note := range other.Notes {
		r.addNote(note)
	}
}

func (r *Report) addNote(note string) {
	for _, have := range r.Notes {
		if have == note {
			return
		}
	}
	r.Notes = append(r.Notes, note)
}

// chartName is what a chart may be called, which is also its file's name.
var chartName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// validate finds what no form could hold.
func (r *Report) validate() error {
	for _, result := range r.Results {
		if result.Name == "" || !unicode.IsUpper(rune(result.Name[0])) || strings.ContainsFunc(result.Name, unicode.IsSpace) {
			return fmt.Errorf("result %q: a name begins with a capital and has no white space", result.Name)
		}
		if len(result.Metrics) == 0 {
			return fmt.Errorf("result %q: there is no metric", result.Name)
		}
		for _, m := range result.Metrics {
			if m.Unit == "" || strings.ContainsFunc(m.Unit, unicode.IsSpace) {
				return fmt.Errorf("result %q: unit %q: a unit is a word without white space", result.Name, m.Unit)
			}
		}
	}
	for _, c := range r.Charts {
		if err := c.validate(); err != nil {
			return fmt.Errorf("chart %q: %w", c.Name, err)
		}
	}
	return nil
}

func (c *Chart) validate() error {
	if !chartName.MatchString(c.Name) {
		return fmt.Errorf("a name is of lower-case letters, digits and hyphens")
	}
	if (len(c.Series) == 0) == (len(c.Bars) == 0) {
		return fmt.Errorf("a chart has either series or bars")
	}
	for _, s := range c.Series {
		if len(s.X) != len(s.Y) || len(s.X) == 0 {
			return fmt.Errorf("series %q: %d values over %d", s.Name, len(s.Y), len(s.X))
		}
	}
	for _, b := range c.Bars {
		if len(b.Values) != len(c.Legend) || len(b.Values) == 0 {
			return fmt.Errorf("bar %q: %d values for %d names in the legend", b.Label, len(b.Values), len(c.Legend))
		}
	}
	return nil
}
