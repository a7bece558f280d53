package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed page.html
var pageText string

// page is parsed when the first report asks for it: the package is a part of commands
// that write none.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"readable": readable,
	}).Parse(pageText))
})

type pageData struct {
	*Report
	Started  string
	Facts    []fact
	Sections []section
	Charts   []pageChart
}

// fact is a line of what the reader must know of the machine.
type fact struct{ Name, Value string }

type pageChart struct {
	Name, Title string
	Light, Dark template.HTML
}

// section is the results that begin with the same metric.
type section struct {
	Units []string
	Rows  []row
}

// row is all repeats of one result.
type row struct {
	Name    string
	Repeats int
	Runs    int // of one repeat
	Cells   []cell
}

// cell is the median of a metric over the repeats. Low and High are the ends of
// the repeats, or of the rounds in them where a result has "min-" and "max-" of
// the metric.
type cell struct {
	There             bool
	Median, Low, High float64
}

// Spread tells whether the ends are apart.
func (c cell) Spread() bool { return c.Low < c.High }

func (r *Report) writePage(w io.Writer, charts []rendered) error {
	data := pageData{Report: r, Started: r.StartedAt.UTC().Format("2006-01-02 15:04:05 MST"), Facts: r.Machine.facts(), Sections: sections(r.Results)}
	for _, c := range charts {
		data.Charts = append(data.Charts, pageChart{
			Name: c.Name, Title: c.Title,
			// The drawing library escapes every text that it puts into SVG.
			Light: template.HTML(c.light), Dark: template.HTML(c.dark),
		})
	}
	var text bytes.Buffer
	if err := page().Execute(&text, &data); err != nil {
		return fmt.Errorf("writing the report's page: %w", err)
	}
	_, err := w.Write(text.Bytes())
	return err
}

func (m *Machine) facts() []fact {
	var list []fact
	add := func(name, value string) {
		if value != "" {
			list = append(list, fact{name, value})
		}
	}
	add("CPU", m.CPU)
	add("Cores", fmt.Sprint(m.Cores))
	add("Memory", m.memory())
	add("Huge pages", m.HugePages)
	add("Kernel", m.Kernel)
	add("System", m.OS+"/"+m.Arch)
	add("Go", m.Go)
	add("finwait", m.Version)
	return list
}

// sections joins repeats and puts results with the same first metric together,
// in the order in which they came first.
func sections(results []Result) []section {
	var names []string
	repeats := map[string][]Result{}
	for _, r := range results {
		if repeats[r.Name] == nil {
			names = append(names, r.Name)
		}
		repeats[r.Name] = append(repeats[r.Name], r)
	}
	var list []section
	for _, name := range names {
		units := unitsOf(repeats[name])
		at := slices.IndexFunc(list, func(s section) bool { return s.Units[0] == units[0] })
		if at < 0 {
			at = len(list)
			list = append(list, section{})
		}
		s := &list[at]
		for _, unit := range units {
			if !slices.Contains(s.Units, unit) {
				s.Units = append(s.Units, unit)
			}
		}
		s.Rows = append(s.Rows, row{Name: name, Repeats: len(repeats[name]), Runs: repeats[name][0].Runs})
	}
	for _, s := range list {
		for i := range s.Rows {
			for _, unit := range s.Units {
				s.Rows[i].Cells = append(s.Rows[i].Cells, newCell(repeats[s.Rows[i].Name], unit))
			}
		}
	}
	return narrow(list)
}

// columns are as many as a page has room for beside the names.
const columns = 6

// narrow cuts sections that are too wide into such as stand below each other.
func narrow(wide []section) []section {
	var list []section
	for _, s := range wide {
		parts := (len(s.Units) + columns - 1) / columns
		for i := range parts {
			from, to := i*len(s.Units)/parts, (i+1)*len(s.Units)/parts
			part := section{Units: s.Units[from:to], Rows: slices.Clone(s.Rows)}
			for j := range part.Rows {
				part.Rows[j].Cells = part.Rows[j].Cells[from:to]
			}
			list = append(list, part)
		}
	}
	return list
}

// The ends of the rounds in a repeat, before the unit of their median.
const (
	leastOf    = "min-"
	greatestOf = "max-"
)

// unitsOf are those that have a column of their own, at least one.
func unitsOf(repeats []Result) []string {
	var units []string
	for _, r := range repeats {
		for _, m := range r.Metrics {
			if !slices.Contains(units, m.Unit) {
				units = append(units, m.Unit)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(units), func(unit string) bool {
		of, ok := strings.CutPrefix(unit, leastOf)
		if !ok {
			of, ok = strings.CutPrefix(unit, greatestOf)
		}
		return ok && slices.Contains(units, of)
	})
}

func newCell(repeats []Result, unit string) cell {
	values := func(unit string) (list []float64) {
		for i := range repeats {
			if v, ok := repeats[i].Metric(unit); ok {
				list = append(list, v)
			}
		}
		return list
	}
	all := values(unit)
	if len(all) == 0 {
		return cell{}
	}
	return cell{
		There: true, Median: Median(all),
		Low:  slices.Min(append(values(leastOf+unit), all...)),
		High: slices.Max(append(values(greatestOf+unit), all...)),
	}
}

// StartedAtMachine is the time of the start for a <time> element.
func (d *pageData) StartedAtMachine() string { return d.StartedAt.UTC().Format(time.RFC3339) }
