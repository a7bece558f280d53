package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/finwait/finwait/api/report"
	"github.com/finwait/finwait/xdp/pcap/pcaptest"
)

// benchmark runs a benchmark that measures nothing under a command line.
func benchmark(ctx context.Context, measure func(p *benchProgress) (*report.Report, error), args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	var o benchOptions
	cmd := &cobra.Command{Use: "finwait", SilenceErrors: true, SilenceUsage: true}
	o.addFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runBench(cmd, o, "Nothing", func(_ context.Context, p *benchProgress) (*report.Report, error) { return measure(p) })
	}
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func found(v float64) *report.Report {
	return &report.Report{Results: []report.Result{{Name: "Nothing", Runs: 3, Metrics: []report.Metric{{Value: v, Unit: "ns/op"}}}}, Notes: []string{"once"}}
}

// Each repeat is a line of its own, progress goes to standard error, and the
// command stands there as a shell would take it.
func TestBenchRepeats(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	measure := func(p *benchProgress) (*report.Report, error) {
		repeat, of := p.Repeat()
		p.Stage("nothing", 2)
		p.Add(1)
		p.Say("said")
		p.Add(1)
		if of != 3 {
			t.Errorf("repeat %d of %d", repeat, of)
		}
		return found(float64(repeat) / 2), nil
	}
	stdout, stderr, err := benchmark(context.Background(), measure, "--count", "3", "--report", dir, "left over")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nBenchmarkNothing\t3\t0.5 ns/op\nBenchmarkNothing\t3\t1 ns/op\nBenchmarkNothing\t3\t1.5 ns/op\n",
		"\n# finwait --count=3 '--report=" + strings.ReplaceAll(dir, "'", `'\''`) + "' 'left over'\n", "\n# once\n\n", "goarch: ", version(),
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the output lacks %q:\n%s", want, stdout)
		}
	}
	if stderr != "said\nsaid\nsaid\n" {
		t.Errorf("standard error, which is no terminal, has %q", stderr)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "results.txt")); err != nil || string(text) != stdout {
		t.Errorf("results.txt is not what stands on standard output: %v\n%s", err, text)
	}
	stdout, _, err = benchmark(context.Background(), measure, "--count", "3", "--format", "json", "--report", dir)
	if text, readErr := os.ReadFile(filepath.Join(dir, "report.json")); err != nil || readErr != nil || string(text) != stdout || !json.Valid(text) {
		t.Errorf("report.json is not what stands on standard output: %v, %v\n%s", err, readErr, text)
	}
}

// What was measured before a failure or an interrupt is written all the same.
func TestBenchFails(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	broken := errors.New("the lead came off")
	second := func(interrupt func()) func(p *benchProgress) (*report.Report, error) {
		return func(p *benchProgress) (*report.Report, error) {
			if repeat, _ := p.Repeat(); repeat == 2 {
				interrupt()
				return nil, broken
			}
			return found(1), nil
		}
	}
	stdout, _, err := benchmark(ctx, second(func() {}), "--count=5")
	if !errors.Is(err, broken) || strings.Contains(err.Error(), "interrupted") || strings.Count(stdout, "BenchmarkNothing") != 1 {
		t.Errorf("error %v, output\n%s", err, stdout)
	}
	stdout, _, err = benchmark(ctx, second(cancel), "--count=5")
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "repeat 2 of 5") || strings.Count(stdout, "BenchmarkNothing") != 1 {
		t.Errorf("error %v, output\n%s", err, stdout)
	}
	stdout, _, err = benchmark(ctx, func(*benchProgress) (*report.Report, error) { return nil, ctx.Err() })
	if err == nil || err.Error() != "interrupted in repeat 1 of 1; there are 0 results" || stdout != "" {
		t.Errorf("error %v, output\n%s", err, stdout)
	}
	stdout, _, err = benchmark(context.Background(), func(*benchProgress) (*report.Report, error) { return found(2), broken }, "--count=5")
	if !errors.Is(err, broken) || strings.Count(stdout, "BenchmarkNothing") != 1 {
		t.Errorf("what was found in part: error %v, output\n%s", err, stdout)
	}
	stdout, _, err = benchmark(context.Background(), func(*benchProgress) (*report.Report, error) { return nil, broken })
	if !errors.Is(err, broken) || stdout != "" {
		t.Errorf("error %v, output\n%s", err, stdout)
	}
}

