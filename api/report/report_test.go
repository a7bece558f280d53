package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// example is a report with everything that a report can have: repeats, names
// that markup must escape, a number that is none, both kinds of charts.
func example() *Report {
	r := &Report{
		Title:     "What a <table> & its worker can do",
		Command:   "finwait bench table --flows=100k,1M",
		StartedAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600)),
		Machine:   Machine{CPU: "Model 1", Cores: 2, Memory: 3 << 30, HugePages: "madvise", OS: "linux", Arch: "amd64", Kernel: "6.18.0", Go: "go1.26", Version: "0123456789ab"},
		Notes:     []string{"goos: a note\nis one line & no configuration"},
	}
	for _, ns := range []float64{110, 100, 140} {
		r.Add(&Report{
			Results: []Result{
				{"Table/flows=100k/finwait", 10, []Metric{{ns, "ns/segment"}, {2.5, "ratio"}}},
				{"Table/flows=100k/gomap", 10, []Metric{{4 * ns, "ns/segment"}, {math.NaN(), "ratio"}}},
				{"Table/flows=100k/memory", 0, []Metric{{12345678, "octets"}}},
			},
			Charts: []Chart{
				{Name: "time", Title: "Time <per> segment", XLabel: "connections", YLabel: "ns/segment", LogX: true, Series: []Series{
					{"finwait", []float64{1e5, 1e6}, []float64{ns, 2 * ns}}, {"Go map", []float64{1e6, 1e5}, []float64{8 * ns, 4 * ns}},
				}},
				{Name: "rounds", Title: "Rounds", XLabel: "round", YLabel: "packets/s", Legend: []string{"wall", "CPU"}, Bars: []Bar{{"one", []float64{ns, 1}}, {"two", []float64{3, 4}}}},
			},
			Notes: []string{"said once"},
		})
	}
	return r
}

