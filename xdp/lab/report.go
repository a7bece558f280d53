package lab

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// spelledOut is how many of a scenario's disagreements the table spells out; the
// JSON form has all of them.
const spelledOut = 10

// WriteTable writes the report for a reader: what was done beside what was
// seen, the median waits, then whatever does not agree.
func (r *Report) WriteTable(w io.Writer) error {
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	gateway := slices.ContainsFunc(r.Scenarios, func(s Result) bool { return s.FIN1TransitNS != nil })
	fmt.Fprint(table, "SCENARIO\tWHAT WAS DONE\tDONE\tAGREE\tWHAT WAS SEEN\tFIN-WAIT-1\tCLOSE-WAIT\tLAST-ACK")
	if gateway {
		fmt.Fprint(table, "\tFIN1 TRANSIT")
	}
	fmt.Fprintln(table)
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s", s.Scenario, s.Does, s.Connections, s.Agreed,
			s.seen(), wait(s.FINWait1NS), wait(s.CloseWaitNS), wait(s.LastACKNS))
		if gateway {
			fmt.Fprintf(table, "\t%s", wait(s.FIN1TransitNS))
		}
		fmt.Fprintln(table)
	}
	table.Flush() // to memory, which does not fail
	for i := range r.Scenarios {
		r.Scenarios[i].writeProblems(&text)
	}
	for i, tuple := range r.Extra {
		if i == spelledOut {
			fmt.Fprintf(&text, "and %d more that nobody made\n", len(r.Extra)-spelledOut)
			break
		}
		fmt.Fprintf(&text, "%s: seen, but nobody made it\n", tuple)
	}
	verdict := "finwait saw what the lab did"
	if !r.OK() {
		verdict = "finwait did NOT see what the lab did"
	}
	fmt.Fprintf(&text, "%d of %d connections agree, %d extra: %s\n", r.Agreed, r.Connections, len(r.Extra), verdict)
	_, err := text.WriteTo(w)
	return err
}

// seen lists the close kinds, with counts where there is more than one.
func (r *Result) seen() string {
	if len(r.CloseKinds) == 0 {
		return "nothing"
	}
	kinds := slices.Sorted(maps.Keys(r.CloseKinds))
	if len(kinds) == 1 {
		return kinds[0]
	}
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%s %d", kind, r.CloseKinds[kind])
	}
	return strings.Join(kinds, ", ")
}

func (r *Result) writeProblems(text *bytes.Buffer) {
	for i, d := range r.Disagreements {
		if i == spelledOut {
			fmt.Fprintf(text, "%s: and %d more\n", r.Scenario, len(r.Disagreements)-spelledOut)
			break
		}
		fmt.Fprintf(text, "%s: %s: %s: expected %s, seen %s\n", r.Scenario, d.Tuple, d.Field, d.Expected, d.Seen)
	}
	for i, tuple := range r.Missing {
		if i == spelledOut {
			fmt.Fprintf(text, "%s: and %d more missing\n", r.Scenario, len(r.Missing)-spelledOut)
			break
		}
		fmt.Fprintf(text, "%s: %s: no record of it\n", r.Scenario, tuple)
	}
}

// wait rounds a duration to what a reader takes in.
func wait(ns *int64) string {
	if ns == nil {
		return "-"
	}
	d := time.Duration(*ns)
	switch {
	case d >= time.Second:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(100 * time.Nanosecond).String()
	}
}