func TestBenchUsage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string
		says []string
	}{
		{"bench disks", []string{`"disks"`, "finwait bench --help"}},
		{"bench table here", []string{`"here"`, "finwait bench table --help"}},
		{"bench table --format xml", []string{`--format "xml"`, "bench or json"}},
		{"bench table --count 0", []string{"--count 0", "1 to"}},
		{"bench table --report " + dir, []string{"--report", dir, "thesis.tex", "choose"}},
		{"bench table --report /proc/finwait", []string{"--report", `"/proc/finwait"`, "choose"}},
		{"bench table --flows 100k,,1M", []string{`--flows "100k,,1M"`, `""`, "100k,1M,10M"}},
		{"bench table --flows 1.5M", []string{`"1.5M"`, "1000 to"}},
		{"bench table --flows 999", []string{`"999"`, "1000 to"}},
		{"bench table --flows 300M", []string{`"300M"`, "1000 to"}},
		{"bench table --flows 18446744073709552M", []string{`"18446744073709552M"`}},
		{"bench table --rounds 0", []string{"--rounds 0", "1 to"}},
		{"bench table --segments 0 --connections 0", []string{"--segments 0", "nothing is left"}},
		{"bench table --connections -1", []string{`--connections "-1"`, "128k"}},
		{"bench table --memory-limit much", []string{`--memory-limit "much"`, "8G"}},
		{"bench table --flows 1M --memory-limit 100M", []string{"--flows 1M", "0.1 GiB may be taken", "fewer flows", "--memory-limit"}},
		{"bench replay", []string{"no capture", "finwait bench replay --help"}},
		{"bench replay -", []string{"standard input", "only once"}},
		{"bench replay /dev/null", []string{`"/dev/null"`, "only once"}},
		{"bench replay --max-flows many capture.pcap", []string{"--max-flows", "finwait bench replay --help"}},
	} {
		status, stdout, stderr := finwait(strings.Fields(c.line)...)
		if status != exitUsage || stdout != "" {
			t.Errorf("%s: exit status %d, standard output %q", c.line, status, stdout)
		}
		for _, want := range c.says {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: the message lacks %q: %s", c.line, want, stderr)
			}
		}
	}
}

// What was asked for is no error and goes to standard output.
func TestBenchHelp(t *testing.T) {
	for line, says := range map[string][]string{
		"bench":               {"table", "replay", "benchstat", "--report"},
		"bench table --help":  {"--flows", "--rounds", "--segments", "--connections", "--memory-limit", "--count", "--format", "--report", "benchstat before after"},
		"bench replay --help": {"FILE...", "--max-flows", "(default 5)", "--format", "--report"},
	} {
		status, stdout, stderr := finwait(strings.Fields(line)...)
		if status != 0 || stderr != "" {
			t.Errorf("%q: exit status %d, standard error %q", line, status, stderr)
		}
		for _, want := range says {
			if !strings.Contains(stdout, want) {
				t.Errorf("%q: the answer lacks %q: %s", line, want, stdout)
			}
		}
	}
}

// benchJSON is what a benchmark wrote as JSON.
type benchJSON struct {
	Results []struct {
		Name    string
		Metrics []struct {
			Value float64
			Unit  string
		}
	}
	Charts []struct {
		Name   string
		Series []struct {
			Name string
			X, Y []float64
		}
		Bars []struct{ Label string }
	}
}