func TestBench(t *testing.T) {
	var out strings.Builder
	if err := example().WriteBench(&out); err != nil {
		t.Fatal(err)
	}
	const want = `goos: linux
goarch: amd64
pkg: github.com/finwait/finwait
cpu: Model 1
cores: 2
memory: 3.0 GiB
hugepages: madvise
kernel: 6.18.0
# finwait bench table --flows=100k,1M
# finwait 0123456789ab, go1.26
# started 2026-03-04T04:06:07Z
# goos: a note is one line & no configuration
# said once

BenchmarkTable/flows=100k/finwait	10	110 ns/segment	2.5 ratio
BenchmarkTable/flows=100k/gomap	10	440 ns/segment	NaN ratio
BenchmarkTable/flows=100k/memory	1	1.2345678e+07 octets
`
	if got := out.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", got, want)
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	if err := example().WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		StartedAt string `json:"started_at"`
		Results   []struct {
			Name    string
			Metrics []struct {
				Value *float64
				Unit  string
			}
		}
		Charts []struct {
			Name   string
			Series []struct{ X, Y []float64 }
			Bars   []struct{ Values []float64 }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.StartedAt != "2026-03-04T04:06:07Z" || len(got.Results) != 9 || got.Results[1].Metrics[1].Value != nil || *got.Results[6].Metrics[0].Value != 140 {
		t.Errorf("got %+v", got)
	}
	// Of three repeats the charts have the median, X in order.
	series, bars := got.Charts[0].Series, got.Charts[1].Bars
	if len(got.Charts) != 2 || !slices.Equal(series[0].Y, []float64{110, 220}) || !slices.Equal(series[1].X, []float64{1e5, 1e6}) ||
		!slices.Equal(series[1].Y, []float64{440, 880}) || !slices.Equal(bars[0].Values, []float64{110, 1}) || len(bars) != 2 {
		t.Errorf("charts %+v", got.Charts)
	}
}

// What no form can hold is refused by all of them.
func TestInvalid(t *testing.T) {
	for name, spoil := range map[string]func(*Report){
		"lower case": func(r *Report) { r.Results[0].Name = "table" },
		"space":      func(r *Report) { r.Results[0].Name = "Table flows" },
		"no metric":  func(r *Report) { r.Results[0].Metrics = nil },
		"unit":       func(r *Report) { r.Results[0].Metrics[0].Unit = "ns per segment" },
		"chart name": func(r *Report) { r.Charts[0].Name = "../time" },
		"both":       func(r *Report) { r.Charts[0].Bars = r.Charts[1].Bars },
		"lengths":    func(r *Report) { r.Charts[0].Series[0].X = []float64{1} },
		"legend":     func(r *Report) { r.Charts[1].Legend = nil },
	} {
		r := example()
		spoil(r)
		dir := filepath.Join(t.TempDir(), "report")
		for form, err := range map[string]error{"bench": r.WriteBench(io.Discard), "json": r.WriteJSON(io.Discard), "dir": r.WriteDir(dir)} {
			if err == nil {
				t.Errorf("%s: %s took it", name, form)
			}
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a directory was made", name)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "report")
	if err := example().WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	want := []string{"index.html", "report.json", "results.txt", "rounds.svg", "time.svg"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Fatalf("files %q, want %q", got, want)
	}
	for _, name := range []string{"rounds.svg", "time.svg"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, name, text)
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"What a &lt;table&gt; &amp; its worker can do", "finwait bench table --flows=100k,1M", "0123456789ab", "Model 1", "3.0 GiB",
		"<td>3 × 10</td><td>110<small>100 … 140</small></td>", "<td>–</td>", "Time &lt;per&gt; segment", "prefers-color-scheme: dark", ">100 k<",
	} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := bytes.Count(page, []byte("<svg")); n != 4 {
		t.Errorf("the page has %d charts, want 2 for light and 2 for dark", n)
	}
	for _, remote := range []string{`src="http`, `href="http`, "<script", "@import", "url("} {
		if bytes.Contains(page, []byte(remote)) {
			t.Errorf("the page has %q", remote)
		}
	}
}

func wellFormed(t *testing.T, name string, text []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

// Results with the same first metric share a table; the ends of rounds stand
// below their median.
func TestSections(t *testing.T) {
	metrics := func(v float64) []Metric {
		return []Metric{{v, "ns"}, {v - 1, "min-ns"}, {v + 1, "max-ns"}, {7, "max-octets"}}
	}
	got := sections([]Result{
		{"A", 5, metrics(10)}, {"Ratio", 1, []Metric{{3, "ratio"}}}, {"B", 5, []Metric{{20, "ns"}, {9, "octets"}}}, {"A", 5, metrics(20)},
	})
	if len(got) != 2 || !slices.Equal(got[0].Units, []string{"ns", "max-octets", "octets"}) || len(got[0].Rows) != 2 || len(got[1].Rows) != 1 {
		t.Fatalf("sections %+v", got)
	}
	a, b := got[0].Rows[0], got[0].Rows[1]
	if a.Repeats != 2 || a.Cells[0] != (cell{true, 15, 9, 21}) || !a.Cells[0].Spread() || a.Cells[2].There {
		t.Errorf("row %+v", a)
	}
	if b.Repeats != 1 || b.Cells[0] != (cell{true, 20, 20, 20}) || b.Cells[0].Spread() || b.Cells[1].There || !b.Cells[2].There {
		t.Errorf("row %+v", b)
	}
}

// What is too wide for a page is cut, and nothing of it is left out.
func TestWideSections(t *testing.T) {
	r := Result{Name: "A", Runs: 1}
	for i := range 3*columns - 1 {
		r.Metrics = append(r.Metrics, Metric{float64(i), "unit" + strings.Repeat("x", i)})
	}
	next := 0.0
	for _, s := range sections([]Result{r}) {
		if len(s.Units) > columns || len(s.Rows) != 1 || len(s.Rows[0].Cells) != len(s.Units) || s.Rows[0].Name != "A" {
			t.Fatalf("section %+v", s)
		}
		for i, c := range s.Rows[0].Cells {
			if c.Median != next || s.Units[i] != r.Metrics[int(next)].Unit {
				t.Fatalf("%s: %v, want %v", s.Units[i], c.Median, next)
			}
			next++
		}
	}
	if int(next) != len(r.Metrics) {
		t.Errorf("%v metrics of %d are there", next, len(r.Metrics))
	}
}

// An earlier report gives way, its charts included; so do files that were cut
// short by the end of the process.
func TestEarlierReportGivesWay(t *testing.T) {
	dir := t.TempDir()
	if err := example().WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, unfinished+"1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	next := example()
	next.Charts = []Chart{{Name: "other", Bars: []Bar{{"x", []float64{1}}}, Legend: []string{""}}}
	if err := next.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"index.html", "other.svg", "report.json", "results.txt"}) {
		t.Errorf("files %q", got)
	}
}

// A directory with anything else is refused and stays as it was.
func TestForeignDirectory(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"thesis.tex":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600) },
		"index.html":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "index.html"), nil, 0o600) },
		"report.json": func(dir string) error { return os.WriteFile(filepath.Join(dir, "report.json"), []byte("{}"), 0o600) },
		"logo.svg": func(dir string) error {
			return errors.Join(example().WriteDir(dir), os.WriteFile(filepath.Join(dir, "logo.svg"), nil, 0o600))
		},
		"time.svg":     func(dir string) error { return os.Symlink("/dev/null", filepath.Join(dir, "time.svg")) },
		".finwait-dir": func(dir string) error { return os.Mkdir(filepath.Join(dir, ".finwait-dir"), 0o700) },
	} {
		dir := t.TempDir()
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		before := names(t, dir)
		for _, err := range []error{PrepareDir(dir), example().WriteDir(dir)} {
			var foreign *ForeignError
			if !errors.As(err, &foreign) || foreign.File != name || !strings.Contains(err.Error(), "choose") {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if after := names(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: files were %q and are %q", name, before, after)
		}
	}
	fresh := filepath.Join(t.TempDir(), "a", "b")
	if err := PrepareDir(fresh); err != nil || len(names(t, fresh)) != 0 {
		t.Errorf("a new directory: error %v", err)
	}
	if err := PrepareDir("/proc/finwait"); err == nil || !strings.Contains(err.Error(), `"/proc/finwait"`) {
		t.Errorf("a directory that cannot be made: error %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := PrepareDir(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file in place of a directory: error %v", err)
	}
}

// Values that have no place on an axis, and axes of one value, are drawn
// without panic.
func TestChartsOfOddValues(t *testing.T) {
	odd := []float64{0, -3, math.NaN(), math.Inf(1), 7}
	for _, values := range [][]float64{odd, {5}, {0}, {math.NaN()}, {-1}, {1e-9, 1e12}} {
		for _, log := range []bool{false, true} {
			x := make([]float64, len(values))
			var bars []Bar
			for i, v := range values {
				x[i] = float64(i)
				bars = append(bars, Bar{strings.Repeat("b", i+1), []float64{v, v}})
			}
			series := Chart{Name: "a", LogX: log, LogY: log, Series: []Series{{"s", x, values}}}
			for _, c := range []Chart{series, {Name: "b", LogY: log, Bars: bars, Legend: []string{"one", "two"}}} {
				text, err := c.draw(&light)
				if err != nil {
					t.Fatalf("%v, logarithmic %v: %v", values, log, err)
				}
				wellFormed(t, c.Name, text)
				if bytes.Contains(text, []byte("NaN")) || bytes.Contains(text, []byte("Inf")) {
					t.Errorf("%v, logarithmic %v: a coordinate is no number", values, log)
				}
			}
		}
	}
}

func TestReadable(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.12345: "0.123", 1: "1", 2.345: "2.35", 12.5: "12.5", 143.2: "143", 999.4: "999", 999.9: "1 k", 1234: "1.23 k",
		1e5: "100 k", 1e7: "10 M", -2.5e9: "-2.5 G", 1e-7: "1e-07",
	} {
		if got := readable(v); got != want {
			t.Errorf("readable(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	values := []float64{9, 1, 5, 3}
	if m := Median(values); m != 4 || values[0] != 9 {
		t.Errorf("median %v, values now %v", m, values)
	}
	if m := Median(values[:3]); m != 5 {
		t.Errorf("median of three %v", m)
	}
	if m := Median(nil); !math.IsNaN(m) {
		t.Errorf("median of none %v", m)
	}
}

func TestMachine(t *testing.T) {
	m := ThisMachine()
	if m.Cores < 1 || m.Memory < 1<<20 || m.Kernel == "" || m.OS == "" || m.Arch == "" || !strings.HasPrefix(m.Go, "go") {
		t.Errorf("machine %+v", m)
	}
	if available := MemoryAvailable(); available == 0 || available > m.Memory {
		t.Errorf("%d octets of %d are available", available, m.Memory)
	}
	if got := cpuModel([]byte("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n")); got != "implementer 0x41 part 0xd0c" {
		t.Errorf("arm64 CPU %q", got)
	}
	if got := chosen([]byte("always [madvise] never\n")); got != "madvise" {
		t.Errorf("huge pages %q", got)
	}
}
