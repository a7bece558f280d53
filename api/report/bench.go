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
// lines, and a line for every result. benchstat compares two of them. What may
// differ between two reports that are to be compared, as the version, is no
// configuration, by which benchstat would keep them apart: it stands with the
// notes in lines that readers of the format pass over.
func (r *Report) WriteBench(w io.Writer) error {
	if err := r.validate(); err != nil {
		return err
	}
	out := bufio.NewWriter(w) // keeps the first error for Flush
	r.writeConfiguration(out)
	r.writeRemarks(out)
	for i := range r.Results {
		result := &r.Results[i]
		fmt.Fprintf(out, "Benchmark%s\t%d", result.Name, max(result.Runs, 1))
		for _, m := range result.Metrics {
			fmt.Fprintf(out, "\t%s %s", strconv.FormatFloat(m.Value, 'g', -1, 64), m.Unit)
		}
		fmt.Fprintln(out)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return nil
}

// writeConfiguration writes lines "key: value". What is not known is left out.
func (r *Report) writeConfiguration(w io.Writer) {
	m := &r.Machine
	for _, line := range [][2]string{
		{"goos", m.OS},
		{"goarch", m.Arch},
		{"pkg", "github.com/finwait/finwait"},
		{"cpu", m.CPU},
		{"cores", strconv.Itoa(m.Cores)},
		{"memory", m.memory()},
		{"hugepages", m.HugePages},
		{"kernel", m.Kernel},
	} {
		if value := oneLine(line[1]); value != "" {
			fmt.Fprintf(w, "%s: %s\n", line[0], value)
		}
	}
}

// writeRemarks writes lines for a human reader.
func (r *Report) writeRemarks(w io.Writer) {
	m := &r.Machine
	remarks := []string{
		r.Command,
		"finwait " + m.Version + ", " + m.Go,
		"started " + r.StartedAt.UTC().Format(time.RFC3339),
	}
	for _, remark := range append(remarks, r.Notes...) {
		fmt.Fprintf(w, "# %s\n", oneLine(remark))
	}
	fmt.Fprintln(w)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