func readBench(t *testing.T, text string) (b benchJSON, value func(name, unit string) float64) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	return b, func(name, unit string) float64 {
		for _, r := range b.Results {
			for _, m := range r.Metrics {
				if r.Name == name && m.Unit == unit {
					return m.Value
				}
			}
		}
		t.Errorf("there is no %q of %q in %s", unit, name, text)
		return 0
	}
}

// The table's benchmark gives every figure at every size.
func TestBenchTable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	status, stdout, stderr := finwait("bench", "table", "--flows", "2k,10k", "--rounds", "2", "--segments", "20k", "--connections", "3k", "--format", "json", "--report", dir)
	if status != 0 || stderr != "" {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	b, value := readBench(t, stdout)
	for _, size := range []string{"Table/flows=2k/", "Table/flows=10k/"} {
		for _, contender := range []string{"finwait", "gomap", "limit", "generation"} {
			if v := value(size+contender, "ns/segment"); v <= 0 || value(size+contender, "min-ns/segment") > v || value(size+contender, "max-ns/segment") < v {
				t.Errorf("%s%s: %v ns", size, contender, v)
			}
		}
		if value(size+"finwait", "octets/connection") < 100 || value(size+"gomap", "octets/connection") < 100 ||
			value(size+"finwait-heap", "octets") <= 0 || value(size+"finwait-heap", "gc-cycles") != 0 || value(size+"finwait", "allocs/op") > 1e-3 {
			t.Errorf("%s: memory in %s", size, stdout)
		}
		if size != "Table/flows=2k/" && value(size+"finwait-over-smallest", "ratio") <= 0 {
			t.Errorf("%s: growth in %s", size, stdout)
		}
		if value(size+"gomap-over-finwait", "ratio") <= 0 || value(size+"finwait-over-limit", "ratio") <= 0 {
			t.Errorf("%s: ratios in %s", size, stdout)
		}
		perSecond, ns := value(size+"connections", "connections/s"), value(size+"connections", "ns/connection")
		if perSecond <= 0 || ns <= 0 {
			t.Errorf("%s: %v connections/s, %v ns", size, perSecond, ns)
		}
	}
	if len(b.Charts) != 2 || len(b.Charts[0].Series) != 3 || len(b.Charts[0].Series[0].X) != 2 || len(b.Charts[1].Bars) != 2 {
		t.Errorf("charts %+v", b.Charts)
	}
	if _, err := os.Stat(filepath.Join(dir, "table.svg")); err != nil {
		t.Error(err)
	}
}

// A replay is measured round by round, and counts what the capture has.
func TestBenchReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a capture.pcap")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	const opened = 2000
	made, err := pcaptest.Traffic{Connections: opened, Seed: 1}.Write(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := finwait("bench", "replay", "--count", "3", "--format", "json", path)
	if status != 0 || stderr != "" {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	b, value := readBench(t, stdout)
	const name = "Replay/file=a_capture.pcap"
	if len(b.Results) != 3 || len(b.Charts) != 1 || len(b.Charts[0].Bars) != 3 || b.Charts[0].Bars[2].Label != "3" {
		t.Fatalf("got %s", stdout)
	}
	packets := value(name, "packets/s") * value(name, "ns/op") / 1e9
	connections := value(name, "connections/cpu-s") * value(name, "cpu-ns/op") / 1e9
	if uint64(packets+0.5) != made.Packets || int(connections+0.5) != opened {
		t.Errorf("%v packets and %v connections were measured of %+v", packets, connections, made)
	}
	if ratio := value(name, "cpu/wall"); ratio <= 0 {
		t.Errorf("ratio %v", ratio)
	}
	if status, _, stderr := finwait("bench", "replay", path+"2"); status != exitFailure || !strings.Contains(stderr, path+"2") {
		t.Errorf("a capture that is missing: exit status %d: %s", status, stderr)
	}
}
