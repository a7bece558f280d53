package report

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteBench writes the report in the Go benchmark format
// (https://go.dev/design/14313-benchmark-format): the machine as configuration
// lines, a line for every result, and the notes as lines that readers of the
// format pass over. benchstat compares two of them.
func (r *Report) WriteBench(w io.Writer) error {
	if err := r.validate(); err != nil {
		return err
	}
	out := bufio.NewWriter(w) // keeps the first error for Flush
	r.writeConfiguration(out)
	for i := range r.Results {
		result := &r.Results[i]
		fmt.Fprintf(out, "Benchmark%s\t%d", result.Name, max(result.Runs, 1))
		for _, m := range result.Metrics {
			fmt.Fprintf(out, "\t%s %s", strconv.FormatFloat(m.Value, 'g', -1, 64), m.Unit)
		}
		fmt.Fprintln(out)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "# %s\n", oneLine(note))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return nil
}

// writeConfiguration writes lines "key: value" and the empty one behind them.
// What is not known is left out.
func (r *Report) writeConfiguration(w io.Writer) {
	m := &r.Machine
	for _, line := range [][2]string{
		{"goos", m.OS},
		{"goarch", m.Arch},
		{"pkg", "github.com/finwait/finwait"},
		{"cpu", m.CPU},
		{"cores", strconv.Itoa(m.Cores)},
		{"memory", strconv.FormatUint(m.Memory, 10) + " octets"},
		{"hugepages", m.HugePages},
		{"kernel", m.Kernel},
		{"go", m.Go},
		{"finwait", m.Version},
		{"command", r.Command},
		{"started", r.StartedAt.UTC().Format(time.RFC3339)},
	} {
		if value := oneLine(line[1]); value != "" {
			fmt.Fprintf(w, "%s: %s\n", line[0], value)
		}
	}
	fmt.Fprintln(w)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
