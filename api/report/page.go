package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"readable": readable,
}).Parse(pageText))

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

// section is consecutive results that have the same metrics.
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

// cell is the median of a metric over the repeats, and their ends.
type cell struct{ Median, Low, High float64 }

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
	if err := page.Execute(&text, &data); err != nil {
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

// sections joins repeats and puts results with the same metrics together, in
// the order in which names came first.
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
		if len(list) == 0 || !slices.Equal(list[len(list)-1].Units, units) {
			list = append(list, section{Units: units})
		}
		s := &list[len(list)-1]
		s.Rows = append(s.Rows, newRow(name, repeats[name], units))
	}
	return list
}

func unitsOf(repeats []Result) []string {
	var units []string
	for _, r := range repeats {
		for _, m := range r.Metrics {
			if !slices.Contains(units, m.Unit) {
				units = append(units, m.Unit)
			}
		}
	}
	return units
}

func newRow(name string, repeats []Result, units []string) row {
	r := row{Name: name, Repeats: len(repeats), Runs: repeats[0].Runs}
	for _, unit := range units {
		var values []float64
		for i := range repeats {
			if v, ok := repeats[i].Metric(unit); ok {
				values = append(values, v)
			}
		}
		r.Cells = append(r.Cells, cell{Median(values), slices.Min(values), slices.Max(values)})
	}
	return r
}

// StartedAtMachine is the time of the start for a <time> element.
func (d *pageData) StartedAtMachine() string { return d.StartedAt.UTC().Format(time.RFC3339) }
